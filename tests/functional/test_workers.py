"""Several worker processes act as one: one fetch, one render, one truth after a purge, one sum of metrics."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import psutil
import pytest
from http_client import Answer, Client
from pictures import chart_png, photo_jpeg
from scripted_origin import ScriptedOrigin
from service import Service, wait_until, write_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(write_config(tmp_path_factory.mktemp("workers")), workers=2) as service:
        yield service


async def fresh_get(base: str, target: str) -> Answer:
    """Ask over a connection of its own, so that the kernel may choose another worker."""
    async with aiohttp.ClientSession() as session:
        return await Client(session, base).get(target, headers={"Accept": "image/webp,*/*"})


async def test_200_requests_for_a_cold_variant_make_one_fetch_and_one_render(
    two_workers: Service, origin: ScriptedOrigin
) -> None:
    origin.serve("/cold.jpg", photo_jpeg(1200, 800), content_type="image/jpeg")
    before = two_workers.renders()
    target = "/image/width=333/" + origin.url("/cold.jpg")
    answers = await asyncio.gather(*(fresh_get(two_workers.base, target) for _ in range(200)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert origin.count() == 1
    assert two_workers.renders() == before + 1


async def test_purge_is_true_in_every_worker_when_it_returns(
    two_workers: Service, origin: ScriptedOrigin
) -> None:
    origin.serve("/p.png", chart_png(60, 60))
    targets = ["/?" + origin.url("/p.png"), "/image/width=30/" + origin.url("/p.png")]
    for _ in range(12):
        await asyncio.gather(*(fresh_get(two_workers.base, target) for target in targets))
    origin.forget("/p.png")
    async with aiohttp.ClientSession() as session:
        answer = await Client(session, two_workers.base).get(
            "/purge", method="POST", data=json.dumps({"source": origin.url("/p.png")})
        )
    assert json.loads(answer.body)["purged"] == [origin.url("/p.png")]
    answers = await asyncio.gather(*(fresh_get(two_workers.base, targets[n % 2]) for n in range(100)))
    assert {answer.status for answer in answers} == {404}


async def test_metrics_are_the_sum_of_all_workers(two_workers: Service, origin: ScriptedOrigin) -> None:
    origin.serve("/m.png", chart_png(20, 20))
    target = "/?" + origin.url("/m.png")
    await fresh_get(two_workers.base, target)

    def hits() -> float:
        return sum(
            value
            for name, value in two_workers.metrics().items()
            if name.startswith("imgmirror_cache_requests")
        )

    before = hits()
    await asyncio.gather(*(fresh_get(two_workers.base, target) for _ in range(40)))
    assert hits() == before + 40
    assert hits() == hits()


async def test_killed_worker_is_replaced(tmp_path: Path, origin: ScriptedOrigin) -> None:
    origin.serve("/k.png", chart_png(20, 20))
    with Service(write_config(tmp_path), workers=2) as service:
        assert service.process is not None
        supervisor = service.process.pid
        victim = _workers(supervisor)[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: "starting another" in service.log())
        wait_until(lambda: len(_workers(supervisor)) == 2)
        for _ in range(10):
            assert (await fresh_get(service.base, "/?" + origin.url("/k.png"))).status == 200


async def test_worker_that_replaces_another_runs_the_same_program(
    tmp_path: Path, origin: ScriptedOrigin
) -> None:
    """Somebody installs another version while the service runs. Workers of two versions would serve otherwise."""
    origin.serve("/k.png", chart_png(20, 20))
    program = tmp_path / "program"
    for package in ("proxy", "cache"):
        shutil.copytree(ROOT / package, program / package)
    start = f"import sys; sys.path.insert(0, {str(program)!r}); from proxy.cli import main; sys.exit(main())"
    with Service(write_config(tmp_path), workers=2, program=("-c", start)) as service:
        assert service.process is not None
        supervisor = service.process.pid
        # A fork would lose other threads, and the locks that these hold.
        assert psutil.Process(supervisor).num_threads() == 1
        (victim, other) = _workers(supervisor)
        (program / "proxy" / "web" / "application.py").write_text("raise SystemExit('another version')")
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(set(_workers(supervisor)) - {victim, other}) == 1)
        for _ in range(10):
            assert (await fresh_get(service.base, "/?" + origin.url("/k.png"))).status == 200


def test_start_without_one_of_the_workers_ends_the_others(tmp_path: Path) -> None:
    """The system may refuse a process. The others would wait for the end of their parent, and the parent for theirs."""
    start = """
import sys
from proxy.cli import main
from proxy.supervisor import _Supervisor
begin = _Supervisor._start
def begin_first(supervisor, place):
    if place.worker:
        assert supervisor._ready[0].wait(30)
        raise BlockingIOError(11, "no process")
    begin(supervisor, place)
_Supervisor._start = begin_first
sys.exit(main())
"""
    command = [sys.executable, "-c", start, "serve", "--config", str(write_config(tmp_path)), "--port", "0"]
    ended = subprocess.run(
        [*command, "--workers", "2"], check=False, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert "no process" in ended.stderr


def test_workers_end_with_their_parent_although_one_of_them_stands_still(tmp_path: Path) -> None:
    """The others do not wait for it."""
    with Service(write_config(tmp_path), workers=3) as service:
        assert service.process is not None
        workers = list(map(psutil.Process, _workers(service.process.pid)))
        still = workers.pop()
        still.suspend()
        os.kill(service.process.pid, signal.SIGKILL)
        wait_until(lambda: all(map(_has_ended, workers)))


def _has_ended(process: psutil.Process) -> bool:
    """Return whether a process is gone, or only waits for somebody who asks for its exit code."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return True


def _workers(supervisor: int) -> list[int]:
    """Return the workers that have started their render processes, which they do before they serve."""
    found = []
    for child in psutil.Process(supervisor).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just been killed
            found += [child.pid] if child.children() else []
    return found


async def test_reload_reaches_every_worker_and_a_bad_file_changes_nothing(
    tmp_path: Path, origin: ScriptedOrigin
) -> None:
    origin.serve("/d.png", chart_png(20, 20))
    target = "/?" + origin.url("/d.png")
    with Service(write_config(tmp_path), workers=2) as service:
        assert service.process is not None
        assert (await fresh_get(service.base, target)).status == 200

        write_config(tmp_path, {"sources": {"deny": ["127.0.0.1"]}})
        os.kill(service.process.pid, signal.SIGHUP)
        wait_until(lambda: service.log().count("configuration was reloaded") == 2)
        answers = await asyncio.gather(*(fresh_get(service.base, target) for _ in range(20)))
        assert {answer.code for answer in answers} == {"source_not_allowed"}

        (tmp_path / "config.toml").write_text("[server]\nprot = 1\n")
        os.kill(service.process.pid, signal.SIGHUP)
        wait_until(lambda: service.log().count("was not reloaded") == 2)
        assert (await fresh_get(service.base, target)).code == "source_not_allowed"

        write_config(tmp_path, {"server": {"port": 1}})
        os.kill(service.process.pid, signal.SIGHUP)
        wait_until(lambda: service.log().count("configuration was reloaded") == 4)
        assert (await fresh_get(service.base, target)).status == 200
