"""Attributes that `--responsive` adds to pictures."""
