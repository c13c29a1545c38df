"""Articles on disk: which files they are, and how they are written. Synchronous.

Writing goes by rename, keeps the file's mode, and writes through symbolic links to their target.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from proxy.rewrite.base.masking import is_wide
from proxy.rewrite.front.frontmatter import find_front_matter, may_begin_front_matter
from proxy.rewrite.ondisk.ignored import IgnoredFolders
from proxy.rewrite.rewriter import TextKind, kind_of
from proxy.rewrite.site.sitetext import site_kind

SKIPPED = frozenset({".git", ".hg", ".svn", "node_modules", ".imgmirror", "__pycache__", ".venv"})
TEMPORARY = "*.tmp"
_TREE_MARKS = (".imgmirror", ".git")
_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ArticleFile:
    """An article or another text of a site, and the PATH it was found under: the folder, or the folder of the file.

    `known_as` is the name its journal has, when it was found by its journal.
    """

    path: Path
    root: Path
    kind: TextKind
    known_as: Path | None = None

    @property
    def target(self) -> Path:
        """The name its journal has: a link below the root and its target are one article."""
        if self.known_as is not None:
            return self.known_as
        real, root = self.path.resolve(), self.root.resolve()
        return self.root / real.relative_to(root) if real.is_relative_to(root) else self.path


def _say_nothing(_problem: object) -> None:
    pass


def find_articles(
    paths: Iterable[Path],
    *,
    unreadable: Callable[[OSError], None] = _say_nothing,
    no_article: Callable[[Path], None] = _say_nothing,
    passed_by: Callable[[Path], None] = _say_nothing,
) -> Iterator[ArticleFile]:
    """Yield the articles of files and folders, sorted, each once, by its own name when it has one.

    `unreadable` is told of folders and files below a PATH that cannot be looked at, `no_article` of PATHs that are
    files without text, `passed_by` of folders that `.gitignore` names.

    Raises:
        FileNotFoundError: a path that does not exist.
    """
    found: list[ArticleFile] = []
    for path in paths:
        absolute = _absolute(path)
        if absolute.is_dir():
            found.extend(_articles_below(absolute, unreadable, passed_by))
        elif (article := _named(absolute)) is not None:
            found.append(article)
        elif not _is_text(absolute):
            no_article(path)
    yield from _each_once(found)


def find_texts(
    paths: Iterable[Path],
    *,
    max_bytes: int,
    skipped: Collection[Path] = (),
    unreadable: Callable[[OSError], None] = _say_nothing,
) -> Iterator[ArticleFile]:
    """Yield the texts of files and folders that are no articles, sorted, each once.

    Of kinds that are not rewritten only UTF-8 up to `max_bytes`. `skipped` are files that are not looked at.

    Raises:
        FileNotFoundError: a path that does not exist.
    """
    found: list[ArticleFile] = []
    for path in map(_absolute, paths):
        # `find_articles` tells of folders that cannot be looked at.
        is_folder = path.is_dir()
        names = _files_below(path, _say_nothing) if is_folder else [os.fspath(path)]
        root = path if is_folder else path.parent
        for text in names:
            if is_folder and kind_of(text) is not None and not text.lower().endswith(".txt"):
                continue
            name = Path(text)
            try:
                if name not in skipped and not _may_be_article(name, named=not is_folder) and _is_text(name):
                    kind = site_kind(name) or "other"
                    if kind != "other" or _is_short_utf8(name, max_bytes):
                        found.append(ArticleFile(name, root, kind))
            except OSError as error:
                unreadable(error)
    yield from _each_once(found)


def _absolute(path: Path) -> Path:
    # Symbolic links keep their names: the journal lies where the user's path leads.
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links


def _each_once(found: list[ArticleFile]) -> Iterator[ArticleFile]:
    real = _real_names()
    names = [(real(article.path), article.path.is_symlink()) for article in found]
    seen = {name for name, is_link in names if not is_link}
    named: set[str] = set()
    for article, (name, is_link) in zip(found, names, strict=True):
        if name in named or (is_link and name in seen):
            continue
        named.add(name)
        yield article


def _real_names() -> Callable[[Path], str]:
    """Return what gives paths without symbolic links, and asks about each folder once."""
    real_folder = cache(os.path.realpath)

    def real(path: Path) -> str:
        text = os.fspath(path)
        folder, _, name = text.rpartition("/")
        if path.is_symlink() or name in ("", ".", ".."):
            return os.path.realpath(text)
        return f"{real_folder(folder or '/').rstrip('/')}/{name}"

    return real


def article_names() -> Callable[[ArticleFile], str]:
    """Return what names articles: by their place below the root of their tree, whatever PATH they were found by.

    The root is the nearest folder above that holds `.imgmirror` or `.git`, else PATH. An article outside of it keeps
    its whole path, and so does one whose name another article of the run has.
    """
    taken: dict[str, str] = {}
    real_name = _real_names()

    @cache
    def marked(folder: str) -> str:
        """Return the nearest folder with a mark, empty when there is none."""
        if any(os.path.exists(f"{folder}/{mark}") for mark in _TREE_MARKS):  # noqa: PTH110 - texts are quicker
            return folder
        return marked(folder.rpartition("/")[0]) if folder else ""

    root_of = cache(lambda folder: os.path.realpath(folder).rstrip("/"))

    def name(article: ArticleFile) -> str:
        real = real_name(article.path)
        root = marked(real.rpartition("/")[0]) or root_of(article.root)
        short = real.removeprefix(root + "/")
        return short if taken.setdefault(short, real) == real else real

    return name


def _named(path: Path) -> ArticleFile | None:
    """Return the article that a user names; a text file needs no front matter to be one."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    kind = kind_of(path)
    if kind is None or not path.is_file() or _is_binary(path):
        return None
    return ArticleFile(path, path.parent, kind)


