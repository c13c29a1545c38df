"""From pixels to bytes: one function per output format, settings by measurement. Runs in render processes.

Deterministic: the same pixels and settings give the same bytes on the same libraries. Nothing of the original goes
along but what `metadata` asks for.
"""

from __future__ import annotations

import functools
import io
import itertools
import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image, ImageChops

from proxy.errors import OutOfMemory, PictureError, TooManyPixels, UnsupportedFormat
from proxy.images.autoquality import lowest_quality
from proxy.images.decode.faults import FAULTS
from proxy.images.drawing import deflated_bytes, flat_share, has_few_colours
from proxy.images.exif import kept
from proxy.images.operations.background import WHITE, colour_of
from proxy.images.png_writing import BUSY, FLAT, PHOTO, PngEffort, WritePng
from proxy.images.resolved import Resolved

RENDER_VERSION = "10"
"""Part of every variant's name. Raise it with any change of a setting or an operation that changes bytes."""

# WebP and AVIF look alike (SSIMULACRA2 of 72, photos of 400 to 1200 px), AVIF in 70 % of the bytes; JPEG (77) is what
# everybody's 80 looks like.
_USUAL_QUALITY = {"jpeg": 80, "webp": 78, "avif": 50}
_WEBP_METHOD = 2
_WEBP_METHOD_MOVING = 1
_WEBP_LOSSLESS = {"lossless": True, "quality": 50, "method": 1}
# Of 153 drawings, whole and made smaller, these two numbers find the smaller WebP but for 0.4 % of all bytes, in 37 %
# of the time of trying both (docs/decisions/0036-rendering-costs.md).
_LOSSLESS_BELOW_BYTES_PER_PIXEL = 0.03
"""A drawing that deflates so well is never smaller with loss."""
_LOSSLESS_BELOW_RATIO = 3.0
"""Nor is one without loss that deflates to more than so many times the bytes of the lossy one."""
# SSIMULACRA2 of 78 takes libaom 18 % more bytes at speed 9 than at 6, 5 % more at 8 with full chroma and the tuning;
# it takes a tenth and four tenths of the time.
_AVIF_SPEED = 8
_AVIF_SPEED_LARGE = 9
_AVIF_LARGE_FROM_PIXELS = 500_000
"""From here on a visitor would wait for a tenth of a second and more."""
_AVIF_TUNING = {"c:tune": "ssimulacra2"}
# zlib's strategies (zlib.h): run lengths only give photos the size of level 4 in half the time; drawings need matches.
_PNG_PHOTO = {"compress_level": 4, "compress_type": zlib.Z_RLE}
_PNG_DRAWING = {"compress_level": 6, "compress_type": zlib.Z_FILTERED}
_PNG_PALETTE = {"compress_level": 6}
_DRAWING_COLOURS = 4096
_FLAT_DRAWING_SHARE = 0.5
_WEBP_FLAGS_AT, _WEBP_ALPHA = 20, 0x10
_FULL_CHROMA_FROM_QUALITY = 90
_OPAQUE_FROM = 128
_PALETTE_SAMPLE_PIXELS = 16_000
_MAX_SIDE_PX = {"webp": 16_383, "jpeg": 65_500, "gif": 65_535, "avif": 65_536}
"""RFC 9649 §2.7.1.1 (14 bits); libjpeg's JPEG_MAX_DIMENSION; GIF89a §18 (16 bits); AV1 §5.5.1 (16 bits and one)."""
_NAMES = {"jpeg": "JPEG", "webp": "WebP", "avif": "AVIF", "png": "PNG", "gif": "GIF"}
_MAX_REPEATS = 65_535
"""Repetitions in a GIF (Netscape extension) and plays in a WebP (RFC 9649 §2.7.1.2): 16 bits each."""
_MAX_DELAY_MS = {"gif": 655_350, "webp": (1 << 24) - 1}
"""GIF89a §23.c.vii: 16 bits of hundredths; RFC 9649 §2.7.1.3: 24 bits of thousandths of a second."""
_MAX_WEBP_MS = (1 << 31) - 1
"""libwebp counts the time of all frames in a signed int."""
_MAX_JPEG_EXIF_BYTES = 65_533
"""ITU-T T.81 §B.2.4.6: the length of a segment has 16 bits and counts itself."""


