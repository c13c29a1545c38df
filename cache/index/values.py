"""Values of the index: what can be asked, and the rows of the answers. Pure.

Times are Unix seconds. A cursor is an opaque text: the client returns it to get the next page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Row = TypeVar("Row")

State = Literal["kept", "damaged", "corrupt", "blocked"]
"""The state of a picture. The first that applies counts: `blocked` (refused for good, with or without bytes), `corrupt`
(the bytes on the disk are not those that were kept), `damaged` (the origin sent a damaged picture), `kept`."""

Group = Literal["gone", "refused", "not_now", "not_a_picture", "not_asked"]
"""Why a picture is missing. `not_asked`: an article shows it, and its origin was never asked."""

PictureSort = Literal["kept", "size", "used", "uses", "source"]
FailureSort = Literal["first_seen", "last_tried", "shown", "source"]
ArticleSort = Literal["name", "pictures", "missing", "bytes"]

STATES: tuple[State, ...] = ("kept", "damaged", "corrupt", "blocked")
GROUPS: tuple[Group, ...] = ("gone", "refused", "not_now", "not_a_picture", "not_asked")

MAX_LIMIT = 500
"""The most rows of one page."""


@dataclass(frozen=True, slots=True)
class Listing(Generic[Row]):
    """One page of a list.

    after: the cursor of the next page, None on the last one. A page may have fewer items than asked for, even none, and
    still have a cursor: a search looks at a bounded number of rows for each page. total: how many rows there are in all
    pages; if not `is_exact`, there are at least that many.
    """

    items: tuple[Row, ...]
    after: str | None = None
    total: int = 0
    is_exact: bool = True


@dataclass(frozen=True, slots=True)
class PictureQuery:
    """Which pictures to list, and in which order. Conditions that are None or empty do not limit.

    text: a part of the address, in any case. origin: `https://host[:port]`. article: a recorded name. digest: the
    SHA-256 of a current body, or at least four of its first digits. since, until: the moment at which the current bytes
    were fetched (not before, before). provenance: `origin`, or the word in `PictureRow.provenance`. after: the cursor
    of the page before.
    """

    text: str = ""
    origin: str = ""
    article: str = ""
    digest: str = ""
    state: State | None = None
    provenance: str = ""
    since: float | None = None
    until: float | None = None
    sort: PictureSort = "kept"
    descending: bool = True
    limit: int = 50
    after: str | None = None


@dataclass(frozen=True, slots=True)
class PictureRow:
    """A picture that is kept, or blocked.

    digest, media_type: empty if nothing is kept. bytes: of the current body. width, height: before EXIF orientation;
    None if unknown. provenance: `origin`, or where the bytes came from instead, as `recovered.from` of its entry says.
    kept_at: when the current bytes were fetched. changed_at: when the origin last confirmed or changed them.
    last_used: None if no variant was asked for since the index was made. uses: in how many hours variants were asked
    for, added up over the variants. articles: how many show it. versions: older bytes that are kept. failure: the code
    of the last failed refresh; empty if the last one succeeded.
    """

    source: str
    origin: str
    state: State
    digest: str = ""
    bytes: int = 0
    media_type: str = ""
    width: int | None = None
    height: int | None = None
    provenance: str = "origin"
    kept_at: float = 0.0
    changed_at: float = 0.0
    last_used: float | None = None
    uses: int = 0
    articles: int = 0
    versions: int = 0
    set_aside: int = 0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A place where an article shows a picture. lines: counted from 1, sorted; empty if they are not known. path: the
    file of the article when it was recorded; empty if unknown."""

    article: str
    lines: tuple[int, ...] = ()
    path: str = ""


@dataclass(frozen=True, slots=True)
class FailureQuery:
    """Which missing pictures to list.

    text, origin, article, after: as for `PictureQuery`. group: None for all. given_up: None for both. shown: only those
    that an article shows. kept: list the failed refreshes of kept pictures instead of missing pictures.
    """

    text: str = ""
    origin: str = ""
    article: str = ""
    group: Group | None = None
    given_up: bool | None = None
    shown: bool = True
    kept: bool = False
    sort: FailureSort = "first_seen"
    descending: bool = True
    limit: int = 50
    after: str | None = None


@dataclass(frozen=True, slots=True)
class FailureRow:
    """A picture that is wanted and not kept, or whose last refresh failed.

    code: an error code of docs/api.md; empty for `not_asked`. status: the origin's status, 0 without an answer. tries:
    failures in a row. first_seen: when it failed first, or for `not_asked` when the index first saw it in an article.
    last_tried: None for `not_asked`. shown: how many articles show it; places: those articles, at most `MAX_PLACES`.
    given_up: when the owner gave it up; None otherwise. note: what the owner noted.
    """

    source: str
    origin: str
    group: Group
    code: str = ""
    status: int = 0
    tries: int = 0
    first_seen: float = 0.0
    last_tried: float | None = None
    shown: int = 0
    places: tuple[Place, ...] = ()
    given_up: float | None = None
    note: str = ""
    kept: bool = False
    blocked: bool = False


MAX_PLACES = 20
"""The most articles that one row of a list names; `Index.places` returns all."""


@dataclass(frozen=True, slots=True)
class ArticleQuery:
    """Which articles to list. text: a part of the name. missing: only those of which a picture is missing."""

    text: str = ""
    missing: bool = False
    sort: ArticleSort = "name"
    descending: bool = False
    limit: int = 50
    after: str | None = None


@dataclass(frozen=True, slots=True)
class ArticleRow:
    """An article.

    pictures: sources that it shows. missing: those of them that are not kept. bytes_before: of the kept originals.
    bytes_after: of what a visitor gets instead, as the last `warm` measured for its best format; None if it was never
    measured, or not for every kept picture. date: when it was written; path: its file; None or empty if unknown.
    """

    name: str
    path: str = ""
    date: float | None = None
    pictures: int = 0
    missing: int = 0
    bytes_before: int = 0
    bytes_after: int | None = None


@dataclass(frozen=True, slots=True)
class OriginRow:
    """The figures of one origin: kept pictures with their bytes, older versions, those set aside, and missing pictures
    that articles show."""

    origin: str
    pictures: int = 0
    bytes: int = 0
    versions: int = 0
    version_bytes: int = 0
    set_aside: int = 0
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures for an overview. pictures: by state. bytes: of current bodies; equal bodies count once for each source.
    missing: pictures that articles show and that are not kept, by group; given_up: how many of them are given up."""

    pictures: Mapping[State, int]
    bytes: int = 0
    versions: int = 0
    recovered: int = 0
    missing: Mapping[Group, int] | None = None
    given_up: int = 0
    articles: int = 0
    origins: int = 0


@dataclass(frozen=True, slots=True)
class IndexState:
    """How far the index can be trusted.

    is_there: it can be asked at all. is_current: it shows everything that was kept up to a second ago. Otherwise it is
    being compared with the store, `done` of 1.0 so far, and answers from what it has. reason: why it is not there, in
    words; empty otherwise.
    """

    is_there: bool
    is_current: bool = False
    done: float = 1.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FailureSeen:
    """A failure to report. code: an error code of docs/api.md. group: never `not_asked`. at: Unix seconds."""

    source: str
    code: str
    group: Group
    at: float
    status: int = 0
