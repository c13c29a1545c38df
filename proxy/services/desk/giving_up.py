"""Gives up missing pictures: their origins are not asked again until somebody wants to try once more. Event loop."""

from __future__ import annotations

from cache.durable_tier import Originals
from proxy.errors import InvalidRequest
from proxy.services.troubles.reasons import GIVEN_UP_TEXT


class StillKept(InvalidRequest):
    """The picture is kept. Giving it up by mistake would take it away from visitors."""

    public_message = "This picture is kept. Refuse its source or delete it instead."


async def give_up(kept: Originals, url: str) -> None:
    """Refuse a source of which nothing is kept. A source that is refused already keeps its reason.

    Raises:
        StillKept: something is kept of it.
    """
    blocked, entry = await kept.look_up(url)
    if entry is not None:
        raise StillKept
    if not blocked:
        await kept.block(url, GIVEN_UP_TEXT)
