"""The folder of the store: where each file is, and whether a folder belongs to us. Blocking.

    imgmirror-store          marker with the format version
    entries/ab/<key>.json    bodies/ab/<sha256>      articles/ab/<key>.json      blocked/ab/<key>.json
    refs/ab/<sha256>  refs/ab/<sha256>.users/<prefix>                                 may be deleted at any time
    generations  usage  locks  failures  overloads  scrub  incoming/  jobs/           likewise
    catalogue/               SQLite, made from entries, articles and blocks           likewise
    packs/                   WARC files that the API has made; never deleted by us
    variants/                by default; it may also lie elsewhere (`cache.variants`)

Names are made of digests only, so no text of a client can become a path.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

from cache.base.durable import PRIVATE, Durable, Modes, abandoned, sync_folder
from cache.base.errors import StoreRefused, StoreUnreadable
from cache.base.opening import read_regular, regular_status

log = logging.getLogger(__name__)

MARKER = "imgmirror-store"
FORMAT = 1
FOLDERS = ("entries", "bodies", "refs", "blocked", "articles", "incoming")
_MARKER_TEXT = f"imgmirror store, format {FORMAT}\nEntries and bodies are plain files. Keep this file.\n"
_MARKER_FORMAT = re.compile(r"imgmirror store, format ([0-9]{1,9})\b")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_CODE = ("__init__.py", "pyproject.toml", "setup.py")
_HARMLESS = {"lost+found", ".gitkeep", ".gitignore", ".DS_Store"}
"""Names that mounts, git and file managers put into otherwise empty folders."""

CACHE_TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n# Variants of pictures by imgmirror; can be rebuilt.\n"
)
"""Tells backup programs to skip a folder (bford.info/cachedir)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one store."""

    root: Path
    modes: Modes = PRIVATE

    @property
    def marker(self) -> Path:
        return self.root / MARKER

    @property
    def entries(self) -> Path:
        return self.root / "entries"

    @property
    def bodies(self) -> Path:
        return self.root / "bodies"

    @property
    def refs(self) -> Path:
        return self.root / "refs"

    @property
    def incoming(self) -> Path:
        return self.root / "incoming"

    def entry(self, key: str) -> Path:
        """Return the path of an entry by its source key."""
        return _file(self.root, "entries", key, ".json")

    def body(self, sha256: str) -> Path:
        """Return the path of a body."""
        return _file(self.root, "bodies", sha256)

    def ref(self, sha256: str) -> Path:
        """Return the path of the list of a body's users."""
        return _file(self.root, "refs", sha256)

    def ref_parts(self, sha256: str) -> Path:
        """Return the folder with the parts of a long list of users."""
        return _file(self.root, "refs", sha256, ".users")

    def ref_part(self, sha256: str, prefix: str) -> Path:
        """Return the path of the list of a body's users whose keys begin with `prefix`; without one, of the list
        itself."""
        return _file(self.root, "refs", sha256, f".users/{prefix}") if prefix else self.ref(sha256)

    def blocked(self, key: str) -> Path:
        """Return the path of the block of a source key."""
        return _file(self.root, "blocked", key, ".json")

    def article(self, key: str) -> Path:
        """Return the path of the record of an article's sources."""
        return _file(self.root, "articles", key, ".json")


@functools.lru_cache(maxsize=512)
def _file(root: Path, room: str, digest: str, suffix: str = "") -> Path:
    """Return the path of a file. It is cached: a commit asks for each of its three files several times, and making a
    path is slow."""
    if not is_digest(digest):
        raise ValueError(f"{digest!r} is not a SHA-256")
    return Path(f"{root}/{room}/{digest[:2]}/{digest}{suffix}")


def is_digest(text: str) -> bool:
    """Whether `text` is the hexadecimal form of a SHA-256."""
    return _DIGEST.match(text) is not None


def prepare(root: Path, *, tidy: bool = True, look: bool = False, modes: Modes = PRIVATE) -> Layout:
    """Create or recognise the store in `root` and return its layout. `tidy` removes what dead processes left behind.

    With `look`, nothing is created in an existing store or removed from it. A store on a full or read-only disk can be
    opened if it was created before.

    Raises:
        StoreRefused: the folder holds code, foreign files or a newer format, or is a file.
        StoreUnreadable: the folder cannot be examined or created.
    """
    layout = Layout(root.absolute(), modes)
    refuse_code(root)
    try:
        _recognise_or_mark(layout)
    except OSError as error:
        raise StoreUnreadable(f"{root} cannot be used: {error.strerror or error}") from error
    if not look:
        _make_folders(layout)
    if tidy and not look:
        _tidy_up(layout)
    return layout


