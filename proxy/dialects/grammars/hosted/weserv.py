"""Addresses of weserv: `https://wsrv.nl/?url=<source>&w=…` (weserv/images, docs/dialects.md). Pure.

The value of `url` is decoded once. `ssl:host` means https; no scheme means http. The server ends the value at the first
`&`, so an unencoded `&` was never part of the source that weserv fetched. A key after it is weserv's own option when
weserv knows the name; otherwise the address is ambiguous.

    good   //wsrv.nl/?url=ssl:h/a.png&w=300             ->  https://h/a.png, width=300
    good   images.weserv.nl/?url=h/a.png?v=4&h=64       ->  http://h/a.png?v=4, height=64
    bad    wsrv.nl/?url=http://h/a.php?id=1&file=2      ->  AmbiguousWrapper: whose is `file`?
"""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import quote

from proxy.dialects.base.asked import (
    Options,
    as_it_is,
    by_name,
    clockwise,
    colour,
    density,
    flag,
    focus,
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
from proxy.dialects.base.grammar import Grammar, formatted, named, split_query, worded, written
from proxy.dialects.base.opened import OpenedWrapper, open_query, query_items
from proxy.dialects.base.serving import (
    Served,
    meeting,
    relative,
    strictly,
    turned_first,
    unreadable,
    with_default_scheme,
)
from proxy.errors import InvalidSource
from proxy.source import looks_encoded

HOSTS = ("images.weserv.nl", "wsrv.nl", "www.wsrv.nl", "www.images.weserv.nl")

_FITS = {
    "inside": "", "fit": "", "fitup": "", "outside": "cover", "cover": "cover", "square": "cover",
    "squaredown": "cover", "fill": "squeeze", "absolute": "squeeze", "contain": "pad", "letterbox": "pad",
}  # fmt: skip
_FILTERS: dict[str, Options] = {"greyscale": {"saturation": "0"}, "none": {}}
_DOWN = {"cover": "cover-down", "squeeze": "squeeze", "pad": "pad"}
_SERVED_FITS: dict[str, Options] = {
    "inside": {"fit": "contain"},
    "fitup": {"fit": "contain"},
    "fit": {"fit": "contain", "upscale": "false"},
    "cover": {"fit": "cover"},
    "square": {"fit": "cover"},
    "squaredown": {"fit": "cover", "upscale": "false"},
    "fill": {"fit": "squeeze"},
    "absolute": {"fit": "squeeze"},
    "contain": {"fit": "pad"},
    "letterbox": {"fit": "pad"},
}
"""The older names `fit` and `squaredown` imply `we` (query.cpp)."""


def _align(text: str) -> Options | None:
    return {"gravity": "focal"} if text == "focal" else place(text)


def _share(text: str) -> Options | None:
    return {} if focus(text, text) else None


KEYS = (
    key("w width", pixels("width"), "300"),
    key("h height", pixels("height"), "200"),
    key("dpr", density, "2"),
    key("fit t", words("fit", _FITS), "fill", serve=table(_SERVED_FITS)),
    key("we", flag({"upscale": "false"})),
    key("a align", place, "top-left", serve=_align),
    key("fpx fpy", lost, "0.5", serve=_share),
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
    key("l level ll lossless il af maxage default errorredirect filename rbg", nothing),
    key("encoding", nothing, "base64", serve=lost),
    key("n", words("anim", {"-1": "", "1": "false"}), "1", serve=words("anim", {"-1": "true", "1": "false"})),
    key("pages", lost, serve=words("anim", {"-1": "true", "1": "false"})),
    key("page loop delay fsol", lost),
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
    "format": formatted("output"),
    "quality": named("q"),
}


def read(rest: str, site: str) -> OpenedWrapper | None:
    """Open `?url=…`.

    Raises:
        AmbiguousWrapper: after a source that was not encoded, there are keys that weserv does not know.
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
            return OpenedWrapper(target, opened.options | middle, dropped)
    return replace(opened, target=target)


def serve(rest: str) -> Served:
    """Read `?url=…&options`.

    weserv enlarges unless `we` is given, and shows only the first frame of an animation unless `n=-1` is given.
    """
    path, query = split_query(rest)
    items = query_items(query)
    if path.strip("/") or not any(name == "url" for name, _ in items):
        raise InvalidSource("Write the picture's address in weserv's form: ?url=h.org%2Fa.png&w=300")
    opened = open_query(query, "url", keys=_BY_NAME)
    if opened is None or len(opened.target) < 4:
        raise InvalidSource("The address after url= is too short.")
    target = with_scheme(opened.target)
    if target.startswith("http://") and not opened.target.lower().startswith("http:"):
        target = with_default_scheme(opened.target, "http") or ""
    if not target:
        raise relative("weserv")
    others = [(name, value) for name, value in items if name != "url"]
    options, ignored = strictly("weserv", others, _BY_NAME, others_ignored=True)
    asks = bool(options)
    fit, enlarging = options.pop("fit", "contain"), options.pop("upscale", "") != "false"
    if options.get("gravity") == "focal":
        point = {"fpx": "0.5", "fpy": "0.5"} | dict(others)
        options |= focus(point["fpx"], point["fpy"]) or {}
    if "dpr" in options and not ("width" in options or "height" in options):
        raise unreadable("weserv", "dpr", "a value without w or h")
    options = meeting(options, fit=fit if enlarging else _DOWN.get(fit, fit), enlarging=enlarging)
    if not enlarging and options.get("fit") in ("squeeze", "pad"):
        options["upscale"] = "false"
    # A request without options gets the original, with all its frames.
    still = {} if options.get("anim") == "true" or not asks else {"anim": "false"}
    return Served(target, turned_first(options) | still, ignored)


def with_scheme(text: str) -> str:
    """Return the source with the scheme that weserv would use to fetch it."""
    if _SCHEME.match(text) or looks_encoded(text):
        return text
    if text[:4].lower() == "ssl:":
        return "https://" + text[4:].lstrip("/")
    if text.startswith("//"):
        return "https:" + text
    return "http://" + text.lstrip("/")


def build(mount: str, source: str, options: Options) -> str:
    """Write a weserv address. weserv enlarges unless told not to."""
    options = dict(options)
    if ("width" in options or "height" in options) and "fit" not in options:
        options["upscale"] = "false"
    return "&".join((f"{mount}/?url={quote(source, safe='')}", *written(options, _WRITERS, "weserv")))


GRAMMAR = Grammar(
    "weserv",
    read,
    KEYS,
    "https://wsrv.nl/?url=h.org%2Fa.png&w=9&h=9&fit=cover&{name}={value}",
    build,
    serve=serve,
    mount="/wsrv/",
    pictures_only=True,
)
