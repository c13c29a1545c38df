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
}


class Judge:
    """Scores pictures with the best metric that is there: SSIMULACRA2, else plain SSIM."""

    def __init__(self, folder: Path) -> None:
        python = folder / "measure" / "bin" / "python"
        if python.exists() and _can_import(python, "ssimulacra2"):
            self.metric, self._python = "ssimulacra2", str(python)
        elif shutil.which("ssimulacra2"):
            self.metric, self._python = "ssimulacra2-command", sys.executable
        else:
            self.metric, self._python = "ssim", sys.executable
        self.name = NAMES[self.metric]

    def scores(self, pairs: Sequence[tuple[Path, Path]]) -> list[float]:
        """Return the score of each (source, result)."""
        done = subprocess.run(
            [self._python, str(SCORES), self.metric],
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

    Between two qualities the logarithm of the bytes is taken as straight.
    """
    points = sorted(curve)
    for (low, few), (high, many) in itertools.pairwise(points):
        if low <= score <= high and high > low:
            share = (score - low) / (high - low)
            return math.exp(math.log(few) + share * (math.log(many) - math.log(few)))
    return None
