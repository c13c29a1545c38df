"""The pictures that articles show: which of them are kept, and why the others are missing. Event loop."""

from __future__ import annotations

import asyncio
import bisect
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cache.base.entry import Entry
from cache.durable_tier import Originals
from cache.originals.articles import KeptArticle
from proxy.errors import MirrorError
from proxy.services.serving.kept import KeptOriginals
from proxy.services.troubles.negatives import LastFailure
from proxy.source import Source

LOOKED_AT = 2000
"""How many entries are looked for at most to make one page of missing pictures: a fraction of a second."""

STRETCH = 200
AT_A_TIME = 16
"""How many entries are read side by side: the threads of the store serve visitors too."""


@dataclass(frozen=True, slots=True)
class PictureInArticle:
    """A source in an article. entry: None if nothing is kept. failure: the last known one; None without one, or if the
    source is kept."""

    source: str
    entry: Entry | None = None
    failure: LastFailure | None = None


@dataclass(frozen=True, slots=True)
class ArticleLook:
    """An article with its pictures, in the order of their addresses."""

    article: KeptArticle
    pictures: tuple[PictureInArticle, ...]

    @property
    def missing(self) -> tuple[PictureInArticle, ...]:
        """The pictures that are not kept."""
        return tuple(picture for picture in self.pictures if picture.entry is None)

    @property
    def kept(self) -> tuple[PictureInArticle, ...]:
        """The pictures that are kept."""
        return tuple(picture for picture in self.pictures if picture.entry is not None)

    @property
    def bytes(self) -> int:
        """The bytes of the kept originals together."""
        return sum(picture.entry.body_size for picture in self.pictures if picture.entry is not None)


async def look_at(article: KeptArticle, kept: Originals, originals: KeptOriginals) -> ArticleLook:
    """Return an article with what is known of each of its pictures. Asks no origin."""
    return ArticleLook(article, await _looked_up(article.sources, kept, originals))


@dataclass(frozen=True, slots=True)
class ArticleNames:
    """Names of articles, sorted. after: where the next page begins, None on the last one. total: of all pages."""

    names: list[str]
    after: str | None
    total: int


def articles_behind(known: Mapping[str, KeptArticle], part: str, after: str, *, most: int) -> ArticleNames:
    """Return at most `most` names that hold a text and come behind `after`; all for an empty text."""
    names = [name for name in sorted(known) if part.casefold() in name.casefold()]
    begin = bisect.bisect_right(names, after) if after else 0
    chosen = names[begin : begin + most]
    return ArticleNames(chosen, chosen[-1] if begin + len(chosen) < len(names) else None, len(names))


@dataclass(frozen=True, slots=True)
class SourcesOfArticles:
    """What articles show. sources: sorted. articles: who shows a source, by source."""

    sources: list[str]
    articles: Mapping[str, list[str]]

    def behind(self, source: str) -> list[str]:
        """Return the sources behind one in the order of the list; all for an empty text."""
        return self.sources[bisect.bisect_right(self.sources, source) if source else 0 :]


def shown_by(known: Mapping[str, KeptArticle], part: str) -> SourcesOfArticles:
    """Return the sources that articles show and that hold a text."""
    articles: dict[str, list[str]] = defaultdict(list)
    for name, article in sorted(known.items()):
        for source in article.sources:
            if part.casefold() in source.casefold():
                articles[source].append(name)
    return SourcesOfArticles(sorted(articles), articles)


@dataclass(frozen=True, slots=True)
class MissingSources:
    """Missing pictures in the order of their addresses. after: where the next page begins, None on the last one."""

    pictures: tuple[PictureInArticle, ...]
    after: str | None


async def missing_of(
    sources: Sequence[str], kept: Originals, originals: KeptOriginals, *, most: int
) -> MissingSources:
    """Return at most `most` of `sources`, which are sorted, that are not kept. Asks no origin.

    One page looks at `LOOKED_AT` sources at most. It may therefore be short, or empty, and have a next one.
    """
    missing: list[PictureInArticle] = []
    for begin in range(0, min(len(sources), LOOKED_AT), STRETCH):
        stretch = sources[begin : begin + STRETCH]
        missing += [one for one in await _looked_up(stretch, kept, originals) if one.entry is None]
        if len(missing) > most:
            return MissingSources(tuple(missing[:most]), missing[most - 1].source)
    rest = len(sources) > LOOKED_AT
    return MissingSources(tuple(missing), sources[LOOKED_AT - 1] if rest else None)


async def _looked_up(
    urls: Sequence[str], kept: Originals, originals: KeptOriginals
) -> tuple[PictureInArticle, ...]:
    places = asyncio.Semaphore(AT_A_TIME)

    async def one(url: str) -> PictureInArticle:
        async with places:
            entry = await kept.get(url)
            return PictureInArticle(url, entry, None if entry else await _failure(url, originals))

    return tuple(await asyncio.gather(*map(one, urls)))


async def _failure(url: str, originals: KeptOriginals) -> LastFailure | None:
    try:
        return await originals.last_failure_of(Source.parse(url))
    except MirrorError as error:
        # Records of earlier versions may hold addresses that are no sources any more.
        return LastFailure(error, 0.0, 1)
