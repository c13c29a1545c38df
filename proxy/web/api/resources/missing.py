"""`/missing`: pictures that articles show and that are not kept, by reason. Asks the catalogue, no origin. Event
loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from cache.catalogue import lists
from cache.catalogue.lists import MissingRow
from proxy.services.desk.asking import asked
from proxy.services.desk.searching import behind_missing, next_missing, part_of_name, reasons_of
from proxy.services.troubles.reasons import ReasonGroup, by_group, error_of, group_of
from proxy.web.api.endpoints import Call, Nothing
from proxy.web.api.resources.pages import PageQuery, ShownItem
from proxy.web.api.values import Moment, Trouble, moment


class MissingQuery(PageQuery):
    """The missing pictures to list."""

    group: ReasonGroup | Literal[""] = Field(default="", description="Why it is missing; empty for all.")
    article: str = Field(default="", max_length=8192, description="The name of an article that shows it.")


@dataclass(frozen=True, slots=True)
class MissingItem:
    """A picture that is not kept. reason: the kind of its last failure (docs/failures.md), `given_up`, or empty if no
    failure is known. block: why the source is refused, empty if it is not. tries: failures since the last success.
    articles: the first that show it; article_count: how many do."""

    source: str
    group: ReasonGroup
    reason: str
    block: str
    failure: Trouble | None
    origin_status: int
    first_failed: Moment | None
    last_tried: Moment | None
    tries: int
    articles: list[ShownItem]
    article_count: int

    @classmethod
    def of(cls, row: MissingRow) -> MissingItem:
        """Return the answer for a picture."""
        error = error_of(row.reason)
        return cls(
            source=row.source, group=group_of(row.reason), reason=row.reason, block=row.block,
            failure=Trouble.of(error) if error else None, origin_status=row.status,
            first_failed=moment(row.first_at), last_tried=moment(row.last_at), tries=row.count,
            articles=list(map(ShownItem.of, row.uses)), article_count=row.articles,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class MissingPage:
    """A page in the order of the addresses. groups: how many pictures are missing in each group, of all pages and
    without filters. complete: false while the catalogue is being made; kept pictures may then be listed as missing."""

    items: list[MissingItem]
    next: str | None
    groups: dict[str, int]
    complete: bool


async def list_missing(call: Call[MissingQuery, Nothing]) -> MissingPage:
    """List the pictures that articles show and that are not kept, sorted by address."""
    kept, query = call.context.kept, call.query
    reasons, after = reasons_of(query.group), behind_missing(query.after)
    text = part_of_name(query.text, name="text")
    page, counts = await asked(
        kept,
        lambda connection: (
            lists.missing(
                connection, reasons=reasons, text=text, article=query.article, after=after, most=query.limit
            ),
            lists.missing_by_reason(connection),
        ),
    )
    items = list(map(MissingItem.of, page.rows))
    groups = {str(group): count for group, count in by_group(counts).items()}
    return MissingPage(items, next_missing(page), groups, await kept.catalogue.is_whole())
