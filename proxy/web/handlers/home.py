"""`/`: a page for people, rendered from one template. A script on it reads its figures from `/readyz`. Event loop."""

from __future__ import annotations

import functools
from importlib.resources import files

import jinja2
from aiohttp import web

from proxy.version import __version__
from proxy.web.context import Context

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(loader=jinja2.PackageLoader("proxy.web"), autoescape=True)


@functools.cache
def _script() -> str:
    return (files("proxy.web") / "static" / "home.js").read_text(encoding="utf-8")


async def script(_context: Context, _request: web.BaseRequest) -> web.Response:
    """Answer the script of the page."""
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    return web.Response(text=_script(), content_type="text/javascript", headers=headers)


async def home(context: Context, _request: web.BaseRequest) -> web.Response:
    """Answer the page that introduces the service and lets people try an address."""
    page = (
        _environment().get_template("home.html").render(version=__version__, presets=context.config.presets)
    )
    return web.Response(text=page, content_type="text/html", headers=_HEADERS)
