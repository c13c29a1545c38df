"""Decodes with Pillow. Runs in render processes.

Pillow accepts some files that lack a part of the picture. Rows of PNG and scans of JPEG are therefore checked again.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from PIL import (
    AvifImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from proxy.errors import DecodeFailed, UnsupportedFormat
from proxy.images import memory_budget
from proxy.images.decode import Decoded, Frame, keys, scans
from proxy.images.decode.body import Body
from proxy.images.decode.colour import has_transparency, plain, to_srgb, unusual_gamma
from proxy.images.decode.faults import guarded
from proxy.images.decode.rows import with_all_rows
from proxy.images.decode.screen import Screen, leaves_room
from proxy.images.files.exif import orientation_of
from proxy.images.files.mending.png import MAX_PROFILE_BYTES
from proxy.images.files.structure import Structure
from proxy.images.formats import BY_NAME, PictureFacts
from proxy.images.geometry import Size
from proxy.images.pixels.resampling import Resample, by_pillow
from proxy.images.pixels.zero_copy import HandsOver

# EXIF 2.32 §4.6.4 A, tag 274: the operation that makes such a picture upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SPARE = 1.5
"""After the quick box filter a picture is this many times larger than needed, because resampling is costly."""
AMPLE_SPARE = 3.0
"""The same where resampling is cheap. The result looks as if there were no box filter."""
_MAX_EXIF_BYTES = 1 << 20


def prepare(*, max_pixels: int) -> None:
    """Set Pillow's global switches: one thread for each codec, and our own limit as a last resort."""
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    GifImagePlugin.LOADING_STRATEGY = GifImagePlugin.LoadingStrategy.RGB_ALWAYS
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    PngImagePlugin.MAX_TEXT_CHUNK = MAX_PROFILE_BYTES
    # Pillow raises above twice this number and warns below it. Warnings are off in render processes.
    Image.MAX_IMAGE_PIXELS = max(1, max_pixels // 2)


class PillowDecoder:
    """The decoder that is always available. spare: see `quick_factor`."""

    def __init__(self, *, spare: float = _SPARE, resample: Resample = by_pillow) -> None:
        self.resample = resample
        self._spare = spare

    @contextmanager
    def open(
        self, source: str | bytes, structure: Structure, *, picture_format: str
    ) -> Iterator[PillowOpened]:
        """Read the header of a body. `source` is its path, or its bytes after mending.

        Raises:
            DecodeFailed, TooManyPixels: it cannot be read.
        """
        with guarded():
            body = Body(source, picture_format)
            image = body.opened()
        try:
            with guarded():
                opened = PillowOpened(body, image, structure, spare=self._spare)
            yield opened
        finally:
            image.close()


class PillowOpened:
    """A body that Pillow has opened."""

    def __init__(self, body: Body, image: ImageFile.ImageFile, structure: Structure, *, spare: float) -> None:
        self._body = body
        self._image = image
        self._spare = spare
        self._format = picture_format = body.picture_format
        self._has_end = structure.complete
        self._exif = structure.exif or _exif_bytes(image)
        # Pillow turns TIFF upright by itself and does not change the tag.
        self._turn = None if picture_format == "tiff" else _UPRIGHT.get(orientation_of(self._exif))
        # A lossless JPEG has no transform that could give fewer pixels. libjpeg would fail in the middle of the
        # picture.
        self._lossless = structure.lossless
        self._facts = self._read_facts(structure)
        self._salvaged = False
        self._scans, self._refined = structure.scans, structure.refined
        if picture_format == "png":
            keys.scale_key(image)
        if picture_format == "tiff":
            _refuse_separate_planes(image)
        if isinstance(image, WebPImagePlugin.WebPImageFile) and image.is_animated:
            # RFC 9649 §2.7: the alpha flag is a hint. Frames that do not fill the canvas leave it transparent.
            image.rawmode = image._mode = "RGBA"  # noqa: SLF001 - as its own loaders do

    @property
    def facts(self) -> PictureFacts:
        """The facts from the header."""
        return self._facts

    @property
    def header(self) -> ImageFile.ImageFile:
        """Pillow's object for the file. Nothing is decoded before `decode` is called."""
        return self._image

    @property
    def exif(self) -> bytes:
        """The EXIF data as stored in the file."""
        return self._exif

    @property
    def as_in_file(self) -> bool:
        """Whether the file itself shows the decoded pixels: it has no orientation, profile, gamma or inks, and lacks
        nothing."""
        image = self._image
        if self._salvaged or self._facts.bits > 8:
            # Programs treat these files differently: they reduce the bits, or show the existing rows, in different
            # ways.
            return False
        coloured = image.info.get("icc_profile") or image.mode == "CMYK" or unusual_gamma(image.info)
        return self._turn is None and not coloured and not self._lossless and not _first_moving_frame(image)

    @property
    def turn(self) -> Image.Transpose | None:
        """The operation that makes the pixels of the file upright."""
        return self._turn

    def stored(self, size: Size) -> Size:
        """Convert an upright size to that in the file, or the other way round."""
        return self._upright(size)

    def _read_facts(self, structure: Structure) -> PictureFacts:
        image = self._image
        width, height = self._upright(image.size)
        moving = BY_NAME[self._format].moves
        frames = max(structure.frames, _moving_frames(image)) if moving else 1
        return PictureFacts(
            format=self._format,
            width=width,
            height=height,
            frames=frames,
            has_alpha=has_transparency(image) or self._format == "ico" or leaves_room(image),
            drawing=image.mode in {"1", "P", "PA"} or self._format in {"gif", "ico"},
            bits=16 if image.mode.startswith(("I", "F")) else 8,
        )

    def _upright(self, size: Size) -> Size:
        swapped = self._turn in {
            Image.Transpose.TRANSPOSE,
            Image.Transpose.ROTATE_270,
            Image.Transpose.TRANSVERSE,
            Image.Transpose.ROTATE_90,
        }
        return (size[1], size[0]) if swapped else (size[0], size[1])

    def memory(self, *, at_least: Size, frames: int) -> int:
        """Return how many bytes `decode` takes at its peak, estimated from above."""
        at_least, full = self._upright(at_least), self._image.size
        decoded, more = full, 0
        if self._format == "jpeg":
            decoded = full if self._lossless else drafted(full, at_least)
            more = self.scans_memory()
        factor = quick_factor(decoded, at_least, self._spare)
        return more + memory_budget.pillow(
            memory_budget.pillow_bytes_per_pixel(
                self._format, self._image.mode, transparent=self._facts.has_alpha
            ),
            decoded=decoded,
            left=(-(-decoded[0] // factor), -(-decoded[1] // factor)),
            frames=frames,
        )

    def scans_memory(self) -> int:
        """Return how many bytes a JPEG of several scans takes besides its pixels, with any decoder."""
        layers = getattr(self._image, "layer", ())
        if self._scans < 2 or not layers:
            return 0
        most = max(layer[1] * layer[2] for layer in layers)
        return memory_budget.coefficients(
            self._image.size, sum(layer[1] * layer[2] for layer in layers) / max(1, most)
        )

    def decode(self, *, at_least: Size, frames: int) -> Decoded:
        """Return the first `frames` frames, completely decoded.

        Raises:
            DecodeFailed, TooManyPixels: the body cannot be decoded.
        """
        at_least = self._upright(at_least)
        with guarded():
            if self._format == "jpeg" and not self._lossless:
                self._image.draft("", at_least)
            decoded = tuple(self._frames(at_least, frames))
        as_in_file = self.as_in_file and len(decoded) == frames
        return Decoded(_alike(decoded), _plays(self._image, self._format), self._exif, as_in_file)

    def _frames(self, at_least: Size, frames: int) -> Iterator[Frame]:
        first = _first_moving_frame(self._image)
        screen = Screen(self._image.size) if isinstance(self._image, GifImagePlugin.GifImageFile) else None
        for number in range(first, first + frames):
            try:
                with guarded():
                    if number:
                        self._image.seek(number)
                    if screen:
                        screen.draw(self._image)
                    loaded = self._loaded(at_least, frames)
            except DecodeFailed:
                if first < number == first + frames - 1:
                    # If the last frame of an animation is missing, show the others.
                    return
                raise
            duration = self._image.info.get("duration", 0)
            yield Frame(self._finished(loaded, at_least, frames, screen), max(0, round(float(duration))))

    def _loaded(self, at_least: Size, frames: int) -> Image.Image:
        """Return the next frame, with data for its whole area."""
        image = self._image
        if frames == 1 and isinstance(image, HandsOver):
            return image.hand_over()
        if self._format == "png" and getattr(image, "n_frames", 1) == 1:
            loaded = with_all_rows(image, self._body)
            self._salvaged = loaded is not image
            return loaded
        image.load()
        if self._format == "jpeg" and not self._lossless:
            self._require_all_scans(at_least)
        return image

    def _require_all_scans(self, at_least: Size) -> None:
        """Check that the data reach the last pixel, if there is reason to doubt it.

        Raises:
            DecodeFailed: the data end earlier.
        """
        # libjpeg smooths away missing areas between the first scans of a progressive JPEG.
        clean = self._has_end and not self._image.info.get("progressive")
        if self._refined or (clean and not scans.may_be_unfinished(self._image)):
            return
        other = JpegImagePlugin.JpegImageFile(io.BytesIO(scans.with_noise(self._body.read())))
        other.draft("", at_least)
        other.load()
        if other.tobytes() != self._image.tobytes():
            raise DecodeFailed(detail="the last scan ends early")

    def _finished(
        self, loaded: Image.Image, at_least: Size, frames: int, screen: Screen | None
    ) -> Image.Image:
        picture = plain(loaded)
        if screen:
            picture = screen.seen(picture)
        factor = quick_factor(picture.size, at_least, self._spare)
        if factor >= 2:
            picture = picture.reduce(factor)
        elif picture is self._image:
            # Closing the file releases the pixels, and the next frame is drawn over them.
            picture = picture.copy() if frames > 1 else picture._new(picture.im)  # noqa: SLF001 - no copy
        return finished(picture, self._image.info, self._turn)


def drafted(size: Size, at_least: Size) -> Size:
    """Return the size of a JPEG after `draft`."""
    room = min(size[0] // at_least[0], size[1] // at_least[1])
    scale = next(step for step in (8, 4, 2, 1) if step <= max(1, room))
    return -(-size[0] // scale), -(-size[1] // scale)


def quick_factor(size: Size, at_least: Size, spare: float) -> int:
    """Return the whole number by which a box filter reduces a picture before the fine resize.

    The reduced picture is still `spare` times larger than needed. A smaller `spare` is faster and gives softer results.
    """
    return max(1, math.floor(min(size[0] / at_least[0], size[1] / at_least[1]) / spare))


def finished(
    picture: Image.Image, info: Mapping[str | tuple[int, int], Any], turn: Image.Transpose | None
) -> Image.Image:
    """Return a plain picture upright and in sRGB, without the metadata (`info`) of its file."""
    picture = to_srgb(picture, info)
    if turn is not None:
        picture = picture.transpose(turn)
    # Pillow's writers take profiles, comments and transparency from `info` by default.
    picture.info = {}
    return picture


def _exif_bytes(image: Image.Image) -> bytes:
    exif = image.info.get("exif", b"")
    return exif if isinstance(exif, bytes) and len(exif) <= _MAX_EXIF_BYTES else b""


def _refuse_separate_planes(image: ImageFile.ImageFile) -> None:
    """Refuse an uncompressed TIFF of 16-bit planes. Pillow reads the planes as if they had 8 bits, which gives noise.

    Raises:
        UnsupportedFormat: `image` is such a TIFF.
    """
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
    planes = tags.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2 and len(bits) > 1  # TIFF 6.0: 2 is planar
    if planes and max(bits) > 8 and any(tile.codec_name == "raw" for tile in image.tile):
        raise UnsupportedFormat(detail="16-bit planes")


def _moving_frames(image: ImageFile.ImageFile) -> int:
    # Our own reader counts the frames of a GIF and stops at the limit. Pillow would read all of them to count.
    if isinstance(image, GifImagePlugin.GifImageFile):
        return 1
    return int(getattr(image, "n_frames", 1)) - _first_moving_frame(image)


def _first_moving_frame(image: Image.Image) -> int:
    # APNG §fdAT: the picture for old readers may lie outside the animation.
    return 1 if getattr(image, "default_image", False) and getattr(image, "n_frames", 1) > 1 else 0


def _plays(image: Image.Image, picture_format: str) -> int:
    loop = image.info.get("loop")
    if picture_format == "gif":
        # The Netscape extension counts repetitions. A GIF without it plays once.
        return 1 if loop is None else loop + 1 if loop else 0
    return loop if isinstance(loop, int) else 0


def _alike(frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """Return the frames in a common mode, and in the size of the first one. The mode is RGBA if one of them needs
    it."""
    modes = {frame.picture.mode for frame in frames}
    size = frames[0].picture.size
    if len(modes) == 1 and all(frame.picture.size == size for frame in frames):
        return frames
    mode = "RGBA" if "RGBA" in modes else "RGB"
    return tuple(Frame(_as(frame.picture, mode, size), frame.duration_ms) for frame in frames)


def _as(picture: Image.Image, mode: str, size: Size) -> Image.Image:
    if picture.size != size:
        # A later GIF frame outside the screen enlarges Pillow's canvas. Browsers cut it off.
        picture = picture.crop((0, 0, *size))
    return picture if picture.mode == mode else picture.convert(mode)
