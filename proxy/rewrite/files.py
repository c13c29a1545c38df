"""Articles on disk: which files they are, how they are written, how a change is shown. Synchronous.

Writing goes by rename beside the file, keeps its mode, and writes through symbolic links to their target.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from proxy.rewrite.frontmatter import find_front_matter
from proxy.rewrite.rewriter import ArticleKind, kind_of

SKIPPED = frozenset({".git", ".hg", ".svn", "node_modules", ".imgmirror", "__pycache__", ".venv"})
CONTEXT_LINES = 3
_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ArticleFile:
    """An article, and the PATH it was found under: the folder, or the folder of the file."""

    path: Path
    root: Path
    kind: ArticleKind


def find_articles(paths: Iterable[Path]) -> Iterator[ArticleFile]:
    """Yield the articles of files and folders, sorted, each once.

    Raises:
        FileNotFoundError: a path that does not exist.
        ValueError: a file that is no article by its name.
    """
    seen: set[Path] = set()
    for path in paths:
        # Symbolic links keep their names: the journal lies where the user's path leads.
        absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links
        for article in _below(absolute) if absolute.is_dir() else [_named(absolute)]:
            real = article.path.resolve()
            if real not in seen:
                seen.add(real)
                yield article


def _named(path: Path) -> ArticleFile:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    kind = kind_of(path)
    if kind is None or not path.is_file():
        raise ValueError(f"{path}: not an article (Markdown, HTML or text)")
    return ArticleFile(path, path.parent, kind)


def _below(root: Path) -> Iterator[ArticleFile]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        for name in sorted(names):
            path = Path(folder, name)
            kind = kind_of(name)
            if (
                kind is not None
                and path.is_file()
                and (path.suffix.lower() != ".txt" or _has_front_matter(path))
            ):
                yield ArticleFile(path, root, kind)


def _has_front_matter(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return find_front_matter(head.decode("latin-1")) is not None


def write_article(path: Path, data: bytes, *, expected: bytes) -> None:
    """Replace an article by rename; it must still hold `expected`.

    Raises:
        OSError: it was changed meanwhile, or cannot be written.
    """
    target = path.resolve()
    if target.read_bytes() != expected:
        raise OSError(f"{path}: changed while it was read; run again")
    write_durably(target, data)


def write_durably(path: Path, data: bytes) -> None:
    """Write a file so that it is either the old one or the new one, whatever happens."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".imgmirror-", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            _copy_rights(path, file.fileno())
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def make_folder_durably(folder: Path) -> None:
    """Make a folder and those above it, so that they are still there after a power loss."""
    missing = [folder, *folder.parents]
    for path in reversed([path for path in missing if not path.exists()]):
        path.mkdir(exist_ok=True)
        _sync_folder(path.parent)


def _copy_rights(path: Path, descriptor: int) -> None:
    try:
        status = path.stat()
    except FileNotFoundError:
        # A new file gets what `open` would have given it.
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(descriptor, 0o666 & ~mask)
        return
    os.fchmod(descriptor, status.st_mode & 0o7777)
    if (status.st_uid, status.st_gid) != (os.getuid(), os.getgid()):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, status.st_uid, status.st_gid)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unified_diff(old: bytes, new: bytes, *, name: str) -> bytes:
    """Return the change of an article as git shows it; empty when there is none.

    Rewriting never adds or removes a line end, so lines are compared pair by pair; bytes of any encoding.
    """
    before, after = old.split(b"\n"), new.split(b"\n")
    changed = [number for number, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]]
    if not changed:
        return b""
    last = len(before) - 1
    label = name.encode("utf-8", "surrogateescape")
    pieces = [b"--- a/" + label + b"\n+++ b/" + label + b"\n"]
    for first, stop in _hunks(changed, len(before) - (before[-1] == b"")):
        count = stop - first
        pieces.append(b"@@ -%d,%d +%d,%d @@\n" % (first + 1, count, first + 1, count))
        pieces.extend(_hunk_lines(before, after, first, stop, last))
    return b"".join(pieces)


def _hunks(changed: list[int], lines: int) -> Iterator[tuple[int, int]]:
    first, stop = changed[0], changed[0] + 1
    for number in changed[1:]:
        if number - stop > 2 * CONTEXT_LINES:
            yield max(0, first - CONTEXT_LINES), min(lines, stop + CONTEXT_LINES)
            first = number
        stop = number + 1
    yield max(0, first - CONTEXT_LINES), min(lines, stop + CONTEXT_LINES)


def _hunk_lines(before: list[bytes], after: list[bytes], first: int, stop: int, last: int) -> Iterator[bytes]:
    number = first
    while number < stop:
        run = number
        while run < stop and before[run] != after[run]:
            run += 1
        if run == number:
            yield _line(b" ", before, number, last)
            number += 1
            continue
        yield from (_line(b"-", before, index, last) for index in range(number, run))
        yield from (_line(b"+", after, index, last) for index in range(number, run))
        number = run


def _line(sign: bytes, lines: list[bytes], number: int, last: int) -> bytes:
    ending = b"\n\\ No newline at end of file\n" if number == last else b"\n"
    return sign + lines[number] + ending
