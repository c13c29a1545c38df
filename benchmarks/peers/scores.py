"""Scores results against a lossless reference: `python scores.py METRIC < pairs.json > scores.json`.

The reference is the source, decoded whole and resized by Lanczos to the result's size in one step. The script runs in
the environment that holds the metric, where only Pillow and NumPy are certain. METRIC: ssimulacra2 (package),
ssimulacra2-command (executable on the path), ssim or ms-ssim.
"""

from __future__ import annotations

import functools
import io
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.float64]
_WINDOW = 8
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


@functools.lru_cache(maxsize=4)
def _source(path: str) -> Image.Image:
    with Image.open(path) as opened:
        return opened.convert("RGB")


@functools.lru_cache(maxsize=8)
def _reference(path: str, size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    _source(path).resize(size, Image.Resampling.LANCZOS).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _ssimulacra2(reference: bytes, result: str) -> float:
    from ssimulacra2 import compute_ssimulacra2  # noqa: PLC0415 - only in the environment that has it

    return float(compute_ssimulacra2(io.BytesIO(reference), result))


def _ssimulacra2_command(reference: bytes, result: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "reference.png", Path(folder) / "result.png"
        first.write_bytes(reference)
        with Image.open(result) as opened:
            opened.convert("RGB").save(second, compress_level=1)
        command = ["ssimulacra2", str(first), str(second)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(re.findall(r"-?[0-9]+\.[0-9]+", printed)[-1])


def _ssim(reference: bytes, result: str) -> float:
    """Return 100 x the mean SSIM of the luma in windows of 8x8 (Wang et al. 2004)."""
    first, second = (_windows(Image.open(one)) for one in (io.BytesIO(reference), result))
    mean_a, mean_b = first.mean((1, 3)), second.mean((1, 3))
    spread_a, spread_b = first.var((1, 3)), second.var((1, 3))
    both = (first * second).mean((1, 3)) - mean_a * mean_b
    map_ = (2 * mean_a * mean_b + _C1) * (2 * both + _C2)
    map_ /= (mean_a**2 + mean_b**2 + _C1) * (spread_a + spread_b + _C2)
    return 100 * float(map_.mean())


def _windows(picture: Image.Image) -> Floats:
    luma = np.asarray(picture.convert("L"), dtype=np.float64)
    rows, columns = (side // _WINDOW for side in luma.shape)
    return luma[: rows * _WINDOW, : columns * _WINDOW].reshape(rows, _WINDOW, columns, _WINDOW)


def _ms_ssim(reference: bytes, result: str) -> float:
    """Return MS-SSIM of the luma in decibels (Wang, Simoncelli and Bovik 2003), boxes instead of Gaussian windows."""
    first, second = (
        np.asarray(Image.open(one).convert("L"), dtype=np.float64) for one in (io.BytesIO(reference), result)
    )
    product = 1.0
    for scale, weight in enumerate(_SCALE_WEIGHTS):
        luminance, structure = _compared(first, second)
        last = scale == len(_SCALE_WEIGHTS) - 1
        product *= max(float((luminance * structure if last else structure).mean()), 1e-6) ** weight
        first, second = _halved(first), _halved(second)
    return -10 * math.log10(max(1 - product, 1e-9))


def _compared(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    mean_a, mean_b = _boxed(first), _boxed(second)
    spread_a, spread_b = _boxed(first * first) - mean_a**2, _boxed(second * second) - mean_b**2
    both = _boxed(first * second) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return luminance, (2 * both + _C2) / (spread_a + spread_b + _C2)


def _boxed(values: Floats) -> Floats:
    """Return the mean of every window of 8x8."""
    sums = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    at = _WINDOW
    boxes: Floats = (sums[at:, at:] - sums[:-at, at:] - sums[at:, :-at] + sums[:-at, :-at]) / at**2
    return boxes


def _halved(values: Floats) -> Floats:
    rows, columns = (side // 2 for side in values.shape)
    halved: Floats = values[: rows * 2, : columns * 2].reshape(rows, 2, columns, 2).mean((1, 3))
    return halved


_METRICS = {
    "ssimulacra2": _ssimulacra2,
    "ssimulacra2-command": _ssimulacra2_command,
    "ssim": _ssim,
    "ms-ssim": _ms_ssim,
}


def score(metric: str, source: str, result: str) -> float:
    """Return the score of the picture at `result` compared with the one at `source`."""
    with Image.open(result) as opened:
        size = opened.size
    return _METRICS[metric](_reference(source, size), result)


def main() -> None:
    """Score pairs of paths; consecutive pairs with the same source share its reference."""
    pairs = json.load(sys.stdin)
    order = sorted(range(len(pairs)), key=lambda number: pairs[number][0])
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        sources, results = zip(*(pairs[number] for number in order), strict=True) if pairs else ((), ())
        found = pool.map(functools.partial(score, sys.argv[1]), sources, results, chunksize=8)
        scores = dict(zip(order, found, strict=True))
    json.dump([scores[number] for number in range(len(pairs))], sys.stdout)


if __name__ == "__main__":
    main()
