"""A picture in memory is answered by few calls of Python. Calls are counted; how long they take, no test says."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest
from http_client import Client
from pictures import photo, saved
from scripted_origin import ScriptedOrigin
from service import Service, wait_until, write_config

PROBE = Path(__file__).parents[2] / "benchmarks" / "coldway" / "probe.py"
HITS = 400
CALLS = 103
"""Calls of Python functions for a hit, ours and those of libraries, with what the service does meanwhile: 99. It took
106, and a fifth more time, when each hit worked out again what never changes for its address."""


async def test_hit_from_memory_makes_few_calls(
    tmp_path: Path, origin: ScriptedOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.serve("/a.png", saved(photo(64, 48), "PNG"))
    orders = tmp_path / "orders"
    orders.mkdir()
    monkeypatch.setenv("BENCH_PROBE", str(orders))

    def order(word: str) -> None:
        (orders / word).touch()
        wait_until(lambda: not (orders / word).exists(), seconds=60)

    with Service(write_config(tmp_path), program=(str(PROBE),)) as service:
        async with aiohttp.ClientSession() as session:
            client = Client(session, service.base)
            target = f"/image/width=32/{origin.url('/a.png')}"
            assert (await client.get(target)).status == 200
            order("begin")
            for _ in range(HITS):
                answer = await client.get(target)
            order("end")
    assert "detail=memory" in answer.cache_status
    counts = json.loads((orders / "counts.json").read_text(encoding="utf-8"))
    assert counts["calls on the loop"] / HITS <= CALLS
    assert counts["jobs handed to threads"] < HITS / 10
