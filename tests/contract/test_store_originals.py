"""The promises of a durable tier (product contract: "The promise about what is kept")."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from keeping import NOW, files_below, keep, make_entry

from cache.base.durable import sync_descriptor
from cache.base.entry import Entry
from cache.base.errors import NotKept, SourceBlocked, StoreFull, StoreRefused, StoreUnwritable, Superseded
from cache.durable_tier import Originals
from cache.originals.incoming import BLOCK_BYTES

URL = "http://h/a.png"
OTHER = "http://h/b.png"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Originals]:
    """A new store."""
    opened = await Originals.open(tmp_path / "store", now=lambda: NOW)
    yield opened
    await opened.close()


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def bodies(store: Originals) -> set[bytes]:
    return {path.read_bytes() for path in files_below(store.body_path("0" * 64).parent.parent)}


# Keeping


@pytest.mark.parametrize("body", [b"x", b"", b"y" * BLOCK_BYTES, b"z" * (3 * BLOCK_BYTES + 1)])
async def test_original_kept_comes_back_unchanged(store: Originals, body: bytes) -> None:
    """Entry and bytes are returned as they were given."""
    entry = await keep(store, URL, body)
    assert await store.get(URL) == entry
    assert await store.read_body(entry.body_sha256) == body
    assert entry.body_sha256 == sha256(body)
    assert store.body_path(entry.body_sha256).read_bytes() == body


async def test_original_lies_in_plain_files(store: Originals, tmp_path: Path) -> None:
    """`entries/ab/<sha256 of source>.json` and `bodies/ab/<sha256>`, readable without this program."""
    await keep(store, URL, b"x")
    key, digest = sha256(URL.encode()), sha256(b"x")
    assert (tmp_path / "store" / "entries" / key[:2] / f"{key}.json").is_file()
    assert (tmp_path / "store" / "bodies" / digest[:2] / digest).read_bytes() == b"x"


async def test_source_never_kept_is_absent(store: Originals) -> None:
    """A missing original is a value, not an error."""
    assert await store.get(URL) is None
    with pytest.raises(FileNotFoundError):
        await store.read_body("0" * 64)


async def test_original_survives_a_restart(store: Originals, tmp_path: Path) -> None:
    """Another process that opens the folder finds it, immediately and later."""
    entry = await keep(store, URL, b"x")
    again = await Originals.open(tmp_path / "store")
    assert await again.get(URL) == entry
    await again.close()


async def test_equal_bytes_of_two_sources_are_stored_once(store: Originals) -> None:
    """There is one body for two entries."""
    await keep(store, URL, b"same")
    await keep(store, OTHER, b"same")
    assert bodies(store) == {b"same"}
    stat = await store.stat()
    assert (stat.entries, stat.bodies, stat.body_bytes, stat.shared_bytes) == (2, 1, 4, 4)


async def test_changed_original_keeps_its_former_bytes(store: Originals) -> None:
    """Only a purge deletes: the former body stays, and the history of the entry names it."""
    await keep(store, URL, b"one")
    await keep(store, URL, b"two")
    entry = await store.get(URL)
    assert entry
    assert [former.body_sha256 for former in entry.history] == [sha256(b"one")]
    assert bodies(store) == {b"one", b"two"}
    assert (await store.verify()).wrong == (await store.verify()).notes == []


async def test_history_that_a_caller_brings_does_not_count(store: Originals) -> None:
    """A refresh that began before a purge does not name bodies that the purge deleted."""
    await keep(store, URL, b"one")
    second = await keep(store, URL, b"two")
    known = await store.get(URL)
    assert known
    await store.purge(URL)
    async with store.receive() as incoming:
        await incoming.write(b"two")
        await incoming.finish()
        await store.commit(known, incoming)
    assert await store.get(URL) == second
    assert (await store.verify()).wrong == []


async def test_generation_changes_only_with_the_bytes(store: Originals) -> None:
    """A revalidation keeps answers in memory valid; different bytes make them invalid."""
    await keep(store, URL, b"one")
    stamp = store.generations.stamp(URL)
    entry = await keep(store, URL, b"one")
    await store.commit(replace(entry, validated_at=NOW + 5), None)
    assert store.generations.stamp(URL) == stamp
    await keep(store, URL, b"two")
    assert store.generations.stamp(URL) != stamp


async def test_revalidation_replaces_what_is_said(store: Originals) -> None:
    """Headers and times change, and bytes and history stay."""
    await keep(store, URL, b"one")
    entry = await keep(store, URL, b"two")
    await store.commit(replace(entry, validated_at=NOW + 5, headers=(("etag", '"n"'),)), None)
    found = await store.get(URL)
    assert found
    assert (found.validated_at, found.etag, len(found.history)) == (NOW + 5, '"n"', 1)


async def test_revalidation_of_a_purged_source_is_refused(store: Originals) -> None:
    """A 304 that arrives after a purge does not bring the source back."""
    entry = await keep(store, URL, b"one")
    await keep(store, OTHER, b"one")
    await store.purge(URL)
    with pytest.raises(Superseded):
        await store.commit(entry, None)
    assert await store.get(URL) is None


async def test_revalidation_of_other_bytes_is_refused(store: Originals) -> None:
    """A 304 refers to the bytes that it was asked about."""
    entry = await keep(store, URL, b"one")
    await keep(store, URL, b"two")
    with pytest.raises(Superseded):
        await store.commit(entry, None)


async def test_revalidation_without_a_body_is_refused(store: Originals) -> None:
    """An entry without bytes is never made."""
    entry = await keep(store, URL, b"one")
    store.body_path(entry.body_sha256).unlink()
    with pytest.raises(Superseded):
        await store.commit(entry, None)


@pytest.mark.parametrize("damage", [b"", b"on", b"0ne", b"one and more"])
async def test_damaged_body_is_replaced_when_the_bytes_come_again(store: Originals, damage: bytes) -> None:
    """A truncated or altered body is repaired for every source that shares it."""
    entry = await keep(store, URL, b"one")
    store.body_path(entry.body_sha256).write_bytes(damage)
    await keep(store, OTHER, b"one")
    assert await store.read_body(entry.body_sha256) == b"one"
    assert (await store.verify()).wrong == []


async def test_entry_that_is_not_of_the_body_is_refused(store: Originals) -> None:
    """A mistake of the caller cannot create an entry that names the wrong bytes."""
    async with store.receive() as incoming:
        await incoming.write(b"x")
        await incoming.finish()
        with pytest.raises(ValueError, match="not that of the body"):
            await store.commit(make_entry(URL, sha256=sha256(b"y"), size=1), incoming)


async def test_original_purged_while_it_was_fetched_is_not_kept(store: Originals) -> None:
    """A caller that passes the stamp from before the fetch does not undo a purge."""
    stamp = store.generations.stamp(URL)
    await store.purge(URL)
    with pytest.raises(Superseded):
        await keep(store, URL, b"x", stamp=stamp)
    await keep(store, URL, b"x", stamp=store.generations.stamp(URL))


async def test_commit_cancelled_leaves_all_or_nothing(store: Originals) -> None:
    """A visitor who leaves in the middle of a commit breaks nothing and releases every lock."""
    for turns in range(25):
        task = asyncio.create_task(keep(store, f"{URL}?{turns}", b"x%d" % turns))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
    assert (await store.verify()).wrong == []
    await keep(store, URL, b"x1")
    assert files_below(store.body_path("0" * 64).parent.parent.parent / "incoming") == []


# Receiving


async def test_body_not_committed_is_removed(store: Originals, tmp_path: Path) -> None:
    """Leaving the block, normally or by an error, leaves no file."""
    async with store.receive() as incoming:
        await incoming.write(b"x")
        await incoming.finish()
        assert incoming.path.read_bytes() == b"x"
    with pytest.raises(RuntimeError):
        await _give_up_receiving(store)
    assert files_below(tmp_path / "store" / "incoming") == []


async def _give_up_receiving(store: Originals) -> None:
    async with store.receive() as incoming:
        await incoming.write(b"x" * 2 * BLOCK_BYTES)
        raise RuntimeError


async def test_body_is_readable_while_it_is_synced(store: Originals) -> None:
    """The render process need not wait for the disk."""
    async with store.receive() as incoming:
        await incoming.write(b"x" * 1000)
        await incoming.finish()
        syncing = asyncio.gather(incoming.sync(), incoming.sync())
        assert incoming.path.read_bytes() == b"x" * 1000
        await syncing


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the incoming bodies that were fsynced."""
    sizes: list[int] = []

    def sync(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)
        sync_descriptor(descriptor)

    monkeypatch.setattr("cache.originals.incoming.sync_descriptor", sync)
    return sizes


