"""The owner's actions on pictures: fetch again, accept a version, purge, block, recover from the archive. Event loop.

Each endpoint calls the service that the commands call.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from cache.originals.articles import KeptArticle
from proxy.errors import InvalidRequest, NotFound
from proxy.services.desk.giving_up import give_up
from proxy.services.troubles.replacing import accept
from proxy.services.upkeep.purging import PurgeReport, wanted
from proxy.services.upkeep.refetching import RefetchOutcome, refetch
from proxy.source import Source
from proxy.web.api.endpoints import Asked, Call, Nothing
from proxy.web.api.resources.picture import PictureAnswer, SourceQuery, named_source, picture_answer
from proxy.web.api.values import Digest, Moment, SourceText, Trouble, moment
from proxy.web.handlers.admin import purged

_DATE = Field(default=None, max_length=40, description="A date such as 2024-01-31, or a time with it (UTC).")


class SourceBody(Asked):
    """Names one source."""

    source: SourceText


class AcceptBody(SourceBody):
    """Names a version. Without a digest it is the newest one that was set aside."""

    sha256: Digest | None = None


class RecoverBody(SourceBody):
    """Names a capture by its moment, as `/picture/archive` lists it."""

    timestamp: str = Field(pattern="^[0-9]{14}$", examples=["20200131120000"])


class PurgeBody(Asked):
    """What to purge: one of source, origin and article, or a date; the same as in `POST /purge`."""

    source: str | None = Field(default=None, max_length=16_384)
    origin: str | None = Field(default=None, max_length=16_384)
    article: str | None = Field(default=None, max_length=16_384)
    before: str | None = _DATE
    since: str | None = _DATE
    history: bool = False
    older_than: str | None = Field(default=None, max_length=40, description="An age such as 90d.")
    keep: int | None = Field(default=None, ge=0, le=1_000_000)
    dry_run: bool = False
    block: bool = False


@dataclass(frozen=True, slots=True)
class RefetchAnswer:
    """The result of asking the origin again.

    `new`: the picture was not kept before. `unchanged`, `changed`: the origin sent the same bytes, or different ones.
    `failed`: the error says why, and kept versions stay. `not_kept`: the disk refused. `pending`: the origin is slow,
    and the fetch continues.
    """

    outcome: RefetchOutcome
    error: Trouble | None
    picture: PictureAnswer


@dataclass(frozen=True, slots=True)
class CaptureAnswer:
    """A capture of a source in the archive. timestamp: the value for `/picture/recover`. url: its unchanged bytes."""

    timestamp: str
    captured_at: Moment | None
    url: str


@dataclass(frozen=True, slots=True)
class CapturesAnswer:
    """The captures of a source, those nearest to the date of its article first."""

    source: str
    near: Moment | None
    captures: list[CaptureAnswer]


async def refetch_picture(call: Call[Nothing, SourceBody]) -> RefetchAnswer:
    """Ask the origin of a picture again, although it is fresh or a failure is remembered."""
    context = call.context
    source = await named_source(context, call.body.source)
    context.policy.check_hop(source)
    found = await refetch(context.originals, source, now=context.now())
    error = Trouble.of(found.error) if found.error else None
    return RefetchAnswer(found.outcome, error, await picture_answer(context, source))


async def accept_version(call: Call[Nothing, AcceptBody]) -> PictureAnswer:
    """Serve a version that was set aside, or an older one. The current one becomes history."""
    context = call.context
    source = await named_source(context, call.body.source)
    if await accept(context.kept, source.url, call.body.sha256) is None:
        raise NotFound("This picture has no such version.")
    return await picture_answer(context, source)


async def purge_pictures(call: Call[Nothing, PurgeBody]) -> PurgeReport:
    """Delete kept originals, or with `dry_run` list what would be deleted."""
    try:
        wish = wanted(**call.body.model_dump(exclude_unset=True))
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    if wish.article is not None:
        await _require_known(call, wish.article)
    return await purged(call.context, wish)


async def _require_known(call: Call[Nothing, PurgeBody], name: str) -> KeptArticle:
    found = await call.context.kept.articles.get(name)
    if found is None:
        raise NotFound("No such article is known.")
    return found


async def block_picture(call: Call[Nothing, SourceBody]) -> PictureAnswer:
    """Refuse a source from now on. Its kept versions stay until they are purged."""
    source = await named_source(call.context, call.body.source)
    await call.context.kept.block(source.url, "blocked by the owner")
    return await picture_answer(call.context, source)


async def give_up_picture(call: Call[Nothing, SourceBody]) -> PictureAnswer:
    """Refuse a source of which nothing is kept, with the reason "given up". `/picture/unblock` undoes this."""
    source = await named_source(call.context, call.body.source)
    await give_up(call.context.kept, source.url)
    return await picture_answer(call.context, source)


async def unblock_picture(call: Call[Nothing, SourceBody]) -> PictureAnswer:
    """Allow a blocked source again, including one that was given up."""
    source = await named_source(call.context, call.body.source)
    await call.context.kept.unblock(source.url)
    return await picture_answer(call.context, source)


async def look_in_archive(call: Call[SourceQuery, Nothing]) -> CapturesAnswer:
    """List the captures that the Wayback Machine has of a source. Nothing is kept."""
    context = call.context
    source = await named_source(context, call.query.source)
    found = await context.archive.look(source)
    near = await context.kept.articles.date_of(source.url)
    captures = [
        CaptureAnswer(timestamp_of(copy.source), moment(copy.captured_at), copy.source.url) for copy in found
    ]
    return CapturesAnswer(source.url, moment(near), captures)


def timestamp_of(capture: Source) -> str:
    """Return the moment in the address of a capture, 14 digits."""
    return capture.target.partition("/web/")[2][:14]


async def recover_picture(call: Call[Nothing, RecoverBody]) -> PictureAnswer:
    """Keep a capture of the archive as the picture of a dead source."""
    context = call.context
    source = await named_source(context, call.body.source)
    context.policy.check_hop(source)
    await context.archive.take(source, call.body.timestamp)
    return await picture_answer(context, source)
