"""Addresses of unjs/ipx, as in Nuxt's `/_ipx/MODS/ID` (ipx src/server.ts). Pure.

MODS are pairs joined by `,` or `&`. A name and its value are joined by `_`, `:` or `=`; `_` alone changes nothing. ID
is an escaped path or address. ipx ignores the query of the request, so the query of a source must be escaped into ID.

    good   /_ipx/w_300,f_webp/https://h/a.png              ->  https://h/a.png, width=300, format=webp
    good   /_ipx/s_300x200/https:%2F%2Fh%2Fa.png%3Fx=1      ->  https://h/a.png?x=1, cover
    bad    /_ipx/https://h/a.png                            ->  None: no modifiers
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

from proxy.dialects.base.asked import (
    AskedOptions,
    Options,
    as_it_is,
    asked,
    by_name,
    clockwise,
    colour,
    flag,
    key,
    lost,
    nothing,
    number,
    picture_format,
    pixels,
    place,
    quality,
    words,
)
from proxy.dialects.base.escapes import percent_decode
from proxy.dialects.base.grammar import Grammar, formatted, inside, named, split_query, worded, written
from proxy.dialects.base.opened import ABSOLUTE, OpenedWrapper
from proxy.dialects.base.serving import Served, meeting, relative, strictly
from proxy.errors import InvalidTransform

MOUNT = "/_ipx/"
_SEPARATOR = re.compile(r"[,&]")
_VALUE = re.compile(r"[_:=]")
_AREA = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
_SERVED_FITS = {"inside": "contain", "contain": "pad", "cover": "cover", "fill": "squeeze"}
_DOWN = {"pad": "pad-down", "squeeze": "squeeze-down"}
"""Without `enlarge`, ipx first shrinks the area proportionally until no side is longer than the picture's."""
_SIDES = ("h", "height", "resize", "s", "w", "width")
"""Options for the size, in the order in which ipx applies them. In sharp, a later resize replaces an earlier one."""
_FITS = {"inside": "scale-down", "contain": "pad", "cover": "cover", "fill": "squeeze", "outside": "cover"}


def _area(text: str) -> Options | None:
    match = _AREA.fullmatch(text)
    return {**(pixels("width")(match[1]) or {}), **(pixels("height")(match[2]) or {})} if match else None


KEYS = (
    key("w width", pixels("width"), "300"),
    key("h height", pixels("height"), "200"),
    key("s resize", _area, "300x200"),
    key("fit", words("fit", _FITS), "inside", serve=words("fit", _SERVED_FITS)),
    key("pos position", lambda text: place(text.replace("_", "-").replace(" ", "-")), "top"),
    key("f format", picture_format, "webp"),
    key("q quality", quality, "75"),
    key("rotate", clockwise, "90"),
    key("flip", flag({"flip": "v"}), "true"),
    key("flop", flag({"flip": "h"}), "true"),
    key("enlarge", flag({"upscale": "true"}), "true"),
    key("blur", number("blur", 0.5, 250, whole=True), "5"),
    key("sharpen", as_it_is("sharpen"), "2"),
    key("gamma", as_it_is("gamma"), "2"),
    key("grayscale", flag({"saturation": "0"}), "true"),
    key("trim", number("trim", 1, 255, whole=True), "10"),
    key("b background", colour("background"), "ff0000"),
    key("a animated", nothing, "true", serve=flag({"anim": "true"})),
    key("kernel _", nothing, "true"),
    key("extend extract crop median flatten unflatten negate normalize threshold modulate tint", lost, "10"),
    key("autoorient", nothing, "true"),
    key("dilate erode clahe linear recomb convolve opacity normalise greyscale", lost, "10"),
)
_BY_NAME = by_name(KEYS)
_WRITERS = {
    "width": named("w", "_"),
    "height": named("h", "_"),
    "fit": worded("fit", {"cover": "cover", "squeeze": "fill", "pad": "contain"}, "_"),
    "format": formatted("f", "_"),
    "quality": named("q", "_"),
}


