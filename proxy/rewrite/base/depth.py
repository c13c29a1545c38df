"""Limits how deep front matter may nest, because deep nesting is costly for YAML, TOML and JSON parsers. Pure."""

from __future__ import annotations

MAX_DEPTH = 64
"""The deepest nesting of lists, mappings and parts of a dotted key. No site generator needs more."""


class TooDeep(ValueError):
    """Front matter is nested deeper than `MAX_DEPTH`."""
