"""Compares `quality=auto` with the fixed qualities in bytes and looks: `python benchmarks/autoquality.py FOLDER`.

It resizes the photos of a folder to 800 px, encodes them as JPEG, WebP and AVIF with both, and scores them with
SSIMULACRA2. It needs the package `ssimulacra2`, which the environment made by `benchmarks/peers/install.py` has.
"""

from __future__ import annotations

import io
import statistics
import sys
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from proxy.images.encode import Result, encode
from proxy.images.transforms.resolved import Resolved

WIDTH_PX = 800
FORMATS = ("jpeg", "webp", "avif")


def made_smaller(path: Path) -> Image.Image:
    """Return a photo, resized for encoding."""
    with Image.open(path) as photo:
        photo.draft("RGB", (2 * WIDTH_PX, 2 * WIDTH_PX))
        size = (WIDTH_PX, round(WIDTH_PX * photo.height / photo.width))
        return photo.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def score(picture: Image.Image, body: bytes) -> float:
    """Return the SSIMULACRA2 of an encoded picture: 90 looks the same side by side, 70 is good, 50 is mediocre."""
    from ssimulacra2 import compute_ssimulacra2  # noqa: PLC0415 - only in the environment that has it

    with Image.open(io.BytesIO(body)) as shown:
        return float(compute_ssimulacra2(_png(picture), _png(shown.convert("RGB"))))


def _png(picture: Image.Image) -> io.BytesIO:
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    file.seek(0)
    return file


def compared(picture: Image.Image, output_format: str) -> tuple[float, float, float]:
    """Return the scores of the fixed quality and of `auto`, and the bytes of `auto` relative to the fixed quality."""
    fixed, auto = (
        encode(Result(((picture, 0),), 0, b"", Resolved(quality=quality)), output_format)
        for quality in (None, "auto")
    )
    fixed_score = score(picture, fixed)
    auto_score = fixed_score if auto == fixed else score(picture, auto)
    return fixed_score, auto_score, len(auto) / len(fixed)


def main() -> None:
    """Print the table of docs/benchmarks.md."""
    heads = (f"{name} fixed | auto | bytes" for name in FORMATS)
    print(f"| photo | {' | '.join(heads)} |\n|{'---|' * (1 + 3 * len(FORMATS))}")
    columns: list[list[float]] = []
    for path in sorted(Path(sys.argv[1]).glob("*.jpg")):
        picture = made_smaller(path)
        row = [value for name in FORMATS for value in compared(picture, name)]
        columns.append(row)
        _print(path.stem.replace("_", " "), row)
    _print("mean", [statistics.fmean(column) for column in zip(*columns, strict=True)])


def _print(name: str, row: list[float]) -> None:
    cells = (f"{value:.2f}" if number % 3 == 2 else f"{value:.1f}" for number, value in enumerate(row))
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
