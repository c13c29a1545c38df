"""Verify: compares everything that is kept with its digests. Blocking, one folder at a time.

Distinguishes damage (a promised file is missing or changed) from remnants of a crash (a body without an entry, a
temporary file). Changes nothing. Safe while a service is running: apparent damage is checked again before it is
reported.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cache.base.durable import abandoned, files_in
from cache.base.entry import Entry
from cache.base.errors import EntryUnreadable
from cache.base.keys import source_key
from cache.base.layout import FOLDERS, MARKER, Layout, is_digest, size_of
from cache.base.shards import SHARDS, shards_of, sized_files
from cache.originals.bodies import digest_of
from cache.originals.entryfiles import named_in, read_bounded

Progress = Callable[[int, int], None]
"""Called with the number of folders, or other steps, that are done, and with their total."""

_KNOWN = {
    *FOLDERS,
    MARKER,
    "generations",
    "failures",
    "overloads",
    "usage",
    "jobs",
    "desk",
    "packs",
    "catalogue",
    "locks",
    "scrub",
    "variants",
    "lost+found",
}
_SOURCE = re.compile(rb'"source"\s*:\s*"([\x21\x23-\x5b\x5d-\x7e]+)"')


@dataclass(frozen=True, slots=True)
class StoreFault:
    """One finding: its kind, its place, and a description."""

    kind: str
    path: str
    detail: str


@dataclass(slots=True)
class VerifyReport:
    """The findings of a verification. `wrong` is empty for an undamaged store.

    hurt: the sources that name each damaged body, by its digest. lost: sources whose entry cannot be read, as far as
    its text still shows them.
    """

    entries: int = 0
    bodies: int = 0
    body_bytes: int = 0
    wrong: list[StoreFault] = field(default_factory=list)
    notes: list[StoreFault] = field(default_factory=list)
    hurt: dict[str, list[str]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    @property
    def sources(self) -> list[str]:
        """Every source with missing or damaged data, without duplicates."""
        named = (url for sources in self.hurt.values() for url in sources)
        return list(dict.fromkeys([*self.lost, *named]))

    @property
    def problems(self) -> list[StoreFault]:
        """Another name of `wrong`."""
        return self.wrong


class Verification:
    """Checks all bodies, then all entries, then all other files.

    A commit writes the body before the entry, and a purge deletes the entry before the body. So while entries are read,
    every body that they name must exist. A body that was seen before its entry is looked up again at the end.
    """

    def __init__(self, layout: Layout, report: VerifyReport | None = None) -> None:
        self.report = report or VerifyReport()
        self._layout = layout
        self._unnamed: dict[str, int] = {}
        self.total = len(shards_of(layout.bodies)) + len(shards_of(layout.entries)) + 1

    def steps(self) -> Iterator[Callable[[], None]]:
        """Yield the pieces of work, in order."""
        for shard in shards_of(self._layout.bodies):
            yield functools.partial(self._bodies, shard)
        for shard in shards_of(self._layout.entries):
            yield functools.partial(self.entries_of, shard)
        yield self._finish

    def _bodies(self, shard: str) -> None:
        for name, size in sized_files(self._layout.bodies / shard):
            path = self._layout.bodies / shard / name
            if not is_digest(name) or name[:2] != shard:
                self._wrong("misnamed", path, "not the name of a body of this folder")
                continue
            self._body(path, size)

    def _body(self, path: Path, size: int) -> None:
        try:
            digest = digest_of(path)
        except FileNotFoundError:
            return
        except OSError as error:
            self._wrong("body_unreadable", path, str(error.strerror or error))
            return
        self.report.bodies += 1
        self.report.body_bytes += size
        self._unnamed[path.name] = size
        if digest != path.name:
            self.report.hurt[path.name] = []
            self._wrong("body_damaged", path, f"its bytes have the digest {digest}")

    def entries_of(self, shard: str) -> None:
        """Check the entries of one folder, and whether the bodies that they name exist."""
        for name, _ in sized_files(self._layout.entries / shard):
            path = self._layout.entries / shard / name
            if not is_digest(name.removesuffix(".json")) or name[:2] != shard or not name.endswith(".json"):
                self._wrong("misnamed", path, "not the name of an entry of this folder")
                continue
            self._entry(path)

    def _entry(self, path: Path) -> None:
        text = b""
        try:
            text = read_bounded(path)
            entry = Entry.from_json(text)
        except FileNotFoundError:
            return
        except (OSError, EntryUnreadable) as error:
            self._wrong("entry_unreadable", path, str(error))
            self._look_into(path, text)
            return
        self.report.entries += 1
        if entry.key != path.stem:
            self._wrong("misnamed", path, f"it is the entry of {entry.source}")
        for digest in entry.digests:
            self._unnamed.pop(digest, None)
        for digest, size in entry.sizes.items():
            self._named(entry, path, digest, size=size)

    def _named(self, entry: Entry, path: Path, digest: str, *, size: int) -> None:
        found = size_of(self._layout.body(digest))
        if digest in self.report.hurt:
            self.report.hurt[digest].append(entry.source)
        if found == size or self._changed_meanwhile(path, digest):
            return
        if digest not in self.report.hurt:
            self.report.hurt[digest] = [entry.source]
        if found is None:
            self._wrong(
                "body_missing", self._layout.body(digest), f"the body {digest} of {entry.source} is not there"
            )
        else:
            self._wrong(
                "body_size", self._layout.body(digest), f"the body {digest} has {found} bytes, not {size}"
            )

    def _look_into(self, path: Path, text: bytes) -> None:
        """Read what is readable of a damaged entry: its bodies are not orphans, and its source can be fetched again."""
        for digest in named_in(text):
            self._unnamed.pop(digest, None)
        source = _SOURCE.search(text)
        if source and hashlib.sha256(source[1]).hexdigest() == path.stem:
            self.report.lost.append(source[1].decode("ascii"))

    def _changed_meanwhile(self, path: Path, digest: str) -> bool:
        try:
            return digest.encode("ascii") not in read_bounded(path)
        except OSError:
            return True

    def _finish(self) -> None:
        for digest in self._unnamed:
            path = self._layout.body(digest)
            if path.exists():
                self._note("orphan", path, "no entry names this body")
        gone = set(abandoned(self._layout.incoming, remove=False))
        for path in files_in(self._layout.incoming):
            if path in gone:
                self._note("temporary", path, "left behind by a process that is gone")
        for path in self._foreign():
            self._note("foreign", path, "not a file of the store")

    def _foreign(self) -> Iterator[Path]:
        for path in sorted(self._layout.root.iterdir()):
            if path.name not in _KNOWN:
                yield path
        for folder in (self._layout.bodies, self._layout.entries):
            if folder.is_dir():
                yield from (path for path in sorted(folder.iterdir()) if path.name not in SHARDS)

    def is_still_wrong(self, finding: StoreFault) -> bool:
        """Return whether earlier damage still exists after a repair."""
        path = Path(finding.path)
        try:
            if finding.kind == "entry_unreadable":
                Entry.from_json(read_bounded(path))
                return False
            return finding.kind == "misnamed" or digest_of(path) != path.name
        except FileNotFoundError:
            return finding.kind != "entry_unreadable" and any(
                not self._changed_meanwhile(self._layout.entry(source_key(url)), path.name)
                for url in self.report.hurt.get(path.name, ())
            )
        except (OSError, EntryUnreadable):
            return True

    def _wrong(self, kind: str, path: Path, detail: str) -> None:
        self.report.wrong.append(StoreFault(kind, str(path), detail))

    def _note(self, kind: str, path: Path, detail: str) -> None:
        self.report.notes.append(StoreFault(kind, str(path), detail))
