"""How deep front matter may nest: the readers of YAML, TOML and JSON cost more the deeper it is. Pure."""

from __future__ import annotations

MAX_DEPTH = 64
"""Lists, mappings and parts of a dotted key inside each other; no site generator's reader has a use for more."""


class TooDeep(ValueError):
    """Front matter that nests deeper than it is read."""
