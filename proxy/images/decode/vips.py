"""Decodes with libvips, the optional extra `imgmirror[vips]`. Runs in render processes.

libvips decodes the formats in which it is at least as strict as Pillow. Pillow reads every header first, so the facts
are the same, and Pillow decodes whatever libvips refuses, so Pillow decides whether a picture is damaged. Colours,
orientation and the box filter use the same code as with Pillow, strip by strip, so memory never holds a whole large
picture.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image

from proxy.errors import PictureError
from proxy.images import memory_budget
from proxy.images.decode import Decoded, Frame, Opened, OtherDecoderNeeded
from proxy.images.decode.colour import plain
from proxy.images.decode.faults import guarded
from proxy.images.decode.pillow import (
    AMPLE_SPARE,
    PillowDecoder,
    PillowOpened,
    drafted,
    finished,
    quick_factor,
)
from proxy.images.files.structure import Structure
from proxy.images.formats import PictureFacts
from proxy.images.geometry import Size
from proxy.images.pixels.libvips import OLDEST
from proxy.images.pixels.ownvips import pyvips
from proxy.images.pixels.resampling import Resample
from proxy.images.pixels.resampling_vips import by_libvips
from proxy.images.pixels.zero_copy import Packed

_LOADERS = {
    "avif": "VipsForeignLoadHeif",
    "jpeg": "VipsForeignLoadJpeg",
    "png": "VipsForeignLoadPng",
    "webp": "VipsForeignLoadWebp",
}
FORMATS = frozenset(_LOADERS)
"""Formats that libvips may decode; all its other loaders are blocked. Pillow decodes GIF, TIFF, BMP and ICO."""

# CMYK is left out because Pillow handles Adobe's inverted ink, and so are 16-bit grey and other wide numbers.
_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})
_BANDS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_PLAIN = frozenset({"L", "RGB"})
_STRIP_PIXELS = 1 << 17
"""Pixels of a strip; they fit into the processor's second-level cache."""


class _Unsuited(Exception):
    """libvips reads different facts from a file than Pillow."""


def _tame() -> None:
    """Restrict libvips to its four loaders and one thread, and switch its operation cache off."""
    if not pyvips.at_least_libvips(*OLDEST):
        raise ImportError(f"libvips is older than {OLDEST[0]}.{OLDEST[1]}")
    pyvips.block_untrusted_set(True)
    pyvips.operation_block_set("VipsForeignLoad", True)
    for loader in _LOADERS.values():
        pyvips.operation_block_set(loader, False)
    pyvips.concurrency_set(1)
    pyvips.cache_set_max(0)
    pyvips.cache_set_max_mem(0)
    pyvips.cache_set_max_files(0)


_tame()


class VipsDecoder:
    """Decodes `formats` with libvips and all others with Pillow.

    picky: only the pictures for which libvips is faster. resample: resamples pictures; None stands for libvips.
    """

    def __init__(
        self,
        formats: Collection[str] = FORMATS,
        *,
        picky: bool = False,
        resample: Resample | None = None,
    ) -> None:
        self._formats = FORMATS & frozenset(formats)
        self._picky = picky
        self._resample = resample or by_libvips
        self._pillow = PillowDecoder(spare=AMPLE_SPARE, resample=self._resample)

    @property
    def resample(self) -> Resample:
        """The function that resamples from the decoded size to the wanted one."""
        return self._resample

    @contextmanager
    def open(self, source: str | bytes, structure: Structure, *, picture_format: str) -> Iterator[Opened]:
        """Read the header of a body. `source` is its path, or its bytes after mending.

        Raises:
            DecodeFailed, TooManyPixels: it cannot be read.
        """
        with self._pillow.open(source, structure, picture_format=picture_format) as opened:
            suited = picture_format in self._formats and structure.complete and _suits(opened)
            if suited and not (self._picky and _faster_with_pillow(opened)):
                yield VipsOpened(source, opened)
            else:
                yield opened


def _suits(opened: PillowOpened) -> bool:
    """Return whether libvips gives the same pixels as Pillow: for a still picture in a mode that both read alike."""
    # An APNG may hold a single frame, and may be damaged in a part that a reader of stills ignores.
    moves = opened.facts.animated or opened.header.custom_mimetype == "image/apng"
    return not moves and opened.header.mode in _MODES


def _faster_with_pillow(opened: PillowOpened) -> bool:
    # Measured for PNG: palettes and two tones are expanded before they are reduced, and interlaced files have no
    # strips.
    return opened.header.mode in {"1", "P"} or bool(opened.header.info.get("interlace"))


