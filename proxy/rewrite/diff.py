"""Formats a change of an article as a unified diff for `git apply` and `patch -p1`. Pure; bytes of any encoding."""

from __future__ import annotations

import re
from collections.abc import Iterator

CONTEXT_LINES = 3
_MUST_QUOTE = re.compile(r'[\x00-\x1f\x7f"\\]')
_LETTERS = {"\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r", '"': '"', "\\": "\\"}


def unified_diff(old: bytes, new: bytes, *, name: str) -> bytes:
    """Return the change of an article in git's format; empty when there is none.

    Lines are compared pair by pair, because rewriting never adds or removes a line end.
    """
    before, after = old.split(b"\n"), new.split(b"\n")
    changed = [number for number, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]]
    if not changed:
        return b""
    last = len(before) - 1
    pieces = [b"--- " + _label("a/" + name) + b"\n+++ " + _label("b/" + name) + b"\n"]
    for first, stop in _hunks(changed, len(before) - (before[-1] == b"")):
        count = stop - first
        pieces.append(b"@@ -%d,%d +%d,%d @@\n" % (first + 1, count, first + 1, count))
        pieces.extend(_hunk_lines(before, after, first, stop, last))
    return b"".join(pieces)


def _label(name: str) -> bytes:
    """Return a name as git writes it: quoted like a C string, or followed by a TAB when it contains spaces."""
    if _MUST_QUOTE.search(name):
        name = f'"{_MUST_QUOTE.sub(_escaped, name)}"'
    elif " " in name:
        name += "\t"
    return name.encode("utf-8", "surrogateescape")


def _escaped(match: re.Match[str]) -> str:
    return "\\" + _LETTERS.get(match[0], f"{ord(match[0]):03o}")


def _hunks(changed: list[int], lines: int) -> Iterator[tuple[int, int]]:
    first, stop = changed[0], changed[0] + 1
    for number in changed[1:]:
        if number - stop > 2 * CONTEXT_LINES:
            yield max(0, first - CONTEXT_LINES), min(lines, stop + CONTEXT_LINES)
            first = number
        stop = number + 1
    yield max(0, first - CONTEXT_LINES), min(lines, stop + CONTEXT_LINES)


def _hunk_lines(before: list[bytes], after: list[bytes], first: int, stop: int, last: int) -> Iterator[bytes]:
    number = first
    while number < stop:
        run = number
        while run < stop and before[run] != after[run]:
            run += 1
        if run == number:
            yield _line(b" ", before, number, last)
            number += 1
            continue
        yield from (_line(b"-", before, index, last) for index in range(number, run))
        yield from (_line(b"+", after, index, last) for index in range(number, run))
        number = run


def _line(sign: bytes, lines: list[bytes], number: int, last: int) -> bytes:
    ending = b"\n\\ No newline at end of file\n" if number == last else b"\n"
    return sign + lines[number] + ending
