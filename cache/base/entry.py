"""Entries: the facts stored about an original, and their JSON text. Pure.

The JSON is indented, so that people can read an entry without any program. Parsing is strict about known keys (a wrong
type, a missing field or an invalid digest is `EntryUnreadable`) and ignores unknown ones, so that an older program can
read the entries of a newer one. Knows nothing of files.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, cast

from cache.base.errors import EntryUnreadable
from cache.base.keys import source_key
from cache.base.spelling import present_spelling

MAX_ENTRY_BYTES = 1 << 20
"""The maximum size of an entry. A usual entry has 1 to 3 KB, and one with the longest history less than 200 KB."""

MAX_HISTORY = 256
"""The most former bodies in one entry. Older ones stay on the disk, but no entry names them any more."""

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_SOURCE = re.compile(r"[\x21-\x7e]+\Z")
_encoded = json.JSONEncoder(allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class Former:
    """Other bytes of the source. They are kept until the source or its history is purged.

    `note` is empty for bytes that were current once. Otherwise it says why they must not become current: `placeholder`
    or `another_size` (set aside on arrival), `rolled_back` (by the operator).
    """

    body_sha256: str
    body_size: int
    media_type: str
    fetched_at: float
    damaged: bool = False
    picture: Mapping[str, Any] | None = None
    note: str = ""
    recovered: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """The facts stored about an original.

    `source` is the canonical URL. `headers` are the kept headers of the origin's answer, with names in lower case.
    `media_type` was detected from the bytes. Times are Unix seconds: `request_time` and `response_time` as in RFC 9111
    §4.2.3, `fetched_at` when these bytes first arrived, `validated_at` when the origin last confirmed them. `picture`
    holds facts such as format, width and height; None if the bytes are not a picture. `history` names the other bytes
    of the source, newest first. `recovered` says where the bytes came from if not from the origin: `from`, `url`,
    `captured_at`; None for bytes from the origin. `judged_by` names the rules that found `damaged`; empty if the rules
    are not known.
    """

    source: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body_sha256: str
    body_size: int
    media_type: str
    final_url: str
    request_time: float
    response_time: float
    fetched_at: float
    validated_at: float
    damaged: bool = False
    picture: Mapping[str, Any] | None = None
    history: tuple[Former, ...] = ()
    recovered: Mapping[str, Any] | None = None
    judged_by: str = ""

    @property
    def key(self) -> str:
        """The key of the entry: the SHA-256 of the source."""
        return source_key(self.source)

    @property
    def etag(self) -> str | None:
        """The origin's `ETag` as received."""
        return self.header("etag")

    @property
    def last_modified(self) -> str | None:
        """The origin's `Last-Modified` as received."""
        return self.header("last-modified")

    @property
    def digests(self) -> tuple[str, ...]:
        """The digests of all bodies that this entry names, the current one first."""
        return (self.body_sha256, *(former.body_sha256 for former in self.history))

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes of all bodies that this entry names, by digest."""
        return {item.body_sha256: item.body_size for item in (*self.history, self.as_former())}

    def header(self, name: str) -> str | None:
        """Return the first value of a kept header; `name` in lower case."""
        return next((value for known, value in self.headers if known == name), None)

    def respelled(self) -> Entry:
        """Return the entry under the current spelling of its source."""
        return replace(self, source=present_spelling(self.source), final_url=present_spelling(self.final_url))

    @classmethod
    def of_body(cls, source: str, body: Former, history: tuple[Former, ...]) -> Entry:
        """Return an entry for a body of which nothing else is known. It has no validators and is never fresh."""
        return cls(
            source=source,
            status=200,
            headers=(("content-type", body.media_type),),
            body_sha256=body.body_sha256,
            body_size=body.body_size,
            media_type=body.media_type,
            final_url=source,
            request_time=0.0,
            response_time=0.0,
            fetched_at=body.fetched_at,
            validated_at=0.0,
            history=history,
        )

    def replacing(self, previous: Entry | None) -> Entry:
        """Return this entry with the bytes of `previous`, and those before them, as its history.

        The entry's own history is ignored, because only bytes that are kept now can be named.
        """
        if previous is None:
            return _with_history(self, ())
        items = {
            previous.body_sha256: previous.as_former(),
            **{item.body_sha256: item for item in previous.history},
        }
        items.pop(self.body_sha256, None)
        return _with_history(self, tuple(items.values())[:MAX_HISTORY])

    def having(self, other: Former) -> Entry:
        """Return this entry with `other` as the newest item of its history."""
        rest = (item for item in self.history if item.body_sha256 != other.body_sha256)
        return _with_history(self, (other, *rest)[:MAX_HISTORY])

    def without(self, digests: Collection[str]) -> Entry:
        """Return this entry without the items of its history that have one of `digests`."""
        return _with_history(self, tuple(item for item in self.history if item.body_sha256 not in digests))

    def promoting(self, sha256: str, *, note: str = "") -> Entry:
        """Return the entry in which the bytes with this digest, now in its history, are current.

        The current ones become history, with `note`. History has no headers, so the new entry has no validators, and
        the next refresh fetches the whole picture.

        Raises:
            KeyError: the history does not contain these bytes.
        """
        chosen = next((item for item in self.history if item.body_sha256 == sha256), None)
        if chosen is None:
            raise KeyError(sha256)
        promoted = replace(
            self,
            headers=(("content-type", chosen.media_type),),
            body_sha256=chosen.body_sha256,
            body_size=chosen.body_size,
            media_type=chosen.media_type,
            final_url=_final_url(self, chosen),
            fetched_at=chosen.fetched_at,
            damaged=chosen.damaged,
            picture=chosen.picture,
            history=tuple(item for item in self.history if item is not chosen),
            recovered=chosen.recovered,
            judged_by="",
        )
        return promoted.having(self.as_former(note=note))

    def as_former(self, *, note: str = "") -> Former:
        """Return the item that represents this entry in the history of a later one."""
        return Former(
            self.body_sha256,
            self.body_size,
            self.media_type,
            self.fetched_at,
            damaged=self.damaged,
            picture=self.picture,
            note=note,
            recovered=self.recovered,
        )

    def to_json(self) -> bytes:
        """Return the text of the entry file."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        known["history"] = [_plain(item) for item in self.history]
        known["picture"] = None if self.picture is None else dict(self.picture)
        known["recovered"] = None if self.recovered is None else dict(self.recovered)
        # One line for each field, each written by the encoder in C. The indenting encoder is ten times as slow.
        # ASCII, because header values may contain bytes that are not UTF-8 (lone surrogates).
        lines = [f'  "{name}": {_encoded(value)}' for name, value in known.items()]
        return ("{\n" + ",\n".join(lines) + "\n}\n").encode("ascii")

    @classmethod
    def from_json(cls, text: bytes) -> Entry:
        """Parse the text of an entry file.

        Raises:
            EntryUnreadable: it is not an entry.
        """
        known = _EntryMembers(_parsed(text))
        try:
            source = known.text("source")
            if not _SOURCE.match(source):
                raise EntryUnreadable("the source is not printable ASCII")
            return cls(
                source=source,
                status=known.whole("status"),
                headers=_headers(known.member("headers")),
                body_sha256=known.digest("body_sha256"),
                body_size=known.whole("body_size"),
                media_type=known.text("media_type"),
                final_url=known.text("final_url"),
                request_time=known.moment("request_time"),
                response_time=known.moment("response_time"),
                fetched_at=known.moment("fetched_at"),
                validated_at=known.moment("validated_at"),
                damaged=known.flag("damaged"),
                picture=known.mapping("picture"),
                history=tuple(_former(item) for item in known.items("history")),
                recovered=known.mapping("recovered"),
                judged_by=known.text_or_none("judged_by") or "",
            )
        except KeyError as error:
            raise EntryUnreadable(f"{error.args[0]} is missing") from None


