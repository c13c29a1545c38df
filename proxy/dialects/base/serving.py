"""Reads requests in another proxy's grammar strictly. Pure.

Articles are read leniently: options without a counterpart are dropped and counted. A request is read strictly: an
option that would change the picture and that we lack is refused by name; an option without effect is listed.

    good   w=300          ->  {"width": "300"}
    good   il=1           ->  {}, ignored: il
    bad    mask=circle    ->  InvalidTransform: weserv's option mask is not one that is served here
    bad    w=wide         ->  InvalidTransform: weserv's option w does not take wide
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from proxy.dialects.base.asked import SIDES, OptionKey, Options, focus, lost, nothing, shown, together
from proxy.dialects.base.escapes import percent_decode
from proxy.errors import InvalidSource, InvalidTransform
from proxy.source import looks_encoded

PRESET = "preset"
"""The key under which the options of a request hold the preset that it names."""

_HOSTED = re.compile(r"(?://)?(?:(?P<name>[^/?#:@\s\[\]]++)|\[[0-9A-Fa-f:.]{2,45}\])(?P<port>:[0-9]+)?/")
_NUMBER = re.compile(r"0[xX][0-9A-Fa-f]+|[0-9]{8,10}")
_SWAPPED = {"h": "v", "v": "h", "hv": "hv"}
_POINTS = {
    "": (0.5, 0.5), "left": (0.0, 0.5), "right": (1.0, 0.5), "top": (0.5, 0.0), "bottom": (0.5, 1.0),
    "top-left": (0.0, 0.0), "top-right": (1.0, 0.0), "bottom-left": (0.0, 1.0), "bottom-right": (1.0, 1.0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Message:
    """A text that a signature may cover, and whether it includes the options or only the source."""

    text: bytes
    with_options: bool = True


@dataclass(frozen=True, slots=True)
class Proof:
    """The signature of an address, empty when it has none, and the texts that it may cover."""

    signature: str = ""
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class Served:
    """A request in another proxy's grammar.

    source: as text, with its scheme. options: ours by long name, as text, and perhaps `PRESET`; empty for the original.
    ignored: names of the dialect's options without effect. expires_at: unix seconds, or None.
    """

    source: str
    options: Options = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    proof: Proof = Proof()
    expires_at: int | None = None


Serve = Callable[[str], Served]
"""Reads the text after a mount, without its slash and with the query.

Raises InvalidTransform, InvalidSource or InvalidRequest.
"""


def strictly(
    dialect: str,
    pairs: Iterable[tuple[str, str]],
    keys: Mapping[str, OptionKey],
    *,
    others_ignored: bool = False,
) -> tuple[Options, tuple[str, ...]]:
    """Translate pairs of names and raw values; also return the names of options without effect.

    others_ignored: the dialect ignores unknown names, as most servers do with query keys.

    Raises:
        InvalidTransform: an option cannot be served; the message names it.
    """
    options: Options = {}
    ignored: dict[str, None] = {}
    for name, raw in pairs:
        known = keys.get(name) or keys.get(name.lower())
        if known is None:
            if not others_ignored:
                raise refused(dialect, name)
            ignored[shown(name)] = None
            continue
        reader = known.served
        if reader is nothing:
            ignored[shown(name)] = None
            continue
        value = percent_decode(raw)
        meant = reader(value)
        if meant is None:
            raise refused(dialect, name) if reader is lost else unreadable(dialect, name, value)
        options = together(options, meant)
    return options, tuple(ignored)


def refused(dialect: str, name: str) -> InvalidTransform:
    """Return the error for an option that is not served."""
    return InvalidTransform(f"{dialect}'s option {shown(name)} is not one that is served here.")


def unreadable(dialect: str, name: str, value: str) -> InvalidTransform:
    """Return the error for an invalid value."""
    return InvalidTransform(f"{dialect}'s option {shown(name)} does not take {shown(value)} here.")


def relative(dialect: str) -> InvalidSource:
    """Return the error for a source that is relative to a site."""
    return InvalidSource(
        f"Write the whole address of the picture, with http:// or https://: {dialect} would look for a path on its "
        "own site, and here there is none."
    )


def with_default_scheme(text: str, scheme: str) -> str | None:
    """Add `scheme` to a source that begins with a host and an optional port; return None when it does not.

    A single word is a host only with a port or as a number: `images/a.png` and `a.png` are paths of a site.
    """
    if "/" not in text and "%2F" in text.upper() and not looks_encoded(text):
        text = percent_decode(text)
    match = _HOSTED.match(text)
    name = match["name"] if match else None
    if match is None or (name and not (match["port"] or "." in name.strip(".") or _NUMBER.fullmatch(name))):
        return None
    return f"{scheme}://{text.removeprefix('//')}"


def only(*words: str) -> Callable[[str], Options | None]:
    """Return a reader that accepts only `words`, which have no effect; other values are not served."""

    def read(text: str) -> Options | None:
        return {} if text.lower() in words else None

    return read


def meeting(options: Options, *, fit: str, enlarging: bool = True) -> Options:
    """Return `options` with the fit of the picture in its area.

    `fit` applies when both sides are given. With one side, the picture keeps its shape and is enlarged only if
    `enlarging`.
    """
    result = dict(options)
    if "width" in result and "height" in result:
        if fit in ("scale-down", "contain"):
            return result | ({"fit": "contain", "upscale": "true"} if enlarging else {})
        return result | {"fit": fit}
    result.pop("gravity", None)
    if ("width" in result or "height" in result) and enlarging:
        return result | {"fit": "contain", "upscale": "true"}
    return result


def turned_first(options: Options) -> Options:
    """Translate the options of a dialect that rotates before it mirrors; we mirror first."""
    if options.get("rotate") in ("90", "270") and "flip" in options:
        return options | {"flip": _SWAPPED.get(options["flip"], options["flip"])}
    return options


def resized_first(options: Options) -> Options:
    """Translate the options of a dialect that resizes before it mirrors and rotates; we resize last."""
    result = dict(options)
    turn, flip = result.get("rotate", ""), result.get("flip", "")
    if turn in ("90", "270"):
        sides = {"width": result.pop("height", ""), "height": result.pop("width", "")}
        result |= {name: value for name, value in sides.items() if value}
    gravity = result.get("gravity", "auto")
    if gravity == "auto" or not (turn or flip):
        return result
    x, y = _point(gravity)
    x, y = (1 - x if "h" in flip else x), (1 - y if "v" in flip else y)
    x, y = {"90": (1 - y, x), "180": (1 - x, 1 - y), "270": (y, 1 - x)}.get(turn, (x, y))
    return result | (focus(f"{x:.4f}", f"{y:.4f}") or {})


def _point(gravity: str) -> tuple[float, float]:
    if gravity in SIDES:
        return _POINTS[SIDES[gravity]]
    x, _, y = gravity.partition("x")
    return float(x), float(y)
