"""Addresses of willnorris/imageproxy: `/OPTS/REMOTE` or `/REMOTE` (imageproxy data.go). Pure.

REMOTE is plain (the query belongs to it), escaped as a whole, or base64url (the query does not).

    good   /300x200,q75/https://h/a.png?v=1     ->  https://h/a.png?v=1, cover, quality=75
    good   /x0.15/aHR0cDovL2gvYS5wbmc            ->  http://h/a.png, the fraction dropped
    bad    /300x200/a.png                        ->  None: relative to a base that nobody knows
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from proxy.dialects.asked import (
    Asked,
    Options,
    anticlockwise,
    asked,
    by_name,
    key,
    lost,
    nothing,
    pixels,
    quality,
)
from proxy.dialects.escapes import base64url_decode
from proxy.dialects.grammar import Grammar, inside, split_query, written
from proxy.dialects.opened import ABSOLUTE, Opened
from proxy.errors import InvalidSource, InvalidTransform

_SIZE = re.compile(r"([0-9]{0,5})x([0-9]{0,5})")
_ITEM = re.compile(r"(cx|cy|cw|ch|vu|fv|fh|fit|scaleUp|sc|trim|jpe?g|png|tiff|webp|gif|q|r|s)(.*)", re.DOTALL)


def _size(text: str) -> Options | None:
    match = _SIZE.fullmatch(text)
    if match is None:
        sides = {**(pixels("width")(text) or {}), **(pixels("height")(text) or {})}
        return sides or None
    return {**(pixels("width")(match[1]) or {}), **(pixels("height")(match[2]) or {})}


KEYS = (
    key("WxH", _size, "300x200"),
    key("fit", nothing, ""),
    key("scaleUp", nothing, ""),
    key("q", quality, "75"),
    key("jpeg jpg", lambda _: {"format": "jpeg"}, ""),
    key("png", lambda _: {"format": "png"}, ""),
    key("webp", lambda _: {"format": "webp"}, ""),
    key("gif", lambda _: {"format": "gif"}, ""),
    key("r", anticlockwise, "90"),
    key("fv", lambda _: {"flip": "v"}, ""),
    key("fh", lambda _: {"flip": "h"}, ""),
    key("sc", lambda _: {"gravity": "auto"}, ""),
    key("trim", lambda _: {"trim": "true"}, ""),
    key("s vu", nothing, "0sR2kjyfiF1RQRj4Jm2fFa3_6SDFqdAaDEmy1oD2U-4="),
    key("cx cy cw ch tiff", lost, "10"),
)
_BY_NAME = by_name(KEYS)


def read(rest: str, site: str) -> Opened | None:
    """Open `OPTIONS/REMOTE` or `REMOTE`."""
    remote = _remote(rest)
    if remote is not None:
        return Opened(remote)
    options, slash, rest = rest.partition("/")
    remote = _remote(rest.lstrip("/")) if slash and "?" not in options else None
    if remote is None:
        return None
    items = [item for item in options.split(",") if item]
    start = Asked(_meeting(fits="fit" in items, enlarges="scaleUp" in items))
    return Opened.of(remote, asked(_pairs(items), _BY_NAME, start=start))


def _meeting(*, fits: bool, enlarges: bool) -> Options:
    """Return how the picture meets an area: it is cut unless `fit` is said, and enlarged only by `scaleUp`."""
    if fits:
        return {"fit": "contain", "upscale": "true"} if enlarges else {}
    return {"fit": "cover"} if enlarges else {"fit": "cover", "upscale": "false"}


def _pairs(items: list[str]) -> Iterator[tuple[str, str]]:
    for item in items:
        match = _ITEM.fullmatch(item)
        yield (match[1], match[2]) if match else ("WxH", item)


def _remote(rest: str) -> str | None:
    if ABSOLUTE.match(rest):
        return inside(rest)
    with suppress(InvalidSource):
        path, _ = split_query(rest)
        if ABSOLUTE.match(source := base64url_decode(path)):
            return source
    return None


def build(mount: str, source: str, options: Options) -> str:
    """Write an address of imageproxy, unsigned, its source plain."""
    options = dict(options)
    width, height = options.pop("width", ""), options.pop("height", "")
    meeting = {name: options.pop(name) for name in ("fit", "upscale") if name in options}
    texts = [f"{width}x{height}"] if width or height else []
    for fits in (False, True) if width and height else ():
        for enlarges in (False, True):
            if meeting == _meeting(fits=fits, enlarges=enlarges):
                texts += [*(["fit"] if fits else []), *(["scaleUp"] if enlarges else [])]
                meeting = {}
                break
        else:
            continue
        break
    if meeting:
        raise InvalidTransform(f"imageproxy cannot carry fit={meeting.get('fit', '')}.")
    writers = {
        "quality": lambda value: f"q{value}",
        "format": lambda value: value if value in _BY_NAME else None,
    }
    texts += written(options, writers, "imageproxy")
    return f"{mount}/{','.join(texts)}/{source}" if texts else f"{mount}/{source}"


GRAMMAR = Grammar("imageproxy", read, KEYS, "https://p.org/9x9,{name}{value}/https://h.org/a.png", build)
