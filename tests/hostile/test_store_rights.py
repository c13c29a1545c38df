"""Stores without permissions, inodes or locks: each fault has its own error, and `readyz` names the place."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from commands import invoke
from http_client import Client
from keeping import keep
from pictures import chart_png, photo_jpeg
from scripted_origin import ScriptedOrigin
from service import Service, write_config

from cache.across import file_locks as locks
from cache.across.file_locks import KeyLocks
from cache.across.usage import Counts, Usage
from cache.base.durable import GROUP, PRIVATE, Modes
from cache.base.errors import StoreBusy, StoreFull, StoreUnreadable
from cache.durable_tier import Originals
from cache.upkeep.scrub import PIECE_BYTES
from proxy.app import Engine, open_engine
from proxy.config.file import load
from proxy.errors import MirrorError
from proxy.source import Source

PICTURE = chart_png(60, 40, seed=1)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@contextmanager
def denied(folder: Path, *, reading: bool) -> Iterator[None]:
    """Forbid this process, even as root, to write (with `reading` also to read) below a folder, like a wrong chown."""

    def refuse(path: object, *, writes: bool) -> None:
        inside = isinstance(path, str | Path) and Path(path).is_relative_to(folder)
        if inside and (reading or writes):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    def guarded(real: Any, *, writes: bool) -> Any:
        def call(path: Any, *given: Any, **named: Any) -> Any:
            flags = given[0] if real is opened and given else 0
            refuse(path, writes=writes or bool(flags & WRITING))
            if given and isinstance(given[0], str | Path):
                refuse(given[0], writes=writes)
            return real(path, *given, **named)

        return call

    opened, access = os.open, os.access

    def allowed(path: Any, mode: int, **named: Any) -> bool:
        if Path(path).is_relative_to(folder) and (reading or mode & os.W_OK):
            return False
        return access(path, mode, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", guarded(opened, writes=False))
        for name in ("mkdir", "replace", "rename", "unlink", "link"):
            patch.setattr(os, name, guarded(getattr(os, name), writes=True))
        for name in ("scandir", "stat", "lstat"):
            patch.setattr(os, name, guarded(getattr(os, name), writes=False))
        patch.setattr(os, "access", allowed)
        yield


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with open_engine(load(str(write_config(tmp_path)), {}).config) as opened:
        yield opened


@pytest.mark.parametrize("name", ["entries", "bodies", "refs", "incoming"])
async def test_folder_that_cannot_be_written_is_named_and_its_original_is_not_kept(
    engine: Engine, origin: ScriptedOrigin, tmp_path: Path, name: str
) -> None:
    """The picture is answered for a minute, and the store names the folder until its permissions are corrected."""
    origin.serve("/w.png", PICTURE)
    with denied(tmp_path / "store" / name, reading=False):
        obtained = await engine.originals.obtain(Source.parse(origin.url("/w.png")))
        assert (obtained.body, obtained.short, obtained.state.stored) == (PICTURE, True, False)
        assert obtained.state.detail == "not_kept"
        assert engine.kept.unwritable() == [name]
        assert engine.kept.unreadable() == []
        assert engine.kept.lately_refused()
    assert engine.kept.unwritable() == []


@pytest.mark.parametrize("name", ["blocked", ""])
async def test_store_that_cannot_be_read_is_no_fault_of_a_request(
    engine: Engine, origin: ScriptedOrigin, tmp_path: Path, name: str
) -> None:
    """Whether the source is blocked is unknown, so the store raises one error that the web room knows. No traceback."""
    origin.serve("/u.png", PICTURE)
    with denied(tmp_path / "store" / name, reading=True):
        with pytest.raises(StoreUnreadable):
            await engine.originals.obtain(Source.parse(origin.url("/u.png")))
        assert engine.kept.unreadable() == [name or "store.dir"]
    assert origin.count() == 0


async def test_body_that_cannot_be_read_is_fetched_again(engine: Engine, origin: ScriptedOrigin) -> None:
    """The origin's picture replaces it. If the origin is dead, the answer is the origin's error."""
    origin.serve("/b.png", PICTURE)
    source = Source.parse(origin.url("/b.png"))
    obtained = await engine.originals.obtain(source)
    path = engine.kept.body_path(obtained.entry.body_sha256)
    with denied(path, reading=True):
        assert (await engine.originals.whole(source, obtained)).body == PICTURE
        origin.forget("/b.png")
        with pytest.raises(MirrorError) as caught:
            await engine.originals.whole(source, obtained)
        assert caught.value.code == "source_not_found"


@pytest.mark.parametrize("free", [0, 1, 15])
async def test_disk_without_inodes_keeps_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    """The disk has free bytes but no free files, so a commit would stop in the middle."""
    store = await Originals.open(tmp_path / "store")
    monkeypatch.setattr("cache.originals.roomleft.free_files", lambda _folder: free)
    with pytest.raises(StoreFull, match="inodes"):
        await keep(store, "http://h/a.png", b"one")
    assert not store.room_for(0)
    assert "inodes" in store.lately_refused()
    monkeypatch.undo()
    await keep(store, "http://h/a.png", b"one")
    assert store.lately_refused() == ""
    await store.close()


async def test_service_says_in_readyz_and_doctor_why_it_keeps_nothing(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """A picture larger than what is left of `originals_max_bytes` is not called stored, and readyz is degraded."""
    config = write_config(tmp_path, {"store": {"originals_max_bytes": "1 kB"}})
    origin.serve("/big.png", photo_jpeg(200, 150), content_type="image/jpeg")
    with Service(config) as service:
        client = Client(http, service.base)
        answer = await client.get("/image/width=20/" + origin.url("/big.png"))
        assert answer.headers["Cache-Control"] == "public, max-age=60"
        assert "stored" not in answer.cache_status
        ready = json.loads((await client.get("/readyz")).body)
    assert ready["status"] == "degraded"
    assert any("originals_max_bytes" in reason for reason in ready["reasons"])


@pytest.mark.parametrize("length", [0, 1, 1 << 20])
async def test_lock_of_another_program_is_given_up_with_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, length: int
) -> None:
    """A shared lock, on a byte or on all of the file, stops one request for a bounded time, and is logged."""
    monkeypatch.setattr(locks, "FOREIGN_HOLD_SECONDS", 0.0)
    key_locks = KeyLocks(tmp_path / "locks")
    async with key_locks.hold("a"):
        pass
    assert stat.S_IMODE((tmp_path / "locks").stat().st_mode) == 0o600
    with (tmp_path / "locks").open("rb") as reader:
        start = locks.offset_of("a") if length == 1 else 0
        fcntl.lockf(reader, fcntl.LOCK_SH, 0 if length == 1 << 20 else length, start)
        with pytest.raises(StoreBusy):
            async with key_locks.hold("a"):
                pass
    assert key_locks.lately_busy
    assert "is not released" in caplog.text
    async with key_locks.hold("a"):
        pass
    key_locks.close()


async def test_lock_of_our_own_is_waited_for_no_longer_than_any_work_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task or process that never releases its lock costs the others one request, but they do not wait for ever."""
    one, other = KeyLocks(tmp_path / "locks"), KeyLocks(tmp_path / "locks")
    async with one.hold("a"):
        monkeypatch.setattr(locks, "LONGEST_HOLD_SECONDS", 0.0)
        for waiting in (one, other):
            with pytest.raises(StoreBusy):
                async with waiting.hold("a"):
                    pass
    monkeypatch.undo()
    async with one.hold("a"):
        pass
    one.close()
    other.close()


