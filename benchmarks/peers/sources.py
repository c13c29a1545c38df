"""The sources: photos of 2040 px as JPEG, PNG, WebP and AVIF, photos of 4 to 16 million pixels, and charts as PNG.

Photos come from a folder that the user names, else from a package of the distribution; otherwise they are generated.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path

from PIL import ExifTags, Image, ImageDraw, ImageFont, ImageOps, PngImagePlugin
from service import photo

from peers import EXTENSIONS
from peers.jobs import JOBS
from peers.origin import MARK

LONGEST_SIDE_PX = 2040
SMALLEST_PX = 1200
PACKAGES = ("lomiri-wallpapers-16.04", "ubuntu-wallpapers", "kodak-images")
GENERATED = 6
CHART_SIZE = (700, 400)
CHARTS = 8
LARGE_SIZES = ((2448, 1632), (3000, 2000), (3264, 2448), (4000, 3000), (4608, 3456))
"""4, 6, 8, 12 and 16 million pixels."""
_COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b")
_SETTINGS: dict[str, dict[str, int]] = {
    "jpeg": {"quality": 90},
    "png": {"compress_level": 6},
    "webp": {"quality": 90, "method": 4},
    "avif": {"quality": 80, "speed": 8},
}


def photos(folder: Path | None, *, at_most: int | None) -> tuple[list[bytes], str]:
    """Return photos, and their origin in words."""
    if folder is not None:
        found, origin = _large(sorted(folder.glob("*.jpg"))), f"folder {folder.name}"
        if not found:
            raise SystemExit(f"no JPEG of {SMALLEST_PX} px and more in {folder}")
    else:
        found, origin = _of_packages()
    bodies = [path.read_bytes() for path in found[:at_most]]
    if not bodies:
        count = min(at_most or GENERATED, GENERATED)
        return [photo(seed) for seed in range(count)], "generated, 2040x1360"
    return bodies, origin


def _of_packages() -> tuple[list[Path], str]:
    for package in PACKAGES:
        try:
            command = ["dpkg", "-L", package]
            listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
        found = _large(sorted(Path(line) for line in listed.splitlines() if line.endswith(".jpg")))
        if found:
            return found, f"package {package}"
    return [], ""


def _large(paths: Iterable[Path]) -> list[Path]:
    found = []
    for path in paths:
        with Image.open(path) as picture:
            if max(picture.size) >= SMALLEST_PX:
                found.append(path)
    return found


def make_sources(bodies: list[bytes], jobs: Iterable[str], folder: Path) -> dict[str, list[Path]]:
    """Write the sources of the `jobs` below `folder`; return the files of each kind, photos in their order."""
    kinds = dict.fromkeys(JOBS[job].sources for job in jobs)
    made: dict[str, list[Path]] = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for kind in kinds:
            (folder / kind).mkdir()
            if kind == "charts":
                made[kind] = _charts(folder / kind)
                continue
            extension = EXTENSIONS["jpeg" if kind == "large" else kind]
            count = min(len(bodies), len(LARGE_SIZES)) if kind == "large" else len(bodies)
            paths = [folder / kind / f"{number}.{extension}" for number in range(count)]
            list(pool.map(_write, bodies, paths, [kind] * count))
            made[kind] = paths
    return made


def _charts(folder: Path) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(CHARTS)]
    for seed, path in enumerate(paths):
        chart(seed).save(path, "PNG", compress_level=9, pnginfo=_marked_text())
    return paths


def chart(seed: int) -> Image.Image:
    """Return a chart as on a page: white ground, grid, bars, two curves, letters with smooth edges."""
    rng = random.Random(seed)  # noqa: S311 - a picture, not a secret
    width, height = CHART_SIZE
    picture = Image.new("RGB", (2 * width, 2 * height), "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(26)
    for row in range(1, 10):
        draw.line((80, row * 80, 2 * width - 40, row * 80), fill="#dddddd", width=2)
        draw.text((14, row * 80 - 16), f"{100 - row * 10}", fill="#444444", font=font)
    for column in range(14):
        left, top = 100 + column * 90, rng.randrange(120, 680)
        draw.rectangle((left, top, left + 56, 720), fill=rng.choice(_COLOURS))
        draw.text((left, 736), f"{2000 + column}", fill="#444444", font=font)
    for colour in _COLOURS[:2]:
        points = [(100 + x * 45, rng.randrange(100, 700)) for x in range(28)]
        draw.line(points, fill=colour, width=6, joint="curve")
    draw.text((width // 2, 20), f"Measured values, series {seed}", fill="black", font=font)
    return picture.resize(CHART_SIZE, Image.Resampling.LANCZOS)


def _marked_text() -> PngImagePlugin.PngInfo:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", MARK.decode("ascii"))
    return text


def _write(body: bytes, path: Path, kind: str) -> None:
    picture = _large_photo(body, int(path.stem)) if kind == "large" else _photo(body)
    marked: dict[str, object]
    if kind == "png":
        marked = {"pnginfo": _marked_text()}
    else:
        exif = Image.Exif()
        exif[ExifTags.Base.ImageDescription] = MARK.decode("ascii")
        marked = {"exif": exif.tobytes()}
    picture.info = {}
    written = "jpeg" if kind == "large" else kind
    picture.save(path, written.upper(), **_SETTINGS[written], **marked)


def _photo(body: bytes) -> Image.Image:
    with Image.open(BytesIO(body)) as opened:
        opened.draft("RGB", (LONGEST_SIDE_PX, LONGEST_SIDE_PX))
        picture = opened.convert("RGB")
    picture.thumbnail((LONGEST_SIDE_PX, LONGEST_SIDE_PX), Image.Resampling.LANCZOS)
    return picture


def _large_photo(body: bytes, number: int) -> Image.Image:
    """Return a photo in a camera's size, enlarged where the original is smaller."""
    with Image.open(BytesIO(body)) as opened:
        picture = opened.convert("RGB")
    return ImageOps.fit(picture, LARGE_SIZES[number], Image.Resampling.BICUBIC)
