"""Gathering: the pictures of many articles, each source once, with the presets and articles it stands in.

Synchronous; reads files, writes nothing. What an article says is left to the rewriter.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from proxy.rewrite.apply import ArticleReader, rewritten
from proxy.rewrite.dates import article_date
from proxy.rewrite.files import ArticleFile, article_names, find_articles, find_texts
from proxy.rewrite.globs import Globs
from proxy.rewrite.masking import is_wide
from proxy.rewrite.result import Picture, RewriteResult
from proxy.rewrite.sitetext import SITE_KINDS
from proxy.services.warming import Work
from proxy.source import Source


@dataclass(frozen=True, slots=True)
class Unread:
    """An article that could not be read, and why."""

    article: str
    reason: str


@dataclass(slots=True)
class Gathered:
    """What was found: sources, date and file of each article by its name, the works, and what could not be read.

    `through_us` are the sources that the files ask of us, or will once they are rewritten.
    """

    articles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    dates: dict[str, float] = field(default_factory=dict)
    works: list[Work] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    through_us: set[Source] = field(default_factory=set)

    def first_date(self, articles: Iterable[str]) -> float | None:
        """Return when the first of some articles was written."""
        return min((self.dates[name] for name in articles if name in self.dates), default=None)


def _say_nothing(_path: Path) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Look:
    """What is looked at of a site's other text.

    max_bytes: longest text of a kind that is not rewritten. skipped: files that are none of the site. ignore: globs of
    names that are not looked at but for what they ask of us already. no_article is told of PATHs that are files without
    text, passed_by of folders that `.gitignore` names.
    """

    max_bytes: int = 16 << 20
    skipped: tuple[Path, ...] = ()
    ignore: tuple[str, ...] = ()
    no_article: Callable[[Path], None] = _say_nothing
    passed_by: Callable[[Path], None] = _say_nothing


@dataclass(slots=True)
class _Found:
    options: dict[str, None] = field(default_factory=dict)
    articles: list[str] = field(default_factory=list)
    own: dict[str, None] = field(default_factory=dict)
    written: dict[Source, None] = field(default_factory=dict)


def gather(  # noqa: PLR0913 - what callers differ in
    paths: Iterable[Path],
    rewriter: ArticleReader,
    *,
    all_images: bool = False,
    progress: Callable[[int], None] = lambda _done: None,
    look: Look = Look(),
    into: Gathered | None = None,
) -> Gathered:
    """Return the pictures that the articles show through a wrapper or through us; `all_images`: all of them.

    Other text of the site adds those that it shows through a wrapper. Articles are named by their place in their tree.
    `progress` is told how many were read. `into` is filled and returned; it holds what was found also when reading
    is interrupted by an exception, of `progress` or of a signal.

    Raises:
        FileNotFoundError: a path does not exist.
    """
    result = Gathered() if into is None else into
    found: dict[Source, _Found] = {}
    try:
        _read(paths, rewriter, result, found, all_images=all_images, progress=progress, look=look)
    finally:
        result.works = [
            Work(
                source,
                tuple(entry.options),
                tuple(entry.articles),
                date=result.first_date(entry.articles),
                own=tuple(entry.own),
                written=tuple(entry.written),
            )
            for source, entry in found.items()
        ]
    return result


def _read(  # noqa: PLR0913 - as `gather`
    paths: Iterable[Path],
    rewriter: ArticleReader,
    result: Gathered,
    found: dict[Source, _Found],
    *,
    all_images: bool,
    progress: Callable[[int], None],
    look: Look,
) -> None:
    def unreadable(error: OSError) -> None:
        result.unread.append(Unread(str(error.filename or ""), error.strerror or str(error)))

    name_of, ignored = article_names(), Globs(look.ignore)
    articles = find_articles(
        paths, unreadable=unreadable, no_article=look.no_article, passed_by=look.passed_by
    )
    texts = find_texts(paths, max_bytes=look.max_bytes, skipped=look.skipped, unreadable=unreadable)
    for number, article in enumerate(itertools.chain(articles, texts), start=1):
        progress(number)
        name, kind = name_of(article), article.kind
        if article.path in look.skipped:
            continue
        is_ignored = ignored.name(name)
        try:
            data, read = _one(article, rewriter, shown=found.keys(), ignored=is_ignored)
        except OSError as error:
            if not is_ignored:
                result.unread.append(Unread(name, error.strerror or str(error)))
            continue
        result.through_us |= read.through_us
        if is_ignored:
            continue
        if read.unread:
            result.unread.append(Unread(name, read.unread))
        is_article = kind not in SITE_KINDS
        wanted = [picture for picture in read.pictures if picture.wrapped or (all_images and is_article)]
        if not (wanted or is_article) or is_wide(data):
            continue
        result.articles[name] = tuple(picture.source.url for picture in wanted)
        result.files[name] = article.path.resolve()
        if (date := article_date(data, name=name)) is not None:
            result.dates[name] = date
        _note(found, wanted, name)


def _one(
    article: ArticleFile, rewriter: ArticleReader, *, shown: Collection[Source], ignored: bool
) -> tuple[bytes, RewriteResult]:
    data = article.path.read_bytes()
    return data, rewritten(data, rewriter, kind=article.kind, shown=shown, ignored=ignored)


def _note(found: dict[Source, _Found], pictures: Iterable[Picture], name: str) -> None:
    for picture in pictures:
        entry = found.setdefault(picture.source, _Found())
        entry.options.update(dict.fromkeys(picture.presets))
        entry.own.update(dict.fromkeys(picture.own))
        entry.written.update(dict.fromkeys(map(Source.parse, picture.written)))
        if name not in entry.articles:
            entry.articles.append(name)
