"""Shared code of the desk's lists: a page without an answer says why, and keeps its form. Event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from aiohttp import web

from proxy.errors import InvalidRequest, MirrorError
from proxy.services.desk.asking import CatalogueNotReady, TooBroad
from proxy.web.desk.pages import DeskRequest, page

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Listed(Generic[R]):
    """The answer to a list, or the reason why there is none. is_whole: False while the catalogue is being made."""

    answer: R | None
    problem: MirrorError | None
    is_whole: bool


async def listed(desk: DeskRequest, answer: Awaitable[R]) -> Listed[R]:
    """Wait for the answer to a list. An invalid search and a catalogue that is not ready do not lead to an error page:
    the form stays, and the page says what to do."""
    try:
        found = await answer
    except (InvalidRequest, CatalogueNotReady, TooBroad) as error:
        return Listed(None, error, is_whole=True)
    return Listed(found, None, is_whole=await desk.context.kept.catalogue.is_whole())


def list_page(
    desk: DeskRequest, template: str, listed: Listed[Any], *, title: str, **values: Any
) -> web.Response:
    """Return the answer with a list, or with the problem."""
    problem = listed.problem
    response = page(
        desk,
        template,
        title=title,
        status=problem.status if problem else 200,
        problem=problem,
        is_whole=listed.is_whole,
        **values,
    )
    if seconds := getattr(problem, "retry_after_seconds", None):
        response.headers["Retry-After"] = str(int(seconds))
    return response


def address_of(path: str, parameters: Mapping[str, str]) -> str:
    """Return an address of the desk. Empty parameters are left out; names of articles may hold any bytes."""
    given = {name: value for name, value in parameters.items() if value}
    query = urlencode(given, encoding="utf-8", errors="surrogateescape") if given else ""
    return f"{path}?{query}" if query else path
