"""kill -9 while packing and unpacking, and commands beside a service that fetches and purges: nothing is half done."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import invoke
from keeping import files_below, keep
from pictures import chart_png
from scripted_origin import ScriptedOrigin, run_in_thread
from service import Service, write_config

from cache.durable_tier import Originals

pytestmark = pytest.mark.kill

ENTRIES = 60


@pytest.fixture
def origin() -> Iterator[ScriptedOrigin]:
    with run_in_thread() as origin:
        yield origin


def filled(folder: Path) -> Path:
    folder.mkdir()
    config = write_config(folder)

    async def fill() -> None:
        store = await Originals.open(folder / "store")
        for number in range(ENTRIES):
            body = chart_png(20, 20, seed=number % 40) + b"\0" * 40_000
            await keep(store, f"http://h.example/{number}.png", body)
        await store.close()

    asyncio.run(fill())
    return config


def begun(config: Path, *words: str | Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "proxy", "store", "--config", config, *words]
    return subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "PYTHONDEVMODE": ""},
    )


def killed_when(process: subprocess.Popen[bytes], files: Path, count: int) -> bool:
    """Kill a command once a folder holds this many files; return whether the command was still running."""
    while process.poll() is None:
        if len(files_below(files)) >= count:
            os.killpg(process.pid, signal.SIGKILL)
            break
    return process.wait() != 0


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("kind", ["pack.warc.gz", "folder"])
def test_pack_that_is_killed_leaves_no_archive_and_the_next_one_clears_up(tmp_path: Path, kind: str) -> None:
    config, out = filled(tmp_path / "here"), tmp_path / "out"
    out.mkdir()
    assert killed_when(begun(config, "pack", out / kind), out, 1 if kind != "folder" else 20)
    assert not (out / kind).exists()
    assert len(list(out.iterdir())) == 1
    assert invoke("store", "pack", out / kind, config=config) == 0
    assert [path.name for path in out.iterdir()] == [kind]
    assert invoke("store", "verify", config=config) == 0


def test_unpack_that_is_killed_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Originals unpacked before the kill are whole. A second run unpacks the rest, and nothing twice."""
    here, pack = filled(tmp_path / "here"), tmp_path / "pack.warc"
    assert invoke("store", "pack", pack, config=here) == 0
    (tmp_path / "there").mkdir()
    there = write_config(tmp_path / "there")
    rng, entries = random.Random(7), tmp_path / "there" / "store" / "entries"  # noqa: S311 - the same moments each time
    for _ in range(3):
        before = len(files_below(entries))
        assert killed_when(begun(there, "unpack", pack), entries, before + rng.randrange(1, 12))
        capsys.readouterr()
        assert invoke("store", "verify", "--json", config=there) == 0
    found = len(files_below(entries))
    assert 3 <= found < ENTRIES
    capsys.readouterr()
    assert invoke("store", "unpack", pack, "--json", config=there) == 0
    report = told(capsys)
    assert (report["same"], report["new"]) == (found, ENTRIES - found)
    assert invoke("store", "sweep", config=there) == 0
    assert files_below(tmp_path / "there" / "store" / "incoming") == []
    kept = [
        {path.name: path.read_bytes() for path in files_below(config.parent / "store" / room)}
        for config in (here, there)
        for room in ("entries", "bodies")
    ]
    assert kept[:2] == kept[2:]


def test_store_is_packed_verified_and_trimmed_while_it_is_served_changed_and_purged(
    tmp_path: Path, origin: ScriptedOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    """All commands run at once beside a busy service: no fault is found, and the pack is whole."""
    folder = tmp_path / "here"
    folder.mkdir()
    config = write_config(folder, {"fetch": {"min_fresh": 0}})
    sources = [origin.url(f"/{number}.png") for number in range(12)]

    def serve(seed: int) -> None:
        for number in range(len(sources)):
            origin.serve(f"/{number}.png", chart_png(24, 24, seed=seed * 100 + number))

    with Service(config, workers=2) as service:

        def ask(source: str) -> int:
            with urllib.request.urlopen(service.url("/?" + source), timeout=20) as answer:  # noqa: S310 - loopback
                return int(answer.status)

        for turn in range(3):
            serve(turn)
            commands = [
                begun(config, "pack", tmp_path / f"{turn}.warc.gz"),
                begun(config, "verify"),
                begun(config, "purge", "--history", "--keep", "1"),
                begun(config, "purge", "--source", sources[turn]),
                begun(config, "purge", "--orphans"),
            ]
            while any(command.poll() is None for command in commands):
                assert {ask(source) for source in sources} == {200}
            assert [command.returncode for command in commands] == [0] * len(commands)
        assert "Traceback" not in service.log()
    assert invoke("store", "verify", config=config) == 0
    (tmp_path / "there").mkdir()
    there = write_config(tmp_path / "there")
    capsys.readouterr()
    packs = [tmp_path / f"{turn}.warc.gz" for turn in range(3)]
    assert invoke("store", "unpack", *packs, "--json", config=there) == 0
    assert told(capsys)["refused"] == {}
    assert invoke("store", "verify", config=there) == 0
