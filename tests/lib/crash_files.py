"""Watches every call by which a Python program changes files below a folder, and can refuse, shorten or end it.

`Watch` replaces the calls in `os` and `io` in this process. Before each call it asks a `Plot` for the call's fate, and
it reports each call that was made to `told`, in order. It does not see SQLite's own calls; the tier that uses SQLite
promises nothing.
"""

from __future__ import annotations

import builtins
import errno
import functools
import io
import os
import random
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

REAL: dict[str, Any] = {
    name: getattr(os, name)
    for name in (
        "open",
        "write",
        "pwrite",
        "fsync",
        "replace",
        "rename",
        "link",
        "unlink",
        "remove",
        "rmdir",
        "mkdir",
        "ftruncate",
        "fdopen",
    )
}
REAL_OPEN = io.open


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the disk.

    kind: create, write, sync, sync_failed, sync_folder, rename, link, delete, rmdir, mkdir, truncate. node: the
    file's number while it exists. offset: that of the first byte written, or the new size for a truncation.
    """

    kind: str
    path: str
    target: str = ""
    node: int = 0
    offset: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Fate:
    """The fate of a call: it fails with `error`, takes only `takes` bytes, or is the last one.

    death: `before` or `after`.
    """

    error: int = 0
    takes: int | None = None
    death: str = ""


PASS = Fate()
Plot = Callable[[Step], Fate]


class Watch:
    """Stand between this process and the files below `root`, for the duration of a `with` block.

    Without `real_fsync`, an fsync is only reported: a disk that stays under power needs none, and it saves time.
    """

    def __init__(
        self,
        root: Path,
        plot: Plot,
        told: Callable[[Step], None] = lambda _step: None,
        *,
        real_fsync: bool = True,
    ) -> None:
        self._root = str(root.absolute())
        self._plot = plot
        self._told = told
        self._real_fsync = real_fsync
        self._turn = threading.RLock()

    def __enter__(self) -> Self:
        for name in REAL:
            setattr(os, name, getattr(self, f"_{name}"))
        io.open = builtins.open = self._io_open
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for name, real in REAL.items():
            setattr(os, name, real)
        io.open = builtins.open = REAL_OPEN

    # The calls

    def _open(self, path: Any, flags: int, mode: int = 0o777, **named: Any) -> int:
        place = self._place(path)
        if place is None:
            return int(REAL["open"](path, flags, mode, **named))
        with self._turn:
            makes = bool(flags & os.O_CREAT) and not os.path.lexists(place)
            if not makes:
                descriptor = int(REAL["open"](path, flags, mode, **named))
                if flags & os.O_TRUNC:
                    self._told(Step("truncate", place, node=os.fstat(descriptor).st_ino))
                return descriptor
            make = functools.partial(REAL["open"], path, flags, mode, **named)
            return int(self._made(Step("create", place), make, numbered=True))

    def _write(self, descriptor: int, data: Any) -> int:
        path = self._path_of(descriptor)
        if path is None:
            return int(REAL["write"](descriptor, data))
        offset = os.lseek(descriptor, 0, os.SEEK_CUR)
        step = Step("write", path, node=os.fstat(descriptor).st_ino, offset=offset, data=bytes(data))
        return self._written(step, lambda piece: REAL["write"](descriptor, piece))

    def _pwrite(self, descriptor: int, data: Any, offset: int) -> int:
        path = self._path_of(descriptor)
        if path is None:
            return int(REAL["pwrite"](descriptor, data, offset))
        step = Step("write", path, node=os.fstat(descriptor).st_ino, offset=offset, data=bytes(data))
        return self._written(step, lambda piece: REAL["pwrite"](descriptor, piece, offset))

    def _ftruncate(self, descriptor: int, length: int) -> None:
        path = self._path_of(descriptor)
        if path is None:
            REAL["ftruncate"](descriptor, length)
            return
        step = Step("truncate", path, node=os.fstat(descriptor).st_ino, offset=length)
        self._made(step, lambda: REAL["ftruncate"](descriptor, length))

    def _fsync(self, descriptor: int) -> None:
        path = self._path_of(descriptor)
        if path is None:
            REAL["fsync"](descriptor)
            return
        kind = "sync_folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "sync"  # noqa: PTH112 - watched
        sync = functools.partial(REAL["fsync"], descriptor) if self._real_fsync else lambda: None
        self._made(Step(kind, path, node=os.fstat(descriptor).st_ino), sync)

    def _replace(self, source: Any, target: Any, **named: Any) -> None:
        self._two("rename", REAL["replace"], source, target, named)

    def _rename(self, source: Any, target: Any, **named: Any) -> None:
        self._two("rename", REAL["rename"], source, target, named)

    def _link(self, source: Any, target: Any, **named: Any) -> None:
        self._two("link", REAL["link"], source, target, named)

    def _unlink(self, path: Any, **named: Any) -> None:
        self._one("delete", REAL["unlink"], path, named)

    def _remove(self, path: Any, **named: Any) -> None:
        self._one("delete", REAL["remove"], path, named)

    def _rmdir(self, path: Any, **named: Any) -> None:
        self._one("rmdir", REAL["rmdir"], path, named)

    def _mkdir(self, path: Any, mode: int = 0o777, **named: Any) -> None:
        self._one("mkdir", lambda path, **named: REAL["mkdir"](path, mode, **named), path, named)

    def _fdopen(self, descriptor: int, mode: str = "r", *rest: Any, **named: Any) -> Any:
        if self._path_of(descriptor) is None or not set(mode) & set("wax+"):
            return REAL["fdopen"](descriptor, mode, *rest, **named)
        return io.BufferedWriter(_Watched(descriptor))

    def _io_open(self, file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        place = None if isinstance(file, int) else self._place(file)
        if place is None or not set(mode) & set("wax+") or "b" not in mode:
            return REAL_OPEN(file, mode, *rest, **named)
        flags = {"w": os.O_CREAT | os.O_TRUNC, "x": os.O_CREAT | os.O_EXCL, "a": os.O_CREAT | os.O_APPEND}
        descriptor = self._open(file, os.O_RDWR | os.O_CLOEXEC | flags[mode[0]], 0o666)
        return io.BufferedWriter(_Watched(descriptor))

    # One at a time

    def _one(self, kind: str, real: Callable[..., None], path: Any, named: dict[str, Any]) -> None:
        place = self._place(path)
        if place is None:
            real(path, **named)
            return
        self._made(Step(kind, place), lambda: real(path, **named))

    def _two(
        self, kind: str, real: Callable[..., None], source: Any, target: Any, named: dict[str, Any]
    ) -> None:
        place = self._place(target)
        if place is None:
            real(source, target, **named)
            return
        self._made(Step(kind, self._place(source) or "", place), lambda: real(source, target, **named))

    def _made(self, step: Step, call: Callable[[], Any], *, numbered: bool = False) -> Any:
        with self._turn:
            fate = self._plot(step)
            if fate.death == "before":
                _die()
            if fate.error:
                if step.kind == "sync":
                    self._told(replace(step, kind="sync_failed"))
                raise OSError(fate.error, os.strerror(fate.error), step.path)
            result = call()
            if numbered:
                step = replace(step, node=os.fstat(result).st_ino)
            self._told(step)
            if fate.death:
                _die()
            return result

    def _written(self, step: Step, call: Callable[[bytes], int]) -> int:
        with self._turn:
            fate = self._plot(step)
            if fate.death == "before":
                _die()
            takes = len(step.data) if fate.takes is None else min(fate.takes, len(step.data))
            if fate.error:
                raise OSError(fate.error, os.strerror(fate.error), step.path)
            taken = int(call(step.data[:takes]))
            self._told(replace(step, data=step.data[:taken]))
            if fate.death:
                _die()
            return taken

    # Where

    def _place(self, path: Any) -> str | None:
        if isinstance(path, int):
            return None
        text = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - Path would come back here
        return text if text == self._root or text.startswith(self._root + os.sep) else None

    def _path_of(self, descriptor: int) -> str | None:
        # A descriptor may have been closed and its number reused, so the list alone does not prove anything.
        try:
            now = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - as above
        except OSError:
            return None
        return now.removesuffix(" (deleted)") if self._place(now) is not None else None


class _Watched(io.RawIOBase):
    """A file whose bytes go through the watched `os.write`."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return os.write(self._descriptor, data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self._descriptor)


