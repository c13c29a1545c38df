"""Translates the options of a wrapper to our own. Pure.

A grammar lists its options as `OptionKey`s: their names there and their meaning in our options. Translated values are
text (`{"width": "300"}`); the code that writes the address decides whether this service can answer them.

    good   w=300          ->  {"width": "300"}
    good   f=auto         ->  {}           nothing to write: this is our default
    bad    mask=circle    ->  None         no counterpart: dropped, and counted by its name
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from proxy.dialects.base.escapes import percent_decode

Options = dict[str, str]
"""Our options by long name, with values as unescaped text."""
Reader = Callable[[str], Options | None]

SIZE = ("width", "height", "dpr", "fit", "upscale", "gravity", "background")
"""Options that belong together. When one wrapper encloses another, the outer one decides all of them."""
MAX_SIDE = 32767
_ENLARGING = ("cover", "crop", "pad", "squeeze")
"""Fits that enlarge by default."""

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
"""Names of formats in other grammars; empty for the automatic choice, our default."""

SIDES = {
    "center": "", "centre": "", "middle": "", "c": "", "top": "top", "north": "top", "bottom": "bottom",
    "south": "bottom", "left": "left", "west": "left", "right": "right", "east": "right", "top-left": "top-left",
    "top-right": "top-right", "bottom-left": "bottom-left", "bottom-right": "bottom-right",
    "left-top": "top-left", "right-top": "top-right", "left-bottom": "bottom-left", "right-bottom": "bottom-right",
    "north_west": "top-left", "north_east": "top-right", "south_west": "bottom-left", "south_east": "bottom-right",
    "northwest": "top-left", "northeast": "top-right", "southwest": "bottom-left", "southeast": "bottom-right",
    "smart": "auto", "auto": "auto", "face": "auto", "faces": "auto", "attention": "auto", "entropy": "auto",
}  # fmt: skip
"""Positions in other grammars and ours; empty for the middle, our default."""


@dataclass(frozen=True, slots=True)
class OptionKey:
    """An option of another grammar: its names and the meaning of its values; `sample` is a valid value.

    read: the reader for articles. serve: the reader for requests, where it is stricter or follows the other proxy's
    own limits.
    """

    names: tuple[str, ...]
    read: Reader
    sample: str = "1"
    serve: Reader | None = None

    @property
    def served(self) -> Reader:
        """The reader for requests."""
        return self.serve or self.read


@dataclass(frozen=True, slots=True)
class AskedOptions:
    """The options of one wrapper: `options` translated to ours, and the names of those without a counterpart."""

    options: Options = field(default_factory=dict)
    dropped: tuple[str, ...] = ()


def key(names: str, read: Reader, sample: str = "1", *, serve: Reader | None = None) -> OptionKey:
    """Return an option with `names`, separated by spaces."""
    return OptionKey(tuple(names.split()), read, sample, serve)


def asked(
    pairs: Iterable[tuple[str, str]], keys: Mapping[str, OptionKey], *, start: AskedOptions | None = None
) -> AskedOptions:
    """Translate pairs of names and raw values. When an option is repeated, the last one counts.

    `start`: options from other parts of the address.
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
    """Merge two sets of options. The later value wins, except that two mirrors combine to one about both axes."""
    if "flip" in options and "flip" in more:
        axes = {*options["flip"], *more["flip"]}
        more = more | {"flip": "".join(axis for axis in "hv" if axis in axes)}
    return options | more


def shown(name: str) -> str:
    """Return the name of an option for a list, short and printable."""
    return "".join(char if char.isprintable() and char.isascii() else "?" for char in name[:24]) or "?"


def by_name(keys: Iterable[OptionKey]) -> dict[str, OptionKey]:
    """Return a mapping from every name to its key."""
    return {name: item for item in keys for name in item.names}


