"""Writing so that it survives power loss: the few steps that all files of the store are made of.

Answers how a file comes into being at its final name: written aside, fsynced, renamed, its folder fsynced.
Refuses to know what the files mean. Blocking: runs in the store's threads.
A file being written is locked (flock) as long as its owner lives, so that others can tell a leftover from
work under way without trusting process numbers, which are used again.
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
    """Who may read what is kept: the modes of files and folders, whatever the umask says."""

    file: int
    folder: int

    def make_folder(self, folder: Path) -> None:
        """Make a folder; one that is there stays as it is.

        Raises:
            OSError: it cannot be made.
        """
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=self.folder)
            self.mend(folder)

    def mend(self, path: Path) -> None:
        """Give a file or folder that is there its mode; one of somebody else stays as it is."""
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
"""Folders that are known to last. A store has 1,541, and one for each long list of users; more are asked for again."""


def sync_descriptor(descriptor: int) -> None:
    """Have the disk write out an open file, its own cache included."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:  # Apple's fsync leaves the data in the disk's cache.
        fcntl.fcntl(descriptor, full)
        return
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Have the disk write out the names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network filesystems know no fsync of folders; their renames are synchronous.
        if error.errno not in _NOT_SUPPORTED:
            raise
    finally:
        os.close(descriptor)


def create_aside(folder: Path, *, suffix: str, modes: Modes = PRIVATE) -> tuple[int, Path]:
    """Create a locked temporary file; the caller owns the descriptor and the name."""
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
        # A cleaner came between creation and lock, and removed it.
        os.close(descriptor)
    raise OSError(errno.EBUSY, "temporary files are removed as fast as they are made", str(folder))


def abandoned(folder: Path, *, remove: bool, suffix: str = "") -> list[Path]:
    """Return the temporary files whose owner is gone, removing them when asked to; `suffix`: only names that end so."""
    found = []
    for path in files_in(folder):
        if not path.name.endswith(suffix):
            continue
        with contextlib.suppress(OSError), _owner_gone(path) as gone:
            if gone:
                if remove:
                    path.unlink(missing_ok=True)
                found.append(path)
    return found


def files_in(folder: Path) -> list[Path]:
    """Return the regular files of a folder by name; none when it does not exist."""
    try:
        with os.scandir(folder) as items:
            return sorted(Path(item.path) for item in items if item.is_file(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []


class Durable:
    """Renames that last.

    A new folder lasts only when its own parent was fsynced. Another process may have made the folder an
    instant ago and died, so each process does that once for every folder it writes to.
    """

    def __init__(self, aside: Path, modes: Modes = PRIVATE) -> None:
        self._aside = aside
        self._modes = modes
        # By the texts of paths, whose hashes cost nothing.
        self._lasting: set[str] = set()
        self._settled: dict[str, int] = {}

    def place(self, path: Path, target: Path) -> None:
        """Rename an fsynced file to its final name, over what may be there."""
        folder = target.parent
        if str(folder) not in self._lasting:
            self.ensure_folder(folder)
        # The rename is the first thing to notice a folder that was deleted while we run.
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
        """Write whole files of one folder, which is there; the names are fsynced together at the end."""
        for target, data in files.items():
            with self._written_aside(data) as (descriptor, path):
                sync_descriptor(descriptor)
                path.replace(target)
        sync_folder(folder)

    def write_unsynced(self, target: Path, data: bytes) -> None:
        """Write a whole file by rename, but let the disk take its time: for what can be rebuilt."""
        with self._written_aside(data) as (_, path):
            try:
                path.replace(target)
            except FileNotFoundError:
                target.parent.parent.mkdir(mode=self._modes.folder, parents=True, exist_ok=True)
                self._modes.make_folder(target.parent)
                path.replace(target)

    def remove(self, path: Path) -> bool:
        """Delete a file for good; return whether it was there."""
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            # Whoever deleted it may have died before the disk knew, and now we say that it is gone.
            self.settle(path.parent)
            return False
        sync_folder(path.parent)
        return True

    def settle(self, folder: Path) -> None:
        """Make the names that a folder has now outlast power loss, whoever made them and died.

        Whoever finds that there is nothing left to do, and says so, does this first. It costs a look when nothing
        was renamed or deleted in the folder since this process did it last.
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
        """Make a folder that lasts, with its parents."""
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
        """Make folders of one parent that last, as `ensure_folder` does for each; their names are fsynced together.

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
            # Unless it was renamed before the failure, and there is nothing to remove.
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)


def refusal(error: OSError) -> StoreFull | StoreUnwritable:
    """Return what the refusal of a disk means for the store."""
    kind = StoreFull if error.errno in _NO_ROOM else StoreUnwritable
    return kind(f"the disk refused: {error.strerror or error}")


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; one `write` may take fewer."""
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
def _owner_gone(path: Path) -> Iterator[bool]:
    descriptor = open_regular(path, os.O_RDWR)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            # Its owner lives; or there are no locks here, and then nothing can be known.
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