def at_step(number: int, fate: Fate) -> Plot:
    """Return the plot that gives this fate to the call with this number, counted from 0."""
    left = number

    def plot(_step: Step) -> Fate:
        nonlocal left
        left -= 1
        return fate if left == -1 else PASS

    return plot


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


ERRORS = {
    "write": (errno.ENOSPC, errno.EIO, errno.EDQUOT),
    "create": (errno.ENOSPC, errno.EMFILE, errno.EROFS, errno.EACCES),
    "mkdir": (errno.ENOSPC, errno.EROFS),
    "sync": (errno.EIO, errno.ENOSPC),
    "sync_folder": (errno.EIO,),
    "rename": (errno.EIO, errno.ENOSPC, errno.EROFS),
    "link": (errno.EIO, errno.EROFS),
    "delete": (errno.EIO, errno.EROFS),
}
"""The errors that disks return, by kind of call."""


def faulty(rng: random.Random, share: float, *, kinds: frozenset[str] = frozenset(ERRORS)) -> Plot:
    """Return the plot that fails this share of calls and lets some writes take less than they were given."""

    def plot(step: Step) -> Fate:
        if step.kind not in kinds or rng.random() >= share:
            return PASS
        if step.kind == "write" and rng.random() < 0.3:
            return Fate(takes=max(1, rng.randrange(len(step.data) or 1)))
        return Fate(error=rng.choice(ERRORS[step.kind]))

    return plot
