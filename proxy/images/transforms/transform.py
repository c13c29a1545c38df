"""Transforms: the changes that an address asks for, as text and as values. Pure; runs anywhere.

Encoding contract: `Transform.parse` takes the options segment of a URL as it was sent, without `sig` and `exp`. It
splits the segment at raw commas and decodes each value once. `canonical()` returns text for URLs, logs and signatures:
the preset first, then long names in alphabetical order, escaped only where a URL segment requires it.

    good   w=640,f=auto              ->  width=640
    good   headimg,background=%23FFF ->  headimg,background=%23ffffff
    bad    width=640,w=640           ->  InvalidTransform (one option twice)
    bad    width%3D640               ->  InvalidTransform (names are not decoded)
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from proxy.errors import InvalidTransform
from proxy.images.options.readers import Option, Value, write_value
from proxy.images.options.wanted import OnError
from proxy.images.transforms.resolved import OPTIONS, Resolved

__all__ = ["OPTIONS", "PresetOptions", "Resolved", "Transform", "options_table", "preset_problems"]

PresetOptions = Mapping[str, Any]
"""Options of a preset as in the configuration: numbers, texts, booleans, and `on_error`."""

RESERVED_PRESETS = frozenset({"original"})
MAX_TEXT_LENGTH = 2048
"""The maximum length of an options segment. All options at their longest take less than half of it."""

_PRESET_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_BY_NAME = OPTIONS | {option.short: option for option in OPTIONS.values() if option.short}
_ON_ERROR = ("error", "original")
# Printable ASCII that may stand unescaped in a path segment and in the value of an option.
_RAW = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in ",%/?#")
_NOTHING_CHANGED = "format=auto"


@dataclass(frozen=True, slots=True)
class Transform:
    """The changes asked for. `options` holds (long name, value) pairs, sorted by name.

    Without a preset, options at their default are left out, because they change nothing. With a preset they are kept,
    because they override it.
    """

    preset: str | None = None
    options: tuple[tuple[str, Value], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Transform:
        """Parse a raw options segment.

        Raises:
            InvalidTransform: the segment is invalid; the message names the option and the allowed values.
        """
        if not text:
            raise InvalidTransform("There are no options; write a preset or options such as width=640.")
        if len(text) > MAX_TEXT_LENGTH:
            raise InvalidTransform(f"The options have more than {MAX_TEXT_LENGTH} characters.")
        first, *rest = words = text.split(",")
        preset = None
        if "=" not in first:
            preset, words = _preset_name(first), rest
        return cls.of(dict(_pairs(words)), preset=preset)

    @classmethod
    def of(cls, values: Mapping[str, Value], *, preset: str | None = None) -> Transform:
        """Return the transform with `values` by long option name."""
        if preset is None:
            values = {name: value for name, value in values.items() if value != OPTIONS[name].default}
        return cls(preset, tuple(sorted(values.items())))

    @classmethod
    def of_texts(cls, texts: Mapping[str, str], *, preset: str | None = None) -> Transform:
        """Return the transform with values as unescaped text, by long option name.

        Raises:
            InvalidTransform: a value is invalid; the message names the option and the allowed values.
        """
        if preset is not None:
            preset = _preset_name(preset)
        values = {name: _value(_option(name), text) for name, text in texts.items()}
        return cls.of(values, preset=preset)

    def canonical(self) -> str:
        """Return the canonical text of this transform. `parse` reads it back as an equal transform."""
        words = [self.preset] if self.preset else []
        words += [f"{name}={quote(OPTIONS[name].write(value), safe=_RAW)}" for name, value in self.options]
        return ",".join(words) or _NOTHING_CHANGED

    def is_bounded(self, widths: Collection[int]) -> bool:
        """Return whether the transform is a preset, a preset with one of `widths`, or one of `widths` alone."""
        if not self.options:
            return self.preset is not None
        return len(self.options) == 1 and self.options[0][0] == "width" and self.options[0][1] in widths

    def resolved(self, presets: Mapping[str, PresetOptions]) -> Resolved:
        """Return the transform with its preset expanded and a value for every option.

        Raises:
            InvalidTransform: there is no such preset.
        """
        values: dict[str, Value] = {}
        on_error: OnError = "error"
        if self.preset is not None:
            values, on_error = _expanded(self.preset, presets)
        values.update(self.options)
        return Resolved.of(values, on_error=on_error)


def _preset_name(word: str) -> str:
    if not _PRESET_NAME.fullmatch(word):
        raise InvalidTransform(f"{_shown(word)} is neither a preset nor an option such as width=640.")
    if word in RESERVED_PRESETS:
        raise InvalidTransform(f"{word} takes no further options.")
    if word in _BY_NAME:
        raise InvalidTransform(f"Option {word} needs a value: {word}=…; {_BY_NAME[word].allowed}.")
    return word


def _pairs(words: Iterable[str]) -> Iterable[tuple[str, Value]]:
    seen = set()
    for word in words:
        name, equals, raw = word.partition("=")
        if not equals:
            raise InvalidTransform(_not_a_pair(word))
        option = _option(name)
        if option.name in seen:
            raise InvalidTransform(f"Option {option.name} is given twice.")
        seen.add(option.name)
        yield option.name, _value(option, _decoded(option, raw))


def _not_a_pair(word: str) -> str:
    if not word:
        return "There is an empty option; remove the extra comma."
    return f"{_shown(word)} has no value; options are written name=value, a preset comes first."


def _option(name: str) -> Option:
    option = _BY_NAME.get(name)
    if option is None:
        raise InvalidTransform(f"There is no option {_shown(name)}{_nearest(name, _BY_NAME)}.")
    return option


def _decoded(option: Option, raw: str) -> str:
    try:
        return unquote(raw, errors="strict")
    except UnicodeError as error:
        raise InvalidTransform(_refusal(option, raw)) from error


def _value(option: Option, text: str) -> Value:
    try:
        return option.read(text)
    except ValueError as error:
        raise InvalidTransform(_refusal(option, text)) from error


def _refusal(option: Option, text: str) -> str:
    return f"Option {option.name}: {_shown(text)} is not allowed; it takes {option.allowed}."


def _shown(text: str) -> str:
    """Return `text` for use in a message: short, on one line, without surrogates."""
    return ascii(text if len(text) <= 40 else text[:39] + "…").replace("\\u2026", "…")


def _nearest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name[:64], list(known), n=1, cutoff=0.5)
    return f"; did you mean {found[0]}?" if found else ""


def _expanded(name: str, presets: Mapping[str, PresetOptions]) -> tuple[dict[str, Value], OnError]:
    options = presets.get(name)
    if options is None:
        raise InvalidTransform(f"There is no preset {_shown(name)}{_nearest(name, presets)}.")
    pairs = _pairs(
        f"{key}={quote(_text(value), safe='')}" for key, value in options.items() if key != "on_error"
    )
    return dict(pairs), "original" if options.get("on_error") == "original" else "error"


def _text(value: object) -> str:
    return write_value(value) if isinstance(value, bool | int | float) else str(value)


def preset_problems(name: str, options: object) -> list[str]:
    """Return all problems of a preset in the configuration, one sentence for each."""
    problems = []
    if not _PRESET_NAME.fullmatch(name):
        problems.append(f"preset {_shown(name)}: write lower-case letters, digits, - and _, a letter first")
    elif name in RESERVED_PRESETS or name in _BY_NAME:
        problems.append(f"preset {name}: the name is reserved")
    if not isinstance(options, Mapping):
        return [*problems, f"preset {_shown(name)}: is not a table of options"]
    seen: set[str] = set()
    for key, value in options.items():
        problem = _option_problem(str(key), value, seen=seen)
        if problem:
            problems.append(f"preset {_shown(name)}: {problem}")
    return problems


def _option_problem(key: str, value: object, *, seen: set[str]) -> str:
    if key == "on_error":
        return "" if value in _ON_ERROR else 'on_error is "error" or "original"'
    if not isinstance(value, bool | int | float | str):
        return f"option {_shown(key)} is not text, a number or a boolean"
    try:
        option = _option(key)
        _value(option, _text(value))
    except InvalidTransform as error:
        return error.message.rstrip(".")
    if option.name in seen:
        return f"option {option.name} is given twice"
    seen.add(option.name)
    return ""


def options_table() -> str:
    """Return the table of all options as Markdown, for the documentation."""
    rows = ["| option | takes | default | meaning |", "|---|---|---|---|"]
    for option in OPTIONS.values():
        names = f"`{option.name}`" + (f", `{option.short}`" if option.short else "")
        default = option.write(option.default) or "-"
        rows.append(f"| {names} | {option.allowed} | {default} | {option.meaning} |")
    return "\n".join(rows) + "\n"