def _final_url(present: Entry, chosen: Former) -> str:
    """Return where a version came from, as far as it is recorded."""
    if chosen.recovered is not None:
        return str(chosen.recovered.get("url", present.source))
    return present.final_url if present.recovered is None else present.source


def _with_history(entry: Entry, history: tuple[Former, ...]) -> Entry:
    return replace(entry, history=history)


def _plain(item: Former) -> dict[str, Any]:
    known = {field.name: getattr(item, field.name) for field in fields(item)}
    known["picture"] = None if item.picture is None else dict(item.picture)
    known["recovered"] = None if item.recovered is None else dict(item.recovered)
    return known


def _parsed(text: bytes) -> Mapping[str, object]:
    if len(text) > MAX_ENTRY_BYTES:
        raise EntryUnreadable("too long for an entry")
    try:
        known = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EntryUnreadable(f"not JSON: {error}") from None
    return _object(known)


def _object(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise EntryUnreadable("not a JSON object")
    return cast("Mapping[str, object]", value)


def _headers(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list):
        raise EntryUnreadable("headers are not a list")
    return tuple(_header(item) for item in value)


def _header(item: object) -> tuple[str, str]:
    match item:
        case [str(name), str(value)]:
            return name, value
    raise EntryUnreadable("a header is not a pair of texts")


def _former(item: object) -> Former:
    known = _EntryMembers(_object(item))
    return Former(
        known.digest("body_sha256"),
        known.whole("body_size"),
        known.text("media_type"),
        known.moment("fetched_at"),
        damaged=known.flag("damaged"),
        picture=known.mapping("picture"),
        note=known.text_or_none("note") or "",
        recovered=known.mapping("recovered"),
    )


class _EntryMembers:
    """Typed access to the members of a JSON object. A missing one raises KeyError, and one of a wrong type
    EntryUnreadable."""

    def __init__(self, known: Mapping[str, object]) -> None:
        self._known = known

    def member(self, name: str) -> object:
        return self._known[name]

    def text(self, name: str) -> str:
        value = self._known[name]
        if not isinstance(value, str):
            raise EntryUnreadable(f"{name} is not a text")
        return value

    def text_or_none(self, name: str) -> str | None:
        return None if self._known.get(name) is None else self.text(name)

    def digest(self, name: str) -> str:
        value = self.text(name)
        if not _DIGEST.match(value):
            raise EntryUnreadable(f"{name} is not a SHA-256")
        return value

    def whole(self, name: str) -> int:
        value = self._known[name]
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
            raise EntryUnreadable(f"{name} is not a whole number")
        return value

    def moment(self, name: str) -> float:
        value = self._known[name]
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1 << 53:
            raise EntryUnreadable(f"{name} is not a time")
        return float(value) if math.isfinite(value) else 0.0

    def flag(self, name: str) -> bool:
        value = self._known.get(name, False)
        if not isinstance(value, bool):
            raise EntryUnreadable(f"{name} is neither true nor false")
        return value

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        value = self._known.get(name)
        return None if value is None else _object(value)

    def items(self, name: str) -> list[object]:
        value = self._known.get(name, [])
        if not isinstance(value, list):
            raise EntryUnreadable(f"{name} is not a list")
        return value
