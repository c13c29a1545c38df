"""Turns requests to the desk and the API into questions for the catalogue. Pure.

Every text of a client passes through here, so that only the state of the catalogue can make a question fail.

    good   sha256=3f2a          since=2024-01-31          origin=https://host.example
    bad    sha256=3g            since=yesterday           origin=host
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar, get_args

from cache.catalogue.lists import ArticlePage, MissingRows
from cache.catalogue.questions import MAX_TEXT, MIN_TEXT, PicturePage, PictureQuestion, PictureState, Sorting
from proxy.errors import InvalidRequest, MirrorError
from proxy.services.desk.cursors import behind, cursor
from proxy.services.troubles.reasons import GROUPS
from proxy.services.upkeep.purging import moment_of, origin_named

T = TypeVar("T", bound=str)

SORTINGS: tuple[Sorting, ...] = get_args(Sorting)
STATES: tuple[PictureState, ...] = tuple(state for state in get_args(PictureState) if state)

_HEXADECIMAL = re.compile(r"[0-9a-f]{1,64}")
_CURSOR_KINDS: Mapping[Sorting, type[float] | type[int] | type[str]] = {
    "age": float, "size": int, "use": int, "address": str,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PictureSearch:
    """A client's search for kept pictures, as texts; an empty text selects all."""

    text: str = ""
    origin: str = ""
    article: str = ""
    sha256: str = ""
    since: str = ""
    before: str = ""
    state: str = ""
    sort: str = "age"
    after: str = ""


def picture_question(search: PictureSearch, *, most: int) -> PictureQuestion:
    """Return the question for one page.

    Raises:
        InvalidRequest: a value cannot be read; the message names it.
    """
    text = part_of_name(search.text, name="text")
    if text and len(text) < MIN_TEXT:
        raise InvalidRequest(f"text: {MIN_TEXT} characters at least.")
    sorting = _one_of(search.sort or "age", SORTINGS, name="sort")
    return PictureQuestion(
        text=text,
        origin=_origin(search.origin),
        article=search.article,
        sha256=_digest(search.sha256),
        since=_moment(search.since, name="since"),
        until=_moment(search.before, name="before"),
        state=_one_of(search.state, STATES, name="state") if search.state else "",
        sorting=sorting,
        after=_after_picture(search.after, sorting),
        most=most,
    )


def next_pictures(page: PicturePage, question: PictureQuestion) -> str | None:
    """Return the cursor of the page behind; None on the last one."""
    return None if page.after is None else cursor(f"pictures by {question.sorting}", *page.after)


def next_missing(page: MissingRows) -> str | None:
    """Return the cursor of the page behind; None on the last one."""
    return None if page.after is None else cursor("missing", page.after)


def behind_missing(text: str) -> str:
    """Return the address behind which a page of missing pictures begins.

    Raises:
        InvalidRequest: the cursor is not one of this list.
    """
    found = behind(text, "missing", str)
    return _ascii(str(found[0])) if found else ""


def next_articles(page: ArticlePage) -> str | None:
    """Return the cursor of the page behind; None on the last one."""
    return None if page.after is None else cursor("articles", page.after)


def behind_articles(text: str) -> str:
    """Return the name behind which a page of articles begins.

    Raises:
        InvalidRequest: the cursor is not one of this list.
    """
    found = behind(text, "articles", str)
    return str(found[0]) if found else ""


def reasons_of(group: str) -> frozenset[str] | None:
    """Return the reasons of a group of missing pictures; None for an empty text, which means all.

    Raises:
        InvalidRequest: there is no such group.
    """
    return GROUPS[_one_of(group, tuple(GROUPS), name="group")].reasons if group else None


def part_of_name(text: str, *, name: str) -> str:
    """Return a text to look for in names or addresses.

    Raises:
        InvalidRequest: it is too long, or no name can hold it.
    """
    if len(text) > MAX_TEXT:
        raise InvalidRequest(f"{name}: {MAX_TEXT} characters at most.")
    if not all(char == " " or char.isprintable() for char in text):
        raise InvalidRequest(f"{name}: no control characters and no lone surrogates.")
    return text


def _origin(text: str) -> str:
    try:
        return origin_named(text) if text else ""
    except MirrorError as error:
        raise InvalidRequest(f"origin: {error.message}") from error


def _digest(text: str) -> str:
    if text and not _HEXADECIMAL.fullmatch(text.lower()):
        raise InvalidRequest("sha256: the first digits of a SHA-256 in hexadecimal, 64 at most.")
    return text.lower()


def _moment(text: str, *, name: str) -> float | None:
    try:
        return moment_of(text, name=name) if text else None
    except ValueError as error:
        raise InvalidRequest(f"{error}") from error


def _after_picture(text: str, sorting: Sorting) -> tuple[float | str, int] | None:
    found = behind(text, f"pictures by {sorting}", _CURSOR_KINDS[sorting], int)
    if found is None:
        return None
    value, number = found
    return (_ascii(value) if isinstance(value, str) else value), int(number)


def _ascii(text: str) -> str:
    # Kept addresses are ASCII. SQLite cannot store half a character.
    if not text.isascii():
        raise InvalidRequest("after: this is not the `next` of a page of this list.")
    return text


def _one_of(text: str, known: tuple[T, ...], *, name: str) -> T:
    for one in known:
        if one == text:
            return one
    raise InvalidRequest(f"{name}: one of {', '.join(known)}.")