def refuse_code(root: Path) -> None:
    """Raise StoreRefused if a path is not a folder, or a folder that holds Python packages."""
    try:
        children = list(root.iterdir())
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise StoreRefused(f"{root} is not a folder") from None
    except OSError as error:
        raise StoreUnreadable(f"{root} cannot be read: {error.strerror or error}") from error
    for path in (root, *children):
        if any(_is_file(path / name) for name in _CODE if path is root or name == "__init__.py"):
            raise StoreRefused(f"{root} holds code ({path.name}); name a folder of its own for the store")


def _is_file(path: Path) -> bool:
    # Nobody may look into `lost+found`.
    try:
        return path.is_file()
    except OSError:
        return False


def _recognise_or_mark(layout: Layout) -> None:
    layout.root.mkdir(mode=layout.modes.folder, parents=True, exist_ok=True)
    text = _marker_text(layout)
    if text is None:
        _refuse_foreign(layout.root)
        _mark(layout)
        log.info("made a new store in %s", layout.root)
        return
    match = _MARKER_FORMAT.match(text)
    if match is None:
        raise StoreRefused(f"{layout.marker} is not the marker of a store")
    if int(match[1]) > FORMAT:
        raise StoreRefused(f"{layout.root} has format {match[1]}; this program knows {FORMAT}")


def _marker_text(layout: Layout) -> str | None:
    try:
        return read_regular(layout.marker, 4096).decode("utf-8", "replace")
    except FileNotFoundError:
        return None


def _refuse_foreign(root: Path) -> None:
    # If a first start was interrupted, variants or a first temporary file may exist without the marker.
    for path in root.iterdir():
        if path.name in _HARMLESS or _is_ours_already(path):
            continue
        if _marker_text(Layout(root)) is not None:
            return  # another process has just created the store
        raise StoreRefused(f"{root} is not empty and has no {MARKER!r} file: it belongs to something else")


def _is_ours_already(path: Path) -> bool:
    if path.name == "incoming" and path.is_dir():
        return all(re.fullmatch(r"[0-9]+-[0-9a-f]{16}\.part", item.name) for item in path.iterdir())
    try:
        return path.is_dir() and read_regular(path / "CACHEDIR.TAG", 4096) == CACHE_TAG
    except OSError:
        return False


def mark_again(layout: Layout) -> None:
    """Write the marker of an open store whose folder was deleted meanwhile, so that it can be opened again.

    Raises:
        OSError: it cannot be written.
    """
    if size_of(layout.marker) is None:
        log.warning("the store in %s was deleted while it was open; it is created anew", layout.root)
        layout.root.mkdir(mode=layout.modes.folder, parents=True, exist_ok=True)
        _mark(layout)
        _make_folders(layout)


def _mark(layout: Layout) -> None:
    """Write the marker of a store whose folder and parents may be new.

    All of their names are made durable first. Where the marker exists, nobody needs to check that again.
    """
    for folder in layout.root.parents:
        try:
            sync_folder(folder)
        except OSError as error:
            # Such a folder was not created just now.
            if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS}:
                raise
    Durable(layout.incoming, layout.modes).write(layout.marker, _MARKER_TEXT.encode())


def _make_folders(layout: Layout) -> None:
    for name in FOLDERS:
        try:
            layout.modes.make_folder(layout.root / name)
        except OSError as error:
            log.warning("the store has no folder %r and none can be made: %s", name, error)
    try:
        # This includes existing folders: the process that created them may have died before it made them durable.
        sync_folder(layout.root)
    except OSError as error:
        log.warning("the folders of the store may not outlast a power loss: %s", error)


def _tidy_up(layout: Layout) -> None:
    try:
        removed = abandoned(layout.incoming, remove=True)
    except OSError as error:
        log.warning("leftovers cannot be removed: %s", error)
        return
    if removed:
        log.warning("removed %d temporary files of processes that are gone", len(removed))


def is_folder_readable(folder: Path) -> bool:
    """Return whether a folder can be listed. A folder that does not exist yet counts as empty."""
    try:
        with os.scandir(folder) as items:
            next(items, None)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def size_of(path: Path) -> int | None:
    """Return the size of a regular file, or None if there is none."""
    status = regular_status(path)
    return None if status is None else status.st_size
