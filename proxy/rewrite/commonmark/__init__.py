"""Finds the places of addresses in Markdown."""
