"""Options of a transform: the type of an option, and readers for values. Pure; runs anywhere.

Does not know any particular option. Each stands beside the code that implements it (`operations/`, `output.py`).
Encoding contract: a reader gets the value after it was percent-decoded once, and returns the value used in the code.
`write` returns text that the reader accepts again, so `read(write(value)) == value`.

    good   read "640" -> 640              read "0.50x1" -> "0.5x1"
    bad    read "6e2" -> ValueError       read "%36" -> ValueError (not decoded)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

Value = bool | int | float | str | tuple[int, ...] | None
"""The value of an option. None and the empty tuple mean "not asked for"."""

Reader = Callable[[str], Value]

_WHOLE = re.compile(r"[0-9]{1,9}")
_DECIMAL = re.compile(r"[0-9]{1,6}(\.[0-9]{1,4})?")


def write_value(value: Value) -> str:
    """Return a value as text: `true`, `640`, `0.5`, `1;2;3;4`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    if isinstance(value, tuple):
        return ";".join(map(str, value))
    return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its names, its range and its meaning, defined in one place.

    allowed: the range and unit, as shown in errors and in the documentation.
    default: the value if the option is absent; `write(default)` may be a word such as `auto`.
    """

    name: str
    read: Reader
    allowed: str
    meaning: str
    default: Value = None
    short: str = ""
    write: Callable[[Value], str] = write_value

    @property
    def attribute(self) -> str:
        """The name of the option's value in a resolved transform."""
        return self.name.replace("-", "_")


def whole(low: int, high: int, *, unset: str = "") -> Reader:
    """Return a reader of whole numbers from `low` to `high`; the word `unset` reads as None."""

    def read(text: str) -> Value:
        if unset and text == unset:
            return None
        if not _WHOLE.fullmatch(text) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return read


def decimal(low: float, high: float, *, zero_means: float | None = None) -> Reader:
    """Return a reader of numbers from `low` to `high` with at most four decimals."""

    def read(text: str) -> Value:
        if not _DECIMAL.fullmatch(text):
            raise ValueError
        value = float(text)
        if value == 0 and zero_means is not None:
            return zero_means
        if not low <= value <= high:
            raise ValueError
        return value

    return read


def word_or(word: str, reader: Reader) -> Reader:
    """Return a reader that accepts `word`, which means itself, and everything that `reader` accepts."""

    def read(text: str) -> Value:
        return text if text == word else reader(text)

    return read


def choice(*words: str, synonyms: dict[str, str] | None = None) -> Reader:
    """Return a reader of one of `words`."""

    def read(text: str) -> Value:
        word = (synonyms or {}).get(text, text)
        if word not in words:
            raise ValueError
        return word

    return read


def flag(text: str) -> Value:
    """Read `true` or `false`."""
    if text not in {"true", "false"}:
        raise ValueError
    return text == "true"


def word_for_none(word: str) -> Callable[[Value], str]:
    """Return a writer that writes None as `word`."""

    def write(value: Value) -> str:
        return word if value is None else write_value(value)

    return write
