"""Wrappers whose path holds the whole source in base64url or base58: Miniflux, Imageflow, Hive. Pure.

Verifying a digest needs a key; opening an address does not.

    Miniflux            /proxy/<digest>/<source>, or with a custom media proxy <prefix>/<source>
    Imageflow           /remote/<source>.<digest>.<extension>?width=…
    Hive and Steemit    /p/<source in base58>?width=…
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from proxy.dialects.base.asked import (
    Options,
    asked,
    by_name,
    flag,
    key,
    lost,
    nothing,
    picture_format,
    pixels,
    quality,
    words,
)
from proxy.dialects.base.escapes import as_bytes, as_text, base64url_decode
from proxy.dialects.base.grammar import Grammar, split_query, written
from proxy.dialects.base.opened import ABSOLUTE, OpenedWrapper, query_items
from proxy.dialects.base.serving import Message, Proof, Served
from proxy.errors import InvalidSource

_MODES = {"max": "", "crop": "cover", "stretch": "squeeze", "pad": "pad", "within": "", "aspectcrop": "cover"}
IMAGEFLOW_KEYS = (
    key("width w maxwidth", pixels("width"), "300"),
    key("height h maxheight", pixels("height"), "200"),
    key("mode", words("fit", _MODES), "pad"),
    key("scale", words("upscale", {"down": "", "both": "true", "canvas": ""}), "both"),
    key("format", picture_format, "webp"),
    key("quality webp.quality", quality, "75"),
    key("sflip", words("flip", {"h": "h", "v": "v", "xy": "hv"}), "h"),
    key("s.grayscale", flag({"saturation": "0"}), "true"),
    key("signature", nothing),
    key("crop anchor srotate rotate", lost),
)
_IMAGEFLOW = by_name(IMAGEFLOW_KEYS)
HIVE_KEYS = (
    key("width", pixels("width"), "300"),
    key("height", pixels("height"), "200"),
    key("mode", words("fit", {"fit": "", "cover": "cover"}), "cover"),
    key("format", words("format", {"match": "", "png": "png", "webp": "webp", "jpeg": "jpeg"}), "webp"),
    key("invalidate ignorecache refetch", nothing),
)
_HIVE = by_name(HIVE_KEYS)
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58 = re.compile(f"[{_ALPHABET}]{{8,2000}}")
"""Longer texts are too costly to decode, and no browser sends them."""


def read_miniflux(rest: str, site: str) -> OpenedWrapper | None:
    """Open `DIGEST/SOURCE`, or `SOURCE` alone."""
    path, _ = split_query(rest)
    source = _decoded(path.rpartition("/")[2].replace("%3D", "="))
    return OpenedWrapper(source) if source else None


def serve_miniflux(rest: str) -> Served:
    """Read `DIGEST/SOURCE`, or `SOURCE` alone. The digest covers the source.

    Raises:
        InvalidSource: the address contains no source.
    """
    path, _ = split_query(rest)
    digest, _, text = path.replace("%3D", "=").rpartition("/")
    source = _decoded(text)
    if not source or "/" in digest:
        raise InvalidSource("This Miniflux address contains no address of a picture.")
    return Served(source, proof=Proof(digest.rstrip("="), (Message(as_bytes(source), with_options=False),)))


def read_imageflow(rest: str, site: str) -> OpenedWrapper | None:
    """Open `SOURCE.DIGEST.EXTENSION?options`."""
    path, query = split_query(rest)
    source = _decoded(path.partition(".")[0])
    return OpenedWrapper.of(source, asked(query_items(query), _IMAGEFLOW)) if source else None


def read_hive(rest: str, site: str) -> OpenedWrapper | None:
    """Open `SOURCE?options`, with the source in base58 (Bitcoin's alphabet)."""
    path, query = split_query(rest)
    if not _BASE58.fullmatch(path.partition(".")[0]):
        return None
    value = 0
    for char in path.partition(".")[0]:
        value = value * 58 + _ALPHABET.index(char)
    source = as_text(value.to_bytes((value.bit_length() + 7) // 8, "big"))
    return OpenedWrapper.of(source, asked(query_items(query), _HIVE)) if ABSOLUTE.match(source) else None


def _decoded(text: str) -> str:
    try:
        source = base64url_decode(text)
    except InvalidSource:
        return ""
    return source if ABSOLUTE.match(source) else ""


def build_miniflux(mount: str, source: str, options: Options, *, secret: bytes = b"") -> str:
    """Write an address of Miniflux's media proxy, signed with `secret`."""
    written(options, {}, "miniflux")
    digest = hmac.new(secret, source.encode(), hashlib.sha256).digest()
    parts = (base64.urlsafe_b64encode(data).decode() for data in (digest, source.encode()))
    return "/".join((mount, *parts))


MINIFLUX = Grammar(
    "miniflux",
    read_miniflux,
    build=build_miniflux,
    mounts=("proxy/",),
    serve=serve_miniflux,
    mount="/miniflux/",
    pictures_only=False,
)
HIVE = Grammar(
    "hive",
    read_hive,
    HIVE_KEYS,
    "https://images.hive.blog/p/L87dwHRGadGj8edpEnxyvWDhZx?width=9&height=9&{name}={value}",
    mounts=("p/",),
    pictures_only=True,
)
IMAGEFLOW = Grammar(
    "imageflow",
    read_imageflow,
    IMAGEFLOW_KEYS,
    "https://f.org/remote/aHR0cHM6Ly9oLm9yZy9hLnBuZw.AAAAAAAAAAA.png?width=9&height=9&{name}={value}",
    mounts=("remote/",),
    pictures_only=True,
)
