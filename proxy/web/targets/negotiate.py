"""Content negotiation (RFC 9110 §12.5.1): from `Accept` to output formats. Pure.

The result is ordered by preference and never empty. Headers with the same meaning give the same result. There are few
distinct results (docs/pictures.md, "Negotiation"), so a result can be part of a cache key. JPEG, PNG and GIF are one
choice, named `fallback` when all three are accepted; the picture decides which one is answered (`proxy.images.choice`).

    good   image/avif,image/webp,image/*,*/*;q=0.8 -> avif, webp, fallback
    good   image/webp,image/*;q=0.8                -> webp, >, fallback     (`>`: less preferred from here on)
    bad    image/* -> avif                         (older web views send it and show no AVIF)
    bad    image/png,image/*;q=0.8 -> png          (a photo is a JPEG there: its q is above 0)
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator

from proxy.images.choice import ANYWAY, FALLBACK, LOWER, PLAIN

_RANGE = re.compile(r"([\w!#$&^.+*-]+)/([\w!#$&^.+*-]+)", re.ASCII)
_NUMBER = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+")
_SAME_AS = {"*": "*/*", "image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png"}
"""Nonstandard spellings that some clients send. Java's built-in client sends a single asterisk."""
MAX_REMEMBERED_LENGTH = 256


def acceptable_formats(accept: str | None, offered: tuple[str, ...]) -> tuple[str, ...]:
    """Return the acceptable output formats of `format=auto`, best first.

    `offered` holds the modern formats in order of preference (`render.formats`). `Accept` must name them: wildcards
    admit only formats that every client shows. A header without any readable media range counts as absent.
    """
    accept = "*/*" if accept is None else accept
    # Long headers are not cached: clients can invent any number of them and would fill the memory.
    return _remembered(accept, offered) if len(accept) <= MAX_REMEMBERED_LENGTH else _read(accept, offered)


@functools.lru_cache(maxsize=512)
def _remembered(accept: str, offered: tuple[str, ...]) -> tuple[str, ...]:
    return _read(accept, offered)


def _read(accept: str, offered: tuple[str, ...]) -> tuple[str, ...]:
    ranges = _parse(accept) or {"*/*": 1.0}
    plain = {name: _weight(ranges, f"image/{name}") for name in PLAIN}
    admitted = tuple(name for name, weight in plain.items() if weight > 0)
    choices: list[tuple[float, tuple[str, ...]]] = [
        (ranges.get(f"image/{name}", 0.0), (name,)) for name in offered
    ]
    choices.append((max(plain.values()), (FALLBACK,) if admitted == PLAIN else admitted))
    choices = [choice for choice in choices if choice[0] > 0]
    if not admitted:
        choices.append((0.0, (ANYWAY,)))
    best = max(weight for weight, _ in choices)
    equals = [name for weight, names in choices if weight == best for name in names]
    # `sorted` is stable: ties keep the order of preference.
    others = sorted((choice for choice in choices if choice[0] < best), key=lambda choice: -choice[0])
    lower = [name for _, names in others for name in names]
    return (*equals, LOWER, *lower) if lower else tuple(equals)


def admits_svg(accept: str | None) -> bool:
    """Return whether an SVG may be answered unchanged. A missing header admits it, because every browser shows SVG."""
    accept = "*/*" if accept is None else accept
    return _admits_svg(accept) if len(accept) <= MAX_REMEMBERED_LENGTH else _reads_svg(accept)


def _reads_svg(accept: str) -> bool:
    return _weight(_parse(accept) or {"*/*": 1.0}, "image/svg+xml") > 0


_admits_svg = functools.lru_cache(maxsize=512)(_reads_svg)


def choose_coding(accept_encoding: str | None, offered: Collection[str]) -> str:
    """Return the content coding of the answer (RFC 9110 §12.5.3), or an empty text for none.

    The first of `offered` wins among codings of equal weight.
    """
    given = _codings(accept_encoding or "")
    weights = {name: given.get(name, given.get("*", 0.0)) for name in offered}
    best = max(weights, key=lambda name: weights[name], default="")
    return best if best and weights[best] > 0 and weights[best] >= given.get("identity", 0.0) else ""


def _codings(text: str) -> dict[str, float]:
    codings = {}
    for item in text.split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        codings[name.lower().removeprefix("x-")] = _quality(parameters)
    return codings


def accepts_json(accept: str | None) -> bool:
    """Return whether an error may be answered as JSON."""
    if accept is None:
        return True
    return _weight(_parse(accept), "application/json") > 0


def _parse(accept: str) -> dict[str, float]:
    """Return the weight of each media range in lower case. A repeated range has its highest weight."""
    ranges: dict[str, float] = {}
    for item in _split(accept, ","):
        name, *parameters = (part.strip() for part in _split(item, ";"))
        name = name.lower()
        name = _SAME_AS.get(name, name)
        if _RANGE.fullmatch(name):
            ranges[name] = max(ranges.get(name, 0.0), _quality(parameters))
    return ranges


def _split(text: str, separator: str) -> Iterator[str]:
    """Split `text` at separators outside quoted strings (RFC 9110 §5.6.4)."""
    if '"' not in text:
        yield from text.split(separator)
        return
    begin, quoted, escaped = 0, False, False
    for at, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == '"':
            quoted = not quoted
        elif character == "\\":
            escaped = quoted
        elif character == separator and not quoted:
            yield text[begin:at]
            begin = at + 1
    yield text[begin:]


def _quality(parameters: list[str]) -> float:
    """Return the first `q` (RFC 9110 §12.4.2); 1 when it is missing or not a number."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            number = value.strip().strip('"')
            if number.startswith("-"):
                return 0.0
            return min(float(number), 1.0) if _NUMBER.fullmatch(number) else 1.0
    return 1.0


def _weight(ranges: dict[str, float], media_type: str) -> float:
    # RFC 9110 §12.5.1: the most specific range decides. `image/png;q=0, image/*` refuses PNG.
    main = media_type.partition("/")[0]
    return next((ranges[name] for name in (media_type, f"{main}/*", "*/*") if name in ranges), 0.0)
