"""Form controls for the options of a picture, made from the table of options. Pure.

A new option of an operation gets a control by itself: its words become a list, a range a number field.

    good   "one of scale-down, contain, cover"         ->  a list
    good   "a whole number of pixels from 1 to 100"    ->  a number field from 1 to 100
    good   "auto, top, left, or a point XxY"           ->  a text field that suggests auto, top and left
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from proxy.images.options.readers import Option
from proxy.images.transforms.transform import OPTIONS, Transform

_RANGE = re.compile(r"number(?: of [a-z ]+?)? from (\S+) to ([0-9.]+)")
_SEPARATORS = re.compile(r",\s*(?:or\s+)?|\s+or\s+|\s+and\s+")
_WHOLE = re.compile(r"\bwhole number\b")


@dataclass(frozen=True, slots=True)
class Control:
    """One field of the form.

    kind: `list`, `number` or `text`. words: the values to choose from or to suggest. low, high, step: of a number.
    default: the value of an empty field, as text.
    """

    name: str
    kind: str
    meaning: str
    allowed: str
    value: str = ""
    default: str = ""
    words: tuple[str, ...] = ()
    low: str = ""
    high: str = ""
    step: str = "any"


def controls(asked: Mapping[str, str]) -> list[Control]:
    """Return the controls of all options in the order of the documentation, filled with the requested values."""
    return [_control(option, asked.get(option.name, "").strip()) for option in OPTIONS.values()]


def transform_of(asked: Mapping[str, str]) -> Transform | None:
    """Return the transform of a sent form; None when it names neither a preset nor an option.

    Raises:
        InvalidTransform: a value is invalid; the message names the option and the allowed values.
    """
    texts = {name: asked[name].strip() for name in OPTIONS if asked.get(name, "").strip()}
    preset = asked.get("preset", "").strip() or None
    return Transform.of_texts(texts, preset=preset) if texts or preset else None


def _control(option: Option, value: str) -> Control:
    words = [word for word in _words(option.allowed) if _reads(option, word)]
    whole_text = all(_reads(option, word) for word in _words(option.allowed))
    default = "" if option.default is None else option.write(option.default)
    about = (option.meaning, option.allowed, value, default)
    if words and whole_text:
        return Control(option.name, "list", *about, words=tuple(words))
    found = _RANGE.search(option.allowed)
    if found and not words:
        step = "1" if _WHOLE.search(option.allowed) else "any"
        return Control(option.name, "number", *about, low=found[1], high=found[2], step=step)
    return Control(option.name, "text", *about, words=tuple(words))


def _words(allowed: str) -> list[str]:
    return [word for word in _SEPARATORS.split(allowed.removeprefix("one of ")) if word]


def _reads(option: Option, word: str) -> bool:
    try:
        option.read(word)
    except ValueError:
        return False
    return True
