"""Asks the catalogue for lists of the desk and the API, and turns its faults into errors of the contract.

Event loop.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from cache.catalogue import lists
from cache.catalogue.database import NoCatalogueError, TooManyError
from cache.catalogue.lists import ShownIn
from cache.durable_tier import Originals
from proxy.errors import QueueFull
from proxy.services.troubles.reasons import ReasonGroup, by_group

R = TypeVar("R")


class CatalogueNotReady(QueueFull):
    """There is no catalogue yet, or its disk refuses."""

    public_message = "The catalogue of kept pictures is being made. Try again soon."
    retry_after_seconds = 10


class TooBroad(QueueFull):
    """The question took too long."""

    public_message = (
        "This search takes too long. Narrow it: name an origin, an article, or more of the address."
    )
    retry_after_seconds = 5


async def asked(kept: Originals, question: Callable[[sqlite3.Connection], R]) -> R:
    """Return the answer of the catalogue, after writing the changes of this process to it.

    Raises:
        CatalogueNotReady: there is none that can be read.
        TooBroad: the answer takes too long.
    """
    try:
        await kept.catalogue.flush()
        return await kept.catalogue.ask(question)
    except (NoCatalogueError, OSError) as error:
        raise CatalogueNotReady(detail=repr(error)) from error
    except TooManyError as error:
        raise TooBroad(detail=repr(error)) from error


async def missing_by_group(kept: Originals) -> dict[ReasonGroup, int] | None:
    """Return how many pictures of articles are missing, by group; None without a whole catalogue."""
    if not await kept.catalogue.is_whole():
        return None
    try:
        return by_group(await asked(kept, lists.missing_by_reason))
    except QueueFull:
        return None


async def shown_in(kept: Originals, url: str) -> list[ShownIn]:
    """Return the articles that show a source, by name. Without a whole catalogue, their records are read."""
    if await kept.catalogue.is_whole():
        try:
            return await asked(kept, lambda connection: lists.uses_of(connection, url))
        except QueueFull:
            pass
    return [ShownIn(name, ()) for name in await kept.articles.articles_of(url)]
