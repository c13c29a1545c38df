"""Names of files by the globs of `rewrite.ignore`, in the grammar of gitignore. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pathspec import GitIgnoreSpec

_ADDRESS = ("http://", "https://", "//")


class Globs:
    """The globs among the entries of `rewrite.ignore`; the others are beginnings of addresses."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._spec = GitIgnoreSpec.from_lines([entry for entry in entries if not is_prefix(entry)])

    def __bool__(self) -> bool:
        """Whether there are any."""
        return len(self._spec) > 0

    def name(self, path: str) -> bool:
        """Tell whether they name a file, by its place below the root of its tree."""
        return self._spec.match_file(path.lstrip("/"))


def is_prefix(entry: str) -> bool:
    """Tell whether an entry is the beginning of an address."""
    return entry.startswith(_ADDRESS)
