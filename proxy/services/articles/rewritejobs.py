"""Encodes jobs for a rewrite process and their answers as frames on a socket. Pure.

A frame is two lengths of four bytes each, a JSON header, and an article as body. Bytes in the header are Latin-1 text.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from proxy.config import RewriteConfig
from proxy.rewrite.base.kept import Kept, Known
from proxy.rewrite.base.result import ArticlePicture, Left, Replacement, RewriteResult
from proxy.services.articles.article_use import RewriteSettings
from proxy.source import Source

LENGTHS = struct.Struct(">II")
RETIRE_BYTES = 256 << 20
"""A process whose memory exceeded this exits after its answer, because only that returns the memory."""
OUT_OF_MEMORY = 3
"""Exit status of a process that ran out of memory."""


@dataclass(frozen=True, slots=True)
class ArticleLimits:
    """Limits for one article: processor time, and memory including that of the process itself.

    A megabyte of text takes about five seconds, hostile text twenty.
    """

    cpu_seconds: int = 30
    memory_bytes: int = 1 << 30


Read = Callable[[int], bytes]
"""Returns exactly the given number of bytes. Raises `EOFError` at the end."""


def frame(header: dict[str, Any], body: bytes = b"") -> bytes:
    """Return a frame."""
    text = json.dumps(header, default=_plain).encode("ascii")
    return LENGTHS.pack(len(text), len(body)) + text + body


def read_frame(read: Read) -> tuple[dict[str, Any], bytes]:
    """Return the header and body of the next frame."""
    header, body = LENGTHS.unpack(read(LENGTHS.size))
    return json.loads(read(header)), read(body)


def settings_to_wire(settings: RewriteSettings) -> dict[str, Any]:
    """Return settings as JSON values."""
    fields = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    return {**fields, "config": settings.config.model_dump(mode="json")}


def settings_from_wire(header: dict[str, Any]) -> RewriteSettings:
    """Return the settings in a header."""
    return RewriteSettings(
        RewriteConfig(**header["config"]),
        header["base_url"],
        tuple(header["keys"]),
        tuple(header["types"]),
        header["all_images"],
        header["any_transform"],
        tuple((name, width) for name, width in header["preset_widths"]),
        (header["limits"][0], header["limits"][1]),
        header["responsive"],
        header["presets"],
    )


def known_to_wire(known: Known | None) -> list[Any] | None:
    """Return the facts of kept originals as JSON values."""
    if known is None:
        return None
    return [(dataclasses.asdict(source), kept and dataclasses.asdict(kept)) for source, kept in known.items()]


def known_from_wire(items: list[Any] | None) -> Known | None:
    """Return the facts of kept originals from JSON values."""
    return None if items is None else {Source(**source): kept and Kept(**kept) for source, kept in items}


def result_to_wire(result: RewriteResult) -> dict[str, Any]:
    """Return a result without its article, which is the body of its frame."""
    names = ("replaced", "added", "left", "pictures", "unsure", "own")
    lists = {name: [dataclasses.asdict(item) for item in getattr(result, name)] for name in names}
    asked = [[dataclasses.asdict(source) for source in wanted] for wanted in result.asked]
    return {**lists, "asked": asked, "unread": result.unread}


def result_from_wire(header: dict[str, Any], body: bytes) -> RewriteResult:
    """Return the result in a frame."""
    return RewriteResult(
        body,
        tuple(_replacement(item) for item in header["replaced"]),
        tuple(Left(**item) for item in header["left"]),
        tuple(picture_from_wire(item) for item in header["pictures"]),
        tuple(Source(**item) for item in header["unsure"]),
        tuple(Source(**item) for item in header["own"]),
        header["unread"],
        tuple(_replacement(item) for item in header["added"]),
        tuple(tuple(Source(**source) for source in wanted) for wanted in header["asked"]),
    )


def _replacement(item: dict[str, Any]) -> Replacement:
    old, new = item.pop("old").encode("latin-1"), item.pop("new").encode("latin-1")
    source, dropped = Source(**item.pop("source")), tuple(item.pop("dropped"))
    attributes = tuple(item.pop("attributes"))
    return Replacement(old=old, new=new, source=source, dropped=dropped, attributes=attributes, **item)


def picture_from_wire(item: dict[str, Any]) -> ArticlePicture:
    """Return a picture from JSON values."""
    return ArticlePicture(
        Source(**item["source"]),
        tuple(item["presets"]),
        tuple(item["lines"]),
        item["wrapped"],
        tuple(item["own"]),
        tuple(item["written"]),
    )


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    raise TypeError(f"{type(value)} is not sent")
