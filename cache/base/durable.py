"""Durable writes: the few steps by which every file of the store survives power loss.

A file gets its final name in these steps: it is written aside and fsynced, renamed, and its folder is fsynced. A file
being written is locked (flock) as long as its owner lives. Others can then tell a leftover from work in progress
without relying on process numbers, which are reused. Knows nothing of the meaning of files. Blocking: runs in the
store's threads.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cache.base.errors import StoreFull, StoreUnwritable
from cache.base.opening import open_regular


@dataclass(frozen=True, slots=True)
class Modes:
    """Who may read the store: the modes of files and folders, regardless of the umask."""

    file: int
    folder: int

    def make_folder(self, folder: Path) -> None:
        """Create a folder. An existing one is left unchanged.

        Raises:
            OSError: it cannot be created.
        """
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=self.folder)
            self.mend(folder)

    def mend(self, path: Path) -> None:
        """Give an existing file or folder its mode. One that belongs to another user is left unchanged."""
        with contextlib.suppress(OSError):
            mode = path.lstat().st_mode
            wanted = {stat.S_IFDIR: self.folder, stat.S_IFREG: self.file}.get(stat.S_IFMT(mode))
            if wanted is not None and stat.S_IMODE(mode) != wanted:
                path.chmod(wanted)


PRIVATE = Modes(0o600, 0o700)
GROUP = Modes(0o640, 0o750)

_NOT_SUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_ATTEMPTS = 8

MAX_FOLDERS = 4_096
"""The most folders that are remembered as durable. A store has 1,541, and one for each long list of users. Further ones
are checked again."""


def sync_descriptor(descriptor: int) -> None:
    """Flush an open file to the disk, including the disk's own cache."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:  # Apple's fsync leaves the data in the disk's cache.
        fcntl.fcntl(descriptor, full)
        return
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network filesystems do not support fsync of folders. Their renames are synchronous.
        if error.errno not in _NOT_SUPPORTED:
            raise
    finally:
        os.close(descriptor)


def create_aside(folder: Path, *, suffix: str, modes: Modes = PRIVATE) -> tuple[int, Path]:
    """Create a locked temporary file. The caller owns the descriptor and the name."""
    for _ in range(_ATTEMPTS):
        path = Path(f"{folder}/{os.getpid()}-{os.urandom(8).hex()}{suffix}")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, modes.file)
        except FileNotFoundError:
            folder.parent.mkdir(mode=modes.folder, parents=True, exist_ok=True)
            modes.make_folder(folder)
            continue
        os.fchmod(descriptor, modes.file)
        if _claimed(descriptor):
            return descriptor, path
        # Another process took the file for a leftover and removed it between its creation and the lock.
        os.close(descriptor)
    raise OSError(errno.EBUSY, "temporary files are removed as fast as they are made", str(folder))


def abandoned(folder: Path, *, remove: bool, suffix: str = "") -> list[Path]:
    """Return the temporary files whose owner is gone, and remove them if asked. `suffix`: only names that end in it."""
    found = []
    for path in files_in(folder):
        if not path.name.endswith(suffix):
            continue
        with contextlib.suppress(OSError), owner_gone(path) as gone:
            if gone:
                if remove:
                    path.unlink(missing_ok=True)
                found.append(path)
    return found


