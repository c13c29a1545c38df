"""Scores of results, and sizes at equal scores."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SCORES = Path(__file__).with_name("scores.py")
NAMES = {
    "ssimulacra2": "SSIMULACRA2",
    "ssimulacra2-command": "SSIMULACRA2",
    "ssim": "SSIM x 100 (no SSIMULACRA2 found)",
    "ms-ssim": "MS-SSIM dB",
}
SECOND = "ms-ssim"
"""A second metric, because AVIF encoders are tuned for SSIMULACRA2 and may score better than they look."""


class Judge:
    """Scores pictures with the best available metric (SSIMULACRA2, else plain SSIM) and with a second one."""

    def __init__(self, folder: Path) -> None:
        python = folder / "measure" / "bin" / "python"
        if python.exists() and _can_import(python, "ssimulacra2"):
            first, self._python = "ssimulacra2", str(python)
        elif shutil.which("ssimulacra2"):
            first, self._python = "ssimulacra2-command", sys.executable
        else:
            first, self._python = "ssim", sys.executable
        self._metrics = (first, SECOND)
        self.names = tuple(NAMES[metric] for metric in self._metrics)

    def scores(self, pairs: Sequence[tuple[Path, Path]]) -> dict[str, list[float]]:
        """Return the score of each (source, result) pair by the name of each metric."""
        return {NAMES[metric]: self._by(metric, pairs) for metric in self._metrics}

    def _by(self, metric: str, pairs: Sequence[tuple[Path, Path]]) -> list[float]:
        done = subprocess.run(
            [self._python, str(SCORES), metric],
            input=json.dumps([[str(source), str(result)] for source, result in pairs]),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"scoring failed: {done.stderr.strip()[-500:]}")
        return [float(score) for score in json.loads(done.stdout)]


def _can_import(python: Path, module: str) -> bool:
    return (
        subprocess.run([str(python), "-c", f"import {module}"], capture_output=True, check=False).returncode
        == 0
    )


def bytes_at(score: float, curve: Sequence[tuple[float, float]]) -> float | None:
    """Return the mean bytes at which `curve`, of (score, mean bytes), reaches `score`; None outside of it.

    The logarithm of the bytes is interpolated linearly between two qualities.
    """
    points = sorted(curve)
    for (low, few), (high, many) in itertools.pairwise(points):
        if low <= score <= high and high > low:
            share = (score - low) / (high - low)
            return math.exp(math.log(few) + share * (math.log(many) - math.log(few)))
    return None
