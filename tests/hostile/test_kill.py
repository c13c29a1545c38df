"""The promise about what is kept, against kill -9: nothing announced is lost, nothing wrong is found."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted_origin import ScriptedOrigin, run_in_thread
from service import write_config

PICTURES = 200
ROUNDS = int(os.environ.get("ROUNDS", "50"))
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(2**32)

PNG_HEAD = b"\x89PNG\r\n\x1a\n"


def small_png(number: int) -> bytes:
    """Return a valid picture that is different for each number."""
    from pictures import chart_png  # noqa: PLC0415 - only where this suite runs

    return chart_png(64 + number % 7, 48, seed=number)


@pytest.fixture(scope="module")
def origin() -> Iterator[ScriptedOrigin]:
    with run_in_thread() as origin:
        for number in range(PICTURES):
            origin.serve(f"/{number}.png", small_png(number))
        yield origin


@pytest.fixture
def article(tmp_path: Path, origin: ScriptedOrigin) -> Path:
    path = tmp_path / "article.md"
    wrapper = "https://cors.zfour.workers.dev/?"
    path.write_text("\n\n".join(f"![]({wrapper}{origin.url(f'/{n}.png')})" for n in range(PICTURES)))
    return path


class Round:
    """One warm that is killed in the middle."""

    def __init__(self, config: Path, article: Path) -> None:
        self.config = config
        self.store = config.parent / "store"
        self.article = article

    def run(self, *, after_seconds: float) -> dict[str, str]:
        """Start the command, kill its whole group at the given moment, and return source -> sha256 of every printed
        line."""
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "proxy",
                "warm",
                "--json",
                "--config",
                str(self.config),
                str(self.article),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONDEVMODE": "", "PYTHONWARNINGS": "default"},
            start_new_session=True,
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(after_seconds)
        os.killpg(process.pid, signal.SIGKILL)
        text = first + process.stdout.read()
        process.stdout.close()
        process.wait()
        return self._announced(text)

    def _announced(self, text: bytes) -> dict[str, str]:
        whole = text.rpartition(b"\n")[0]
        records = [json.loads(line) for line in whole.splitlines() if line.startswith(b'{"kept"')]
        return {record["kept"]: record["sha256"] for record in records}

    def missing(self, announced: dict[str, str]) -> list[str]:
        """Return the announced sources whose entry or body is not on disk as it was announced.

        It reads plain files without the program, as an archivist would.
        """
        return [source for source, sha256 in announced.items() if not self._is_kept(source, sha256)]

    def _is_kept(self, source: str, sha256: str) -> bool:
        key = hashlib.sha256(source.encode()).hexdigest()
        entry = self.store / "entries" / key[:2] / f"{key}.json"
        body = self.store / "bodies" / sha256[:2] / sha256
        if not entry.is_file() or not body.is_file():
            return False
        named = json.loads(entry.read_text())["body_sha256"]
        return bool(named == sha256 == hashlib.sha256(body.read_bytes()).hexdigest())

    def verify(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "proxy", "store", "verify", "--config", str(self.config)],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONDEVMODE": "", "PYTHONWARNINGS": "default"},
        )


@pytest.mark.kill
@pytest.mark.timeout(3600)
def test_warm_killed_at_random_moments_keeps_all_it_announced(tmp_path: Path, article: Path) -> None:
    """After each kill -9, every printed line is on disk with the right bytes and `store verify` finds nothing."""
    rng = random.Random(SEED)  # noqa: S311 - a moment, not a secret
    one = Round(write_config(tmp_path), article)
    print(f"{ROUNDS} rounds, seed {SEED}")
    announced: dict[str, str] = {}
    killed_early = total = 0
    for number in range(ROUNDS):
        new = one.run(after_seconds=rng.choice([0.0, 0.02, 0.1, 0.3, 0.8]) * rng.random())
        announced |= new
        total += len(new)
        killed_early += len(new) < PICTURES
        assert one.missing(announced) == [], f"round {number}, seed {SEED}"
        checked = one.verify()
        assert checked.returncode == 0, f"round {number}, seed {SEED}: {checked.stdout}{checked.stderr}"
        if len(announced) == PICTURES:
            shutil.rmtree(one.store)
            announced.clear()
    assert killed_early > ROUNDS // 2, "the kills came too late to prove anything"
    print(f"{total} announced, none lost; {killed_early} of {ROUNDS} rounds were cut in the middle")
