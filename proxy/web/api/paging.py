"""Pages of long lists: what a client may ask of each, and how the index's moments and cursors are read. Event loop."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import Field

from cache.base.errors import IndexUnavailable
from cache.index.index import Index, IndexCursorInvalid
from cache.index.values import MAX_LIMIT
from proxy.errors import InvalidRequest
from proxy.services.catalogue.catalogue import Catalogue
from proxy.web.api.endpoints import Asked
from proxy.web.context import Context

R = TypeVar("R")

TEXT = Field(default="", max_length=1024)


class PageQuery(Asked):
    """How much of a list. after: `next` of the page before."""

    limit: int = Field(default=50, ge=1, le=MAX_LIMIT, description="The most items of the page.")
    after: str | None = Field(
        default=None, min_length=1, max_length=4096, description="`next` of the page before."
    )


def catalogue_of(context: Context) -> Catalogue:
    """Return the catalogue of the store.

    Raises:
        IndexUnavailable: this service has none.
    """
    if context.catalogue is None:
        raise IndexUnavailable("this service has no index")
    return context.catalogue


def index_of(context: Context) -> Index:
    """Return the index of the store.

    Raises:
        IndexUnavailable: this service has none.
    """
    return catalogue_of(context).index


async def page(listing: Awaitable[R]) -> R:
    """Return a page of the index.

    Raises:
        InvalidRequest: the cursor is none of ours, or belongs to another order.
        IndexUnavailable: the index cannot be asked.
    """
    try:
        return await listing
    except IndexCursorInvalid as error:
        raise InvalidRequest("after: this is no cursor of this list in this order.") from error


def unix_time(text: str | None, *, name: str) -> float | None:
    """Return a date or time of a query in Unix seconds; without a zone it is UTC.

    Raises:
        InvalidRequest: it cannot be read.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise InvalidRequest(f"{name}: write a date such as 2024-01-31, or a time with it (UTC).") from None
