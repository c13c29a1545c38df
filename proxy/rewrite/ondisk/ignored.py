"""Finds the folders that a tree's `.gitignore` files name: built pages, dependencies, caches. Blocking."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pathspec import GitIgnoreSpec

NAME = ".gitignore"
_REPOSITORY = ".git"


class IgnoredFolders:
    """The folders below `path` that Git ignores. If `path` itself is in one, the user means it, and none is ignored.

    A deeper `.gitignore` overrides those above it (gitignore(5)).
    """

    def __init__(self, path: Path) -> None:
        self._root = next(
            (folder for folder in (path, *path.parents) if (folder / _REPOSITORY).exists()), path
        )
        self._spec_of = cache(_spec)
        between = [folder for folder in (path, *path.parents) if folder.is_relative_to(self._root)]
        self._is_off = any(self._names(folder) for folder in between if folder != self._root)

    def __contains__(self, folder: Path) -> bool:
        return not self._is_off and self._names(folder)

    def _names(self, folder: Path) -> bool:
        above = [parent for parent in folder.parents if parent.is_relative_to(self._root)]
        for parent in above:
            said = self._spec_of(parent).check_file(f"{folder.relative_to(parent).as_posix()}/").include
            if said is not None:
                return said
        return False


def _spec(folder: Path) -> GitIgnoreSpec:
    try:
        lines = (folder / NAME).read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    return GitIgnoreSpec.from_lines(lines)
