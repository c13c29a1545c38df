"""`/picture/upload`: a picture that the owner has, in place of one whose origin is dead. Event loop."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from proxy.services.upkeep.byhand import HandUpload
from proxy.web.api.endpoints import Call, Nothing
from proxy.web.api.reading import body_chunks
from proxy.web.api.resources.picture import PictureAnswer, SourceQuery, named_source, picture_answer
from proxy.web.api.values import Digest

UPLOAD_SECONDS = 300.0
"""How long an upload may take. The largest one over a slow line takes minutes."""


class UploadQuery(SourceQuery):
    """Names the source. serve: show the upload even if another original is kept. note: what to remember about it."""

    serve: bool = False
    note: str = Field(default="", max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")


@dataclass(frozen=True, slots=True)
class UploadAnswer:
    """The digest of the upload, whether visitors get it now, and the picture with its versions."""

    sha256: Digest
    current: bool
    picture: PictureAnswer


async def upload_picture(call: Call[UploadQuery, Nothing]) -> UploadAnswer:
    """Keep the body of the request as a version of a source, with the provenance `by hand`."""
    context = call.context
    source = await named_source(context, call.query.source)
    context.policy.check_hop(source)
    max_bytes = context.config.fetch.max_bytes
    chunks = body_chunks(call.request, max_bytes=max_bytes, timeout_seconds=UPLOAD_SECONDS)
    types = context.config.fetch.types
    kept = await context.by_hand.keep(
        HandUpload(source, chunks, types, serve=call.query.serve, note=call.query.note)
    )
    return UploadAnswer(kept.sha256, kept.is_current, await picture_answer(context, source))
