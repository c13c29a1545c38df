"""Purging: delete kept originals on request, by source, origin or article; the only way anything kept goes.

Runs on the event loop of a worker or of the command; true for every process when it returns, because the store
changes the generation of each source, which all memories compare.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from cache.articles import ArticleIndex
from cache.originals import Originals as OriginalsStore
from cache.variants import Variants as VariantsStore
from proxy.dialects import Unwrapper
from proxy.errors import InvalidRequest, InvalidSource
from proxy.source import Source


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to purge: exactly one of source, origin and article. `block` refuses the sources for good."""

    source: str | None = None
    origin: str | None = None
    article: str | None = None
    dry_run: bool = False
    block: bool = False


@dataclass(slots=True)
class PurgeReport:
    """purged: sources whose original is gone; shared: those left because another article uses them."""

    purged: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    freed_bytes: int = 0
    dry_run: bool = False


class Purging:
    """Purge what is wanted.

    1. The sources are listed: one, those of an origin, or those of an article that no other known article uses.
    2. Each is blocked first when that is asked for, so that nothing fetches it again in between.
    3. Its entry goes, its body with the last entry that has it, then the variants of that body.
    """

    def __init__(
        self,
        kept: OriginalsStore,
        variants: VariantsStore,
        articles: ArticleIndex,
        *,
        unwrapper: Unwrapper,
    ) -> None:
        self.unwrapper = unwrapper
        self._kept = kept
        self._variants = variants
        self._articles = articles

    async def purge(self, wanted: Wanted) -> PurgeReport:
        """Delete, or with `dry_run` say what would be deleted.

        Raises:
            InvalidRequest: not exactly one of source, origin and article.
            InvalidSource, SourceNotAllowed: the source or origin cannot be read.
        """
        if sum(value is not None for value in (wanted.source, wanted.origin, wanted.article)) != 1:
            raise InvalidRequest("Name exactly one of source, origin and article.")
        report = PurgeReport(dry_run=wanted.dry_run)
        async for url in self._sources(wanted, report):
            await self._purge_one(url, wanted, report)
        return report

    async def _sources(self, wanted: Wanted, report: PurgeReport) -> AsyncIterator[str]:
        if wanted.source is not None:
            yield self.unwrapper.opened(Source.parse(wanted.source))[0].url
        elif wanted.origin is not None:
            origin = _origin(wanted.origin)
            async for entry in self._kept.entries():
                if Source.parse(entry.source).origin == origin:
                    yield entry.source
        elif wanted.article is not None:
            only, shared = await self._articles.sources_only_in(wanted.article)
            report.shared.extend(shared)
            for url in only:
                yield url

    async def _purge_one(self, url: str, wanted: Wanted, report: PurgeReport) -> None:
        if wanted.dry_run:
            preview = await self._kept.purge_preview(url)
            if preview.found:
                report.purged.append(url)
                report.freed_bytes += preview.freed_bytes
            return
        if wanted.block:
            await self._kept.block(url, "purged with block")
            report.blocked.append(url)
        purged = await self._kept.purge(url)
        if purged.found:
            report.purged.append(url)
            report.freed_bytes += purged.freed_bytes
        for sha256 in purged.bodies:
            await self._variants.evict(sha256)


def _origin(text: str) -> str:
    source = Source.parse(text)
    if source.target != "/":
        # Whoever writes a path means less than the whole origin, and what is purged may be the only copy.
        raise InvalidSource("An origin has no path and no query: write https://host or https://host:port.")
    return source.origin