async def test_locked_store_answers_queue_full_and_readyz_says_so(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """Kept pictures are answered as before; a new one is refused with `Retry-After`, and kept when the lock is gone."""
    for path in ("/kept.png", "/new.png"):
        origin.serve(path, PICTURE)
    with Service(write_config(tmp_path, {"store": {"scrub_rate": 0}})) as service:
        client = Client(http, service.base)
        await client.get("/?" + origin.url("/kept.png"))
        with (tmp_path / "store" / "locks").open("rb") as reader:
            fcntl.lockf(reader, fcntl.LOCK_SH)
            refused = await client.get("/?" + origin.url("/new.png"))
            kept = await client.get("/?" + origin.url("/kept.png"))
            ready = json.loads((await client.get("/readyz")).body)
        assert (refused.status, refused.code, kept.status) == (503, "queue_full", 200)
        assert "Retry-After" in refused.headers
        assert ready["status"] == "degraded"
        assert (await client.get("/?" + origin.url("/new.png"))).status == 200
        assert "is not released" in service.log()


async def test_count_that_is_locked_costs_the_count_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit goes on when another program holds the file of the count."""
    monkeypatch.setattr("cache.across.usage.PAUSE_SECONDS", 0.0)
    usage = Usage(tmp_path / "usage")
    usage.add(Counts(bytes=1))
    with (tmp_path / "usage").open("rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        usage.add(Counts(bytes=1))
    assert usage.read().bytes == 1


@pytest.mark.parametrize("modes", [PRIVATE, GROUP])
async def test_files_and_folders_have_the_mode_that_is_asked_for_whatever_the_umask(
    tmp_path: Path, modes: Modes
) -> None:
    """This holds for all files of a commit, a block and an article. Lock files are always private."""
    before = os.umask(0o077 if modes is GROUP else 0)
    try:
        store = await Originals.open(tmp_path / "store", modes=modes)
        await keep(store, "http://h/a.png", b"one")
        await store.block("http://h/b.png", "for a test")
        await store.articles.record("post.md", ["http://h/a.png"])
        await store.close()
    finally:
        os.umask(before)
    for path in (tmp_path / "store").rglob("*"):
        wanted = (
            modes.folder if path.is_dir() else PRIVATE.file if path.name in {"locks", "usage"} else modes.file
        )
        assert (path.name, oct(stat.S_IMODE(path.stat().st_mode))) == (path.name, oct(wanted))


async def test_open_store_of_former_modes_is_mended_by_the_scrub_not_at_the_start(tmp_path: Path) -> None:
    """Opening changes no existing file; one pass of the scrub gives every file and folder its mode."""
    store = await Originals.open(tmp_path / "store", modes=GROUP)
    entry = await keep(store, "http://h/a.png", b"one")
    await store.close()
    again = await Originals.open(tmp_path / "store")
    body = again.body_path(entry.body_sha256)
    assert stat.S_IMODE(body.stat().st_mode) == GROUP.file
    running = asyncio.create_task(again.scrub.run(lambda: PIECE_BYTES * 1000))
    while not (await asyncio.to_thread(again.scrub.state)).finished_at:  # noqa: ASYNC110 - the scrub has no event
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait((running,))
    assert stat.S_IMODE(body.stat().st_mode) == PRIVATE.file
    assert stat.S_IMODE(body.parent.stat().st_mode) == PRIVATE.folder
    await again.close()


def test_doctor_names_a_disk_without_inodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The finding is a warning and says what happens until the disk has inodes again."""
    monkeypatch.setattr("proxy.services.checks.disk.free_files", lambda _folder: 3)
    assert invoke("doctor", "--offline", config=write_config(tmp_path)) == 1
    assert "out of inodes" in capsys.readouterr().out
