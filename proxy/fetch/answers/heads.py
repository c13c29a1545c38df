"""Tidies the head of an origin's answer for a strict parser, by removing what browsers and curl ignore. Pure.

Keeps the status, every readable field, and one framing (RFC 9112 §6.3). An unreadable field is dropped. Unreadable
framing is an error, because the end of the body would be a guess.

    good   X-Powered-By : PHP            ->  X-Powered-By: PHP          (RFC 9112 §5.1)
    good   Content-Length: 5, 5          ->  Content-Length: 5
    bad    a line without a colon        ->  dropped, and the connection is not used again
    bad    Content-Length: +5            ->  ValueError
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

MAX_HEAD_BYTES = 262_144
"""The limit for all lines of a head together, as in Chromium. A single line may be as long."""

_Fields = list[tuple[bytes, bytes]]
_End = Literal["none", "length", "chunked", "close", "upgrade"]

_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE = re.compile(
    rb"(?:HTTP(?:/(?P<major>\d{1,3})(?:\.(?P<minor>\d{1,3}))?)?|ICY)[ \t]+(?P<status>[1-9]\d\d)(?:[ \t\r].*)?",
    re.IGNORECASE | re.DOTALL,
)
_BEGINNINGS = (b"http", b"icy ")
_BEGINNING_BYTES = 4
_FOLD = re.compile(rb"\r?\n[ \t]+")
"""RFC 9112 §5.2: a value that continues in the next line."""
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# RFC 9110 §5.5: these characters have no meaning; a tab is white space.
_CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH = re.compile(rb"[0-9]+")
_MAX_LENGTH_DIGITS = 18
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_ONCE = frozenset({b"content-location", b"content-range", b"content-type", b"etag", b"server"})
"""Fields that aiohttp's parser accepts only once in development mode. The last one counts, as for the type in
browsers."""
_BODILESS = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class Head:
    """A head that a strict parser accepts.

    data: the bytes, including the blank line. end: how the end of the body is known; `none` means that there is no
    body, and `upgrade` that HTTP ends here. length: the length of the body if `end` is "length". final: it is an answer
    and not a 1xx before the answer. doubtful: something was repaired, so the connection must not be used for another
    request.
    """

    data: bytes
    end: _End
    length: int
    final: bool
    doubtful: bool


class HeadBytes:
    """The bytes of one head while it arrives, in any pieces. Many small pieces cost no more than one large one."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._skipped = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Return the head, including the blank line, and the bytes after it; None while the head is incomplete.

        Raises:
            ValueError: the bytes are not a head, or it is too long.
        """
        searched = len(self._data)
        self._data += data
        if searched < _BEGINNING_BYTES:
            self._begin()
            searched = 0
        found = _BLANK_LINE.search(self._data, max(0, searched - 3))
        if self._skipped + (found.end() if found else len(self._data)) > MAX_HEAD_BYTES:
            raise ValueError(f"a head of more than {MAX_HEAD_BYTES} bytes")
        return (bytes(self._data[: found.end()]), bytes(self._data[found.end() :])) if found else None

    def _begin(self) -> None:
        # Line ends before the status line do not end a head (RFC 9112 §2.2).
        line_ends = len(self._data) - len(self._data.lstrip(b"\r\n"))
        self._skipped += line_ends
        del self._data[:line_ends]
        start = self._data[:_BEGINNING_BYTES].lower()
        if not any(beginning.startswith(start) for beginning in _BEGINNINGS):
            raise ValueError(f"no HTTP answer: {bytes(self._data[:40])!r}")


def tidied(raw: bytes) -> Head:
    """Parse the head in `raw`, which includes the blank line.

    Raises:
        ValueError: there is no status, or the framing cannot be read.
    """
    # Lines folded after the status line or after an unreadable line are dropped with it (RFC 9112 §2.2).
    unfolded = _FOLD.sub(b" ", raw.strip(b"\r\n"))
    first, *lines = unfolded.split(b"\n")
    match = _STATUS_LINE.fullmatch(first.removesuffix(b"\r"))
    if match is None:
        raise ValueError(f"no status line: {first[:60]!r}")
    status = int(match["status"])
    modern = (int(match["major"] or 0), int(match["minor"] or 0)) >= (1, 1)
    fields = _fields(lines)
    kept = _shown(fields)
    end, length = _framing(fields, status=status)
    if end == "length":
        kept.append((b"Content-Length", b"%d" % length))
    elif end in {"chunked", "close"} and (codings := _transfer_codings(fields)):
        kept.append((b"Transfer-Encoding", b", ".join(dict.fromkeys(codings))))
    shown = b"".join(b"%s: %s\r\n" % field for field in kept)
    data = b"HTTP/1.%d %d \r\n%s\r\n" % (modern, status, shown)
    is_repaired = len(fields) != len(lines) or _FOLD.search(raw) is not None
    doubtful = is_repaired or _framing_is_odd(fields, modern=modern)
    return Head(data, end, length, final=status >= 200 or status == 101, doubtful=doubtful)


def _fields(lines: list[bytes]) -> _Fields:
    """Return the readable fields."""
    parted = (line.partition(b":") for line in lines)
    fields = [(name.rstrip(b" \t"), value.strip(b" \t\r")) for name, colon, value in parted if colon]
    return [(name, value) for name, value in fields if _TOKEN.fullmatch(name)]


def _shown(fields: _Fields) -> _Fields:
    """Return the fields that do not concern framing, with control characters removed from their values."""
    last = {name.lower(): at for at, (name, _) in enumerate(fields)}
    return [
        (name, _CONTROLS.sub(b" ", value).strip())
        for at, (name, value) in enumerate(fields)
        if (known := name.lower()) not in _FRAMING and (known not in _ONCE or last[known] == at)
    ]


def _framing(fields: _Fields, *, status: int) -> tuple[_End, int]:
    """Return how the body ends (RFC 9112 §6.3), and its length if it is known.

    Raises:
        ValueError: a length is invalid, or the lengths differ.
    """
    if status == 101:
        return "upgrade", 0
    if status < 200 or status in _BODILESS:
        return "none", 0
    if codings := _transfer_codings(fields):
        # We did not ask for others. proxy.fetch.answers.body refuses them by name.
        return ("chunked" if set(codings) == {b"chunked"} else "close"), 0
    lengths = _listed(fields, b"content-length")
    if not lengths:
        return "close", 0
    numbers = {_length(text) for text in lengths}
    if len(numbers) > 1:
        raise ValueError(f"lengths differ: {lengths[:3]}")
    return "length", numbers.pop()


def _transfer_codings(fields: _Fields) -> list[bytes]:
    # "identity" was a coding of RFC 2616. It means that there is none.
    return [coding for coding in _listed(fields, b"transfer-encoding") if coding not in {b"", b"identity"}]


def _listed(fields: _Fields, wanted: bytes) -> list[bytes]:
    values = [value.lower() for name, value in fields if name.lower() == wanted]
    return [part.strip(b" \t") for value in values for part in value.split(b",")]


def _length(text: bytes) -> int:
    if not _LENGTH.fullmatch(text):
        raise ValueError(f"no length: {text[:40]!r}")
    digits = text.lstrip(b"0") or b"0"
    # No int(): thousands of digits would be an attack of their own. A number this long exceeds every limit.
    return int(digits) if len(digits) <= _MAX_LENGTH_DIGITS else 10**_MAX_LENGTH_DIGITS


def _framing_is_odd(fields: _Fields, *, modern: bool) -> bool:
    framing = [(name.lower(), value.lower()) for name, value in fields if name.lower() in _FRAMING]
    if len(framing) > 1:
        return True
    # RFC 9112 §6.1: HTTP/1.0 has no transfer codings.
    return any(value != b"chunked" or not modern for name, value in framing if name == b"transfer-encoding")
