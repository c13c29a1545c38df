"""`make bench-images` works on a machine without any peer. How fast anything is, no test says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_images_benchmark_of_ourselves_prints_a_table_of_answered_requests(tmp_path: Path) -> None:
    """Every request is answered 200 with a picture of the right size and format, and the measurements are printed."""
    command = [sys.executable, "benchmarks/images.py", "--pictures", "2", "--formats", "jpeg", "--only"]
    command += ["--rounds", "1", "--seconds", "0", "--together", "1", "--no-curves"]
    command += ["--peers", str(tmp_path / "peers"), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "problem:" not in done.stdout, done.stdout
    row = re.search(r"^\| imgmirror \| (\d+)/(\d+) \| ([0-9.]+) \| 1\.00 ", done.stdout, re.MULTILINE)
    assert row is not None, done.stdout
    assert (row[1], row[2]) == ("2", "2")
    assert float(row[3]) > 0
    results = json.loads((tmp_path / "out" / "bench-images.json").read_text(encoding="utf-8"))
    (measured,) = results["formats"]["jpeg"]
    assert 2_000 < measured["mean_bytes"] < 200_000
    assert measured["cpu_seconds"] > 0
    assert measured["peak_bytes"] > 10 << 20
    assert 50 < measured["score"] <= 100
    assert "Widths 320, 640, 960, 1280" in done.stdout
