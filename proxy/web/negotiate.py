"""Content negotiation (RFC 9110 §12.5.1): from `Accept` to output formats. Pure.

The result is ordered by preference and never empty. `fallback` stands for JPEG, PNG or GIF, whichever suits the
picture; which one is decided where the picture is known (`proxy.images.formats.choose_output`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection

_RANGE = re.compile(r"\s*([\w!#$&^.+*-]+)/([\w!#$&^.+*-]+)\s*(?:;(.*))?")
_QUALITY = re.compile(r"(?:^|;)\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*(?:;|$)", re.IGNORECASE)
MAX_REMEMBERED_LENGTH = 256
_PLAIN = ("jpeg", "png", "gif")


def acceptable_formats(accept: str | None, offered: tuple[str, ...]) -> tuple[str, ...]:
    """Return the formats to answer `format=auto` with, best first.

    `offered` are the modern formats in order of preference (`render.formats`). They must be named, or
    `image/*` be; `*/*` alone, which every client sends, admits only the formats that every client shows.
    """
    accept = "*/*" if accept is None else accept
    # Long ones are read each time: what clients can make up must not fill the memory.
    return _remembered(accept, offered) if len(accept) <= MAX_REMEMBERED_LENGTH else _read(accept, offered)


@functools.lru_cache(maxsize=512)
def _remembered(accept: str, offered: tuple[str, ...]) -> tuple[str, ...]:
    return _read(accept, offered)


def _read(accept: str, offered: tuple[str, ...]) -> tuple[str, ...]:
    ranges = _parse(accept)
    weighted = [(_weight(ranges, f"image/{name}", wildcard=False), name) for name in offered]
    plain = {name: _weight(ranges, f"image/{name}", wildcard=True) for name in _PLAIN}
    if plain["jpeg"] == plain["png"]:
        weighted.append((plain["jpeg"], "fallback"))
    else:
        weighted += [(weight, name) for name, weight in plain.items()]
    chosen = [pair for pair in weighted if pair[0] > 0]
    chosen.sort(key=lambda pair: -pair[0])  # stable: ties keep the order of preference
    names = tuple(name for _, name in chosen)
    return names if set(names) - set(offered) else (*names, "fallback")


def admits_svg(accept: str | None) -> bool:
    """Tell whether an SVG may be answered as it is: every browser shows one."""
    accept = "*/*" if accept is None else accept
    return _admits_svg(accept) if len(accept) <= MAX_REMEMBERED_LENGTH else _reads_svg(accept)


def _reads_svg(accept: str) -> bool:
    return _weight(_parse(accept), "image/svg+xml", wildcard=True) > 0


_admits_svg = functools.lru_cache(maxsize=512)(_reads_svg)


def choose_coding(accept_encoding: str | None, offered: Collection[str]) -> str:
    """Return the content coding to answer in (RFC 9110 §12.5.3), the first of `offered` among equals; empty: none."""
    given = _codings(accept_encoding or "")
    weights = {name: given.get(name, given.get("*", 0.0)) for name in offered}
    best = max(weights, key=lambda name: weights[name], default="")
    return best if best and weights[best] > 0 and weights[best] >= given.get("identity", 0.0) else ""


def _codings(text: str) -> dict[str, float]:
    codings = {}
    for item in text.split(","):
        name, _, parameters = item.partition(";")
        quality = _QUALITY.search(parameters)
        codings[name.strip().lower().removeprefix("x-")] = min(float(quality[1]), 1.0) if quality else 1.0
    return codings


def accepts_json(accept: str | None) -> bool:
    """Tell whether an error may be answered as JSON."""
    if accept is None:
        return True
    return _weight(_parse(accept), "application/json", wildcard=True) > 0


def _parse(accept: str) -> dict[str, float]:
    ranges: dict[str, float] = {}
    for item in accept.split(","):
        match = _RANGE.fullmatch(item)
        if match:
            quality = _QUALITY.search(match[3] or "")
            ranges[f"{match[1]}/{match[2]}".lower()] = min(float(quality[1]), 1.0) if quality else 1.0
    return ranges


def _weight(ranges: dict[str, float], media_type: str, *, wildcard: bool) -> float:
    # The most specific range decides (RFC 9110 §12.5.1): `image/avif;q=0, image/*` refuses AVIF.
    main = media_type.partition("/")[0]
    for name in (media_type, f"{main}/*", *(["*/*"] if wildcard else [])):
        if name in ranges:
            return ranges[name]
    return 0.0
