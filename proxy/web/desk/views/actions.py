"""The owner's actions on a picture by forms. Each action calls the service that the API and the commands call.

Deleting and refusing are confirmed on a separate page, so that this works without scripts. An action ends with a
redirect, so that reloading a page never repeats it. Event loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlencode

from aiohttp import web

from proxy.errors import NotFound
from proxy.services.desk.asking import shown_in
from proxy.services.desk.giving_up import give_up
from proxy.services.troubles.replacing import accept
from proxy.services.upkeep.byhand import HandUpload
from proxy.services.upkeep.purging import PurgeWish
from proxy.services.upkeep.refetching import refetch
from proxy.source import Source
from proxy.web.api.resources.picture import named_source
from proxy.web.desk.forms import read_form, read_upload
from proxy.web.desk.pages import DeskRequest, own_address, page, redirect
from proxy.web.desk.views.missing import MISSING
from proxy.web.handlers.admin import purged

Fields = Mapping[str, str]
Action = Callable[[DeskRequest, Source, Fields], Awaitable[str]]
"""Called with the source and the fields of the form, returns a key of `DONE`."""

PICTURE = "/desk/picture"


async def confirm(desk: DeskRequest) -> web.StreamResponse:
    """Answer the page that says what a purge or a block will do, and asks for confirmation."""
    source = await named_source(desk.context, desk.text("source"))
    action = desk.text("action")
    if action not in {"purge", "block"}:
        raise NotFound
    would = await desk.context.purging.purge(PurgeWish(source=source.url, dry_run=True))
    return page(
        desk,
        "confirm.html",
        title="Delete this picture?" if action == "purge" else "Refuse this source?",
        source=source.url,
        action=action,
        would=would,
        articles=[one.article for one in await shown_in(desk.context.kept, source.url)],
    )


async def act(desk: DeskRequest) -> web.StreamResponse:
    """Perform the action of a form, and lead back to the picture."""
    form = await read_form(desk)
    source = await named_source(desk.context, form.get("source", ""))
    done = await _ACTIONS[desk.path.rpartition("/")[2]](desk, source, form)
    return _back(source, done, form.get("next", ""))


async def upload(desk: DeskRequest) -> web.StreamResponse:
    """Keep an uploaded file as a version of a source, by hand."""
    context = desk.context
    form = await read_upload(desk, max_bytes=context.config.fetch.max_bytes)
    source = await named_source(context, form.fields.get("source", ""))
    context.policy.check_hop(source)
    note = "".join(c for c in form.fields.get("note", "") if c.isprintable())[:500]
    serve = form.fields.get("serve") == "1"
    kept = await context.by_hand.keep(
        HandUpload(source, form.chunks, context.config.fetch.types, serve=serve, note=note)
    )
    return _back(source, "upload" if kept.is_current else "upload-version")


async def _refetch(desk: DeskRequest, source: Source, _form: Fields) -> str:
    desk.context.policy.check_hop(source)
    found = await refetch(desk.context.originals, source, now=desk.context.now())
    return f"refetch-{found.outcome}"


async def _accept(desk: DeskRequest, source: Source, form: Fields) -> str:
    if await accept(desk.context.kept, source.url, form.get("sha256") or None) is None:
        raise NotFound("This picture has no such version.")
    return "accept"


async def _purge(desk: DeskRequest, source: Source, form: Fields) -> str:
    block = form.get("block") == "1"
    await purged(desk.context, PurgeWish(source=source.url, block=block))
    return "purge"


async def _block(desk: DeskRequest, source: Source, _form: Fields) -> str:
    await desk.context.kept.block(source.url, "blocked by the owner")
    return "block"


async def _unblock(desk: DeskRequest, source: Source, _form: Fields) -> str:
    await desk.context.kept.unblock(source.url)
    return "unblock"


async def _give_up(desk: DeskRequest, source: Source, _form: Fields) -> str:
    await give_up(desk.context.kept, source.url)
    return "give-up"


async def _try_again(desk: DeskRequest, source: Source, form: Fields) -> str:
    desk.context.policy.check_hop(source)
    await desk.context.kept.unblock(source.url)
    return await _refetch(desk, source, form)


async def _recover(desk: DeskRequest, source: Source, form: Fields) -> str:
    desk.context.policy.check_hop(source)
    timestamp = form.get("timestamp", "")
    if not (len(timestamp) == 14 and timestamp.isascii() and timestamp.isdigit()):
        raise NotFound("The archive has no such capture.")
    await desk.context.archive.take(source, timestamp)
    return "recover"


_ACTIONS: Mapping[str, Action] = {
    "refetch": _refetch,
    "accept": _accept,
    "purge": _purge,
    "block": _block,
    "unblock": _unblock,
    "recover": _recover,
    "give-up": _give_up,
    "try-again": _try_again,
}
ACTIONS = tuple(_ACTIONS)
"""The names of the actions, each of which has an address below that of a picture."""


def _back(source: Source, done: str, next_address: str = "") -> web.Response:
    """Return an answer that leads to the list from which the form came, or to the picture."""
    if next_address.partition("?")[0] == MISSING and own_address(next_address) == next_address:
        return redirect(f"{next_address}{'&' if '?' in next_address else '?'}{urlencode({'done': done})}")
    return redirect(f"{PICTURE}?{urlencode({'source': source.url, 'done': done})}")
