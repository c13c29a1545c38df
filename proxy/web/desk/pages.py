"""Renders pages of the desk: the templates, the frame of every page, and the headers of an answer. Event loop.

Jinja2 escapes every value, so titles, file names and texts of origins cannot become markup.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jinja2
from aiohttp import web

from proxy.errors import MethodNotAllowed, MirrorError
from proxy.version import __version__
from proxy.web.connections.server import Request
from proxy.web.context import Context
from proxy.web.desk.guard import Visitor, new_nonce, policy_of_page, set_session
from proxy.web.desk.words import FILTERS

HOME = "/desk"
NAVIGATION: list[tuple[str, str, str]] = [
    (HOME, "Overview", "gauge"),
    ("/desk/pictures", "Pictures", "picture"),
    ("/desk/missing", "Missing", "missing"),
    ("/desk/articles", "Articles", "article"),
    ("/desk/jobs", "Jobs", "jobs"),
    ("/desk/playground", "Playground", "sliders"),
    ("/desk/presets", "Presets", "frames"),
]
"""Address, name and icon of each page in the navigation."""


@dataclass(frozen=True, slots=True)
class DeskRequest:
    """One request for a page of the desk.

    path: the path without a final slash. asked: the parameters of the query; of several with one name, the last.
    """

    context: Context
    request: Request
    target: str
    request_id: str
    visitor: Visitor
    path: str
    asked: Mapping[str, str]

    @classmethod
    def of(
        cls, context: Context, request: Request, target: str, request_id: str, visitor: Visitor
    ) -> DeskRequest:
        """Read the address of a request."""
        path, _, query = target.partition("?")
        asked = dict(parse_qsl(query, keep_blank_values=True, errors="surrogateescape"))
        return cls(context, request, target, request_id, visitor, path.rstrip("/"), asked)

    def text(self, name: str, *, most: int = 8192) -> str:
        """Return a parameter without spaces around it and without controls; empty when it is absent."""
        return "".join(c for c in self.asked.get(name, "") if c.isprintable()).strip()[:most]

    @property
    def next(self) -> str:
        """The address to go to after the sign-in: this page, with its parameters."""
        return own_address(self.target)


def own_address(text: str) -> str:
    """Return `text` if it is an address of the desk, else the desk's first page, so that nothing leads to another
    site."""
    plain = text.isascii() and text.isprintable() and not set(text) & set("\\\"'<> ")
    try:
        parts = urlsplit(text)
    except ValueError:
        return HOME
    inside = parts.path == HOME or parts.path.startswith(HOME + "/")
    return text if plain and inside and not parts.scheme and not parts.netloc and "/../" not in text else HOME


def page(desk: DeskRequest, template: str, *, title: str, status: int = 200, **values: Any) -> web.Response:
    """Return the answer with a page."""
    nonce = new_nonce()
    visitor = desk.visitor
    text = (
        environment()
        .get_template(template)
        .render(
            title=title,
            nonce=nonce,
            navigation=NAVIGATION,
            here=desk.path,
            visitor=visitor,
            may_sign_in=bool(desk.context.config.server.admin_token),
            version=__version__,
            request_id=desk.request_id,
            **values,
        )
    )
    response = web.Response(
        # Names of articles may hold bytes that are not UTF-8.
        body=text.encode("utf-8", "replace"),
        status=status,
        content_type="text/html",
        charset="utf-8",
        headers={**policy_of_page(nonce), "X-Request-Id": desk.request_id},
    )
    if visitor.is_new:
        set_session(response, visitor.session, over_https=visitor.over_https)
    return response


def error_page(desk: DeskRequest, error: MirrorError) -> web.Response:
    """Return the answer for an error, in the same frame as every page."""
    response = page(desk, "error.html", title="That did not work", status=error.status, error=error)
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = error.allow
    if seconds := getattr(error, "retry_after_seconds", None):
        response.headers["Retry-After"] = str(int(seconds))
    return response


def redirect(address: str) -> web.Response:
    """Return an answer that leads to another page of the desk, by GET (RFC 9110 §15.4.4)."""
    return web.Response(status=303, headers={"Location": own_address(address), "Cache-Control": "no-store"})


@functools.cache
def environment() -> jinja2.Environment:
    """Return the environment of the templates, compiled once per process."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("proxy.web.desk"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(FILTERS)
    return made
