"""The bare codecs: decode, resize and encode called directly from a loop in one process.

`python codec_loop.py FOLDER OUTPUT QUALITY WIDTH HEIGHT` prints a line when it is ready. It takes a count on each
line of its input, makes so many thumbnails of the folder's pictures, and prints the seconds of processor time of each
step as JSON. It uses the libraries and encoder settings of the service, and nothing around them.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ["VIPS_CONCURRENCY"] = "1"
import pyvips
from cykooz_resizer import FilterType, ImageData, PixelType, ResizeAlg, ResizeOptions, Resizer
from PIL import Image

from proxy.images.pixels.png_writing import FLAT, PHOTO, write_png

_TYPES = {"L": PixelType.U8, "RGB": PixelType.U8x3, "RGBA": PixelType.U8x4}
_OPTIONS: dict[str, dict[str, object]] = {
    "jpeg": {"optimize": True},
    "png": {},
    "webp": {"method": 2},
    "avif": {"speed": 8, "advanced": {"c:tune": "ssimulacra2"}, "max_threads": 1},
}


@dataclass(slots=True)
class Steps:
    """Seconds of processor time by step."""

    decode: float = 0.0
    resize: float = 0.0
    encode: float = 0.0


def _decoded(body: bytes, box: tuple[int, int]) -> tuple[str, tuple[int, int], bytes]:
    """Return the mode, size and pixels of a picture."""
    if body.startswith(b"\x89PNG") and not _has_palette(body):
        image = pyvips.Image.new_from_buffer(body, "", access="sequential")
        mode = {1: "L", 3: "RGB", 4: "RGBA"}[image.bands]
        return mode, (image.width, image.height), bytes(image.write_to_memory())
    with Image.open(io.BytesIO(body)) as picture:
        picture.draft("RGB", box)
        full = picture.convert("RGB") if picture.mode == "P" else picture
        return full.mode, full.size, full.tobytes()


def _has_palette(png: bytes) -> bool:
    return png[25] == 3  # the colour type in IHDR


def _resized(mode: str, size: tuple[int, int], pixels: bytes, box: tuple[int, int]) -> Image.Image:
    scale = min(box[0] / size[0], box[1] / size[1])
    smaller = round(size[0] * scale), round(size[1] * scale)
    result = ImageData(*smaller, _TYPES[mode])
    options = ResizeOptions(ResizeAlg.convolution(FilterType.lanczos3))
    Resizer().resize(ImageData(*size, _TYPES[mode], pixels), result, options)
    return Image.frombytes(mode, smaller, result.get_buffer())


def thumbnail(body: bytes, box: tuple[int, int], save: Callable[[Image.Image], bytes], steps: Steps) -> bytes:
    """Return a thumbnail that fits `box`; add the time of each step to `steps`."""
    begun = time.process_time()
    mode, size, pixels = _decoded(body, box)
    decoded = time.process_time()
    picture = _resized(mode, size, pixels, box)
    resized = time.process_time()
    result = save(picture)
    steps.decode += decoded - begun
    steps.resize += resized - decoded
    steps.encode += time.process_time() - resized
    return result


def main() -> None:
    """Read counts and work until the input ends."""
    folder, output, quality, width, height = sys.argv[1:6]
    bodies = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    options = _OPTIONS[output] | ({"quality": int(quality)} if int(quality) else {})

    effort = FLAT if _has_palette(bodies[0]) else PHOTO

    def save(picture: Image.Image) -> bytes:
        if output == "png":
            return write_png(picture, effort)
        buffer = io.BytesIO()
        picture.save(buffer, output.upper(), **options)
        return buffer.getvalue()

    box = (int(width), int(height))
    thumbnail(bodies[0], box, save, Steps())
    print("ready", flush=True)
    done = 0
    for line in sys.stdin:
        steps = Steps()
        for _ in range(int(line)):
            thumbnail(bodies[done % len(bodies)], box, save, steps)
            done += 1
        seconds = {"decode": steps.decode, "resize": steps.resize, "encode": steps.encode}
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()
