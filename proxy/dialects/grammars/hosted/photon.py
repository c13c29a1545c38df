"""Addresses of Photon, WordPress.com's image service: `https://i0.wp.com/HOST/PATH?args`. Pure.

`ssl` with any value means that the origin speaks https. `q` holds the origin's query, escaped. The hosts i0 to i3 are
equivalent. Some addresses have a source with its scheme after the host.

    good   https://i2.wp.com/h.org/a.png?w=300&ssl=1     ->  https://h.org/a.png, width=300
    good   https://i0.wp.com/h.org/a?q=x%3D1%26y%3D2      ->  http://h.org/a?x=1&y=2
    bad    https://i0.wp.com/about                        ->  None
"""

from __future__ import annotations

import re
from urllib.parse import quote

from proxy.dialects.base.asked import (
    Options,
    Reader,
    asked,
    by_name,
    decimal,
    key,
    lost,
    nothing,
    number,
    pixels,
    quality,
    table,
    words,
)
from proxy.dialects.base.escapes import percent_decode
from proxy.dialects.base.grammar import Grammar, inside, split_query
from proxy.dialects.base.opened import ABSOLUTE, OpenedWrapper, query_items
from proxy.dialects.base.serving import Served, meeting, only, strictly, with_default_scheme
from proxy.errors import InvalidSource, InvalidTransform

HOSTS = ("i0.wp.com", "i1.wp.com", "i2.wp.com", "i3.wp.com")
_HOST_AND_PATH = re.compile(r"[^/.:][^/:]*\.[^/:]*[^/.:](?::[0-9]+)?/.")
_AREA = re.compile(r"([0-9]{1,5})(?:px)?[,x]([0-9]{1,5})(?:px)?")


def _area(**more: str) -> Reader:
    def read(text: str) -> Options | None:
        match = _AREA.fullmatch(text)
        if match is None:
            return None
        sides = {**(pixels("width")(match[1]) or {}), **(pixels("height")(match[2]) or {})}
        return sides | more

    return read


def _zoom(text: str) -> Options | None:
    # Photon rounds down to half steps below two, and to whole steps above.
    if not re.fullmatch(r"[0-9]{1,2}(?:\.[0-9]{1,4})?", text) or not 1 <= float(text) <= 8:
        return None
    zoom = float(text)
    return {"dpr": decimal(zoom // 0.5 / 2 if zoom < 2 else zoom // 1)}


KEYS = (
    key("w", pixels("width"), "300"),
    key("h", pixels("height"), "200"),
    key("resize", _area(fit="cover"), "300,200"),
    key("fit", _area(fit=""), "300,200", serve=_area(fit="scale-down")),
    key("lb", _area(fit="pad", background="#000000"), "300,200"),
    key("crop", lost, "0,0,50,50"),
    key("zoom", number("dpr", 1, 8), "2", serve=_zoom),
    key("quality", quality, "80"),
    key("strip", words("metadata", {"info": "", "all": "", "color": ""}), "all"),
    key("filter", table({"grayscale": {"saturation": "0"}, "greyscale": {"saturation": "0"}}), "grayscale"),
    key("brightness contrast smooth", lost, "40", serve=only("0", "")),
    key("ulb", lost, serve=only("0", "false", "")),
    key("colorize unfilter", lost, "40"),
    key("ssl q", nothing, serve=lambda _: {}),
)
_BY_NAME = by_name(KEYS)


def read(rest: str, site: str) -> OpenedWrapper | None:
    """Open `HOST/PATH?args`, or an address with its scheme."""
    path, query = split_query(rest)
    items = query_items(query)
    wanted = asked(items, _BY_NAME)
    if ABSOLUTE.match(path):
        return OpenedWrapper.of(inside(path), wanted)
    if not _HOST_AND_PATH.match(path):
        return None
    arguments = dict(items)
    scheme = "https" if "ssl" in arguments else "http"
    query = f"?{percent_decode(arguments['q'])}" if "q" in arguments else ""
    return OpenedWrapper.of(f"{scheme}://{path}{query}", wanted)


def serve(rest: str) -> Served:
    """Read `HOST/PATH?args`. Only one size is served; Photon would apply several in the order of the arguments.

    Raises:
        InvalidSource: there is no host.
        InvalidTransform: there are several sizes, or an argument cannot be served.
    """
    path, query = split_query(rest)
    items = query_items(query)
    arguments = dict(items)
    if ABSOLUTE.match(path):
        source = inside(path)
    else:
        found = with_default_scheme(path, "https" if "ssl" in arguments else "http")
        if found is None:
            raise InvalidSource("Write the host of the picture and its path: /photon/h.org/a.png?w=300")
        source = found
    source += f"?{percent_decode(arguments['q'])}" if "q" in arguments else ""
    sizes = {name for name in arguments if name in ("resize", "fit", "lb", "crop")}
    if len(sizes) > 1 or (sizes and arguments.keys() & {"w", "h"}):
        raise InvalidTransform("photon's sizes (w and h, resize, fit, lb) are served one at a time.")
    options, ignored = strictly("photon", items, _BY_NAME, others_ignored=True)
    if options.get("fit") == "cover" and "dpr" in options:
        # Photon does not zoom beyond the size of the original.
        options["upscale"] = "false"
    if options.get("fit", "scale-down") != "scale-down":
        return Served(source, options, ignored)
    return Served(source, meeting(options, fit="scale-down", enlarging=False), ignored)


def build(mount: str, source: str, options: Options) -> str:
    """Write a Photon address. The query of the source goes into `q`, which Photon accepts only for some hosts.

    Raises:
        InvalidTransform: the grammar cannot express an option.
    """
    options = dict(options)
    scheme, _, target = source.partition("://")
    path, mark, query = target.partition("?")
    arguments = ["ssl=1"] if scheme == "https" else []
    if mark:
        arguments.append(f"q={quote(query, safe='')}")
    width, height, fit = (options.pop(name, "") for name in ("width", "height", "fit"))
    if fit not in ("", "cover") or (fit and not (width and height)):
        raise InvalidTransform(f"photon cannot carry fit={fit}.")
    if width and height:
        arguments.append(f"{'resize' if fit else 'fit'}={width},{height}")
    else:
        arguments += [f"w={width}"] if width else [f"h={height}"] if height else []
    if value := options.pop("quality", ""):
        arguments.append(f"quality={value}")
    for name, value in options.items():
        raise InvalidTransform(f"photon cannot carry {name}={value}.")
    return f"{mount}/{path}" + (f"?{'&'.join(arguments)}" if arguments else "")


GRAMMAR = Grammar(
    "photon",
    read,
    KEYS,
    "https://i0.wp.com/h.org/a.png?w=9&h=9&{name}={value}",
    build,
    serve=serve,
    mount="/photon/",
    pictures_only=True,
    alone=("https://i0.wp.com/h.org/a.png?{name}={value}",),
)
