"""The cost of a render above its codecs: `python benchmarks/codecs.py [--photos FOLDER] [--rounds N] [ROW...]`.

The floor of a job is decode, resize and encode with the libraries and settings of the service, called directly from a
loop in one process. The same job then goes through a render process: frames on its socket, sniffing, structure,
limits, decode, encode, answer. Both take turns, picture by picture, and count processor time (for the latter, that of
both ends of the socket), so other processes on the machine matter little. A figure is the mean over the pictures of the
least time of several rounds; the last column is the ratio. A ROW selects the rows whose name contains that word.

Without a folder of JPEG files, `proxy.images.samples` makes the photos. Linux only: it reads the processor clock of
another process.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cykooz_resizer import FilterType, ImageData, PixelType, ResizeAlg, ResizeOptions, Resizer
from PIL import Image, ImageOps

from proxy.images import jobs, samples
from proxy.images.decode.pillow import prepare
from proxy.images.jobs import Inspection, Job, Rendered, Settings, Wish
from proxy.images.pixels.ownvips import pyvips
from proxy.images.pixels.png_writing import FLAT, PHOTO, write_png
from proxy.images.pool.renderprocess import Listener, RenderProcess
from proxy.images.transforms.transform import Transform

Size = tuple[int, int]
PHOTO_PX = 2040
MEMORY_MAX_BYTES = 1 << 30
SPARE_BYTES = 512 << 20
_CPUCLOCK_SCHED = 2
"""Linux, include/linux/posix-timers.h: the clock of all threads of a process is (~pid << 3) | CPUCLOCK_SCHED."""
SETTINGS: dict[str, dict[str, Any]] = {
    "jpeg": {"quality": 80, "optimize": True, "subsampling": "4:2:0"},
    "webp": {"quality": 78, "method": 2},
    "avif": {
        "quality": 50,
        "speed": 8,
        "subsampling": "4:4:4",
        "max_threads": 1,
        "advanced": {"c:tune": "ssimulacra2"},
    },
}
"""The settings of `proxy.images.encode` for a photo, and for a drawing made smaller."""
SAVED: dict[str, dict[str, Any]] = {
    "jpeg": {"quality": 90},
    "png": {"compress_level": 6},
    "webp": {"quality": 90, "method": 4},
    "avif": {"quality": 80, "speed": 8},
}
ROWS = (
    ("JPEG 2040 to 512", "jpeg", "width=512,height=512", ("jpeg",)),
    ("JPEG 2040 to 512 WebP", "jpeg", "width=512,height=512", ("webp",)),
    ("JPEG 2040 to 512 AVIF", "jpeg", "width=512,height=512", ("avif",)),
    ("PNG 2040 to 512", "png", "width=512,height=512", ("png",)),
    ("WebP 2040 to 512", "webp", "width=512,height=512", ("webp",)),
    ("AVIF 2040 to 512", "avif", "width=512,height=512", ("avif",)),
    ("JPEG 4-16 Mpx to 512", "large", "width=512,height=512", ("jpeg",)),
    ("chart 700x400 to WebP", "chart", "width=400,height=300", ("webp",)),
    ("chart 700x400 to AVIF", "chart", "width=400,height=300", ("avif",)),
    ("chart 700x400 to PNG", "chart", "width=400,height=300", ("png",)),
    ("RGB chart 700x400 to WebP", "rgb chart", "width=400,height=300", ("webp",)),
    ("RGB chart 700x400 to PNG", "rgb chart", "width=400,height=300", ("png",)),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: sources of one kind, options and the output formats."""

    name: str
    kind: str
    options: str
    acceptable: tuple[str, ...]

    @property
    def wish(self) -> Wish:
        """The wish that the render process gets."""
        return Wish(Transform.parse(self.options).resolved({}), self.acceptable)

    @property
    def box(self) -> Size:
        """The area into which the picture is fitted."""
        wanted = self.wish.resolved
        assert wanted.width is not None
        assert wanted.height is not None
        return wanted.width, wanted.height


def sources(photos: Path | None, folder: Path, *, count: int) -> dict[str, list[Path]]:
    """Return the files of every kind of source, written below `folder`."""
    found: dict[str, list[Path]] = {}
    for number, large in enumerate(itertools.islice(_photos(photos), count)):
        small = large.copy()
        small.thumbnail((PHOTO_PX, PHOTO_PX), Image.Resampling.LANCZOS)
        versions = [(kind, small, kind) for kind in SAVED]
        mega = 4 + number * 12 // count
        factor = (mega * 1e6 / (large.width * large.height)) ** 0.5
        enlarged = large.resize((round(large.width * factor), round(large.height * factor)))
        chart = samples.chart((700, 400), seed=number)
        versions += [
            ("large", enlarged, "jpeg"),
            ("chart", chart, "png"),
            ("rgb chart", chart.convert("RGB"), "png"),
        ]
        for kind, picture, picture_format in versions:
            path = folder / f"{kind} {number}.{picture_format}"
            picture.save(path, picture_format.upper(), **SAVED[picture_format])
            found.setdefault(kind, []).append(path)
    return found


