"""Decides who may see and use the desk, and which requests really come from its own pages. Event loop.

The session is in a cookie. Over https its name begins with `__Host-`, so neither another host nor a plain connection
can set it. Over plain http browsers refuse such a cookie, so it has another name there, which is never accepted over
https (docs/decisions/0038-desk.md).
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from proxy.errors import RequestError, Unauthorized
from proxy.services.desk.sessions import SESSION_SECONDS, form_token, is_form_token, new_session_id
from proxy.web.admin import require_admin
from proxy.web.connections.clients import is_trusted_peer
from proxy.web.context import Context

SECURE_COOKIE = "__Host-imgmirror"
PLAIN_COOKIE = "imgmirror-desk"
FORM_FIELD = "form_token"

_MAX_SESSION_LENGTH = 128


class ForeignForm(RequestError):
    """A request that changes something does not come from a page of the desk."""

    code, status = "invalid_request", 400
    public_message = "This form does not come from the desk, or its page is too old. Open the page again."


@dataclass(frozen=True, slots=True)
class Visitor:
    """A visitor of the desk.

    session: the id in the cookie, or a new one that stands for no session yet; forms need one before the sign-in, too.
    is_new: whether the browser must be told the id. may_act: whether the visitor has signed in. may_look: whether pages
    may be shown. over_https: whether the browser reached us by https.
    """

    session: str
    is_new: bool
    may_act: bool
    may_look: bool
    over_https: bool

    @property
    def form_token(self) -> str:
        """The text that forms of this visitor carry."""
        return form_token(self.session)


async def visitor_of(context: Context, request: web.BaseRequest) -> Visitor:
    """Return the visitor of a request. Reads the file of sessions in a thread."""
    over_https = is_over_https(context, request)
    given = request.cookies.get(_cookie_name(over_https), "")
    session = given if 0 < len(given) <= _MAX_SESSION_LENGTH and given.isascii() else ""
    token = context.config.server.admin_token
    is_open = bool(session and token) and await asyncio.to_thread(
        context.sessions.is_open, session, token=token, now=context.now()
    )
    return Visitor(
        session or new_session_id(),
        is_new=not session,
        may_act=is_open,
        may_look=is_open or _is_this_machine(context, request),
        over_https=over_https,
    )


def require_own_form(request: web.BaseRequest, visitor: Visitor, given: str, *, public_url: str) -> None:
    """Let a request that changes something pass, or raise.

    Its page must be ours, as far as the browser says (`Origin`, Fetch Metadata), and it must carry the form token of
    the visitor's session.

    Raises:
        ForeignForm: another site may have made the request.
    """
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise ForeignForm(detail="Sec-Fetch-Site names another site")
    origin = request.headers.get("Origin")
    if origin is not None and not _is_ours(origin, request, public_url):
        raise ForeignForm(detail=f"Origin is {origin[:200]!r}")
    if visitor.is_new or not is_form_token(given, visitor.session):
        raise ForeignForm(detail="the form token does not belong to the session")


def is_over_https(context: Context, request: web.BaseRequest) -> bool:
    """Return whether the browser reached us by https: `server.public_url` or a trusted proxy says so."""
    config = context.config.server
    if config.public_url.lower().startswith("https://"):
        return True
    if not is_trusted_peer(request.remote, config.trusted_proxies):
        return False
    said = request.headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip().lower()
    forwarded = request.headers.get("Forwarded", "").rpartition(",")[2].lower().replace('"', "")
    return said == "https" or "proto=https" in [part.strip() for part in forwarded.split(";")]


def set_session(response: web.StreamResponse, session: str, *, over_https: bool) -> None:
    """Give the browser the id of its session."""
    response.set_cookie(
        _cookie_name(over_https),
        session,
        max_age=int(SESSION_SECONDS),
        path="/" if over_https else "/desk",
        secure=over_https,
        httponly=True,
        samesite="Strict",
    )


def forget_session(response: web.StreamResponse, *, over_https: bool) -> None:
    """Make the browser forget its session."""
    path = "/" if over_https else "/desk"
    response.del_cookie(
        _cookie_name(over_https), path=path, secure=over_https, httponly=True, samesite="Strict"
    )


def policy_of_page(nonce: str) -> dict[str, str]:
    """Return the headers of a page.

    Scripts and styles need the nonce of this answer. `'self'` would admit every script and style sheet that is mirrored
    on the same origin.
    """
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self'; "
            "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        ),
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        # With `no-referrer`, browsers send `Origin: null` with forms.
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "X-Robots-Tag": "noindex, nofollow",
        "Cache-Control": "no-store",
        "Vary": "Cookie",
    }


def new_nonce() -> str:
    """Return a nonce for one answer."""
    return secrets.token_urlsafe(18)


def _cookie_name(over_https: bool) -> str:
    return SECURE_COOKIE if over_https else PLAIN_COOKIE


def _is_this_machine(context: Context, request: web.BaseRequest) -> bool:
    """Return whether the visitor may look without a token, like at the other administrative addresses."""
    if context.config.server.admin_token:
        return False
    try:
        require_admin(request, context.config.server)
    except Unauthorized:
        return False
    return True


def _is_ours(origin: str, request: web.BaseRequest, public_url: str) -> bool:
    try:
        given, ours = urlsplit(origin), urlsplit(public_url)
    except ValueError:
        return False
    if public_url and (given.scheme, given.netloc.lower()) == (ours.scheme, ours.netloc.lower()):
        return True
    return bool(given.netloc) and given.netloc.lower() == request.headers.get("Host", "").lower()