class VipsOpened:
    """A still picture to be decoded by libvips."""

    def __init__(self, source: str | bytes, opened: PillowOpened) -> None:
        self._source = source
        self._opened = opened
        # libheif applies irot and imir itself.
        self._turn = None if opened.facts.format == "avif" else opened.turn

    @property
    def facts(self) -> PictureFacts:
        """The facts from the header."""
        return self._opened.facts

    def memory(self, *, at_least: Size, frames: int) -> int:
        """Return how many bytes `decode` takes at its peak, estimated from above."""
        full = (self.facts.width, self.facts.height)
        # Both sizes are upright, which changes no area.
        decoded, more = full, 0
        if self.facts.format == "jpeg":
            decoded, more = drafted(full, at_least), self._opened.scans_memory()
        factor = quick_factor(decoded, at_least, AMPLE_SPARE)
        left = (-(-decoded[0] // factor), -(-decoded[1] // factor))
        return more + memory_budget.libvips(
            self.facts.format, decoded=decoded, left=left, transparent=self.facts.has_alpha
        )

    def decode(self, *, at_least: Size, frames: int) -> Decoded:
        """Return the picture, completely decoded.

        Raises:
            OtherDecoderNeeded: libvips refuses it.
        """
        try:
            with guarded():
                picture = self._picture(at_least)
        except (pyvips.Error, _Unsuited, PictureError) as error:
            # libvips is stricter than Pillow in some places and gives no reason, so Pillow decides.
            raise OtherDecoderNeeded(self._opened) from error
        return Decoded((Frame(picture),), 0, self._opened.exif, self._opened.as_in_file)

    def _picture(self, at_least: Size) -> Image.Image:
        facts = self._opened.facts
        size = (facts.width, facts.height)
        if self._turn is not None:
            size, at_least = self._opened.stored(size), self._opened.stored(at_least)
        image, shrunk = self._loaded(size, at_least)
        if (image.width, image.height) != shrunk or image.bands not in _BANDS:
            raise _Unsuited
        if image.format == "ushort":
            image = (image >> 8).cast("uchar")
        if image.format != "uchar":
            raise _Unsuited
        picture = _small(image, at_least)
        return finished(picture, self._opened.header.info, self._turn)

    def _loaded(self, size: Size, at_least: Size) -> tuple[pyvips.Image, Size]:
        """Return the picture, reduced while loading if its format allows that, and the size that it should have."""
        options = {"access": "sequential", "fail_on": "warning"}
        kind = self._opened.facts.format
        room = min(size[0] // at_least[0], size[1] // at_least[1])
        if kind == "jpeg":
            # The inverse transform makes fewer pixels. Every coefficient is still read.
            factor = next(step for step in (8, 4, 2, 1) if step <= max(1, room))
            image = self._load("jpegload", shrink=factor, **options)
            return image, (-(-size[0] // factor), -(-size[1] // factor))
        if kind == "webp":
            # libwebp decodes everything and reduces the rows as they arrive.
            factor = quick_factor(size, at_least, AMPLE_SPARE)
            image = self._load("webpload", scale=1 / factor, **options)
            near = (
                abs(image.width * factor - size[0]) <= factor
                and abs(image.height * factor - size[1]) <= factor
            )
            return image, (image.width, image.height) if near else size
        return self._load("pngload" if kind == "png" else "heifload", **options), size

    def _load(self, loader: str, **options: Any) -> pyvips.Image:
        if isinstance(self._source, bytes):
            loader += "_buffer"
        return getattr(pyvips.Image, loader)(self._source, **options)


def _small(image: pyvips.Image, at_least: Size) -> Image.Image:
    """Return the pixels in a plain mode, reduced by a whole number, strip by strip in the order of the file."""
    width, height, mode = image.width, image.height, _BANDS[image.bands]
    factor = quick_factor((width, height), at_least, AMPLE_SPARE)
    rows = max(1, _STRIP_PIXELS // width // factor) * factor
    if factor == 1 and mode in _PLAIN:
        # libvips writes a single block. Joining strips would copy every pixel once more.
        return Packed(mode, (width, height), image.write_to_memory(), mode)
    region = pyvips.Region.new(image)
    picture: Image.Image | None = None
    for top in range(0, height, rows):
        size = (width, min(rows, height - top))
        pixels = region.fetch(0, top, *size)
        strip = plain(Image.frombuffer(mode, size, pixels, "raw", mode, 0, 1))
        if factor > 1:
            strip = strip.reduce(factor)
        if picture is None:
            picture = Image.new(strip.mode, (-(-width // factor), -(-height // factor)))
        picture.paste(strip, (0, top // factor))
    assert picture is not None  # noqa: S101 - a picture has rows
    return picture
