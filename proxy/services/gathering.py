"""Gathering: the pictures of many articles, each source once, with the presets and articles it stands in.

Synchronous; reads files, writes nothing. What an article says is left to the rewriter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from proxy.rewrite.apply import ArticleReader
from proxy.rewrite.dates import article_date
from proxy.rewrite.files import article_names, find_articles
from proxy.rewrite.masking import is_wide
from proxy.rewrite.result import Picture
from proxy.rewrite.rewriter import ArticleKind
from proxy.services.rewriteprocess import TooCostly
from proxy.services.warming import Work
from proxy.source import Source


@dataclass(frozen=True, slots=True)
class Unread:
    """An article that could not be read, and why."""

    article: str
    reason: str


@dataclass(slots=True)
class Gathered:
    """What was found: sources, date and file of each article by its name, the works, and what could not be read."""

    articles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    dates: dict[str, float] = field(default_factory=dict)
    works: list[Work] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)

    def first_date(self, articles: Iterable[str]) -> float | None:
        """Return when the first of some articles was written."""
        return min((self.dates[name] for name in articles if name in self.dates), default=None)


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
    no_article: Callable[[Path], None] = lambda _path: None,
    into: Gathered | None = None,
) -> Gathered:
    """Return the pictures that the articles show through a wrapper or through us; `all_images`: all of them.

    Articles are named by their place in their tree. `progress` is told how many articles were read, `no_article` of
    PATHs that are files of another kind. `into` is filled and returned; it holds what was found also when reading
    is interrupted by an exception, of `progress` or of a signal.

    Raises:
        FileNotFoundError: a path does not exist.
    """
    result = Gathered() if into is None else into
    found: dict[Source, _Found] = {}
    try:
        _read(paths, rewriter, result, found, all_images=all_images, progress=progress, no_article=no_article)
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
    no_article: Callable[[Path], None],
) -> None:
    def unreadable(error: OSError) -> None:
        result.unread.append(Unread(str(error.filename or ""), error.strerror or str(error)))

    for number, (name, path, kind) in enumerate(_articles(paths, unreadable, no_article), start=1):
        progress(number)
        try:
            data = path.read_bytes()
        except OSError as error:
            result.unread.append(Unread(name, error.strerror or str(error)))
            continue
        if is_wide(data):
            result.unread.append(Unread(name, "it is UTF-16 or UTF-32; save it as UTF-8"))
            continue
        try:
            pictures = rewriter.rewrite(data, kind=kind).pictures
        except TooCostly as error:
            result.unread.append(Unread(name, str(error)))
            continue
        wanted = [picture for picture in pictures if picture.wrapped or all_images]
        result.articles[name] = tuple(picture.source.url for picture in wanted)
        result.files[name] = path.resolve()
        if (date := article_date(data, name=name)) is not None:
            result.dates[name] = date
        _note(found, wanted, name)


def _note(found: dict[Source, _Found], pictures: Iterable[Picture], name: str) -> None:
    for picture in pictures:
        entry = found.setdefault(picture.source, _Found())
        entry.options.update(dict.fromkeys(picture.presets))
        entry.own.update(dict.fromkeys(picture.own))
        entry.written.update(dict.fromkeys(map(Source.parse, picture.written)))
        if name not in entry.articles:
            entry.articles.append(name)


def _articles(
    paths: Iterable[Path], unreadable: Callable[[OSError], None], no_article: Callable[[Path], None]
) -> Iterator[tuple[str, Path, ArticleKind]]:
    name = article_names()
    for article in find_articles(paths, unreadable=unreadable, no_article=no_article):
        yield name(article), article.path, article.kind