def tidied(options: Options) -> Options:
    """Remove options without effect, so that options with the same meaning are spelled the same.

    These are: the fit when only one side is given, the gravity when nothing is cut, a dpr of 1, and the choice to
    enlarge when it equals the fit's default.
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
    """Merge the options of two nested wrappers; also return the size options of the inner one that are dropped."""
    sized = "width" in outer or "height" in outer
    lost = [name for name in inner if sized and name in ("width", "height", "fit")]
    kept = {name: value for name, value in inner.items() if not (sized and name in SIZE)}
    same = {name for name in lost if outer.get(name) == inner[name]}
    return kept | outer, tuple(name for name in lost if name not in same)


# Readers


def nothing(text: str) -> Options | None:
    """Read an option that does not change the picture, or that asks for our default."""
    return {}


def lost(text: str) -> Options | None:
    """Read an option without a counterpart."""
    return None


def pixels(name: str) -> Reader:
    """Return a reader of a side in pixels; 0, `auto` and an empty value mean that it is not set."""

    def read(text: str) -> Options | None:
        if text in ("", "auto", "null", "undefined"):
            return {}
        match = _PIXELS.fullmatch(text)
        if match is None or int(match[1]) > MAX_SIDE:
            return None
        return {name: str(int(match[1]))} if int(match[1]) else {}

    return read


def number(name: str, low: float, high: float, *, factor: float = 1.0, whole: bool = False) -> Reader:
    """Return a reader of a number that, multiplied by `factor`, lies between `low` and `high`."""

    def read(text: str) -> Options | None:
        if not _DECIMAL.fullmatch(text):
            return None
        value = float(text) * factor
        if not low <= value <= high:
            return None
        return {name: decimal(round(value) if whole else value)}

    return read


def quality(text: str) -> Options | None:
    """Read a quality; `auto` and 0 mean our default."""
    if text.partition(":")[0] in ("", "auto", "0"):
        return {}
    return number("quality", 1, 100, whole=True)(text)


def density(text: str) -> Options | None:
    """Read a device pixel ratio; we have no values below 1."""
    if text in ("", "auto"):
        return {}
    return number("dpr", 1, 8)(text.removesuffix(".0"))


def picture_format(text: str) -> Options | None:
    """Read an output format."""
    return words("format", FORMATS)(text.lower())


def words(name: str, table: Mapping[str, str]) -> Reader:
    """Return a reader of words; words that map to an empty text set nothing."""

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
    """Read a gravity: a side, a corner, or a point such as `0.5x0.2`."""
    point = re.fullmatch(r"([01](?:\.[0-9]{1,9})?)[xX,]([01](?:\.[0-9]{1,9})?)", text)
    if point is not None:
        return focus(point[1], point[2])
    return words("gravity", SIDES)(text)


def focus(x: str, y: str) -> Options | None:
    """Read a focal point, in fractions of the picture."""
    if not (_DECIMAL.fullmatch(x) and _DECIMAL.fullmatch(y)) or max(float(x), float(y)) > 1:
        return None
    return {"gravity": f"{decimal(float(x))}x{decimal(float(y))}"}


def colour(name: str) -> Reader:
    """Return a reader of a colour: hexadecimal digits with or without `#`, or a name."""

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
    """Return a reader of an option that has the same values as ours."""

    def read(text: str) -> Options | None:
        return {name: text} if text and len(text) <= 64 and text.isascii() and text.isprintable() else None

    return read


def clockwise(text: str) -> Options | None:
    """Read a clockwise rotation in degrees."""
    if not _SIGNED.fullmatch(text) or float(text) % 90:
        return None
    degrees = int(float(text)) % 360
    return {"rotate": str(degrees)} if degrees else {}


def anticlockwise(text: str) -> Options | None:
    """Read a counterclockwise rotation in degrees."""
    return clockwise("-" + text if not text.startswith("-") else text[1:])


def decimal(value: float) -> str:
    """Return a number as our options spell it: at most four decimals, without trailing zeros."""
    return f"{value:.4f}".rstrip("0").rstrip(".")
