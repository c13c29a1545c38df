"""Addresses of the image endpoints of web frameworks and their hosts: a source and a few options in a query. Pure.

`/_next/image?url=&w=&q=`, `/_vercel/image?url=`, `/.netlify/images?url=&w=&h=&fit=`, Astro's `/_image?href=`. The
source is encoded like any query value. A source that is a path belongs to the site.

    good   /_next/image?url=https%3A%2F%2Fh%2Fa.png&w=640&q=75     ->  https://h/a.png, width=640, quality=75
    good   /_next/image?url=%2Fa.png&w=640                         ->  the site's /a.png
    bad    /_next/image?w=640                                      ->  None
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote

from proxy.dialects.base.asked import (
    OptionKey,
    Options,
    by_name,
    density,
    key,
    nothing,
    picture_format,
    pixels,
    place,
    quality,
    words,
)
from proxy.dialects.base.grammar import (
    Build,
    Grammar,
    Read,
    formatted,
    inside,
    named,
    split_query,
    worded,
    written,
)
from proxy.dialects.base.opened import ABSOLUTE, OpenedWrapper, open_query, query_items
from proxy.dialects.base.serving import Served, relative, strictly
from proxy.errors import InvalidRequest, InvalidTransform

FORM = re.compile(r"(?:/[^/?#]+)*?(?P<mount>/_next/image|/_vercel/image|/\.netlify/images|/_image)/?")

_WIDTH, _QUALITY = key("w", pixels("width"), "640"), key("q", quality, "75")
_OTHERS = key("dpl cb v", nothing)
NEXT_KEYS = (_WIDTH, _QUALITY, _OTHERS)
NETLIFY_KEYS = (
    _WIDTH,
    key("h", pixels("height"), "200"),
    key("fit", words("fit", {"contain": "", "cover": "cover", "fill": "squeeze"}), "fill"),
    key("position", place, "top"),
    key("fm", picture_format, "webp"),
    _QUALITY,
    _OTHERS,
)
_ASTRO_FITS = {
    "contain": "", "inside": "", "scale-down": "", "none": "", "outside": "cover", "cover": "cover", "fill": "squeeze"
}  # fmt: skip
ASTRO_KEYS = (
    key("w width", pixels("width"), "640"),
    key("h height", pixels("height"), "200"),
    key(
        "q quality",
        lambda text: quality({"low": "25", "mid": "50", "high": "80", "max": "100"}.get(text, text)),
        "75",
    ),
    key("f format", picture_format, "webp"),
    key("fit", words("fit", _ASTRO_FITS), "fill"),
    key("position", place, "top"),
    key("dpr", density, "2"),
    key("origWidth origHeight origFormat background", nothing),
)


def _reader(names: Sequence[str], keys: Sequence[OptionKey]) -> Read:
    known = by_name(keys)

    def read(rest: str, site: str) -> OpenedWrapper | None:
        path, query = split_query(rest)
        if path.strip("/"):
            return None
        for name in names:
            opened = open_query(query, name, keys=known)
            if opened is not None:
                return _resolved(opened, site)
        return None

    return read


def _resolved(opened: OpenedWrapper, site: str) -> OpenedWrapper | None:
    if ABSOLUTE.match(opened.target):
        return opened
    if not site or not opened.target.startswith("/"):
        return None
    is_relative = not opened.target.startswith("//")
    return replace(opened, target=(site if is_relative else "https:") + opened.target)


def _builder(dialect: str, mount_path: str, name: str, keys: Sequence[OptionKey]) -> Build:
    known = by_name(keys)
    writers = {"width": named("w"), "quality": named("q")}
    if "h" in known:
        writers |= {
            "height": named("h"),
            "fit": worded("fit", {"cover": "cover", "squeeze": "fill"}),
            "format": formatted("fm" if "fm" in known else "f"),
        }

    def build(mount: str, source: str, options: Options) -> str:
        texts = written(options, writers, dialect)
        return f"{mount}{mount_path}?" + "&".join((f"{name}={quote(source, safe='')}", *texts))

    return build


def _grammar(name: str, mount: str, names: Sequence[str], keys: Sequence[OptionKey]) -> Grammar:
    base = "h=9&fit=cover&" if "h" in by_name(keys) else ""
    example = f"https://s.org{mount}?{names[0]}=https%3A%2F%2Fh.org%2Fa.png&w=9&{base}{{name}}={{value}}"
    build = _builder(name, mount, names[0], keys)
    return Grammar(name, _reader(names, keys), tuple(keys), example, build, (mount[1:],), pictures_only=True)


def serve_next(rest: str) -> Served:
    """Read Next.js's `?url=&w=&q=`, each at most once. Next.js never enlarges a picture (image-optimizer.ts).

    Raises:
        InvalidRequest: there is a path after the mount.
        InvalidTransform: an option is missing, repeated or invalid.
        InvalidSource: the source is a path of the site.
    """
    path, query = split_query(rest)
    items = query_items(query)
    if path.strip("/"):
        raise InvalidRequest(
            "Next.js' addresses are: /_next/image?url=https%3A%2F%2Fh.org%2Fa.png&w=640&q=75"
        )
    for name in ("url", "w", "q"):
        count = sum(1 for other, _ in items if other == name)
        if count > 1 or (count == 0 and name != "q"):
            raise InvalidTransform(f"next's option {name} must appear once in an address.")
    opened = open_query(query, "url", keys=by_name(NEXT_KEYS))
    if opened is None or not ABSOLUTE.match(opened.target):
        raise relative("Next.js")
    others = [item for item in items if item[0] != "url"]
    options, ignored = strictly("next", others, by_name(NEXT_KEYS), others_ignored=True)
    if "width" not in options:
        raise InvalidTransform("next's option w is a number of pixels.")
    return Served(inside(opened.target), options, ignored)


NEXT = replace(
    _grammar("next", "/_next/image", ("url",), NEXT_KEYS),
    serve=serve_next,
    mount="/_next/image",
    alone=("https://s.org/_next/image?url=https%3A%2F%2Fh.org%2Fa.png&{name}={value}",),
)
VERCEL = _grammar("vercel", "/_vercel/image", ("url",), NEXT_KEYS)
NETLIFY = _grammar("netlify", "/.netlify/images", ("url",), NETLIFY_KEYS)
ASTRO = _grammar("astro", "/_image", ("href",), ASTRO_KEYS)
BY_MOUNT = {"/_next/image": NEXT, "/_vercel/image": VERCEL, "/.netlify/images": NETLIFY, "/_image": ASTRO}
