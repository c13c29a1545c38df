"""The door of the desk: finds the page of an address, lets visitors in, and shows errors as pages. Event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from importlib.resources import files
from urllib.parse import urlencode

from aiohttp import hdrs, web

from cache.base.errors import CacheError
from proxy.errors import MethodNotAllowed, MirrorError, NotFound, Unauthorized
from proxy.services.desk.sessions import TooManyGuesses, WrongToken
from proxy.web.connections.clients import bucket_of, client_address
from proxy.web.connections.server import Request
from proxy.web.context import Context
from proxy.web.desk.forms import read_form
from proxy.web.desk.guard import forget_session, set_session, visitor_of
from proxy.web.desk.pages import HOME, DeskRequest, error_page, own_address, page, redirect
from proxy.web.desk.views.actions import ACTIONS, PICTURE, act, confirm, upload
from proxy.web.desk.views.articles import ARTICLES, article, articles
from proxy.web.desk.views.jobs import JOBS_PAGE, job_events, jobs, start, stop
from proxy.web.desk.views.missing import MISSING, missing, missing_as_csv
from proxy.web.desk.views.overview import overview
from proxy.web.desk.views.picture import archive, picture
from proxy.web.desk.views.pictures import PICTURES, pictures
from proxy.web.desk.views.playground import playground, presets
from proxy.web.errors import store_refused

log = logging.getLogger(__name__)

View = Callable[[DeskRequest], Awaitable[web.StreamResponse]]

SIGN_IN = HOME + "/sign-in"

_STATIC = {"desk.css": "text/css", "desk.js": "text/javascript", "icon.svg": "image/svg+xml"}
_STATIC_HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}


def is_desk(path: str) -> bool:
    """Return whether a path belongs to the desk."""
    return path == HOME or path.startswith(HOME + "/")


async def answer_desk(context: Context, request: Request, target: str, request_id: str) -> web.StreamResponse:
    """Answer one request to the desk. `target` is in origin-form.

    Raises:
        MirrorError, CacheError: the client does not read HTML.
    """
    request.route = HOME
    path = target.partition("?")[0]
    if path.startswith(HOME + "/static/"):
        return _static(path.removeprefix(HOME + "/static/"), request.method)
    desk = DeskRequest.of(context, request, target, request_id, await visitor_of(context, request))
    try:
        return await _answered(desk)
    except ConnectionError:
        raise
    except (MirrorError, CacheError) as error:
        if not _reads_html(request):
            raise
        return _shown(desk, error)
    except OSError as error:
        if not _reads_html(request):
            raise store_refused(error) from error
        return _shown(desk, store_refused(error))


async def _answered(desk: DeskRequest) -> web.StreamResponse:
    view = _views().get((desk.request.method.replace("HEAD", "GET"), desk.path))
    if view is None:
        known = sorted(method for method, path in _views() if path == desk.path)
        if not known:
            raise NotFound
        error = MethodNotAllowed()
        error.allow = ", ".join(known)
        raise error
    if desk.request.method != "POST" and desk.path != SIGN_IN and not desk.visitor.may_look:
        return _to_sign_in(desk)
    return await view(desk)


def _to_sign_in(desk: DeskRequest) -> web.Response:
    """Return an answer that leads a browser to the form and from there back to the asked address.

    Raises:
        Unauthorized: the client does not read HTML.
    """
    if not _reads_html(desk.request):
        raise Unauthorized
    return redirect(f"{SIGN_IN}?{urlencode({'next': desk.next})}")


def _reads_html(request: web.BaseRequest) -> bool:
    return "text/html" in request.headers.get(hdrs.ACCEPT, "")


def _shown(desk: DeskRequest, error: MirrorError | CacheError) -> web.Response:
    if not isinstance(error, MirrorError):
        error = store_refused(error)
    fields = {"request": desk.request_id, "code": error.code, "page": desk.path, "detail": error.detail}
    level = logging.WARNING if error.status >= 500 else logging.INFO
    log.log(level, "a page of the desk failed", extra={"fields": fields})
    desk.context.metrics.errors.labels(error.code).inc()
    if isinstance(error, Unauthorized):
        return sign_in_page(desk, status=error.status, next_address=HOME, problem=error.message)
    return error_page(desk, error)


async def _sign_in_form(desk: DeskRequest) -> web.StreamResponse:
    next_address = own_address(desk.text("next") or HOME)
    return redirect(next_address) if desk.visitor.may_act else sign_in_page(desk, next_address=next_address)


async def _sign_in(desk: DeskRequest) -> web.StreamResponse:
    """Compare the token, and begin a session with a new id. An id that the browser had before becomes worthless."""
    form = await read_form(desk, signed_in=False)
    config, visitor = desk.context.config.server, desk.visitor
    address = client_address(desk.request.remote, desk.request.headers, config.trusted_proxies)
    next_address = own_address(form.get("next", HOME))
    try:
        session = await asyncio.to_thread(
            desk.context.sessions.sign_in,
            form.get("token", ""),
            token=config.admin_token,
            client=bucket_of(address),
            before=visitor.session,
            now=desk.context.now(),
        )
    except (WrongToken, TooManyGuesses) as error:
        fields = {"client": str(address or ""), "code": error.code, "request": desk.request_id}
        log.warning("sign-in to the desk was refused", extra={"fields": fields})
        desk.context.metrics.errors.labels(error.code).inc()
        response = sign_in_page(desk, status=error.status, next_address=next_address, problem=error.message)
        if isinstance(error, TooManyGuesses):
            response.headers["Retry-After"] = str(error.retry_after_seconds)
        return response
    response = redirect(next_address)
    set_session(response, session, over_https=visitor.over_https)
    return response


async def _sign_out(desk: DeskRequest) -> web.StreamResponse:
    await read_form(desk)
    context, visitor = desk.context, desk.visitor
    await asyncio.to_thread(
        context.sessions.sign_out, visitor.session, token=context.config.server.admin_token, now=context.now()
    )
    response = redirect(SIGN_IN)
    forget_session(response, over_https=visitor.over_https)
    return response


def sign_in_page(
    desk: DeskRequest, *, status: int = 200, next_address: str = HOME, problem: str = ""
) -> web.Response:
    """Return the page with the form for the token, or with instructions when no token is configured."""
    return page(
        desk,
        "sign_in.html",
        title="Sign in",
        status=status,
        next_address=next_address,
        problem=problem,
        is_plain=not desk.visitor.over_https and not desk.context.config.on_loopback,
    )


@cache
def _views() -> Mapping[tuple[str, str], View]:
    return {
        ("GET", HOME): overview,
        ("GET", SIGN_IN): _sign_in_form,
        ("POST", SIGN_IN): _sign_in,
        ("POST", HOME + "/sign-out"): _sign_out,
        ("GET", MISSING): missing,
        ("GET", MISSING + ".csv"): missing_as_csv,
        ("GET", ARTICLES): articles,
        ("GET", HOME + "/article"): article,
        ("GET", PICTURES): pictures,
        ("GET", PICTURE): picture,
        ("GET", PICTURE + "/archive"): archive,
        ("GET", PICTURE + "/confirm"): confirm,
        ("POST", PICTURE + "/upload"): upload,
        **{("POST", f"{PICTURE}/{name}"): act for name in ACTIONS},
        ("GET", JOBS_PAGE): jobs,
        ("GET", JOBS_PAGE + "/events"): job_events,
        ("POST", JOBS_PAGE + "/start"): start,
        ("POST", JOBS_PAGE + "/stop"): stop,
        ("GET", HOME + "/playground"): playground,
        ("GET", HOME + "/presets"): presets,
    }


def _static(name: str, method: str) -> web.Response:
    if name not in _STATIC:
        raise NotFound
    if method not in {"GET", "HEAD"}:
        raise MethodNotAllowed
    return web.Response(
        text=_static_text(name), content_type=_STATIC[name], charset="utf-8", headers=_STATIC_HEADERS
    )


@cache
def _static_text(name: str) -> str:
    return (files("proxy.web.desk") / "static" / name).read_text(encoding="utf-8")
