"""Deletes kept originals on request, by source, origin, article or date. Nothing else deletes an original.

A purge applies to every process when it returns: the store changes the generation of each source, and every memory
cache compares it. Runs on the event loop of a worker or of the command.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cache.base.entry import Entry
from cache.base.errors import CacheError, NotKept
from cache.durable_tier import Originals
from cache.originals.articles import ArticleIndex
from cache.originals.keeper import Gone, Purged
from cache.variants.bounded_tier import Variants
from proxy.config import parse_duration
from proxy.dialects import Unwrapper
from proxy.errors import InvalidRequest, InvalidSource, QueueFull
from proxy.source import Source, origin_of

MAX_REFUSED = 16
"""Sources that the disk may refuse before a purge gives up. One stuck file is no reason to stop; a dead disk is."""

NAMED = 3
"""How many sources the message of a refused purge names."""

Progress = Callable[[int], None]
"""Called with the number of sources looked at."""


@dataclass(frozen=True, slots=True)
class PurgeWish:
    """What to purge: at most one of source, origin and article, and limits on the time of download.

    before, since: only originals (with `history`: versions) fetched before, or not before, that moment (unix seconds).
    history: keep the current original and delete older versions that were displaced, or set aside, more than
    `older_than_seconds` ago; the `keep` newest of each source stay. `block` refuses the sources permanently.
    """

    source: str | None = None
    origin: str | None = None
    article: str | None = None
    before: float | None = None
    since: float | None = None
    history: bool = False
    older_than_seconds: float | None = None
    keep: int | None = None
    dry_run: bool = False
    block: bool = False

    @property
    def has_date(self) -> bool:
        """Whether the time of download is limited."""
        return self.before is not None or self.since is not None

    def came_then(self, fetched_at: float) -> bool:
        """Return whether bytes fetched at that moment are to be purged."""
        return (self.before is None or fetched_at < self.before) and (
            self.since is None or fetched_at >= self.since
        )

    def problem(self) -> str:
        """Return what is wrong with the wish, or an empty text."""
        named = sum(value is not None for value in (self.source, self.origin, self.article))
        by_history = self.older_than_seconds is not None or self.keep is not None
        if named > 1:
            return "Name only one of source, origin and article."
        if self.history and self.block:
            return "block refuses sources, so it cannot be combined with history."
        if self.history and not (by_history or self.has_date):
            return "history needs older_than, keep, before or since; keep of 0 means all of it."
        if by_history and not self.history:
            return "older_than and keep belong to history."
        if not named and not self.history and not self.has_date:
            return "Name exactly one of source, origin and article, or a date."
        return ""


def wanted(
    *, before: str | None = None, since: str | None = None, older_than: str | None = None, **others: Any
) -> PurgeWish:
    """Build a `PurgeWish` from dates and ages as text: `2024-01-31`, `2024-01-31T12:00:00+01:00`, `90d`.

    Raises:
        ValueError: a date or an age cannot be read, or `keep` is negative.
    """
    if others.get("keep") is not None and others["keep"] < 0:
        raise ValueError("keep is a whole number of at least 0.")
    return PurgeWish(
        before=None if before is None else moment_of(before, name="before"),
        since=None if since is None else moment_of(since, name="since"),
        older_than_seconds=None if older_than is None else parse_duration(older_than),
        **others,
    )


def moment_of(text: str, *, name: str) -> float:
    """Return a date, or a date with a time, in Unix seconds.

    Raises:
        ValueError: it cannot be read; the message calls it `name`.
    """
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"{name} is a date such as 2024-01-31, or a time with it (UTC).") from None


@dataclass(slots=True)
class PurgeReport:
    """purged: sources whose original was deleted; shared: sources left because another article uses them.

    versions: with `history`, how many versions of the sources in `purged` were deleted.
    """

    purged: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    versions: int = 0
    freed_bytes: int = 0
    dry_run: bool = False


class PurgeRefused(QueueFull):
    """The disk or a lock refused part of a purge; `report` says what was purged nevertheless."""

    retry_after_seconds = 60

    def __init__(self, report: PurgeReport, refused: list[str], reason: str, *, all_tried: bool) -> None:
        named = ", ".join(refused[:NAMED])
        more = "" if len(refused) <= NAMED else f" and {len(refused) - NAMED} more"
        rest = "" if all_tried else "; others were not tried"
        super().__init__(
            f"The store refused: {reason}. Purged: {len(report.purged)}. Not purged: {named}{more}{rest}."
            " Try again when the store can be written."
        )
        self.report = report


class Purging:
    """Purges sources.

    1. List the sources: one, those of an origin, those of an article that no other known article uses, or all;
       leave out those outside the dates.
    2. With `block`, block each source first, so that nothing fetches it again in between.
    3. Delete its entry, its body unless another entry has it, then the variants of that body.
    4. Forget remembered failures, so that the next request asks the origin. Forget an article whose pictures were
       purged, until `warm` or `rewrite` reads it again.
    A source that the disk refuses is skipped, and its article is not forgotten.
    With `history`, steps 2 and 3 delete older versions from the entry, then the bodies that no other entry has.
    """

    def __init__(
        self,
        kept: Originals,
        variants: Variants,
        articles: ArticleIndex,
        *,
        unwrapper: Unwrapper,
        now: Callable[[], float],
    ) -> None:
        self.unwrapper = unwrapper
        self._kept = kept
        self._variants = variants
        self._articles = articles
        self._now = now

    async def purge(self, wanted: PurgeWish, progress: Progress = lambda _done: None) -> PurgeReport:
        """Delete the wanted sources, or with `dry_run` report what would be deleted.

        Raises:
            InvalidRequest: `PurgeWish.problem` found one.
            InvalidSource, SourceNotAllowed: the source or origin is invalid.
            PurgeRefused: the disk refused part of it; the error carries the report.
            StoreUnreadable: the store cannot be listed.
        """
        if problem := wanted.problem():
            raise InvalidRequest(problem)
        report = PurgeReport(dry_run=wanted.dry_run)
        would_go: Gone | None = {} if wanted.dry_run else None
        refused: list[str] = []
        done, reason = 0, ""
        async for url in self._sources(wanted, report):
            try:
                await self._take(url, wanted, report, would_go)
            except CacheError as error:
                refused.append(url)
                reason = str(error) if isinstance(error, NotKept) else "it cannot be read or locked now"
                # Give up on a lock, which another program may hold for long, and on a disk that refuses this often.
                if not isinstance(error, NotKept) or len(refused) == MAX_REFUSED:
                    raise PurgeRefused(report, refused, reason, all_tried=False) from error
            done += 1
            progress(done)
        if refused:
            raise PurgeRefused(report, refused, reason, all_tried=True)
        if not wanted.dry_run and not wanted.history:
            await self._forget(wanted, report)
        return report

    async def _take(self, url: str, wanted: PurgeWish, report: PurgeReport, would_go: Gone | None) -> None:
        purged = await (self._trim if wanted.history else self._purge_one)(url, wanted, report, would_go)
        if purged is not None and purged.found:
            report.purged.append(url)
            report.freed_bytes += purged.freed_bytes
            report.versions += len(purged.versions)
            if not wanted.dry_run:
                await self._forget_variants(purged)

    async def _sources(self, wanted: PurgeWish, report: PurgeReport) -> AsyncIterator[str]:
        if wanted.source is not None:
            way = self.unwrapper.way(Source.parse(wanted.source))
            yield way.source.url
            for source in way.written:
                # The picture was stored under the wrapper's own address before we knew the wrapper's grammar.
                if await self._kept.get(source.url) is not None:
                    yield source.url
        elif wanted.article is not None:
            only, shared = await self._articles.sources_only_in(wanted.article)
            report.shared.extend(shared)
            for url in only:
                yield url
        else:
            origin = origin_named(wanted.origin) if wanted.origin is not None else None
            listed = None if origin is None else await self._kept.catalogue.sources_of_origin(origin)
            if listed is not None:
                for url in listed:
                    yield url
                return
            async for entry in self._kept.entries():
                if origin is None or origin_of(entry.source) == origin:
                    yield entry.source

    async def _purge_one(
        self, url: str, wanted: PurgeWish, report: PurgeReport, would_go: Gone | None
    ) -> Purged | None:
        if wanted.has_date:
            entry = await self._kept.get(url)
            if entry is None or not wanted.came_then(entry.fetched_at):
                return None
        if wanted.block:
            if would_go is None:
                await self._kept.block(url, "purged with block")
            report.blocked.append(url)
        if would_go is not None:
            return await self._kept.purge_preview(url, would_go)
        return await self._kept.purge(url)

    async def _forget(self, wanted: PurgeWish, report: PurgeReport) -> None:
        """Forget the failures of sources that are not listed because nothing of them is kept, and the article's uses.

        Failures of a source and of an article's sources are forgotten with their purge.
        """
        if wanted.article is not None and not wanted.has_date:
            # Otherwise a picture that two articles share could never be purged with the second one.
            try:
                await self._articles.forget(wanted.article)
            except NotKept as error:
                what = f"the record of the article {wanted.article}"
                raise PurgeRefused(report, [what], str(error), all_tried=True) from error
        if wanted.origin is not None:
            await self._kept.forget_failures_of(origin_named(wanted.origin))
        elif wanted.has_date and wanted.source is None and wanted.article is None:
            await self._kept.forget_failures_from(wanted.since, wanted.before)

    async def _trim(
        self, url: str, wanted: PurgeWish, _report: PurgeReport, would_go: Gone | None
    ) -> Purged | None:
        now = self._now()
        return await self._kept.history.purge(
            url,
            lambda entry: _versions_to_go(entry, wanted, now=now),
            would_go=would_go,
        )

    async def _forget_variants(self, purged: Purged) -> None:
        for sha256 in purged.bodies:
            await self._variants.evict(sha256)


def _versions_to_go(entry: Entry, wanted: PurgeWish, *, now: float) -> frozenset[str]:
    """Return the digests of the versions of an entry that `wanted` selects. The history is ordered newest first."""
    chosen = set()
    displaced_at = entry.fetched_at
    for number, item in enumerate(entry.history):
        # Bytes that were never current became history when they were fetched.
        since = item.fetched_at if item.note else displaced_at
        displaced_at = displaced_at if item.note else item.fetched_at
        old_enough = wanted.older_than_seconds is None or now - since >= wanted.older_than_seconds
        if old_enough and number >= (wanted.keep or 0) and wanted.came_then(item.fetched_at):
            chosen.add(item.body_sha256)
    return frozenset(chosen)


def origin_named(text: str) -> str:
    """Return an origin as sources have it.

    Raises:
        InvalidSource, SourceNotAllowed: it is none.
    """
    source = Source.parse(text)
    if source.target != "/":
        # An operator who gives a path means less than the whole origin, and a purge may delete the only copy.
        raise InvalidSource("An origin has no path and no query: write https://host or https://host:port.")
    return source.origin
