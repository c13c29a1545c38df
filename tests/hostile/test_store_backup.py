"""Backups beside a store that is being written to, changed and purged: the copy is whole at any time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from commands import invoke
from keeping import files_below, keep
from service import write_config

from cache.base.errors import StoreRefused
from cache.durable_tier import Originals
from cache.upkeep import backup


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Originals]:
    opened = await Originals.open(tmp_path / "store")
    yield opened
    await opened.close()


async def require_whole(folder: Path) -> Originals:
    """Open a copy of a copy, as a restore makes it, and verify it."""
    restored = folder.with_name(f"{folder.name}-restored")
    shutil.copytree(folder, restored)
    opened = await Originals.open(restored)
    assert (await opened.verify()).wrong == []
    await opened.close()
    shutil.rmtree(restored)
    return opened


def url(number: int) -> str:
    return f"http://h/{number}.png"


async def test_backup_under_load_restores_to_a_store_without_a_fault(
    store: Originals, tmp_path: Path
) -> None:
    """Originals come, change and go while each backup runs; every copy verifies, and the last one holds everything."""
    stop = asyncio.Event()

    async def load(worker: int) -> None:
        for number in itertools.count():
            await keep(store, url(number % 40), f"{worker} {number % 97}".encode())
            if number % 5 == worker:
                await store.purge(url((number * 7) % 40))
            if stop.is_set():
                return

    working = [asyncio.create_task(load(worker)) for worker in range(3)]
    for _ in range(5):
        report = await store.backup(tmp_path / "copy")
        assert report.damaged == []
        await require_whole(tmp_path / "copy")
    stop.set()
    await asyncio.gather(*working)
    await store.backup(tmp_path / "copy")
    for part in ("entries", "bodies"):
        ours, theirs = tmp_path / "store" / part, tmp_path / "copy" / part
        assert [path.relative_to(ours) for path in files_below(ours)] == [
            path.relative_to(theirs) for path in files_below(theirs)
        ]


async def test_copy_by_hand_in_the_documented_order_verifies(store: Originals, tmp_path: Path) -> None:
    """The order is entries, bodies, then the names of the entries again, so no copied entry lacks a body."""
    stop = asyncio.Event()

    async def load() -> None:
        for number in itertools.count():
            await keep(store, url(number % 30), str(number % 97).encode())
            if number % 3 == 0:
                await store.purge(url((number * 7) % 30))
            if stop.is_set():
                return

    working = asyncio.create_task(load())
    for number in range(5):
        copy = tmp_path / f"copy-{number}"
        for part in ("imgmirror-store", "entries", "bodies"):
            await asyncio.to_thread(copy_part, tmp_path / "store" / part, copy / part)
        await asyncio.to_thread(delete_gone, tmp_path / "store" / "entries", copy / "entries")
        await require_whole(copy)
    stop.set()
    await working


def copy_part(ours: Path, theirs: Path) -> None:
    """Copy a file or a folder as rsync does, leaving out files that vanish meanwhile."""
    for path in files_below(ours) if ours.is_dir() else [ours]:
        target = theirs / path.relative_to(ours)
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            target.write_bytes(path.read_bytes())


def delete_gone(ours: Path, theirs: Path) -> None:
    """Do what `rsync --delete --existing --ignore-existing` does."""
    for path in files_below(theirs):
        if not (ours / path.relative_to(theirs)).exists():
            path.unlink()


async def test_second_backup_brings_only_what_changed_and_forgets_what_was_purged(
    store: Originals, tmp_path: Path
) -> None:
    """Blocks and articles are copied, and a purge takes effect in the copy as well."""
    await keep(store, url(1), b"one")
    await keep(store, url(2), b"two")
    await store.articles.record("post.md", [url(1)])
    first = await store.backup(tmp_path / "copy")
    assert (first.entries, first.new_bodies) == (2, 2)
    await keep(store, url(3), b"three")
    await store.purge(url(2))
    await store.block(url(2), "asked for")
    second = await store.backup(tmp_path / "copy")
    assert (second.entries, second.new_bodies, second.removed) == (2, 1, 1)
    copy = await Originals.open(tmp_path / "copy")
    assert await copy.get(url(2)) is None
    assert await copy.is_blocked(url(2))
    assert await copy.articles.sources_of("post.md") == (url(1),)
    assert (await copy.verify()).notes == []
    await copy.close()


@pytest.mark.parametrize("way", ["link", "copy"])
async def test_body_is_linked_or_copied(
    store: Originals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Bodies are linked where the disk cannot clone and copied where it cannot link, and their digests are compared."""
    monkeypatch.setattr(backup, "_cloned", lambda _source, _target: False)
    if way == "copy":
        monkeypatch.setattr(backup.Backup, "_linked", lambda *_given: False)
    entry = await keep(store, url(1), os.urandom(3 * backup.PIECE_BYTES + 5))
    report = await store.backup(tmp_path / "copy")
    assert report.linked_bodies == (way == "link")
    assert report.copied_bytes == (entry.body_size if way == "copy" else 0)
    await require_whole(tmp_path / "copy")


async def test_damage_never_reaches_the_copy(store: Originals, tmp_path: Path) -> None:
    """A damaged body, a missing one and a damaged entry are named, and the copy keeps its own versions."""
    entries = [await keep(store, url(number), str(number).encode()) for number in range(4)]
    await store.backup(tmp_path / "copy")
    (tmp_path / "copy" / "bodies").rename(tmp_path / "kept")
    shutil.copytree(tmp_path / "kept", tmp_path / "copy" / "bodies")
    new = await keep(store, url(9), b"nine")
    store.body_path(new.body_sha256).write_bytes(b"n!ne")
    store.body_path(entries[1].body_sha256).unlink()
    store.body_path(entries[2].body_sha256).write_bytes(b"longer than it was")
    next((tmp_path / "store" / "entries").rglob(f"{entries[3].key}.json")).write_text("{")
    report = await store.backup(tmp_path / "copy")
    assert url(9) in report.damaged
    assert len(report.damaged) == 2
    copy = await Originals.open(tmp_path / "copy")
    assert await copy.get(url(9)) is None
    for number in (1, 2):
        assert await copy.read_body(entries[number].body_sha256) == str(number).encode()
    await copy.close()


async def test_target_that_is_no_backup_is_refused(store: Originals, tmp_path: Path) -> None:
    """A folder of other files, the store, and folders in or above it are refused. A lost store empties no backup."""
    await keep(store, url(1), b"one")
    await store.backup(tmp_path / "copy")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    for target in ("other", "store", "store/in", "."):
        with pytest.raises(StoreRefused):
            await store.backup(tmp_path / target)
    await store.purge(url(1))
    with pytest.raises(StoreRefused, match="would empty"):
        await store.backup(tmp_path / "copy")


async def test_command_backs_up_and_reports_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`store backup DEST --json` exits 0, and 1 when something here is damaged."""
    config = write_config(tmp_path)
    store = await Originals.open(tmp_path / "store")
    entry = await keep(store, url(1), b"one")
    await store.close()
    copy = str(tmp_path / "copy")
    assert await asyncio.to_thread(invoke, "store", "backup", copy, "--json", config=config) == 0
    assert json.loads(capsys.readouterr().out)["new_bodies"] == 1
    store.body_path(entry.body_sha256).unlink()
    assert await asyncio.to_thread(invoke, "store", "backup", copy, config=config) == 0
    (tmp_path / "copy" / "bodies" / entry.body_sha256[:2] / entry.body_sha256).unlink()
    assert await asyncio.to_thread(invoke, "store", "backup", copy, config=config) == 1