@dataclass(frozen=True, slots=True)
class Result:
    """What is to be encoded. frames: (picture, milliseconds); more than one only for formats that move.

    drawing: formats that can do without loss try that too. write_png: a quicker way than Pillow's, if there is one.
    """

    frames: tuple[tuple[Image.Image, int], ...]
    plays: int
    exif: bytes
    wanted: Resolved
    drawing: bool = False
    write_png: WritePng | None = None

    @property
    def picture(self) -> Image.Image:
        """The first frame."""
        return self.frames[0][0]

    def quality(self, output_format: str) -> int:
        """The quality for a lossy format. What is to be found by trying is settled before (`encode`)."""
        asked = self.wanted.quality
        return asked if isinstance(asked, int) else _USUAL_QUALITY[output_format]

    @property
    def first(self) -> Result:
        """The first frame alone."""
        return self if len(self.frames) == 1 else replace(self, frames=self.frames[:1])

    def still(self, quality: int) -> Result:
        """The first frame alone, at one quality."""
        return replace(self.first, wanted=self.wanted.replaced(quality=quality))


class EncodeFailed(Exception):
    """An encoder cannot write a picture: that is no fault of its original.

    error: the answer when no other format may stand in. lasting: whether the next attempt will end the same way.
    """

    def __init__(self, error: PictureError, *, lasting: bool = True) -> None:
        self.error = error
        self.lasting = lasting
        super().__init__(error.detail or error.message)


@contextmanager
def _encoding(output_format: str) -> Iterator[None]:
    name = _NAMES[output_format]
    try:
        yield
    except MemoryError as error:
        raise EncodeFailed(_out_of_memory(name, error), lasting=False) from error
    except FAULTS as error:
        if "memory" in str(error).lower():
            # libwebp and libavif report it as an error among others.
            raise EncodeFailed(_out_of_memory(name, error), lasting=False) from error
        refusal = f"The picture cannot be written as {name}; another format may hold it."
        raise EncodeFailed(UnsupportedFormat(refusal, detail=repr(error))) from error


def _out_of_memory(name: str, error: Exception) -> OutOfMemory:
    return OutOfMemory(f"Writing the picture as {name} takes more memory than there is.", detail=repr(error))


def encode(result: Result, output_format: str) -> bytes:
    """Return the bytes of `result`.

    Raises:
        EncodeFailed: the format cannot hold the picture, or its encoder fails.
    """
    limit = _MAX_SIDE_PX.get(output_format)
    if limit is not None and max(result.picture.size) > limit:
        name = _NAMES[output_format]
        raise EncodeFailed(TooManyPixels(f"A {name} picture has at most {limit} pixels a side."))
    with _encoding(output_format):
        return _encoded(result, output_format)


def _encoded(result: Result, output_format: str) -> bytes:
    write = _ENCODERS[output_format]
    if result.wanted.quality != "auto" or output_format not in _USUAL_QUALITY:
        return write(result)
    quality, body = lowest_quality(
        result.picture,
        lambda tried: write(result.still(tried)),
        usual=_USUAL_QUALITY[output_format],
    )
    if len(result.frames) == 1:
        return body
    # An animation takes the quality that suits its first frame.
    return write(replace(result, wanted=result.wanted.replaced(quality=quality)))


def _saved(picture: Image.Image, output_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, output_format, **options)
    return buffer.getvalue()


def _jpeg(result: Result) -> bytes:
    quality = result.quality("jpeg")
    subsampling = "4:4:4" if quality >= _FULL_CHROMA_FROM_QUALITY else "4:2:0"
    picture = flattened(result.picture, result.wanted)
    exif = _exif(result)
    if len(exif.get("exif", b"")) > _MAX_JPEG_EXIF_BYTES:
        # Other formats hold more. The picture is worth more than its metadata.
        exif = {}
    return _saved(
        picture,
        "JPEG",
        quality=quality,
        optimize=True,
        progressive=False,
        subsampling=subsampling,
        **exif,
    )


