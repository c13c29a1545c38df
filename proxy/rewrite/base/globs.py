"""Matches file names against the globs of `rewrite.ignore`, in the grammar of gitignore. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pathspec import GitIgnoreSpec

_ADDRESS = ("http://", "https://", "//")


class Globs:
    """The globs among the entries of `rewrite.ignore`; the other entries are prefixes of addresses."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._spec = GitIgnoreSpec.from_lines([entry for entry in entries if not is_prefix(entry)])

    def __bool__(self) -> bool:
        """Whether there are any."""
        return len(self._spec) > 0

    def name(self, path: str) -> bool:
        """Return whether a glob matches a file; `path` is relative to the root of its tree."""
        return self._spec.match_file(path.lstrip("/"))


def is_prefix(entry: str) -> bool:
    """Return whether an entry is a prefix of addresses."""
    return entry.startswith(_ADDRESS)