def read(rest: str, site: str) -> OpenedWrapper | None:
    """Open `MODS/ID`; a path belongs to `site`."""
    path, _ = split_query(rest)
    mods, _, source = path.partition("/")
    if not mods or not source or ABSOLUTE.match(mods):
        return None
    source = percent_decode(source)
    if ABSOLUTE.match(source):
        # Some writers escape the source once more, together with the modifiers.
        source = percent_decode(source) if not source.lower().startswith(("http:", "https:")) else source
    elif site:
        source = f"{site}/{source.lstrip('/')}"
    else:
        return None
    # ipx enlarges only on request, and cuts the picture when both sides are given.
    start = AskedOptions({"fit": "cover", "upscale": "false"})
    return OpenedWrapper.of(source, asked(_pairs(percent_decode(mods)), _BY_NAME, start=start))


def _pairs(mods: str) -> Iterator[tuple[str, str]]:
    for item in _SEPARATOR.split(mods):
        name, *arguments = _VALUE.split(item)
        if name:
            yield name, "_".join(arguments) or "true"


def serve(rest: str) -> Served:
    """Read `MODS/ID`. When there are several sizes, only the last one that ipx applies has an effect, as in ipx.

    Raises:
        InvalidTransform: there are no modifiers, or one cannot be served.
        InvalidSource: the source is a path of the site.
    """
    path, _ = split_query(rest)
    mods, slash, source = path.partition("/")
    if not mods or not slash or ABSOLUTE.match(mods):
        raise InvalidTransform(
            "ipx' addresses have modifiers: /_ipx/w_300/https://h.org/a.png, or _ for none"
        )
    source = percent_decode(source)
    if not ABSOLUTE.match(source):
        raise relative("ipx")
    pairs = [] if mods == "_" else list(_pairs(percent_decode(mods)))
    sides = sorted({name for name, _ in pairs if name in _SIDES})
    options, ignored = strictly("ipx", [pair for pair in pairs if pair[0] not in sides[:-1]], _BY_NAME)
    asks = bool(options)
    fit, enlarging = options.pop("fit", "cover"), options.pop("upscale", "") == "true"
    options = meeting(options, fit=fit if enlarging else _DOWN.get(fit, fit), enlarging=enlarging)
    if not enlarging and options.get("fit") == "cover":
        options["upscale"] = "false"
    names = {name for name, _ in pairs}
    if asks and names & {"f", "format"} and "anim" not in options and options.get("format") != "gif":
        # sharp reads only the first frame unless told to read all.
        options["anim"] = "false"
    return Served(inside(source), options, (*sides[:-1], *ignored))


def build(mount: str, source: str, options: Options) -> str:
    """Write an ipx address."""
    options = dict(options)
    both, upscale = "width" in options and "height" in options, options.pop("upscale", "")
    inside = both and options.get("fit", "contain") == "contain"
    texts = ["fit_inside"] if inside else []
    if inside:
        options.pop("fit", None)
    if upscale == "true" or (both and not inside and upscale != "false"):
        texts.append("enlarge_true")
    if both:
        # With both `w` and `h`, ipx would apply only the later one.
        texts.append(f"s_{options.pop('width')}x{options.pop('height')}")
    texts += written(options, _WRITERS, "ipx")
    return f"{mount}{MOUNT}{','.join(texts) or '_'}/{quote(source, safe=':/')}"


GRAMMAR = Grammar(
    "ipx",
    read,
    KEYS,
    "https://s.org/_ipx/w_9,h_9,{name}_{value}/https://h.org/a.png",
    build,
    (MOUNT[1:],),
    serve=serve,
    mount=MOUNT,
    pictures_only=True,
    alone=(
        "https://s.org/_ipx/{name}_{value}/https://h.org/a.png",
        "https://s.org/_ipx/s_9x9,{name}_{value}/https://h.org/a.png",
    ),
)