def _webp(result: Result) -> bytes:
    quality = result.quality("webp")
    if len(result.frames) == 1:
        if result.drawing or has_few_colours(result.picture):
            return _smaller_webp(result, quality)
        return _lossy_webp(result, quality)
    body = _saved(
        Moving(result.frames),
        "WEBP",
        save_all=True,
        quality=quality,
        method=_WEBP_METHOD_MOVING,
        duration=_webp_delays(result.frames),
        loop=min(result.plays, _MAX_REPEATS),
        background=(0, 0, 0, 0),
        **_exif(result),
    )
    return _said_transparent(body) if result.picture.mode == "RGBA" else body


def _lossy_webp(result: Result, quality: int) -> bytes:
    return _saved(result.picture, "WEBP", quality=quality, method=_WEBP_METHOD, **_exif(result))


def _lossless_webp(result: Result) -> bytes:
    return _saved(result.picture, "WEBP", **_WEBP_LOSSLESS, **_exif(result))


def _smaller_webp(result: Result, quality: int) -> bytes:
    """Return a drawing with loss or without, whichever is smaller; what cannot win is not tried.

    Without loss it has sharp letters, and often fewer bytes.
    """
    picture, estimate = result.picture, deflated_bytes(result.picture)
    if estimate < picture.width * picture.height * _LOSSLESS_BELOW_BYTES_PER_PIXEL:
        return _lossless_webp(result)
    lossy = _lossy_webp(result, quality)
    if estimate > len(lossy) * _LOSSLESS_BELOW_RATIO:
        return lossy
    return min(lossy, _lossless_webp(result), key=len)