def files_in(folder: Path) -> list[Path]:
    """Return the regular files of a folder by name; none if it does not exist."""
    try:
        with os.scandir(folder) as items:
            return sorted(Path(item.path) for item in items if item.is_file(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []


class Durable:
    """Makes renames durable.

    A new folder is durable only after its own parent was fsynced. Another process may have created the folder a moment
    ago and died. Each process therefore fsyncs the parent of every folder that it writes to, once.
    """

    def __init__(self, aside: Path, modes: Modes = PRIVATE) -> None:
        self._aside = aside
        self._modes = modes
        # The keys are texts, because hashing a path is slow.
        self._lasting: set[str] = set()
        self._settled: dict[str, int] = {}

    def place(self, path: Path, target: Path) -> None:
        """Rename an fsynced file to its final name, replacing an existing file."""
        folder = target.parent
        if str(folder) not in self._lasting:
            self.ensure_folder(folder)
        # The rename is the first operation to notice that a folder was deleted while we run.
        try:
            path.replace(target)
        except FileNotFoundError:
            self._lasting.clear()
            self.ensure_folder(folder)
            path.replace(target)
        sync_folder(folder)

    def write(self, target: Path, data: bytes) -> None:
        """Write a whole file: aside, fsync, rename, fsync of the folder."""
        with self._written_aside(data) as (descriptor, path):
            sync_descriptor(descriptor)
            self.place(path, target)

    def write_several(self, folder: Path, files: Mapping[Path, bytes]) -> None:
        """Write whole files into one existing folder. Their names are fsynced together at the end."""
        for target, data in files.items():
            with self._written_aside(data) as (descriptor, path):
                sync_descriptor(descriptor)
                path.replace(target)
        sync_folder(folder)

    def write_unsynced(self, target: Path, data: bytes) -> None:
        """Write a whole file by rename without waiting for the disk: for data that can be made again."""
        with self._written_aside(data) as (_, path):
            try:
                path.replace(target)
            except FileNotFoundError:
                target.parent.parent.mkdir(mode=self._modes.folder, parents=True, exist_ok=True)
                self._modes.make_folder(target.parent)
                path.replace(target)

    def remove(self, path: Path) -> bool:
        """Delete a file durably; return whether it existed."""
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            # The process that deleted it may have died before an fsync, and we are about to report that it is gone.
            self.settle(path.parent)
            return False
        sync_folder(path.parent)
        return True

    def settle(self, folder: Path) -> None:
        """Make the present names in a folder durable, even if the process that made them has died.

        A process that finds its work already done calls this before it reports success. It costs a single stat if
        nothing in the folder was renamed or deleted since this process last did it.
        """
        try:
            changed_ns = folder.stat().st_mtime_ns
            if self._settled.get(str(folder)) != changed_ns:
                sync_folder(folder)
        except (FileNotFoundError, NotADirectoryError):
            return
        if len(self._settled) >= MAX_FOLDERS:
            self._settled.clear()
        self._settled[str(folder)] = changed_ns

    def ensure_folder(self, folder: Path) -> None:
        """Create a durable folder, with its parents."""
        if str(folder) in self._lasting and folder.is_dir():
            return
        if not folder.parent.is_dir():
            self.ensure_folder(folder.parent)
        self._modes.make_folder(folder)
        self._modes.mend(folder)
        sync_folder(folder.parent)
        if len(self._lasting) >= MAX_FOLDERS:
            self._lasting.clear()
        self._lasting.add(str(folder))

    def ensure_folders(self, parent: Path, names: Iterable[str]) -> None:
        """Create durable folders in one parent, as `ensure_folder` does for each. Their names are fsynced together.

        Raises:
            OSError: the disk refused.
        """
        with os.scandir(parent) as items:
            present = {item.name for item in items}
        folders = [parent / name for name in names]
        for folder in folders:
            if folder.name not in present:
                self._modes.make_folder(folder)
        sync_folder(parent)
        self._lasting.update(map(str, folders))

    @contextlib.contextmanager
    def _written_aside(self, data: bytes) -> Iterator[tuple[int, Path]]:
        descriptor, path = create_aside(self._aside, suffix=".part", modes=self._modes)
        try:
            write_all(descriptor, data)
            yield descriptor, path
        except BaseException:
            # If it was renamed before the failure, there is nothing to remove.
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)


def refusal(error: OSError) -> StoreFull | StoreUnwritable:
    """Return the store's error for an error of the disk."""
    kind = StoreFull if error.errno in _NO_ROOM else StoreUnwritable
    return kind(f"the disk refused: {error.strerror or error}")


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; a single `write` may take fewer."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _claimed(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED | {errno.ENOLCK}:
            raise
    return os.fstat(descriptor).st_nlink > 0


@contextlib.contextmanager
def owner_gone(path: Path) -> Iterator[bool]:
    """Yield whether the process that created a temporary file is gone, and keep others from it for the block.

    Raises:
        OSError: the file cannot be opened.
    """
    descriptor = open_regular(path, os.O_RDWR)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            # Its owner is alive. Or locks do not work here, and then nothing can be known.
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
