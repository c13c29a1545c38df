"""The way back: which spelling each rewritten address had. Files on disk; synchronous.

One JSON file for each article, `.imgmirror/rewrite/<article>.json`, made to be read and committed. It is written,
durably and by rename, before the article: after a crash in between, undo still gives the original bytes. Several
runs are merged, and the first original spelling wins.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from proxy.rewrite.files import make_folder_durably, write_durably
from proxy.rewrite.occurrences import Entry, Occurrence, around, locate
from proxy.rewrite.result import Replacement

FOLDER = ".imgmirror"
VERSION = 1


class JournalError(Exception):
    """A journal that cannot be read; the message names the file."""


def merged(
    entries: Sequence[Entry], data: bytes, *, replaced: Sequence[Replacement], new_data: bytes
) -> list[Entry]:
    """Return the entries after a run that made `new_data` of `data`, in order of the article.

    An address that was rewritten before and is rewritten again keeps its first spelling. Entries that are no
    longer found stay, at the end, unless this run has made the same replacement anew.
    """
    found, missing = locate(data, entries)
    before = {occurrence.start: occurrence.entry.old for occurrence in found}
    placed: list[tuple[int, bytes, bytes]] = []
    for item in replaced:
        placed.append((item.start, before.pop(item.start, item.old), item.new))
    placed.extend((item.start, item.entry.old, item.entry.new) for item in found if item.start in before)
    placed.sort()
    made = Counter((item.old, item.new) for item in replaced)
    result = _with_text_around(placed, replaced, new_data)
    for entry in missing:
        made[entry.old, entry.new] -= 1
        if made[entry.old, entry.new] < 0:
            result.append(entry)
    return result


def undo(data: bytes, entries: Sequence[Entry]) -> tuple[bytes, list[Entry]]:
    """Return the article with the original spellings put back, and the entries that were not found.

    An entry whose original spelling already stands in the article is not missing: it was put back by hand, or
    the run that wanted to replace it never wrote the article.
    """
    found, missing = locate(data, entries)
    pieces: list[bytes] = []
    position = 0
    for occurrence in found:
        pieces += data[position : occurrence.start], occurrence.entry.old
        position = occurrence.end
    return b"".join((*pieces, data[position:])), [entry for entry in missing if entry.old not in data]


class Journal:
    """The journal of the articles below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, article: Path) -> list[Entry]:
        """Return the entries of an article; none when it was never rewritten.

        Raises:
            JournalError: the file is damaged.
        """
        path = self._path(article)
        try:
            return [_entry(item) for item in json.loads(path.read_bytes())["replaced"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise JournalError(f"{path}: the journal cannot be read ({error})") from error

    def write(self, article: Path, entries: Sequence[Entry]) -> None:
        """Keep the entries of an article; when there are none, forget it."""
        path = self._path(article)
        if not entries:
            path.unlink(missing_ok=True)
            self._remove_empty_folders(path)
            return
        content = {"version": VERSION, "replaced": [_json(entry) for entry in entries]}
        make_folder_durably(path.parent)
        write_durably(path, _dump(content))

    def holds(self, article: Path) -> bool:
        """Tell whether there is a journal of the article."""
        return self._path(article).is_file()

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
        return self.root / FOLDER / "rewrite" / relative.parent / f"{relative.name}.json"


def journal_for(article: Path, root: Path) -> Journal:
    """Return the journal that knows `article`, wherever it was begun; else the one at `root`.

    A site may have been rewritten as a folder and be undone file by file, or the other way round.
    """
    for folder in article.parents:
        journal = Journal(folder)
        if journal.holds(article):
            return journal
    return Journal(root)


def _with_text_around(
    placed: list[tuple[int, bytes, bytes]], replaced: Sequence[Replacement], new_data: bytes
) -> list[Entry]:
    growth = {item.start: len(item.new) - len(item.old) for item in replaced}
    result: list[Entry] = []
    shift = 0
    for start, old, new in placed:
        moved = start + shift
        result.append(Entry(old, new, *around(new_data, moved, moved + len(new))))
        shift += growth.get(start, 0)
    return result


def _json(entry: Entry) -> dict[str, str]:
    return {
        "old": entry.old.decode("utf-8", "surrogateescape"),
        "new": entry.new.decode("utf-8", "surrogateescape"),
        "before": entry.before,
        "after": entry.after,
    }


def _entry(item: dict[str, str]) -> Entry:
    old, new = (item[name].encode("utf-8", "surrogateescape") for name in ("old", "new"))
    if not old or not new:
        raise ValueError("an empty address")
    return Entry(old, new, str(item.get("before", "")), str(item.get("after", "")))


def _dump(content: object) -> bytes:
    try:
        return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()
    except UnicodeEncodeError:
        # Bytes that are no UTF-8 travel as lone surrogates, which only escapes can spell.
        return (json.dumps(content, indent=1) + "\n").encode("ascii")


__all__ = ["FOLDER", "Entry", "Journal", "JournalError", "Occurrence", "journal_for", "merged", "undo"]
