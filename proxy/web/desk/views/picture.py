"""One picture: its versions side by side, where they came from, the articles that show it, and its variants.

Event loop.
"""

from __future__ import annotations

import json

from aiohttp import web

from proxy.dialects.native import ORIGINAL
from proxy.services.troubles.reasons import GIVEN_UP_TEXT
from proxy.services.upkeep.storedlist import variants_of
from proxy.source import Source
from proxy.web.api.resources.actions import timestamp_of
from proxy.web.api.resources.picture import named_source, picture_answer
from proxy.web.desk.forms import require_session
from proxy.web.desk.pages import DeskRequest, page, redirect
from proxy.web.desk.showing import Showing
from proxy.web.desk.views.pictures import PICTURES
from proxy.web.handlers.explain import explained
from proxy.web.targets.building import native_address

DONE = {
    "refetch-new": ("good", "The picture is kept now."),
    "refetch-unchanged": ("good", "The origin sent the same bytes."),
    "refetch-changed": ("good", "The origin sent different bytes. The previous ones are kept as a version."),
    "refetch-failed": ("warn", "The origin was asked again and sent no picture. Kept versions stay."),
    "refetch-not_kept": ("warn", "The origin sent the picture, but it could not be kept: the disk refused."),
    "refetch-pending": ("note", "The origin is slow. The fetch goes on; open this page again in a moment."),
    "accept": ("good", "Visitors get this version now. The previous one is kept as a version."),
    "purge": ("good", "The picture was deleted."),
    "block": ("good", "The source is refused from now on."),
    "unblock": ("good", "The source may be fetched again."),
    "give-up": ("note", "The picture is given up: its origin is not asked any more."),
    "recover": ("good", "The capture from the archive is kept."),
    "upload": ("good", "Visitors get the upload now."),
    "upload-version": ("note", "The upload is kept as a version; visitors still get the other one."),
}
"""The message of a page after an action: its tone and its words, by the parameter `done`."""


async def picture(desk: DeskRequest) -> web.StreamResponse:
    """Answer the page of one source, whether it is kept or not."""
    context = desk.context
    if not desk.text("source"):
        return redirect(PICTURES)
    source = await named_source(context, desk.text("source"))
    answer = await picture_answer(context, source)
    entry = await context.kept.get(source.url)
    stored = await variants_of(context.variant_store, entry, context.config) if entry else []
    showing = Showing(desk)
    return page(
        desk,
        "picture.html",
        title="Picture",
        source=source.url,
        answer=answer,
        versions=[(one, showing.version(source.url, one.sha256)) for one in answer.versions],
        stored=stored,
        stored_bytes=sum(one.bytes for one in stored),
        explanation=await _explanation(desk, source),
        done=DONE.get(desk.text("done")),
        has_archive=bool(context.config.fetch.wayback),
        given_up_text=GIVEN_UP_TEXT,
    )


async def archive(desk: DeskRequest) -> web.StreamResponse:
    """Answer the page of the captures that the Wayback Machine has of a source. Nothing is kept.

    Any page in a browser on this machine can make it open this address, so it asks nobody without a session.

    Raises:
        Unauthorized: the visitor has not signed in.
    """
    require_session(desk, "this asks another host")
    source = await named_source(desk.context, desk.text("source"))
    found = await desk.context.archive.look(source)
    return page(
        desk,
        "archive.html",
        title="In the archive",
        source=source.url,
        captures=[(timestamp_of(copy.source), copy.captured_at, copy.source.url) for copy in found],
        near=await desk.context.kept.articles.date_of(source.url),
    )


async def _explanation(desk: DeskRequest, source: Source) -> str:
    """Return the answer of `/explain` for the original, as indented JSON."""
    signer = desk.context.signer if desk.visitor.may_act else None
    target = native_address("", ORIGINAL, source, signer=signer)
    found = await explained(desk.context, target, None)
    # The target would show a signature that never expires.
    return json.dumps({**found, "target": source.url}, indent=2, ensure_ascii=False)
