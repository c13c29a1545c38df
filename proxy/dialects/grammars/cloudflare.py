"""Addresses of Cloudflare Images: `https://ZONE/cdn-cgi/image/K=V,K=V/SOURCE` (transform via URL). Pure.

SOURCE is a path of the same zone, or an absolute address, written plainly with its query or escaped as a whole.
Our own options follow Cloudflare's, so nearly all of them have the same meaning.

    good   /cdn-cgi/image/width=700/https://h/a.png?v=1     ->  https://h/a.png?v=1, width=700
    good   /cdn-cgi/image/width=600/uploads/x.png           ->  the zone's /uploads/x.png
    bad    /cdn-cgi/image/https://h/a.png                   ->  None: no options
"""

from __future__ import annotations

import re
from urllib.parse import quote

from proxy.dialects.base.asked import (
    Options,
    as_it_is,
    asked,
    by_name,
    density,
    key,
    lost,
    nothing,
    number,
    picture_format,
    pixels,
    place,
    quality,
    table,
)
from proxy.dialects.base.grammar import Grammar, formatted, inside, named, split_list, written
from proxy.dialects.base.opened import ABSOLUTE, OpenedWrapper
from proxy.dialects.base.serving import Served, relative, strictly
from proxy.errors import InvalidTransform

MOUNT = "/cdn-cgi/image/"
_OPTIONS = re.compile(r"([A-Za-z][A-Za-z._-]*(?:=|%3D)[^/?#]*)/(?=[^?#])", re.IGNORECASE)
_FITS: dict[str, Options] = {
    **{name: {"fit": name} for name in ("scale-down", "contain", "cover", "crop", "pad", "squeeze")},
    "aspect-crop": {"fit": "cover", "upscale": "false"},
}
_WORDS = {"high": "90", "medium-high": "80", "medium-low": "65", "low": "50"}


def _quality(text: str) -> Options | None:
    return quality(_WORDS.get(text, text))


def _width(text: str) -> Options | None:
    # As in our own addresses, `auto` means the browser's width when client hints are enabled.
    return {"width": "auto"} if text == "auto" else pixels("width")(text)


KEYS = (
    key("width w", pixels("width"), "300", serve=_width),
    key("height h", pixels("height"), "200"),
    key("dpr", density, "2"),
    key("fit", table(_FITS), "pad"),
    key("gravity g", place, "0.5x0.2"),
    key("quality q", _quality, "75"),
    key("format f", picture_format, "webp"),
    key("anim", as_it_is("anim"), "false"),
    key("background", as_it_is("background"), "%23ff0000"),
    key("blur", number("blur", 0, 250, whole=True), "20"),
    key("sharpen", as_it_is("sharpen"), "1"),
    key("brightness", as_it_is("brightness"), "0.5"),
    key("contrast", as_it_is("contrast"), "0.5"),
    key("saturation", as_it_is("saturation"), "0.5"),
    key("gamma", as_it_is("gamma"), "0.5"),
    key("rotate", as_it_is("rotate"), "90"),
    key("flip", as_it_is("flip"), "h"),
    key("trim", as_it_is("trim"), "20;30;20;0"),
    key("metadata", as_it_is("metadata"), "keep"),
    key("onerror", as_it_is("onerror"), "redirect"),
    key("slow-connection-quality scq", as_it_is("slow-connection-quality"), "50"),
    key("compression", nothing, "fast"),
    key("border zoom segment upscale", lost, "0.5"),
)
_BY_NAME = by_name(KEYS)
_WRITERS = {item.names[0]: named(item.names[0]) for item in KEYS if item.read not in (lost, nothing)}
_WRITERS["format"] = formatted("format")


def read(rest: str, site: str) -> OpenedWrapper | None:
    """Open `OPTIONS/SOURCE`; a path belongs to `site`."""
    match = _OPTIONS.match(rest)
    if match is None:
        return None
    source = rest[match.end() :]
    if not ABSOLUTE.match(source):
        if not site:
            return None
        source = f"{site}/{source.lstrip('/')}"
    pairs = (item.partition("=")[::2] for item in split_list(match[1].replace("%3D", "=")))
    return OpenedWrapper.of(inside(source), asked(pairs, _BY_NAME))


def serve(rest: str) -> Served:
    """Read `OPTIONS/SOURCE`: our own options, a few of them by Cloudflare's names.

    Raises:
        InvalidTransform: there are no options, or one cannot be served.
        InvalidSource: the source is a path of the zone.
    """
    match = _OPTIONS.match(rest)
    if match is None:
        raise InvalidTransform(
            "Cloudflare's addresses have options: /cdn-cgi/image/width=300/https://h.org/a.png"
        )
    source = rest[match.end() :]
    if not ABSOLUTE.match(source):
        raise relative("Cloudflare")
    pairs = [item.partition("=")[::2] for item in split_list(match[1].replace("%3D", "="))]
    options, ignored = strictly("Cloudflare", pairs, _BY_NAME)
    return Served(inside(source), options or {"format": "auto"}, ignored)


def build(mount: str, source: str, options: Options) -> str:
    """Write a Cloudflare address."""
    options = dict(options)
    if (options.get("fit"), options.get("upscale")) == ("cover", "false"):
        options["fit"] = "aspect-crop"
        del options["upscale"]
    escaped = {name: quote(value, safe=";()") for name, value in options.items()}
    texts = written(escaped, _WRITERS, "cloudflare") or ["format=auto"]
    return f"{mount}{MOUNT}{','.join(texts)}/{source}"


GRAMMAR = Grammar(
    "cloudflare",
    read,
    KEYS,
    "https://z.org/cdn-cgi/image/width=9,height=9,fit=cover,{name}={value}/https://h.org/a.png",
    build,
    (MOUNT[1:],),
    serve=serve,
    mount=MOUNT,
    pictures_only=True,
)
