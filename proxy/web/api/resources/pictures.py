"""`/pictures`: the kept pictures, searched and sorted. Asks the catalogue, no origin. Event loop."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from cache.catalogue import questions
from cache.catalogue.questions import MAX_TEXT, PictureRow, PictureState, Sorting
from proxy.services.desk.asking import asked
from proxy.services.desk.searching import PictureSearch, next_pictures, picture_question
from proxy.web.api.endpoints import Call, Nothing
from proxy.web.api.resources.pages import PageQuery
from proxy.web.api.values import Digest, Moment, moment


class PicturesQuery(PageQuery):
    """The kept pictures to list, and their order."""

    text: str = Field(
        default="",
        max_length=MAX_TEXT,
        pattern=r"^([^\x00-\x1f\x7f]{3,})?$",
        description="A part of the address, in any case, three characters at least.",
    )
    origin: str = Field(default="", max_length=2048, description="Scheme, host and port.")
    article: str = Field(default="", max_length=8192, description="The name of an article that shows it.")
    sha256: str = Field(
        default="",
        pattern="^[0-9a-fA-F]{0,64}$",
        description="The first digits of the digest of a version.",
    )
    since: str = Field(
        default="", max_length=40, description="Its current bytes arrived at or after this date."
    )
    before: str = Field(default="", max_length=40, description="Its current bytes arrived before this date.")
    state: PictureState = ""
    sort: Sorting = "age"


@dataclass(frozen=True, slots=True)
class PictureItem:
    """A kept picture. source: empty if its entry cannot be read; then `key` names the file. width, height: in pixels
    before orientation, 0 if unknown. failure: the kind of the last failure of its origin, empty after a success.
    articles: how many show it."""

    source: str
    key: Digest
    origin: str
    sha256: str
    bytes: int
    media_type: str
    width: int
    height: int
    fetched_at: Moment | None
    validated_at: Moment | None
    versions: int
    set_aside: int
    damaged: bool
    recovered: bool
    blocked: bool
    failure: str
    uses: int
    used_at: Moment | None
    articles: int

    @classmethod
    def of(cls, row: PictureRow) -> PictureItem:
        """Return the answer for a picture."""
        return cls(
            source=row.source, key=row.key, origin=row.origin, sha256=row.sha256, bytes=row.size,
            media_type=row.media_type, width=row.width, height=row.height, fetched_at=moment(row.fetched_at),
            validated_at=moment(row.validated_at), versions=row.versions, set_aside=row.set_aside,
            damaged=row.is_damaged, recovered=row.is_recovered, blocked=row.is_blocked, failure=row.failure,
            uses=row.uses, used_at=moment(row.used_at), articles=row.articles,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PicturesPage:
    """A page. total: of all pages, None if they are too many to count. complete: false while the catalogue is being
    made; pictures may then be absent."""

    items: list[PictureItem]
    next: str | None
    total: int | None
    complete: bool


async def list_pictures(call: Call[PicturesQuery, Nothing]) -> PicturesPage:
    """List the kept pictures that pass every filter: the newest, largest or most used first, or by address."""
    kept = call.context.kept
    search = PictureSearch(**call.query.model_dump(exclude={"limit"}))
    question = picture_question(search, most=call.query.limit)
    page = await asked(kept, lambda connection: questions.pictures(connection, question))
    return PicturesPage(
        list(map(PictureItem.of, page.rows)),
        next_pictures(page, question),
        page.total,
        await kept.catalogue.is_whole(),
    )
