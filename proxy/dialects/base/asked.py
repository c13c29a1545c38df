"""What a wrapper asks of its picture, in the words of our own options. Pure.

A grammar lists its options as `OptionKey`s: how they are called there and which of ours they mean. What a value means
is text again (`{"width": "300"}`): whether this service can answer it is for those to say who write the address.

    good   w=300          ->  {"width": "300"}
    good   f=auto         ->  {}           nothing to write: it is what we do by ourselves
    bad    mask=circle    ->  None         no counterpart: dropped, and counted by its name
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from proxy.dialects.base.escapes import percent_decode

Options = dict[str, str]
"""Our options by long name, values as text that is not escaped."""
Reader = Callable[[str], Options | None]

SIZE = ("width", "height", "dpr", "fit", "upscale", "gravity", "background")
"""Options that belong together: of two wrappers around each other the outer one decides about all of them."""
MAX_SIDE = 32767
_ENLARGING = ("cover", "crop", "pad", "squeeze")
"""Fits that enlarge when nothing is said about it."""

_PIXELS = re.compile(r"([0-9]{1,5})(?:\.[0-9]{1,6})?(?:px)?")
_DECIMAL = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,9})?")
_SIGNED = re.compile(r"[+-]?[0-9]{1,4}(?:\.[0-9]{1,9})?")
_HEX_COLOUR = re.compile(r"#?((?:[0-9a-fA-F]{3,4}){1,2})")
_COLOUR_NAME = re.compile(r"[a-z]{3,20}")

FORMATS = {
    "auto": "", "": "", "origin": "", "original": "", "jpg": "jpeg", "jpeg": "jpeg", "pjpg": "jpeg", "pjpeg": "jpeg",
    "baseline-jpeg": "jpeg", "png": "png", "png8": "png", "webp": "webp", "webply": "webp", "avif": "avif",
    "gif": "gif",
}  # fmt: skip
"""Names of formats in other grammars; empty where we choose by ourselves."""

SIDES = {
    "center": "", "centre": "", "middle": "", "c": "", "top": "top", "north": "top", "bottom": "bottom",
    "south": "bottom", "left": "left", "west": "left", "right": "right", "east": "right", "top-left": "top-left",
    "top-right": "top-right", "bottom-left": "bottom-left", "bottom-right": "bottom-right",
    "left-top": "top-left", "right-top": "top-right", "left-bottom": "bottom-left", "right-bottom": "bottom-right",
    "north_west": "top-left", "north_east": "top-right", "south_west": "bottom-left", "south_east": "bottom-right",
    "northwest": "top-left", "northeast": "top-right", "southwest": "bottom-left", "southeast": "bottom-right",
    "smart": "auto", "auto": "auto", "face": "auto", "faces": "auto", "attention": "auto", "entropy": "auto",
}  # fmt: skip
"""Places in other grammars and ours; empty for the middle, which is what we take by ourselves."""


@dataclass(frozen=True, slots=True)
class OptionKey:
    """An option of another grammar: its names and what its values mean; `sample` is one of them.

    read: as articles are read. serve: as an address is answered, where that is stricter or the peer's own size.
    """

    names: tuple[str, ...]
    read: Reader
    sample: str = "1"
    serve: Reader | None = None

    @property
    def served(self) -> Reader:
        """What values mean in an address that is answered."""
        return self.serve or self.read


@dataclass(frozen=True, slots=True)
class AskedOptions:
    """What one wrapper asks: our `options`, and the names of its own that have no counterpart."""

    options: Options = field(default_factory=dict)
    dropped: tuple[str, ...] = ()


def key(names: str, read: Reader, sample: str = "1", *, serve: Reader | None = None) -> OptionKey:
    """Return an option with `names`, separated by spaces."""
    return OptionKey(tuple(names.split()), read, sample, serve)


def asked(
    pairs: Iterable[tuple[str, str]], keys: Mapping[str, OptionKey], *, start: AskedOptions | None = None
) -> AskedOptions:
    """Return what pairs of names and raw values ask; of an option said twice the last one counts.

    `start`: what other parts of the address ask already.
    """
    options: Options = dict(start.options) if start else {}
    dropped: dict[str, None] = dict.fromkeys(start.dropped if start else ())
    for name, raw in pairs:
        known = keys.get(name) or keys.get(name.lower())
        meant = known.read(percent_decode(raw)) if known else None
        if meant is None:
            dropped[shown(name)] = None
        else:
            options = together(options, meant)
    return AskedOptions(tidied(options), tuple(dropped))


def together(options: Options, more: Options) -> Options:
    """Return what is asked by both; the later counts, but two mirrors are one about both axes."""
    if "flip" in options and "flip" in more:
        axes = {*options["flip"], *more["flip"]}
        more = more | {"flip": "".join(axis for axis in "hv" if axis in axes)}
    return options | more


def shown(name: str) -> str:
    """Return the name of an option as it can be listed: short, printable."""
    return "".join(char if char.isprintable() and char.isascii() else "?" for char in name[:24]) or "?"


def by_name(keys: Iterable[OptionKey]) -> dict[str, OptionKey]:
    """Return keys by each of their names."""
    return {name: item for item in keys for name in item.names}


def tidied(options: Options) -> Options:
    """Take out what says nothing beside the rest, so that what means the same is spelled the same.

    That is how to fill an area that has one side only, what stays in sight where nothing is cut, a dpr of 1, and
    whether to enlarge where that is the fit's own rule.
    """
    result = {name: value for name, value in options.items() if value}
    both = "width" in result and "height" in result
    fit, upscale = result.pop("fit", "scale-down"), result.pop("upscale", "")
    if both and fit in ("scale-down", "contain"):
        result |= {"fit": "contain", "upscale": "true"} if upscale == "true" else {}
    elif both:
        silent = "true" if fit in _ENLARGING else "false"
        result |= {"fit": fit} | ({"upscale": upscale} if upscale not in ("", silent) else {})
    if result.get("fit") not in ("cover", "crop", "pad", "cover-down", "pad-down", "oriented"):
        result.pop("gravity", None)
    if not ("width" in result or "height" in result) or result.get("dpr") == "1":
        result.pop("dpr", None)
    return result


def merged(outer: Options, inner: Options) -> tuple[Options, tuple[str, ...]]:
    """Return what a wrapper around another one asks together with it, and the sizes of the inner one that are lost."""
    sized = "width" in outer or "height" in outer
    lost = [name for name in inner if sized and name in ("width", "height", "fit")]
    kept = {name: value for name, value in inner.items() if not (sized and name in SIZE)}
    same = {name for name in lost if outer.get(name) == inner[name]}
    return kept | outer, tuple(name for name in lost if name not in same)


# Readers


def nothing(text: str) -> Options | None:
    """Read what changes nothing about the picture, or what we do by ourselves."""
    return {}


def lost(text: str) -> Options | None:
    """Read what has no counterpart."""
    return None


def pixels(name: str) -> Reader:
    """Return a reader of a side in pixels; 0, `auto` and nothing mean that it was not asked for."""

    def read(text: str) -> Options | None:
        if text in ("", "auto", "null", "undefined"):
            return {}
        match = _PIXELS.fullmatch(text)
        if match is None or int(match[1]) > MAX_SIDE:
            return None
        return {name: str(int(match[1]))} if int(match[1]) else {}

    return read


def number(name: str, low: float, high: float, *, factor: float = 1.0, whole: bool = False) -> Reader:
    """Return a reader of a number, times `factor`, that we take between `low` and `high`."""

    def read(text: str) -> Options | None:
        if not _DECIMAL.fullmatch(text):
            return None
        value = float(text) * factor
        if not low <= value <= high:
            return None
        return {name: decimal(round(value) if whole else value)}

    return read


def quality(text: str) -> Options | None:
    """Read a quality; `auto` and 0 leave it to us."""
    if text.partition(":")[0] in ("", "auto", "0"):
        return {}
    return number("quality", 1, 100, whole=True)(text)


def density(text: str) -> Options | None:
    """Read a device pixel ratio; below 1 there is none here."""
    if text in ("", "auto"):
        return {}
    return number("dpr", 1, 8)(text.removesuffix(".0"))


def picture_format(text: str) -> Options | None:
    """Read a format of the answer."""
    return words("format", FORMATS)(text.lower())


def words(name: str, table: Mapping[str, str]) -> Reader:
    """Return a reader of words; an empty word of ours says nothing."""

    def read(text: str) -> Options | None:
        word = table.get(text, table.get(text.lower()))
        if word is None:
            return None
        return {name: word} if word else {}

    return read


def table(meanings: Mapping[str, Options]) -> Reader:
    """Return a reader of words that mean several options each."""

    def read(text: str) -> Options | None:
        meant = meanings.get(text.lower())
        return None if meant is None else dict(meant)

    return read


def place(text: str) -> Options | None:
    """Read what stays in sight: a side, a corner, or a point such as `0.5x0.2`."""
    point = re.fullmatch(r"([01](?:\.[0-9]{1,9})?)[xX,]([01](?:\.[0-9]{1,9})?)", text)
    if point is not None:
        return focus(point[1], point[2])
    return words("gravity", SIDES)(text)


def focus(x: str, y: str) -> Options | None:
    """Read a focal point in shares of the picture."""
    if not (_DECIMAL.fullmatch(x) and _DECIMAL.fullmatch(y)) or max(float(x), float(y)) > 1:
        return None
    return {"gravity": f"{decimal(float(x))}x{decimal(float(y))}"}


def colour(name: str) -> Reader:
    """Return a reader of a colour: hexadecimal digits with or without a mark, or a name."""

    def read(text: str) -> Options | None:
        if match := _HEX_COLOUR.fullmatch(text.removeprefix("rgb:")):
            return {name: f"#{match[1].lower()}"}
        return {name: text.lower()} if _COLOUR_NAME.fullmatch(text.lower()) else None

    return read


def flag(options: Options) -> Reader:
    """Return a reader of a switch: bare or any value is on, `0` and `false` are off."""

    def read(text: str) -> Options | None:
        return {} if text.lower() in ("0", "false", "f") else dict(options)

    return read


def as_it_is(name: str) -> Reader:
    """Return a reader of an option that we have with the same values."""

    def read(text: str) -> Options | None:
        return {name: text} if text and len(text) <= 64 and text.isascii() and text.isprintable() else None

    return read


def clockwise(text: str) -> Options | None:
    """Read degrees of a turn to the right."""
    if not _SIGNED.fullmatch(text) or float(text) % 90:
        return None
    degrees = int(float(text)) % 360
    return {"rotate": str(degrees)} if degrees else {}


def anticlockwise(text: str) -> Options | None:
    """Read degrees of a turn to the left."""
    return clockwise("-" + text if not text.startswith("-") else text[1:])


def decimal(value: float) -> str:
    """Return a number as our options spell it: four decimals at most, none in vain."""
    return f"{value:.4f}".rstrip("0").rstrip(".")