def _photos(folder: Path | None) -> Iterator[Image.Image]:
    if folder is None:
        for seed in itertools.count():
            yield samples.photo((2400, 1600), seed=seed, grain=0.03)
    else:
        for path in sorted(folder.glob("*.[jJ][pP]*[gG]")):
            yield ImageOps.exif_transpose(Image.open(path)).convert("RGB")


def floor(path: Path, row: Row) -> bytes:
    """Return a thumbnail, with nothing but decode, resize and encode."""
    (output,) = row.acceptable
    picture = _shrunk(path, row)
    if output == "png":
        return write_png(picture, FLAT if "chart" in row.kind else PHOTO)
    buffer = io.BytesIO()
    picture.save(buffer, output.upper(), **SETTINGS[output])
    return buffer.getvalue()


def _shrunk(path: Path, row: Row) -> Image.Image:
    if path.suffix == ".png" and row.kind != "chart":
        image = pyvips.Image.pngload(str(path), access="sequential")
        return _resized(bytes(image.write_to_memory()), (image.width, image.height), row.box)
    with Image.open(path) as picture:
        full = picture.size
        if path.suffix == ".jpeg":
            picture.draft("RGB", _fitted(full, row.box))
        return _resized(picture.convert("RGB").tobytes(), picture.size, row.box)


def _resized(pixels: bytes, decoded: Size, box: Size) -> Image.Image:
    size = _fitted(decoded, box)
    result = ImageData(*size, PixelType.U8x3)
    options = ResizeOptions(ResizeAlg.convolution(FilterType.lanczos3))
    Resizer().resize(ImageData(*decoded, PixelType.U8x3, pixels), result, options)
    return Image.frombytes("RGB", size, result.get_buffer())


def _fitted(full: Size, box: Size) -> Size:
    scale = min(1.0, box[0] / full[0], box[1] / full[1])
    return max(1, round(full[0] * scale)), max(1, round(full[1] * scale))


class Service:
    """A render process, used as the service uses it."""

    def __init__(self, process: RenderProcess) -> None:
        self._process = process
        self._listener = Listener(lambda _: None, lambda _: True, lambda: None, lambda _step, _number: None)

    @property
    def cpu_seconds(self) -> float:
        """Processor time of both ends of the socket so far."""
        return time.process_time() + time.clock_gettime((~self._process.pid << 3) | _CPUCLOCK_SCHED)

    async def render(self, path: Path, row: Row) -> Rendered:
        """Return the result of the process for a file."""
        header = jobs.job_to_wire(Job(str(path), (row.wish,), check=True), Settings())
        header[jobs.GRANTED] = SPARE_BYTES
        inspection = await self._process.exchange(header, self._listener)
        assert isinstance(inspection, Inspection)
        (output,) = inspection.outputs
        assert isinstance(output, Rendered), output
        return output


async def measured(service: Service, row: Row, paths: list[Path], *, rounds: int) -> tuple[float, float]:
    """Return mean seconds of the floor and of the service."""
    bare, full = [], []
    for path in paths:
        of_floor, of_service = [], []
        for _ in range(rounds):
            begun = time.process_time()
            floor(path, row)
            of_floor.append(time.process_time() - begun)
            begun = service.cpu_seconds
            await service.render(path, row)
            of_service.append(service.cpu_seconds - begun)
        bare.append(min(of_floor))
        full.append(min(of_service))
    return statistics.mean(bare), statistics.mean(full)


async def run(args: argparse.Namespace) -> None:
    """Print the table."""
    prepare(max_pixels=50_000_000)
    pyvips.concurrency_set(1)
    process = await RenderProcess.start(memory_max_bytes=MEMORY_MAX_BYTES, decoder="auto")
    try:
        with tempfile.TemporaryDirectory() as folder:
            files = sources(args.photos, Path(folder), count=args.count)
            print(f"{'milliseconds of processor time':28s} {'floor':>8s} {'service':>8s} {'ratio':>6s}")
            for row in (Row(*values) for values in ROWS):
                if args.rows and not any(word.lower() in row.name.lower() for word in args.rows):
                    continue
                bare, full = await measured(Service(process), row, files[row.kind], rounds=args.rounds)
                print(f"{row.name:28s} {bare * 1e3:8.2f} {full * 1e3:8.2f} {full / bare:6.2f}", flush=True)
    finally:
        await process.kill()


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=Path, metavar="FOLDER")
    parser.add_argument("--count", type=int, default=6, help="pictures of each kind")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("rows", nargs="*", metavar="ROW")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
