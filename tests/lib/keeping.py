"""Keeps originals in tests: short ways to make entries, and small programs that run beside the test.

The programs below run in separate processes (`python -c`), because they prove properties of several processes.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import cache
from cache.base.entry import Entry
from cache.durable_tier import Originals

ROOT = Path(cache.__file__).parent.parent
NOW = 1_700_000_000.0


def make_entry(
    url: str, *, sha256: str = "0" * 64, size: int = 0, headers: dict[str, str] | None = None
) -> Entry:
    """Return an entry of a picture that has just been fetched."""
    return Entry(
        source=url,
        status=200,
        headers=tuple((headers or {}).items()),
        body_sha256=sha256,
        body_size=size,
        media_type="image/png",
        final_url=url,
        request_time=NOW,
        response_time=NOW,
        fetched_at=NOW,
        validated_at=NOW,
    )


async def keep(store: Originals, url: str, body: bytes, *, stamp: int | None = None) -> Entry:
    """Keep a body under a source as the service does; return its entry."""
    async with store.receive() as incoming:
        await incoming.write(body)
        await incoming.finish()
        entry = make_entry(url, sha256=incoming.sha256, size=incoming.size)
        await store.commit(entry, incoming, stamp=stamp)
    return entry


def files_below(folder: Path) -> list[Path]:
    """Return every file below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def run_program(program: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a Python program beside the test, with the same module path."""
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


async def finished(process: subprocess.Popen[str]) -> str:
    """Wait for a program and return its output; it must exit with 0."""
    out, _ = await asyncio.to_thread(process.communicate, None, 60)
    assert process.returncode == 0, out
    return out
