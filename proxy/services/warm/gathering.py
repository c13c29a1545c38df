"""Gathers the pictures of many articles: each source once, with its presets and articles.

Leaves the parsing of articles to the rewriter. Synchronous; reads files, writes nothing.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from proxy.rewrite.base.globs import Globs
from proxy.rewrite.base.result import ArticlePicture
from proxy.rewrite.ondisk.files import article_names, find_articles, find_texts
from proxy.rewrite.site.sitetext import SITE_KINDS
from proxy.services.articles.article_use import RewriteSettings
from proxy.services.articles.rewritejobs import ArticleLimits
from proxy.services.articles.rewriteprocess import LIMITS
from proxy.services.articles.rewritetree import Run
from proxy.services.articles.treework import ArticleJob, Task
from proxy.services.warm.warming import PictureToWarm
from proxy.source import Source


@dataclass(frozen=True, slots=True)
class Unread:
    """An article that could not be read, with the reason."""

    article: str
    reason: str


@dataclass(slots=True)
class Gathered:
    """The result: sources, date and file of each article by its name, the works, and the unreadable articles.

    `lines` has the lines in which an article shows each of its sources. `through_us` holds the URLs of sources that the
    files request through us, or will once they are rewritten.
    """

    articles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    lines: dict[str, dict[str, tuple[int, ...]]] = field(default_factory=dict)
    dates: dict[str, float] = field(default_factory=dict)
    works: list[PictureToWarm] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    through_us: set[str] = field(default_factory=set)

    def first_date(self, articles: Iterable[str]) -> float | None:
        """Return the earliest date of the given articles."""
        return min((self.dates[name] for name in articles if name in self.dates), default=None)


def _say_nothing(_path: Path) -> None:
    pass


@dataclass(frozen=True, slots=True)
class SiteTextRules:
    """Selects the site's other text files to read.

    max_bytes: longest text of a type that is not rewritten. skipped: files that do not belong to the site. ignore:
    globs of names in which only pictures already requested through us count. no_article is called with each PATH that
    is a file without text, passed_by with each folder that `.gitignore` names.
    """

    max_bytes: int = 16 << 20
    skipped: tuple[Path, ...] = ()
    ignore: tuple[str, ...] = ()
    no_article: Callable[[Path], None] = _say_nothing
    passed_by: Callable[[Path], None] = _say_nothing


@dataclass(slots=True)
class _Gathered:
    options: dict[str, None] = field(default_factory=dict)
    articles: list[str] = field(default_factory=list)
    own: dict[str, None] = field(default_factory=dict)
    written: dict[Source, None] = field(default_factory=dict)


def gather(  # noqa: PLR0913 - what callers differ in
    paths: Iterable[Path],
    settings: RewriteSettings,
    *,
    limits: ArticleLimits = LIMITS,
    progress: Callable[[int], None] = lambda _done: None,
    look: SiteTextRules = SiteTextRules(),
    into: Gathered | None = None,
) -> Gathered:
    """Return the pictures that the articles show through a wrapper or through us, or all, depending on `settings`.

    Other text of the site adds the pictures that it shows through a wrapper. Articles are named by their path in their
    tree. `progress` is called with the number of files read. `into` is filled and returned; it holds the pictures found
    so far even when an exception, raised by `progress` or a signal, interrupts the reading.

    Raises:
        FileNotFoundError: a path does not exist.
    """
    result = Gathered() if into is None else into
    found: dict[Source, _Gathered] = {}
    task = Task("gather", os.getcwd(), records=True, all_images=settings.all_images)  # noqa: PTH109 - a text is wanted
    try:
        with Run(settings, task, limits=limits) as run:
            _read(paths, run, result, found, progress=progress, look=look)
    finally:
        result.works = [
            PictureToWarm(
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
    run: Run,
    result: Gathered,
    found: dict[Source, _Gathered],
    *,
    progress: Callable[[int], None],
    look: SiteTextRules,
) -> None:
    def unreadable(error: OSError) -> None:
        result.unread.append(Unread(str(error.filename or ""), error.strerror or str(error)))

    name_of, ignored = article_names(), Globs(look.ignore)
    articles = find_articles(
        paths, unreadable=unreadable, no_article=look.no_article, passed_by=look.passed_by
    )
    texts = find_texts(paths, max_bytes=look.max_bytes, skipped=look.skipped, unreadable=unreadable)
    names: deque[str] = deque()

    def jobs() -> Iterator[ArticleJob]:
        for article in itertools.chain(articles, texts):
            if article.path not in look.skipped:
                name = name_of(article)
                names.append(name)
                yield ArticleJob(article, ignored=bool(ignored) and ignored.name(name))

    for number, (job, first) in enumerate(run.outcomes(jobs()), start=1):
        progress(number)
        name, outcome = names.popleft(), first
        if known := tuple(url for url in first.unsure if Source.parse(url) in found):
            ((_, outcome),) = run.outcomes([replace(job, shown=known)])
        result.through_us.update(outcome.through_us)
        if job.ignored:
            continue
        if outcome.failure or outcome.unread:
            result.unread.append(Unread(name, outcome.reason or outcome.unread))
        if outcome.failure:
            continue
        if outcome.pictures or job.article.kind not in SITE_KINDS:
            result.articles[name] = tuple(picture.source.url for picture in outcome.pictures)
            result.lines[name] = {picture.source.url: picture.lines for picture in outcome.pictures}
            result.files[name] = job.article.path.resolve()
            if outcome.date is not None:
                result.dates[name] = outcome.date
            _note(found, outcome.pictures, name)


def _note(found: dict[Source, _Gathered], pictures: Iterable[ArticlePicture], name: str) -> None:
    for picture in pictures:
        entry = found.setdefault(picture.source, _Gathered())
        entry.options.update(dict.fromkeys(picture.presets))
        entry.own.update(dict.fromkeys(picture.own))
        entry.written.update(dict.fromkeys(map(Source.parse, picture.written)))
        if name not in entry.articles:
            entry.articles.append(name)
