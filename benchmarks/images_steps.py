"""The cost of each step of rendering, in units of one JPEG decode at half size: `python benchmarks/images_steps.py`.

Ratios can be compared between machines, milliseconds cannot. The script makes the picture: 2040 x 1360, photo-like.
"""

from __future__ import annotations

import functools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "lib"))

import pictures

from proxy.images.decode.pillow import PillowDecoder, prepare
from proxy.images.encode import Result, encode
from proxy.images.formats.probe import structure_of
from proxy.images.transforms.resolved import Resolved

ROUNDS = 5


def seconds(step: Callable[[], object]) -> float:
    """Return the shortest time of several runs of `step`."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    return min(times)


def decoding(path: Path, name: str) -> Callable[[], object]:
    """Return a step that decodes a file for a result 512 px wide."""

    def step() -> object:
        structure = structure_of(path, name, max_frames=200)
        with PillowDecoder().open(str(path), structure, picture_format=name) as opened:
            return opened.decode(at_least=(512, 342), frames=1)

    return step


def steps(folder: Path) -> dict[str, Callable[[], object]]:
    """Return all steps by name."""
    grain = Image.effect_noise((2040, 1360), 20).convert("RGB")
    large = Image.blend(pictures.photo(2040, 1360), grain, 0.2)
    small = large.resize((512, 342), Image.Resampling.LANCZOS)
    found: dict[str, Callable[[], object]] = {}
    for name in ("jpeg", "png", "webp", "avif"):
        path = folder / name
        path.write_bytes(pictures.saved(large, name.upper()))
        found[f"decode {name}"] = decoding(path, name)
    half = large.reduce(2)
    found["resize 1020 to 512"] = lambda: half.resize((512, 342), Image.Resampling.LANCZOS, reducing_gap=2.0)
    result = Result(((small, 0),), 0, b"", Resolved())
    for name in ("jpeg", "png", "webp", "avif", "gif"):
        found[f"encode {name}"] = functools.partial(encode, result, name)
    return found


def main() -> None:
    """Print the table."""
    prepare(max_pixels=50_000_000)
    with tempfile.TemporaryDirectory() as folder:
        measured = {name: seconds(step) for name, step in steps(Path(folder)).items()}
    unit = measured["decode jpeg"]
    for name, duration in measured.items():
        print(f"{name:20s} {duration / unit:6.2f}")


if __name__ == "__main__":
    main()
