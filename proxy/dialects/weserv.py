"""Addresses of weserv: `https://wsrv.nl/?url=<source>&w=…` (weserv/images, docs/dialects.md). Pure.

The value of `url` is decoded once; `ssl:host` means https, no scheme means http. The server ends the value at
the first `&`, so an inner `&` that is not encoded was never part of the source: what follows it are weserv's
own options when it knows the name, and otherwise nobody can tell.

    good   //wsrv.nl/?url=ssl:h/a.png&w=300             ->  https://h/a.png, width=300
    good   images.weserv.nl/?url=h/a.png?v=4&h=64       ->  http://h/a.png?v=4, height=64
    bad    wsrv.nl/?url=http://h/a.php?id=1&file=2      ->  whose is `file`?
"""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import quote

from proxy.dialects.asked import (
    Options,
    as_it_is,
    by_name,
    clockwise,
    colour,
    density,
    flag,
    key,
    lost,
    nothing,
    number,
    picture_format,
    pixels,
    place,
    quality,
    table,
    words,
)
from proxy.dialects.grammar import Grammar, named, split_query, worded, written
from proxy.dialects.opened import Opened, open_query, query_items
from proxy.source import looks_encoded

HOSTS = ("images.weserv.nl", "wsrv.nl", "www.wsrv.nl", "www.images.weserv.nl")

_FITS = {
    "inside": "", "fit": "", "fitup": "", "outside": "cover", "cover": "cover", "square": "cover",
    "squaredown": "cover", "fill": "squeeze", "absolute": "squeeze", "contain": "pad", "letterbox": "pad",
}  # fmt: skip
_FILTERS: dict[str, Options] = {"greyscale": {"saturation": "0"}, "none": {}}
KEYS = (
    key("w width", pixels("width"), "300"),
    key("h height", pixels("height"), "200"),
    key("dpr", density, "2"),
    key("fit t", words("fit", _FITS), "fill"),
    key("we", flag({"upscale": "false"})),
    key("a align", place, "top-left"),
    key("fpx fpy", lost, "0.5"),
    key("cx cy cw ch precrop crop", lost, "10"),
    key("trim", number("trim", 1, 254, whole=True), "10"),
    key("bg cbg", colour("background"), "fff"),
    key("flip", flag({"flip": "v"})),
    key("flop", flag({"flip": "h"})),
    key("ro or", clockwise, "90"),
    key("filt", table(_FILTERS), "greyscale"),
    key("sat", as_it_is("saturation"), "2"),
    key("gam", as_it_is("gamma"), "2"),
    key("blur", number("blur", 0.5, 250, whole=True), "5"),
    key("sharp", as_it_is("sharpen"), "2"),
    key("output", picture_format, "webp"),
    key("q quality", quality, "75"),
    key("l level ll lossless il af maxage default errorredirect filename encoding rbg", nothing),
    key("n", words("anim", {"-1": "", "1": "false"}), "1"),
    key("page pages loop delay fsol", lost),
    key("mask shape mtrim strim mbg tbg start stop con mod hue sharpf sharpj tint bri", lost, "circle"),
)
"""Names and synonyms (src/api/parsers/query.cpp)."""
_BY_NAME = by_name(KEYS)

_SCHEME = re.compile(r"https?:|[a-z][a-z0-9+.\-]*://", re.IGNORECASE)
_WRITERS = {
    "width": named("w"),
    "height": named("h"),
    "dpr": named("dpr"),
    "fit": worded("fit", {"cover": "cover", "squeeze": "fill", "pad": "contain"}),
    "upscale": worded("we", {"false": "1"}),
    "format": named("output"),
    "quality": named("q"),
}


def read(rest: str, site: str) -> Opened | None:
    """Open `?url=…`.

    Raises:
        AmbiguousWrapper: keys that are not weserv's behind a source that was not encoded.
    """
    path, query = split_query(rest)
    opened = None if path.strip("/") else open_query(query, "url", keys=_BY_NAME)
    if opened is None:
        return None
    target = with_scheme(opened.target)
    point = dict(query_items(query))
    if "fpx" in point and "fpy" in point and "gravity" not in opened.options and "fit" in opened.options:
        middle = place(f"{point['fpx']}x{point['fpy']}")
        if middle is not None:
            dropped = tuple(name for name in opened.dropped if name not in ("fpx", "fpy"))
            return Opened(target, opened.options | middle, dropped)
    return replace(opened, target=target)


def with_scheme(text: str) -> str:
    """Return the source with the scheme that weserv would fetch it by."""
    if _SCHEME.match(text) or looks_encoded(text):
        return text
    if text[:4].lower() == "ssl:":
        return "https://" + text[4:].lstrip("/")
    if text.startswith("//"):
        return "https:" + text
    return "http://" + text.lstrip("/")


def build(mount: str, source: str, options: Options) -> str:
    """Write an address of weserv."""
    return "&".join((f"{mount}/?url={quote(source, safe='')}", *written(options, _WRITERS, "weserv")))


GRAMMAR = Grammar(
    "weserv", read, KEYS, "https://wsrv.nl/?url=h.org%2Fa.png&w=9&h=9&fit=cover&{name}={value}", build
)
