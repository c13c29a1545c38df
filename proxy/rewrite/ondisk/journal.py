"""The undo journal: records the original spelling of each rewritten address. Blocking.

Each article has a JSON file, `.imgmirror/rewrite/<article>.json`, which is meant to be readable and committed. It is
written durably, by rename, before the article. After a crash in between, undo still restores the original bytes.
Several runs are merged, and the first original spelling wins.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from proxy.rewrite.base.result import Replacement
from proxy.rewrite.ondisk.files import SKIPPED, make_folder_durably, remove_stale, write_durably
from proxy.rewrite.ondisk.occurrences import Occurrence, RewrittenAddress, around, locate

FOLDER = ".imgmirror"
_WRITTEN = re.compile(
    rb'"new": "(?:(?:<p>)?<img src=\\"| srcset=\\?["\'])?((?:https?:)?//[^"\\\s?#]{1,2000}?)/image/'
)
VERSION = 1


class JournalError(Exception):
    """A journal cannot be read. The message names the file."""


def merged(
    entries: Sequence[RewrittenAddress], data: bytes, *, replaced: Sequence[Replacement], new_data: bytes
) -> list[RewrittenAddress]:
    """Return the entries after a run that changed `data` into `new_data`, in the order of the article.

    `replaced` is in the order of the article. Text that was changed in an earlier run and is changed again, wholly or
    in part, keeps its first spelling. Entries that are no longer found stay at the end, unless this run has made the
    same change again.
    """
    found, missing = locate(data, entries)
    result = _with_text_around(_joined(data, found, replaced), new_data)
    made = Counter((item.old, item.new) for item in replaced)
    for entry in missing:
        made[entry.old, entry.new] -= 1
        if made[entry.old, entry.new] < 0:
            result.append(entry)
    return result


def undo(data: bytes, entries: Sequence[RewrittenAddress]) -> tuple[bytes, list[RewrittenAddress]]:
    """Return the article with the original spellings put back, and the entries that were not found."""
    found, missing = locate(data, entries)
    pieces: list[bytes] = []
    position = 0
    for occurrence in found:
        pieces += data[position : occurrence.start], occurrence.entry.old
        position = occurrence.end
    return b"".join((*pieces, data[position:])), missing


def lost(
    entries: Sequence[RewrittenAddress],
    missing: Sequence[RewrittenAddress],
    addresses: Iterable[bytes],
    data: bytes,
) -> list[RewrittenAddress]:
    """Return the entries of `missing` whose original spelling is not in the article `data` either.

    If it is there, somebody put it back by hand, or the run that was to replace it never wrote the article. `addresses`
    has all addresses of the article after undo. An address that undo has just put back counts for its own entry only.
    An insertion, which has no original spelling, is not lost if the text around it occurs without it.
    """
    free = Counter(addresses)
    free.subtract(entry.old for entry in entries)
    free.update(entry.old for entry in missing)
    result = []
    for entry in missing:
        if not entry.old:
            if (entry.before + entry.after).encode() not in data:
                result.append(entry)
            continue
        if entry.old.startswith(b"![") and entry.old in data:
            continue
        free[entry.old] -= 1
        if free[entry.old] < 0:
            result.append(entry)
    return result


class Journal:
    """The journal of the articles below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / FOLDER

    def read(self, article: Path) -> list[RewrittenAddress]:
        """Return the entries of an article; empty when it was never rewritten.

        Raises:
            JournalError: the file is damaged, or was written by a newer version of this program.
        """
        path = self._path(article)
        try:
            content = json.loads(path.read_bytes())
            if content["version"] > VERSION:
                version = content["version"]
                raise JournalError(
                    f"{path}: of a newer imgmirror (version {version}); this one reads {VERSION}"
                )
            return [_entry(item) for item in content["replaced"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise JournalError(f"{path}: the journal cannot be read ({error})") from error

    def write(self, article: Path, entries: Sequence[RewrittenAddress]) -> None:
        """Store the entries of an article, or delete its file when there are none."""
        path = self._path(article)
        remove_stale(self.folder)
        if not entries:
            path.unlink(missing_ok=True)
            self._remove_empty_folders(path)
            return
        content = {"version": VERSION, "replaced": [_json(entry) for entry in entries]}
        make_folder_durably(path.parent)
        write_durably(path, _dump(content), aside=self.folder)

    def holds(self, article: Path) -> bool:
        """Return whether the article has a journal here."""
        return self._path(article).is_file()

    def articles(self, below: Path) -> Iterator[Path]:
        """Yield the articles at or below `below` that have a journal here, in order."""
        base = self.folder / "rewrite"
        inside = below.relative_to(self.root) if below.is_relative_to(self.root) else Path()
        if inside.name and self.holds(below):
            yield below
        for path in sorted((base / inside).rglob("*.json")):
            yield self.root / path.relative_to(base).with_suffix("")

    def _remove_empty_folders(self, path: Path) -> None:
        for folder in path.parents:
            try:
                folder.rmdir()
            except OSError:
                return
            if folder.name == FOLDER and folder.parent == self.root:
                return

    def _path(self, article: Path) -> Path:
        relative = article.relative_to(self.root)
        return self.folder / "rewrite" / relative.parent / f"{relative.name}.json"


def journal_for(article: Path, root: Path) -> Journal:
    """Return the journal that has `article`, in any folder above it; else the journal at `root`.

    A site may have been rewritten as a folder and be undone file by file, or the other way round.
    """
    for folder in article.parents:
        journal = Journal(folder)
        if journal.holds(article):
            return journal
    return Journal(root)


def former_bases(paths: Iterable[Path]) -> list[str]:
    """Return the base URLs of written addresses in the journals at, above and below `paths`, in order.

    Unreadable journals are skipped here; the code that needs one reports it.
    """
    found: dict[str, None] = {}
    for folder in {journal.folder for path in paths for journal in journals_of(path)}:
        for path in sorted((folder / "rewrite").rglob("*.json")):
            try:
                data = path.read_bytes()
            except OSError:
                continue
            found |= dict.fromkeys(match[1].decode("utf-8", "replace") for match in _WRITTEN.finditer(data))
    return list(found)


def journals_of(path: Path) -> Iterator[Journal]:
    """Yield every journal that may have articles at or below `path`: those above it and those below it."""
    for folder in path.parents:
        if (folder / FOLDER).is_dir():
            yield Journal(folder)
    for name, folders, _ in os.walk(path):
        if FOLDER in folders:
            yield Journal(Path(name))
        folders[:] = sorted(folder for folder in folders if folder not in SKIPPED)


Part = tuple[int, int, bytes]
"""A range, and the text that replaces it."""


@dataclass(frozen=True, slots=True)
class _Change:
    """A range of an article that was changed in an earlier run, in this one, or in both."""

    start: int
    end: int
    old: bytes
    new: bytes


def _joined(data: bytes, found: Sequence[Occurrence], replaced: Sequence[Replacement]) -> Iterator[_Change]:
    """Yield the changes of both runs, in order. Overlapping changes become one, from the first to the last spelling."""
    before = deque((item.start, item.end, item.entry.old) for item in found)
    now = deque((item.start, item.end, item.new) for item in replaced)
    for start, end in _ranges((item[0], item[1]) for item in (*before, *now)):
        text = data[start:end]
        old = _exchanged(text, start, _taken(before, start, end))
        yield _Change(start, end, old, _exchanged(text, start, _taken(now, start, end)))


def _ranges(parts: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the ranges in order, merging overlapping ones. An empty range at the edge of another stays separate."""
    start, end = -1, -1
    for begin, stop in sorted(parts):
        if begin < end or (begin, stop) == (start, end):
            end = max(end, stop)
            continue
        if start >= 0:
            yield start, end
        start, end = begin, stop
    if start >= 0:
        yield start, end


def _taken(parts: deque[Part], start: int, end: int) -> Iterator[Part]:
    """Take the parts that lie in a range from the front of `parts`, which are in order."""
    while parts and (parts[0][0] < end or parts[0][:2] == (start, end)):
        yield parts.popleft()


def _exchanged(text: bytes, offset: int, parts: Iterable[Part]) -> bytes:
    pieces: list[bytes] = []
    position = 0
    for start, end, part in parts:
        pieces += text[position : start - offset], part
        position = end - offset
    return b"".join((*pieces, text[position:]))


def _with_text_around(changes: Iterable[_Change], new_data: bytes) -> list[RewrittenAddress]:
    result: list[RewrittenAddress] = []
    shift = 0
    for change in changes:
        start, end = change.start + shift, change.start + shift + len(change.new)
        result.append(RewrittenAddress(change.old, change.new, *around(new_data, start, end)))
        shift = end - change.end
    return result


def _json(entry: RewrittenAddress) -> dict[str, str]:
    return {
        "old": entry.old.decode("utf-8", "surrogateescape"),
        "new": entry.new.decode("utf-8", "surrogateescape"),
        "before": entry.before,
        "after": entry.after,
    }


def _entry(item: dict[str, str]) -> RewrittenAddress:
    old, new = (item[name].encode("utf-8", "surrogateescape") for name in ("old", "new"))
    if not new:
        raise ValueError("an empty address")
    return RewrittenAddress(old, new, str(item.get("before", "")), str(item.get("after", "")))


def _dump(content: object) -> bytes:
    try:
        return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()
    except UnicodeEncodeError:
        # Bytes that are not UTF-8 are lone surrogates here, which JSON can spell only as escapes.
        return (json.dumps(content, indent=1) + "\n").encode("ascii")


__all__ = [
    "FOLDER",
    "Journal",
    "JournalError",
    "Occurrence",
    "RewrittenAddress",
    "former_bases",
    "journal_for",
    "journals_of",
    "lost",
    "merged",
    "undo",
]  # fmt: skip
