"""Markdown: where addresses stand in it."""
