"""The two pages of cors-anywhere that name no source: the help page and `iscorsneeded`. Event loop."""

from __future__ import annotations

from aiohttp import web

from proxy.web.context import Context

_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "public, max-age=3600",
}
_HELP = """\
This service returns pictures of other sites with CORS headers, at the addresses of cors-anywhere.

/               this text
/iscorsneeded   says whether a page of this site needs such a proxy: no
/<address>      the picture at the address; without a scheme it is http, with port 443 https

Pictures are kept. Cookies, credentials and other methods than GET, HEAD and OPTIONS are not passed on.
"""


async def cors_help(_context: Context, _request: web.BaseRequest) -> web.Response:
    """Answer the help page."""
    return web.Response(text=_HELP, content_type="text/plain", headers=_HEADERS)


async def is_cors_needed(_context: Context, _request: web.BaseRequest) -> web.Response:
    """Answer "no", as cors-anywhere does, without any CORS header."""
    headers = {name: value for name, value in _HEADERS.items() if not name.startswith("Access-Control")}
    return web.Response(text="no", content_type="text/plain", headers=headers)
