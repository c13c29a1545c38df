"""Pipes, devices, links and folders in place of files: nothing waits for them or follows them."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from desk import DeskVisitor
from http_client import Client
from keeping import keep
from scripted_origin import ScriptedOrigin
from service import Service, wait_until, write_config

from cache.across.jobs import JobFiles
from cache.base.errors import StoreUnwritable
from cache.base.layout import prepare
from cache.base.opening import open_regular, read_regular
from cache.durable_tier import Originals
from cache.variants.bounded_tier import Variants
from proxy.services.desk.history import FigureHistory, Minute
from proxy.services.desk.sessions import Sessions

URL, OTHER = "http://h/a.png", "http://h/b.png"
HUNG = str(Path(__file__).parent.parent / "lib" / "hung_service.py")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("devices need root")


STRANGE: list[Callable[[Path], None]] = [pipe, folder, link, device]


@pytest.mark.parametrize("strange", STRANGE)
def test_only_regular_files_are_opened(tmp_path: Path, strange: Callable[[Path], None]) -> None:
    """Opening fails at once, for reading and for writing."""
    strange(tmp_path / "x")
    for flags in (os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_CREAT):
        with pytest.raises(OSError, match=r"regular|symbolic|directory"):
            open_regular(tmp_path / "x", flags)
    with pytest.raises(OSError, match=r"regular|symbolic|directory"):
        read_regular(tmp_path / "x")


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize(
    "place", ["entries", "bodies", "refs", "articles", "scrub", "usage", "failures", "generations"]
)
async def test_strange_file_in_the_place_of_any_file_is_waited_for_by_nobody(
    tmp_path: Path, place: str, strange: Callable[[Path], None]
) -> None:
    """Reading, keeping, counting, verifying and purging all end, and the other original is unchanged."""
    root = tmp_path / "store"
    store = await Originals.open(root)
    entry, other = await keep(store, URL, b"one"), await keep(store, OTHER, b"two")
    await store.articles.record("post.md", [URL])
    (root / "scrub").touch()
    await store.close()
    layout = prepare(root)
    path = {
        "entries": layout.entry(entry.key),
        "bodies": layout.body(entry.body_sha256),
        "refs": layout.ref(entry.body_sha256),
        "articles": next(root.glob("articles/*/*.json")),
    }.get(place, root / place)
    path.unlink(missing_ok=True)
    strange(path)
    again = await Originals.open(root)
    await again.get(URL)
    if place == "bodies":
        with pytest.raises(OSError, match=r"regular|symbolic|directory"):
            await again.condition(entry.body_sha256)
    await again.articles.articles()
    await again.verify()
    await again.stat()
    await asyncio.to_thread(again.scrub.state)
    assert await again.read_body(other.body_sha256) == b"two"
    await keep(again, "http://h/c.png", b"three")
    if strange is not folder:
        await keep(again, URL, b"one")
        assert await again.read_body(entry.body_sha256) == b"one"
    await again.close()


@pytest.mark.parametrize("strange", STRANGE)
async def test_strange_lock_file_costs_the_keeping_only(
    tmp_path: Path, strange: Callable[[Path], None]
) -> None:
    """Kept originals are answered, and without exclusion no new ones are kept."""
    root = tmp_path / "store"
    store = await Originals.open(root)
    await keep(store, URL, b"one")
    await store.close()
    (root / "locks").unlink()
    strange(root / "locks")
    again = await Originals.open(root)
    assert await again.get(URL)
    with pytest.raises(StoreUnwritable, match="cannot be locked"):
        await keep(again, OTHER, b"two")
    await again.close()


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("name", ["cache.db", "cache.db-wal", "CACHEDIR.TAG"])
async def test_strange_file_in_the_variants_is_a_fault_and_no_wait(
    tmp_path: Path, name: str, strange: Callable[[Path], None]
) -> None:
    """The tier reports a miss."""
    (tmp_path / "variants").mkdir()
    (tmp_path / "variants" / "CACHEDIR.TAG").touch()
    (tmp_path / "variants" / name).unlink(missing_ok=True)
    strange(tmp_path / "variants" / name)
    variants = await Variants.open(tmp_path / "variants", max_bytes=1 << 20)
    await variants.put("k", b"v", tag="t")
    assert await variants.get("k") in {None, b"v"}
    await variants.close()


async def test_shutdown_ends_in_time_although_a_file_hangs(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """A thread waits for ever for an entry. SIGTERM ends the process after `server.shutdown_timeout`. The log says
    why."""
    config = write_config(tmp_path, {"server": {"shutdown_timeout": "1s"}})
    with Service(config, program=(HUNG,)) as service:
        asking = asyncio.create_task(Client(http, service.base).get("/?" + origin.url("/x.png")))
        await asyncio.to_thread(wait_until, (tmp_path / "store" / "hanging").exists)
        assert await asyncio.to_thread(service.stop) == 1
        with pytest.raises(aiohttp.ClientError):
            await asking
        assert "something hangs" in service.log()


@pytest.mark.parametrize("strange", STRANGE)
def test_strange_file_of_the_desk_or_of_a_job_is_waited_for_by_nobody(
    tmp_path: Path, strange: Callable[[Path], None]
) -> None:
    """A file that cannot be read counts as empty, and a write that cannot succeed is refused."""
    jobs = JobFiles(tmp_path / "jobs", now=lambda: 1e9)
    job = jobs.begin("warm", started_by="api", may_stop=True)
    for name in ("sessions", "history", f"jobs/{job.record.id}.stop"):
        strange(tmp_path / name)
    assert not Sessions(tmp_path).is_open("x", token="y", now=1.0)
    history = FigureHistory(tmp_path)
    assert history.between(0, 9) == {}
    with pytest.raises(OSError, match=r"regular|symbolic|directory"):
        history.add(Minute(1, {}))
    with pytest.raises(OSError, match=r"regular|symbolic|directory|device"):
        jobs.ask_to_stop(job.record.id)


async def test_folder_that_is_none_is_a_fault_of_the_store_and_not_of_ours(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """The desk and the API report that the store is in trouble, and the log has a line for each."""
    token = "a token"
    with Service(write_config(tmp_path, {"server": {"admin_token": token}})) as service:
        for name in ("jobs", "desk"):
            (tmp_path / "store" / name).symlink_to(name)
        client = Client(http, service.base)
        answer = await client.get("/api/v1/jobs", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status, answer.code) == (503, "queue_full")
        visitor = DeskVisitor(client)
        await visitor.open("/desk/sign-in")
        answer = await visitor.send("/desk/sign-in", {"token": token}, {"Accept": "application/json"})
        assert (answer.status, answer.code) == (503, "queue_full")
        assert "Traceback" not in service.log()