def _articles_below(
    root: Path, unreadable: Callable[[OSError], None], passed_by: Callable[[Path], None]
) -> Iterator[ArticleFile]:
    for name in _files_below(root, unreadable, passed_by):
        kind = kind_of(name)
        if kind is None:
            continue
        path = Path(name)
        try:
            if _is_article(path):
                yield ArticleFile(path, root, kind)
        except OSError as error:
            unreadable(error)


def _files_below(
    root: Path, unreadable: Callable[[OSError], None], passed_by: Callable[[Path], None] = _say_nothing
) -> Iterator[str]:
    ignored = IgnoredFolders(root)
    for folder, folders, names in os.walk(root, onerror=unreadable):
        below = {name: Path(folder, name) for name in sorted(folders) if name not in SKIPPED}
        for name in [name for name, path in below.items() if path in ignored]:
            passed_by(below.pop(name))
        folders[:] = below
        for name in sorted(names):
            yield os.path.join(folder, name)  # noqa: PTH118 - most are told by their text


def _is_text(path: Path) -> bool:
    """Tell whether a file is a regular one that does not begin like a picture or an archive."""
    try:
        return stat.S_ISREG(path.stat().st_mode) and not _is_binary(path)
    except FileNotFoundError:
        # A link that leads nowhere, or a file that has just gone.
        return False


def _may_be_article(path: Path, *, named: bool) -> bool:
    """Tell whether `find_articles` takes a text; a `.txt` file by its front matter, or when it is named.

    One that cannot be read is told of there.
    """
    try:
        return kind_of(path) is not None and (named or path.suffix.lower() != ".txt" or _is_article(path))
    except OSError:
        return True


def _is_short_utf8(path: Path, max_bytes: int) -> bool:
    if path.stat().st_size > max_bytes:
        return False
    try:
        path.read_text("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_article(path: Path) -> bool:
    try:
        # Not is_file(), which takes some failures for an answer.
        regular = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        # A link that leads nowhere, or a file that has just gone.
        return False
    if not regular:
        return False
    try:
        head = _head(path)
    except OSError:
        if path.suffix.lower() == ".txt":
            raise
        # It may be an article: reading it tells why it cannot be read.
        return True
    if _holds_binary(head):
        return False
    return path.suffix.lower() != ".txt" or _has_front_matter(path, head)


def _is_binary(path: Path) -> bool:
    try:
        return _holds_binary(_head(path))
    except OSError:
        # Reading the article tells why it cannot be read.
        return False


def _head(path: Path) -> bytes:
    with path.open("rb", buffering=0) as file:
        return file.read(_HEAD_BYTES)


def _holds_binary(head: bytes) -> bool:
    """Whether a file with the name of an article begins like a picture or an archive."""
    return b"\0" in head and not is_wide(head)


def _has_front_matter(path: Path, head: bytes) -> bool:
    text = head.decode("latin-1")
    if find_front_matter(text) is not None:
        return True
    if len(head) < _HEAD_BYTES or not may_begin_front_matter(text):
        return False
    try:
        return find_front_matter(path.read_bytes().decode("latin-1")) is not None
    except OSError:
        # Reading the article tells why it cannot be read.
        return True


def write_article(path: Path, data: bytes, *, expected: bytes, aside: Path | None = None) -> None:
    """Replace an article by rename; it must still hold `expected`.

    Raises:
        OSError: it was changed meanwhile, or cannot be written.
    """
    target = path.resolve()
    if target.read_bytes() != expected:
        raise OSError(f"{path}: changed while it was read; run again")
    write_durably(target, data, aside=aside)


def write_durably(path: Path, data: bytes, *, aside: Path | None = None) -> None:
    """Write a file so that it is either the old one or the new one, whatever happens.

    The temporary file is made in the folder `aside`, when that is on the same disk, else beside the file.
    """
    descriptor, temporary = _temporary(_same_disk(aside, path.parent))
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


def _temporary(folder: Path) -> tuple[int, str]:
    """Make a temporary file, locked until it is closed or we are killed: tells `remove_stale` that somebody writes."""
    while True:
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=".imgmirror-", suffix=".tmp")
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, name
        # Another process came between and took it for a dead one's.
        os.close(descriptor)


def remove_stale(folder: Path) -> None:
    """Remove the temporary files in `folder` whose writer was killed."""
    for path in folder.glob(TEMPORARY):
        # No lock is to be had on a file that is being written; on disks without locks, nothing is removed.
        with contextlib.suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _same_disk(aside: Path | None, beside: Path) -> Path:
    if aside is None or not aside.is_dir() or aside.stat().st_dev != beside.stat().st_dev:
        return beside
    return aside


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
