"""The parameters that all lists of the API share, to request a page. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from cache.catalogue.lists import ShownIn
from cache.catalogue.questions import MAX_TEXT
from proxy.web.api.endpoints import Asked

MAX_LIMIT = 100
"""The most items of a page."""


class PageQuery(Asked):
    """A page of a list. text: a part of the name or address. after: `next` of the page before."""

    text: str = Field(
        default="",
        max_length=MAX_TEXT,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="A part of the name or address, in any case.",
    )
    limit: int = Field(default=25, ge=1, le=MAX_LIMIT, description="The most items of the page.")
    after: str = Field(default="", max_length=65_536, description="`next` of the page before.")


@dataclass(frozen=True, slots=True)
class ShownItem:
    """An article that shows a picture. lines: in its file, from 1; empty if they are not known."""

    name: str
    lines: list[int]

    @classmethod
    def of(cls, one: ShownIn) -> ShownItem:
        """Return the answer for an article."""
        return cls(one.article, list(one.lines))