def _webp_delays(frames: tuple[tuple[Image.Image, int], ...]) -> list[int]:
    longest = min(_MAX_DELAY_MS["webp"], _MAX_WEBP_MS // len(frames))
    return [min(delay, longest) for _, delay in frames]


def _said_transparent(body: bytes) -> bytes:
    """Return an animated WebP with the alpha flag set (RFC 9649 §2.7).

    libwebp makes holes by clearing frames away, none of which has alpha, and then leaves it out. Readers who believe
    the flag fill the holes with black.
    """
    at = _WEBP_FLAGS_AT
    return body[:at] + bytes([body[at] | _WEBP_ALPHA]) + body[at + 1 :] if body[12:16] == b"VP8X" else body


@functools.cache
def _avif_tuning() -> dict[str, str]:
    """Return the tuning if the libaom at hand knows it (3.13 and newer)."""
    try:
        _saved(Image.new("RGB", (16, 16)), "AVIF", speed=10, max_threads=1, advanced=_AVIF_TUNING)
    except (OSError, ValueError):
        return {}
    return _AVIF_TUNING


def _avif(result: Result) -> bytes:
    width, height = result.picture.size
    quality = result.quality("avif")
    return _saved(
        result.picture,
        "AVIF",
        quality=quality,
        speed=_AVIF_SPEED if width * height < _AVIF_LARGE_FROM_PIXELS else _AVIF_SPEED_LARGE,
        subsampling="4:4:4",
        max_threads=1,
        # 100 is lossless, where libaom refuses any tuning but its own.
        advanced=_avif_tuning() if quality < 100 else {},
        **_exif(result),
    )


def _png(result: Result) -> bytes:
    picture = result.picture
    if (indexed := _with_palette(picture)) is not None:
        return _saved(indexed, "PNG", **_PNG_PALETTE, **_exif(result))
    drawing, exif = result.drawing or picture.getcolors(_DRAWING_COLOURS) is not None, _exif(result)
    if result.write_png is not None and not exif:
        return result.write_png(picture, _png_effort(picture) if drawing else PHOTO)
    return _saved(picture, "PNG", **(_PNG_DRAWING if drawing else _PNG_PHOTO), **exif)


def _png_effort(drawing: Image.Image) -> PngEffort:
    return FLAT if flat_share(drawing) >= _FLAT_DRAWING_SHARE else BUSY


def _with_palette(picture: Image.Image) -> Image.Image | None:
    """Return the very same pixels as indices of a palette, a fourth of the bytes; None when they are too many."""
    if picture.mode not in {"RGB", "RGBA"} or picture.getcolors(256) is None:
        return None
    method = Image.Quantize.MEDIANCUT if picture.mode == "RGB" else Image.Quantize.FASTOCTREE
    indexed = picture.quantize(256, method=method, dither=Image.Dither.NONE)
    # Neither method promises that few colours stay as they are.
    differences = ImageChops.difference(indexed.convert(picture.mode), picture)
    return indexed if differences.getbbox(alpha_only=False) is None else None


def _gif(result: Result) -> bytes:
    frames = tuple((_for_gif(picture), duration) for picture, duration in result.frames)
    if len(frames) == 1:
        return _saved(frames[0][0], "GIF")
    options: dict[str, Any] = {"duration": _gif_delays(frames)}
    if result.plays != 1:
        options["loop"] = min(max(0, result.plays - 1), _MAX_REPEATS)
    if result.picture.mode == "RGBA":
        # Each frame is complete; without clearing, the one before would shine through its holes.
        options["disposal"] = 2
    return _saved(Moving(frames), "GIF", save_all=True, optimize=False, **options)


def _gif_delays(frames: tuple[tuple[Image.Image, int], ...]) -> list[int]:
    """Return the delays as GIF can hold them. Pillow writes equal frames once and adds up their delays."""
    delays = [delay for _, delay in frames]
    if sum(delays) <= _MAX_DELAY_MS["gif"]:
        return delays
    delays = []
    for _, equal in itertools.groupby(frames, key=lambda frame: frame[0].tobytes()):
        left = _MAX_DELAY_MS["gif"]
        for _, delay in equal:
            delays.append(min(delay, left))
            left -= delays[-1]
    return delays


_ENCODERS: dict[str, Callable[[Result], bytes]] = {
    "jpeg": _jpeg,
    "webp": _webp,
    "avif": _avif,
    "png": _png,
    "gif": _gif,
}


class Moving(Image.Image):
    """Frames as Pillow's writers want an animation: one picture with `seek`."""

    def __init__(self, frames: tuple[tuple[Image.Image, int], ...]) -> None:
        super().__init__()
        self._pictures = [picture for picture, _ in frames]
        self.n_frames = len(frames)
        self.is_animated = True
        self._number = -1
        self.seek(0)

    def seek(self, frame: int) -> None:
        """Show the frame with number `frame`."""
        if not 0 <= frame < self.n_frames:
            raise EOFError
        if frame != self._number:
            picture = self._pictures[frame]
            picture.load()
            self.im, self._mode, self._size = picture.im, picture.mode, picture.size
            # Asked for where frames turn out to be equal and one is written instead.
            self.palette = picture.palette
            self._number = frame

    def tell(self) -> int:
        """Return the number of the frame shown."""
        return self._number


def flattened(picture: Image.Image, wanted: Resolved) -> Image.Image:
    """Return `picture` without transparency, on the background asked for or on white."""
    if picture.mode != "RGBA":
        return picture
    colour = colour_of(wanted.background) if wanted.background else WHITE
    ground = Image.new("RGBA", picture.size, (*colour[:3], 255))
    ground.alpha_composite(picture)
    return ground.convert("RGB")


def _for_gif(picture: Image.Image) -> Image.Image:
    """Return `picture` as GIF can hold it: 256 colours, pixels either opaque or transparent."""
    if picture.mode == "RGBA":
        return _two_way_alpha(picture)
    if picture.mode != "RGB":
        return picture
    # The median cut of all pixels takes fifteen times as long as that of a sample, and looks the same.
    factor = max(1, math.isqrt(picture.width * picture.height // _PALETTE_SAMPLE_PIXELS))
    palette = picture.reduce(factor).quantize(256, method=Image.Quantize.MEDIANCUT)
    return picture.quantize(palette=palette, dither=Image.Dither.NONE) if factor > 1 else palette


def _two_way_alpha(picture: Image.Image) -> Image.Image:
    alpha = picture.getchannel("A").point(lambda value: 255 if value >= _OPAQUE_FROM else 0)
    hard = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    hard.paste(picture.convert("RGB"), (0, 0), alpha)
    return hard


def _exif(result: Result) -> dict[str, bytes]:
    left = kept(result.exif, result.wanted.metadata)
    return {"exif": left} if left else {}
