"""Changes: which files of the store the catalogue must read again, noted so that kill -9 loses none. Blocking.

Before each change, a process writes the name of the changed thing into a file of its own. It empties that file when the
catalogue knows the changes. A file whose owner died therefore names everything that the catalogue may not know. It is
not fsynced: after a restart of the machine everything is compared anyway (`catching_up.py`).

As long as the store has no catalogue, nothing is noted, because a new one reads everything.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from cache.across.seams import Kind
from cache.base.durable import Modes, create_aside, files_in, owner_gone, write_all
from cache.base.layout import is_digest
from cache.base.opening import read_regular

log = logging.getLogger(__name__)

_LETTERS: dict[Kind, bytes] = {"entry": b"e", "article": b"a", "block": b"b", "origin": b"o"}
_KINDS = {letter: kind for kind, letter in _LETTERS.items()}
_RECORD_BYTES = 33
_SUFFIX = ".changes"

MAX_JOURNAL_BYTES = 1 << 20
"""The length of a file of changes beyond which it is written anew, without the changes that are known by now."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Something that changed, and its digest: the entry or the block of a source, the record of an article, or the
    stamp of an origin."""

    kind: Kind
    key: str


class Changes:
    """The changes that this process makes to the store. Safe for several threads."""

    def __init__(self, folder: Path, current: Path, modes: Modes) -> None:
        self._folder = folder
        self._current = str(current)
        self._modes = modes
        # Held while the file of changes is written, so the event loop must not wait for it.
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._open: Counter[Changed] = Counter()
        self._pending: set[Changed] = set()
        self._journal: tuple[int, Path] | None = None
        self._complained = False

    @property
    def are_noted(self) -> bool:
        """Whether the store has a catalogue."""
        try:
            os.stat(self._current)  # noqa: PTH116 - a Path costs more than the call
        except OSError:
            return False
        return True

    def changing(self, kind: Kind, key: str) -> Changing:
        """Return a block that changes a file. The catalogue reads the file again after it."""
        return Changing(self, Changed(kind, key))

    def begin(self, change: Changed) -> bool:
        """Note a change that is about to be made; return whether it is noted."""
        if not self.are_noted:
            return False
        with self._lock:
            self._open[change] += 1
            self._write(change)
        return True

    def end(self, change: Changed, *, is_noted: bool) -> None:
        """Note that the change was made, or was given up."""
        # A catalogue that appeared meanwhile may have read the file before the change.
        if not is_noted and not self.are_noted:
            return
        with self._lock:
            if is_noted:
                self._open[change] -= 1
                if not self._open[change]:
                    del self._open[change]
            self._pending.add(change)
        self._news.set()

    def wait(self, seconds: float) -> None:
        """Wait until there are changes to take, `wake` is called, or the time is over."""
        self._news.wait(seconds)
        self._news.clear()

    def wake(self) -> None:
        """End the present `wait`, or the next one. Never waits itself."""
        self._news.set()

    def take(self) -> set[Changed]:
        """Return the changes that were made and that the catalogue does not know."""
        with self._lock:
            taken, self._pending = self._pending, set()
            return taken

    def give_back(self, changes: Collection[Changed]) -> None:
        """Return changes that could not be recorded."""
        with self._lock:
            self._pending.update(changes)

    def settle(self) -> None:
        """Empty the file of changes if the catalogue knows all of them, and shorten it if it has grown long."""
        with self._lock:
            if self._journal is None:
                return
            descriptor, path = self._journal
            left = {*self._pending, *self._open}
            with contextlib.suppress(OSError):
                if not left:
                    os.ftruncate(descriptor, 0)
                elif os.fstat(descriptor).st_size > MAX_JOURNAL_BYTES:
                    self._journal = None
                    for change in left:
                        self._write(change)
                    path.unlink(missing_ok=True)
                    os.close(descriptor)

    def close(self) -> None:
        """Remove the file of changes, unless the catalogue does not know all of them. The owner's death frees it."""
        self.settle()
        with self._lock:
            if self._journal is None:
                return
            descriptor, path = self._journal
            self._journal = None
            with contextlib.suppress(OSError):
                if not self._pending and not self._open:
                    path.unlink(missing_ok=True)
            os.close(descriptor)

    def _write(self, change: Changed) -> None:
        try:
            if self._journal is None:
                self._journal = create_aside(self._folder, suffix=_SUFFIX, modes=self._modes)
            write_all(self._journal[0], _LETTERS[change.kind] + bytes.fromhex(change.key))
        except OSError as error:
            if not self._complained:
                log.warning("changes cannot be noted for the catalogue: %s", error)
            self._complained = True


class Changing:
    """A block that changes a file of the store."""

    __slots__ = ("_change", "_changes", "_is_noted")

    def __init__(self, changes: Changes, change: Changed) -> None:
        self._changes = changes
        self._change = change
        self._is_noted = False

    def __enter__(self) -> None:
        """Note the change."""
        self._is_noted = self._changes.begin(self._change)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Note that the change was made. A failed change may have been made too."""
        self._changes.end(self._change, is_noted=self._is_noted)


@contextlib.contextmanager
def left_behind(folder: Path) -> Iterator[set[Changed]]:
    """Yield the notes of processes that died; forget them after the block unless an error ends the block."""
    with contextlib.ExitStack() as stack:
        found: set[Changed] = set()
        paths = []
        for path in files_in(folder):
            with contextlib.suppress(OSError):
                if path.name.endswith(_SUFFIX) and stack.enter_context(owner_gone(path)):
                    found.update(_records(read_regular(path)))
                    paths.append(path)
        yield found
        for path in paths:
            path.unlink(missing_ok=True)


def has_left_behind(folder: Path) -> bool:
    """Return whether a process died before the catalogue knew all of its changes."""
    for path in files_in(folder):
        with contextlib.suppress(OSError), owner_gone(path) as is_gone:
            if is_gone and path.stat().st_size >= _RECORD_BYTES:
                return True
    return False


def has_news(folder: Path) -> bool:
    """Return whether any process has noted changes that the catalogue may not know."""
    for path in files_in(folder):
        with contextlib.suppress(OSError):
            if path.stat().st_size >= _RECORD_BYTES:
                return True
    return False


def _records(data: bytes) -> Iterator[Changed]:
    # The last record may be incomplete; then its change had not begun.
    for offset in range(0, len(data) - _RECORD_BYTES + 1, _RECORD_BYTES):
        kind = _KINDS.get(data[offset : offset + 1])
        key = data[offset + 1 : offset + _RECORD_BYTES].hex()
        if kind is not None and is_digest(key):
            yield Changed(kind, key)
