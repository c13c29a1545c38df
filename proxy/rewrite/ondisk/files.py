"""Finds the files that are articles, and writes them. Blocking.

Writing replaces a file by rename, keeps its mode, and follows symbolic links to their target.
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
    """An article or another text of a site. `root` is the folder given as PATH, or the folder of the file given.

    known_as: the name in its journal, if the article was found by its journal.
    """

    path: Path
    root: Path
    kind: TextKind
    known_as: Path | None = None

    @property
    def target(self) -> Path:
        """The name in its journal. A link below the root and its target are the same article."""
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
    """Yield the articles of files and folders, sorted and without duplicates. Prefer a file's own name to links.

    unreadable: called with the error for each folder or file below a PATH that cannot be read. no_article: called with
    each PATH that is a file without text. passed_by: called with each folder that `.gitignore` names.

    Raises:
        FileNotFoundError: a path does not exist.
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
    """Yield the texts of files and folders that are not articles, sorted and without duplicates.

    A text of a kind that is not rewritten must be UTF-8 and not longer than `max_bytes`. `skipped` files are ignored.

    Raises:
        FileNotFoundError: a path does not exist.
    """
    found: list[ArticleFile] = []
    for path in map(_absolute, paths):
        # `find_articles` reports folders that cannot be read.
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
    # Do not resolve symbolic links, because the journal lies where the user's path leads.
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
    """Return a function that resolves symbolic links in paths, looking up each folder only once."""
    real_folder = cache(os.path.realpath)

    def real(path: Path) -> str:
        text = os.fspath(path)
        folder, _, name = text.rpartition("/")
        if path.is_symlink() or name in ("", ".", ".."):
            return os.path.realpath(text)
        return f"{real_folder(folder or '/').rstrip('/')}/{name}"

    return real


def article_names() -> Callable[[ArticleFile], str]:
    """Return a function that names articles by their path below the root of their tree, independent of PATH.

    The root is the nearest folder above the article that contains `.imgmirror` or `.git`, else PATH. An article outside
    it keeps its full path. So does an article whose name another article of the run already has.
    """
    taken: dict[str, str] = {}
    real_name = _real_names()

    @cache
    def marked(folder: str) -> str:
        """Return the nearest folder with a mark; empty when there is none."""
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
    """Return the article at a path that a user names. A named text file needs no front matter."""
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
    """Return whether a file is a regular file that does not begin like a picture or an archive."""
    try:
        return stat.S_ISREG(path.stat().st_mode) and not _is_binary(path)
    except FileNotFoundError:
        # A broken link, or a file that was just deleted.
        return False


def _may_be_article(path: Path, *, named: bool) -> bool:
    """Return whether `find_articles` yields a text. It yields a `.txt` file with front matter, or one that is named.

    An unreadable file counts as one, because `find_articles` reports it.
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
        # Unlike is_file(), this raises when the file cannot be examined.
        regular = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        # A broken link, or a file that was just deleted.
        return False
    if not regular:
        return False
    try:
        head = _head(path)
    except OSError:
        if path.suffix.lower() == ".txt":
            raise
        # It may be an article. Reading it later reports why it cannot be read.
        return True
    if _holds_binary(head):
        return False
    return path.suffix.lower() != ".txt" or _has_front_matter(path, head)


def _is_binary(path: Path) -> bool:
    try:
        return _holds_binary(_head(path))
    except OSError:
        # Reading the article later reports why it cannot be read.
        return False


def _head(path: Path) -> bytes:
    with path.open("rb", buffering=0) as file:
        return file.read(_HEAD_BYTES)


def _holds_binary(head: bytes) -> bool:
    """Return whether a file begins like a picture or an archive."""
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
        # Reading the article later reports why it cannot be read.
        return True


def write_article(path: Path, data: bytes, *, expected: bytes, aside: Path | None = None) -> None:
    """Replace an article by rename. It must still contain `expected`.

    Raises:
        OSError: the article was changed meanwhile, or cannot be written.
    """
    target = path.resolve()
    if target.read_bytes() != expected:
        raise OSError(f"{path}: changed while it was read; run again")
    write_durably(target, data, aside=aside)


def write_durably(path: Path, data: bytes, *, aside: Path | None = None) -> None:
    """Write a file so that even after a crash it has either the old or the new content.

    The temporary file is created in the folder `aside` if that is on the same disk, else beside the file.
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
    """Create a temporary file and lock it until it is closed or this process ends.

    The lock tells `remove_stale` that the file is being written.
    """
    while True:
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=".imgmirror-", suffix=".tmp")
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, name
        # Before we had the lock, another process removed the file as stale.
        os.close(descriptor)


def remove_stale(folder: Path) -> None:
    """Remove the temporary files in `folder` whose writer was killed."""
    for path in folder.glob(TEMPORARY):
        # Locking fails for a file that is being written. On disks without locks it always fails, so nothing is removed.
        with contextlib.suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _same_disk(aside: Path | None, beside: Path) -> Path:
    if aside is None or not aside.is_dir() or aside.stat().st_dev != beside.stat().st_dev:
        return beside
    return aside


def make_folder_durably(folder: Path) -> None:
    """Create a folder and its parents so that they survive a power loss."""
    missing = [folder, *folder.parents]
    for path in reversed([path for path in missing if not path.exists()]):
        path.mkdir(exist_ok=True)
        _sync_folder(path.parent)


def _copy_rights(path: Path, descriptor: int) -> None:
    try:
        status = path.stat()
    except FileNotFoundError:
        # A new file gets the mode that `open` would give it.
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
