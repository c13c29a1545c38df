"""WebP (RFC 9649). Pure; written in render processes."""

from __future__ import annotations

from PIL import Image

from proxy.images.files import structure
from proxy.images.files.mending import webp as mending
from proxy.images.formats.record import PictureFormat, Written
from proxy.images.formats.result import Result
from proxy.images.formats.saving import MAX_REPEATS, Moving, exif_options, saved
from proxy.images.pixels.flatness import deflated_bytes, has_few_colours

_USUAL_QUALITY = 78
"""With this quality WebP looks like AVIF at its usual one (SSIMULACRA2 of 72, photos of 400 to 1200 px)."""
_METHOD = 2
_METHOD_MOVING = 1
_LOSSLESS = {"lossless": True, "quality": 50, "method": 1}
# For 1,339 drawings, whole and reduced, these numbers choose the smaller WebP except for 0.5 % of all bytes, in 35 %
# of the time of trying both (docs/decisions/0036-fewer-passes.md).
_LOSSLESS_FROM_FLAT_SHARE = 0.65
"""A drawing of many colours that is less flat is hardly ever smaller without loss, and then by a few per cent."""
_LOSSLESS_BELOW_BYTES_PER_PIXEL = 0.03
"""A drawing that deflates this well is never smaller with loss."""
_LOSSLESS_BELOW_RATIO = 3.0
"""A drawing that deflates to more than this many times the bytes of the lossy WebP is never smaller without loss."""
_FLAGS_AT, _ALPHA = 20, 0x10
_MAX_DELAY_MS = (1 << 24) - 1
"""RFC 9649 §2.7.1.3: 24 bits of thousandths of a second."""
_MAX_MS = (1 << 31) - 1
"""libwebp sums up the times of all frames in a signed int."""


def _is_still_or_moving(head: bytes) -> bool:
    # WHATWG MIME Sniffing §6.1: one of three chunks comes first.
    return head[12:14] == b"VP"


def _write(result: Result) -> bytes:
    quality = result.quality(_USUAL_QUALITY)
    if len(result.frames) == 1:
        if result.drawing or has_few_colours(result.picture):
            return _smaller(result, quality)
        return _lossy(result, quality)
    body = saved(
        Moving(result.frames),
        "WEBP",
        save_all=True,
        quality=quality,
        method=_METHOD_MOVING,
        duration=_delays(result.frames),
        loop=min(result.plays, MAX_REPEATS),
        background=(0, 0, 0, 0),
        **exif_options(result),
    )
    return _said_transparent(body) if result.picture.mode == "RGBA" else body


def _lossy(result: Result, quality: int) -> bytes:
    return saved(result.picture, "WEBP", quality=quality, method=_METHOD, **exif_options(result))


def _lossless(result: Result) -> bytes:
    return saved(result.picture, "WEBP", **_LOSSLESS, **exif_options(result))


def _smaller(result: Result, quality: int) -> bytes:
    """Return a drawing with or without loss, whichever is smaller. A mode that cannot win is not tried.

    A lossless drawing has sharp letters and often fewer bytes.
    """
    if result.flat is not None and result.flat < _LOSSLESS_FROM_FLAT_SHARE:
        return _lossy(result, quality)
    picture, estimate = result.picture, deflated_bytes(result.picture)
    if estimate < picture.width * picture.height * _LOSSLESS_BELOW_BYTES_PER_PIXEL:
        return _lossless(result)
    lossy = _lossy(result, quality)
    if estimate > len(lossy) * _LOSSLESS_BELOW_RATIO:
        return lossy
    return min(lossy, _lossless(result), key=len)


def _delays(frames: tuple[tuple[Image.Image, int], ...]) -> list[int]:
    longest = min(_MAX_DELAY_MS, _MAX_MS // len(frames))
    return [min(delay, longest) for _, delay in frames]


def _said_transparent(body: bytes) -> bytes:
    """Return an animated WebP with the alpha flag set (RFC 9649 §2.7).

    libwebp makes holes by clearing frames. If no frame itself has alpha, it leaves the flag out, and readers that rely
    on the flag fill the holes with black.
    """
    at = _FLAGS_AT
    return body[:at] + bytes([body[at] | _ALPHA]) + body[at + 1 :] if body[12:16] == b"VP8X" else body


WEBP = PictureFormat(
    name="webp",
    label="WebP",
    media_type="image/webp",
    confirm=_is_still_or_moving,
    walk=structure.walk_webp,
    mend=mending.mended,
    moves=True,
    pillow_bytes_per_pixel=17,
    libvips_bytes_per_pixel=12,
    written=Written(
        _write,
        encoder_bytes_per_pixel=20,
        usual_quality=_USUAL_QUALITY,
        effort=5,
        # RFC 9649 §2.7.1.1: 14 bits.
        max_side_px=16_383,
        moves=True,
    ),
)