async def test_body_that_is_kept_already_is_not_fsynced_again(store: Originals, synced: list[int]) -> None:
    for url in (URL, OTHER):
        await keep(store, url, b"pixel")
    assert synced == [5]
    assert [entry.body_sha256 for url in (URL, OTHER) if (entry := await store.get(url))] == [
        sha256(b"pixel")
    ] * 2


@pytest.mark.parametrize("change", [lambda path: path.write_bytes(b"pixeI"), lambda path: path.unlink()])
async def test_body_that_was_spared_its_fsync_gets_it_before_it_takes_the_place_of_a_lost_one(
    store: Originals, synced: list[int], change: Callable[[Path], None]
) -> None:
    """The kept bytes are found bad, or are gone, only when the new ones are about to be kept."""
    await keep(store, URL, b"pixel")
    async with store.receive() as incoming:
        await incoming.write(b"pixel")
        await incoming.finish()
        await incoming.sync()
        assert synced == [5]
        change(store.body_path(incoming.sha256))
        await store.commit(make_entry(OTHER, sha256=incoming.sha256, size=5), incoming)
    assert synced == [5, 5]
    assert store.body_path(sha256(b"pixel")).read_bytes() == b"pixel"


async def test_late_fsync_that_fails_keeps_nothing_and_is_final(
    store: Originals, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(store, URL, b"pixel")

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    async with store.receive() as incoming:
        await incoming.write(b"pixel")
        await incoming.finish()
        await incoming.sync()
        store.body_path(incoming.sha256).unlink()
        with monkeypatch.context() as patched:
            patched.setattr("cache.originals.incoming.sync_descriptor", fail)
            with pytest.raises(StoreUnwritable):
                await store.commit(make_entry(OTHER, sha256=incoming.sha256, size=5), incoming)
        with pytest.raises(StoreUnwritable):
            await store.commit(make_entry(OTHER, sha256=incoming.sha256, size=5), incoming)
    assert await store.get(OTHER) is None
    assert not bodies(store)


async def test_body_unfinished_has_no_digest(store: Originals) -> None:
    """An incomplete body cannot be kept by mistake, and a finished one accepts no more bytes."""
    async with store.receive() as incoming:
        await incoming.write(b"x")
        with pytest.raises(ValueError, match="finished"):
            _ = incoming.sha256
        await incoming.finish()
        with pytest.raises(ValueError, match="finished"):
            await incoming.write(b"y")
        assert (incoming.sha256, incoming.size) == (sha256(b"x"), 1)


async def test_body_committed_can_still_be_read_by_its_path(store: Originals) -> None:
    """The path follows the file to its final place, or stays if the bytes were there already."""
    for url in (URL, OTHER):
        async with store.receive() as incoming:
            await incoming.write(b"x")
            await incoming.finish()
            await store.commit(make_entry(url, sha256=incoming.sha256, size=1), incoming)
            assert incoming.path.read_bytes() == b"x"


# Room


async def test_original_beyond_the_budget_is_not_kept(tmp_path: Path) -> None:
    """Nothing is deleted to make room, and kept originals can still be revalidated."""
    store = await Originals.open(tmp_path / "store", max_bytes=3000)
    entry = await keep(store, URL, b"x" * 2000)
    assert store.room_for(100)
    assert not store.room_for(1000)
    with pytest.raises(StoreFull):
        await keep(store, OTHER, b"y" * 1000)
    await store.commit(replace(entry, validated_at=NOW + 1), None)
    assert bodies(store) == {b"x" * 2000}
    await store.purge(URL)
    await keep(store, OTHER, b"y" * 1000)
    await store.close()


async def test_budget_is_that_of_all_openers_together(tmp_path: Path) -> None:
    """Two workers add to the same count."""
    one = await Originals.open(tmp_path / "store", max_bytes=3000)
    other = await Originals.open(tmp_path / "store", max_bytes=3000)
    await keep(one, URL, b"x" * 2000)
    with pytest.raises(StoreFull):
        await keep(other, OTHER, b"y" * 1000)
    assert one.kept_bytes() == other.kept_bytes() > 2000
    await one.close()
    await other.close()


async def test_original_is_not_kept_when_the_disk_is_low(tmp_path: Path) -> None:
    """`min_free` stays free, and a changed original does not replace the kept one then."""
    store = await Originals.open(tmp_path / "store")
    await keep(store, URL, b"one")
    store.reconfigure(min_free_bytes=1 << 62, max_bytes=None)
    assert not store.room_for(0)
    for url in (URL, OTHER):
        with pytest.raises(StoreFull):
            await keep(store, url, b"two")
    entry = await store.get(URL)
    assert entry
    assert await store.read_body(entry.body_sha256) == b"one"
    await store.close()


async def test_count_follows_what_is_kept(store: Originals) -> None:
    """The running count equals a full count, whatever happened."""
    await keep(store, URL, b"one")
    await keep(store, OTHER, b"one")
    await keep(store, URL, b"two")
    await store.purge(OTHER)
    running = store.kept()
    stat = await store.stat()
    assert (running.bytes, running.bodies, running.entries) == (stat.bytes, stat.bodies, stat.entries)
    assert store.kept() == running


async def test_count_that_was_lost_is_made_again_in_the_background(store: Originals, tmp_path: Path) -> None:
    """A deleted count does not prevent a start and is correct soon afterwards."""
    await keep(store, URL, b"one")
    counts = (await store.stat()).bytes
    (tmp_path / "store" / "usage").unlink()
    again = await Originals.open(tmp_path / "store")
    assert again._counting
    await again._counting
    assert again.kept_bytes() == counts
    await again.close()


# Purging


async def test_purge_deletes_entry_and_body(store: Originals, tmp_path: Path) -> None:
    """Nothing remains of a source that was the only user of its body, not even in the index."""
    stamp = store.generations.stamp(URL)
    await keep(store, URL, b"one")
    purged = await store.purge(URL)
    assert purged.found
    assert purged.body_deleted
    assert (purged.body_sha256, purged.freed_bytes, purged.bodies) == (sha256(b"one"), 3, (sha256(b"one"),))
    assert await store.get(URL) is None
    assert store.generations.stamp(URL) != stamp
    for name in ("entries", "bodies", "refs", "incoming"):
        assert files_below(tmp_path / "store" / name) == []


async def test_purge_leaves_a_shared_body_to_its_last_entry(store: Originals) -> None:
    """The body is deleted with its last source."""
    for url in (URL, OTHER):
        await keep(store, url, b"one")
    first = await store.purge(URL)
    assert (first.found, first.body_deleted, first.freed_bytes) == (True, False, 0)
    assert bodies(store) == {b"one"}
    assert (await store.purge(OTHER)).body_deleted
    assert bodies(store) == set()


async def test_purge_takes_former_bytes_too(store: Originals) -> None:
    """Former bytes of the source are deleted as well, unless another source has them."""
    for body in (b"one", b"two", b"three"):
        await keep(store, URL, body)
    await keep(store, OTHER, b"two")
    purged = await store.purge(URL)
    assert set(purged.bodies) == {sha256(b"one"), sha256(b"three")}
    assert bodies(store) == {b"two"}


async def test_purge_of_what_is_not_kept_finds_nothing(store: Originals) -> None:
    """This is not an error, and answers in memory become invalid all the same."""
    stamp = store.generations.stamp(URL)
    assert not (await store.purge(URL)).found
    assert store.generations.stamp(URL) != stamp


async def test_purge_preview_says_what_the_purge_does(store: Originals) -> None:
    """The dry run deletes nothing and reports correctly."""
    await keep(store, URL, b"one")
    await keep(store, URL, b"two")
    await keep(store, OTHER, b"two")
    for url in (URL, OTHER, "http://h/none"):
        preview = await store.purge_preview(url)
        assert await store.purge_preview(url) == preview
        assert await store.purge(url) == preview


@pytest.mark.parametrize("loss", ["all", "file", "torn", "foreign", "emptied", "partial"])
async def test_purge_without_the_index_deletes_no_body_that_is_used(
    store: Originals, tmp_path: Path, loss: str
) -> None:
    """If the index is lost in any way, all entries are read."""
    refs = tmp_path / "store" / "refs"
    for number in range(3):
        await keep(store, f"{URL}?{number}", b"one")
        if number == 0 and loss == "partial":
            shutil.rmtree(refs)
    for path in files_below(refs):
        if loss == "file":
            path.unlink()
        elif loss == "torn":
            path.write_bytes(path.read_bytes()[:-30])
        elif loss == "foreign":
            path.write_bytes(b"\xff\x00complete")
        elif loss == "emptied":
            path.write_bytes(b"")
    if loss == "all":
        shutil.rmtree(refs)
    for number in (1, 2):
        assert not (await store.purge(f"{URL}?{number}")).body_deleted
        assert bodies(store) == {b"one"}
    assert (await store.purge(f"{URL}?0")).body_deleted


async def test_purge_ignores_users_that_are_gone(store: Originals, tmp_path: Path) -> None:
    """An outdated index after a power loss names too many users, which is harmless."""
    await keep(store, URL, b"one")
    await keep(store, OTHER, b"one")
    old = {path: path.read_bytes() for path in files_below(tmp_path / "store" / "refs")}
    await store.purge(URL)
    for path, text in old.items():
        path.write_bytes(text)
    assert (await store.purge(OTHER)).body_deleted


async def test_purge_of_a_damaged_entry_deletes_what_it_names(store: Originals, tmp_path: Path) -> None:
    """An unreadable entry can still be removed, including its body."""
    await keep(store, URL, b"one")
    path = files_below(tmp_path / "store" / "entries")[0]
    path.write_bytes(path.read_bytes()[:-5])
    assert await store.get(URL) is None
    assert (await store.purge(URL)).found
    assert bodies(store) == set()
    assert not path.exists()


# Blocking


async def test_blocked_source_is_never_kept_again(store: Originals, tmp_path: Path) -> None:
    """The block is durable and holds in every process until it is lifted."""
    await store.block(URL, "asked for by its author")
    assert await store.is_blocked(URL)
    assert not await store.is_blocked(OTHER)
    with pytest.raises(SourceBlocked):
        await keep(store, URL, b"x")
    again = await Originals.open(tmp_path / "store")
    assert await again.is_blocked(URL)
    await again.close()
    assert await store.unblock(URL)
    assert not await store.unblock(URL)
    await keep(store, URL, b"x")


async def test_block_makes_memory_forget(store: Originals) -> None:
    """A blocked source is not answered from memory any more."""
    stamp = store.generations.stamp(URL)
    await store.block(URL, "")
    assert store.generations.stamp(URL) != stamp


# Looking after


async def test_entries_are_all_listed(store: Originals) -> None:
    """Every readable entry is listed once, and a damaged one is skipped."""
    kept = [await keep(store, f"{URL}?{number}", b"x") for number in range(20)]
    store._layout.entry(kept[0].key).write_bytes(b"{")
    found = [entry async for entry in store.entries()]
    assert {entry.source for entry in found} == {entry.source for entry in kept[1:]}
    assert [entry.key for entry in found] == sorted(entry.key for entry in found)


@pytest.mark.parametrize("text", [b"", b"{", b"\0" * 100, b"[]", b"{}"])
async def test_damaged_entry_is_absent_and_heals(
    store: Originals, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The damage is logged, the body is fetched again, and then it is intact."""
    entry = await keep(store, URL, b"x")
    store._layout.entry(entry.key).write_bytes(text)
    with caplog.at_level(logging.WARNING):
        assert await store.get(URL) is None
    assert "cannot be read" in caplog.text
    await keep(store, URL, b"x")
    assert await store.get(URL) == entry


async def test_damage_of_an_entry_is_logged_once_for_each_state_of_its_file(
    store: Originals, caplog: pytest.LogCaptureFixture
) -> None:
    """A request reads an entry several times, and a page of the blog requests it again and again."""
    path = store._layout.entry((await keep(store, URL, b"x")).key)
    for warnings, text in enumerate((b"{", b"[1]"), start=1):
        path.write_bytes(text)
        for _ in range(3):
            assert await store.get(URL) is None
            assert await store.salvage(URL) is None
        assert len(caplog.messages) == warnings


async def test_entry_of_another_source_is_not_taken(store: Originals) -> None:
    """A file copied to another name does not answer for that name."""
    entry = await keep(store, URL, b"x")
    target = store._layout.entry(make_entry(OTHER).key)
    target.parent.mkdir(exist_ok=True)
    shutil.copy(store._layout.entry(entry.key), target)
    assert await store.get(OTHER) is None
    assert [finding.kind for finding in (await store.verify()).wrong] == ["misnamed"]


def _missing(store: Originals, entry: Entry) -> None:
    store.body_path(entry.body_sha256).unlink()


def _altered(store: Originals, entry: Entry) -> None:
    store.body_path(entry.body_sha256).write_bytes(b"0ne")


def _cut(store: Originals, entry: Entry) -> None:
    store.body_path(entry.body_sha256).write_bytes(b"o")


def _unreadable(store: Originals, entry: Entry) -> None:
    store._layout.entry(entry.key).write_bytes(b"{")


def _renamed(store: Originals, entry: Entry) -> None:
    path = store.body_path(entry.body_sha256)
    shutil.copy(path, path.with_name("copy of it"))


@pytest.mark.parametrize(
    ("damage", "kinds"),
    [
        (_missing, {"body_missing"}),
        (_altered, {"body_damaged"}),
        (_cut, {"body_damaged", "body_size"}),
        (_unreadable, {"entry_unreadable"}),
        (_renamed, {"misnamed"}),
    ],
)
async def test_verify_names_what_is_wrong(
    store: Originals, damage: Callable[[Originals, Entry], None], kinds: set[str]
) -> None:
    """Each kind of damage has its own word, and the rest of the store is not reported."""
    await keep(store, OTHER, b"two")
    entry = await keep(store, URL, b"one")
    assert (await store.verify()).wrong == []
    damage(store, entry)
    assert {finding.kind for finding in (await store.verify()).wrong} == kinds


async def test_verify_only_notes_what_a_crash_leaves(store: Originals, tmp_path: Path) -> None:
    """A body without an entry and a temporary file break no promise."""
    folder = tmp_path / "store"
    await keep(store, URL, b"one")
    files_below(folder / "entries")[0].unlink()
    (folder / "incoming" / "1-0123456789abcdef.part").write_bytes(b"half")
    (folder / "notes.txt").touch()
    report = await store.verify()
    assert report.wrong == []
    assert sorted(finding.kind for finding in report.notes) == ["foreign", "orphan", "temporary"]
    assert (report.bodies, report.entries, report.body_bytes) == (1, 0, 3)


async def test_verify_and_stat_tell_how_far_they_are(store: Originals) -> None:
    """Progress grows to its end."""
    await keep(store, URL, b"one")
    steps: list[tuple[int, int]] = []
    await store.verify(lambda done, total: steps.append((done, total)))
    await store.stat(lambda done, total: steps.append((done, total)))
    assert all(done <= total for done, total in steps)
    assert [step for step in steps if step[0] == step[1]] == [(3, 3), steps[-1]]


async def test_store_says_whether_it_can_be_used(store: Originals, tmp_path: Path) -> None:
    """Quick checks for health never raise."""
    assert store.readable()
    assert store.writable()
    assert store.free_bytes() > 0
    shutil.rmtree(tmp_path / "store")
    assert not store.readable()
    assert store.free_bytes() == 0
    (tmp_path / "store").touch()
    assert not store.writable()
    (tmp_path / "store").unlink()


async def test_folders_deleted_while_open_are_made_again(store: Originals, tmp_path: Path) -> None:
    """Everything that may be deleted at any time may be deleted now."""
    await keep(store, URL, b"one")
    for name in ("incoming", "refs"):
        shutil.rmtree(tmp_path / "store" / name)
    for name in ("usage", "locks", "generations"):
        (tmp_path / "store" / name).unlink()
    await keep(store, OTHER, b"one")
    assert not (await store.purge(URL)).body_deleted
    assert (await store.verify()).wrong == []


async def test_store_in_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    """Opening never takes over a folder that belongs to something else."""
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(StoreRefused):
        await Originals.open(tmp_path)


async def test_leftovers_are_listed_before_they_are_removed(store: Originals, tmp_path: Path) -> None:
    """The dry run names what the sweep would remove."""
    left = tmp_path / "store" / "incoming" / "1-0123456789abcdef.part"
    left.touch()
    assert await store.remove_leftovers(dry_run=True) == [left]
    assert left.exists()
    assert await store.remove_leftovers() == [left]
    assert not left.exists()


def test_not_kept_is_one_family() -> None:
    """Services catch one class for "answer it, but say that it is not kept"."""
    assert all(issubclass(kind, NotKept) for kind in (StoreFull, SourceBlocked, Superseded))
