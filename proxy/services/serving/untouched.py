"""SVG originals as answers to wishes for variants: unchanged, and compressed once. Runs on the event loop.

Compressed bodies are in the variant store, under keys with the body's digest. They can be made again at any time.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import brotli

from cache.base.entry import Entry
from cache.base.keys import variant_key
from cache.durable_tier import Originals
from cache.variants.bounded_tier import Variants
from proxy.images.formats import MEDIA_TYPES, UNTOUCHED
from proxy.services.serving.values import Obtained, Picture, as_picture

Keep = Callable[[Obtained, str, bytes], Awaitable[None]]
"""Stores a variant of an original under a key, unless the original was purged meanwhile."""

CODER_VERSION = "1"
"""Part of the key of every compressed body. Other settings of the codec need another name."""

MAX_CODED_BYTES = 8 * 1024 * 1024
"""A larger drawing is answered uncompressed: compressing one of this size takes a tenth of a second."""

_GZIP_LEVEL = 6
_BROTLI_QUALITY = 5


def _gzipped(body: bytes) -> bytes:
    return gzip.compress(body, _GZIP_LEVEL, mtime=0)


def _brotli(body: bytes) -> bytes:
    compressed: bytes = brotli.compress(body, quality=_BROTLI_QUALITY)
    return compressed


CODERS: dict[str, Callable[[bytes], bytes]] = {"br": _brotli, "gzip": _gzipped}


def is_answered_untouched(entry: Entry, acceptable: tuple[str, ...]) -> bool:
    """Return whether the original itself is the answer. One beyond the bound for filters is not."""
    beyond = bool(entry.picture and entry.picture.get("beyond_bound"))
    is_svg = entry.media_type == MEDIA_TYPES["svg"]
    return UNTOUCHED in acceptable and is_svg and not entry.damaged and not beyond


class Untouched:
    """Makes the answer from an SVG original.

    1. The body comes from the disk, or from `obtained` if it could not be kept.
    2. Its compressed bodies come from the variant store, or a thread makes them and they are stored.
    """

    def __init__(self, kept: Originals, store: Variants, keep: Keep) -> None:
        self._kept = kept
        self._store = store
        self._keep = keep

    async def made(self, obtained: Obtained) -> Picture:
        """Return the picture; compress what is not stored.

        Raises:
            OSError: the body on the disk does not match its entry.
        """
        codings = await self._codings(obtained)
        body = await self._body(obtained)
        if codings is None:
            codings = await asyncio.to_thread(_coded, body)
            for name, coded in codings.items():
                await self._keep(obtained, _key(obtained.entry, name), coded)
        smaller = {name: coded for name, coded in codings.items() if len(coded) < len(body)}
        return replace(as_picture(obtained, body), untouched=True, codings=smaller)

    async def _codings(self, obtained: Obtained) -> Mapping[str, bytes] | None:
        entry = obtained.entry
        if entry.body_size > MAX_CODED_BYTES or obtained.is_corrupt:
            return {}
        bodies = await asyncio.gather(*(self._store.get(_key(entry, name)) for name in CODERS))
        found = {name: body for name, body in zip(CODERS, bodies, strict=True) if body is not None}
        return found if len(found) == len(CODERS) else None

    async def _body(self, obtained: Obtained) -> bytes:
        if obtained.body is not None:
            return obtained.body
        body = await self._kept.read_body(obtained.entry.body_sha256)
        if len(body) != obtained.entry.body_size:
            raise FileNotFoundError("its size differs from its entry")
        return body


def _coded(body: bytes) -> dict[str, bytes]:
    return {name: code(body) for name, code in CODERS.items()}


def _key(entry: Entry, coding: str) -> str:
    return variant_key(
        body_sha256=entry.body_sha256, resolved="original", output_format=coding, render_version=CODER_VERSION
    )
