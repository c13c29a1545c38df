"""Bodies that many sources share: the cost of one more source, and what a purge knows about the other sources."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from keeping import files_below, keep, make_entry

from cache.across.file_blobs import FileBlobs
from cache.across.seams import Blob
from cache.base import opening
from cache.base.durable import Durable
from cache.base.keys import source_key
from cache.base.layout import Layout
from cache.durable_tier import Originals
from cache.originals import refs
from proxy.services.troubles.replacing import Replacing

PIXEL = b"a pixel"
DIGEST = hashlib.sha256(PIXEL).hexdigest()
MANY = 2500


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Originals]:
    opened = await Originals.open(tmp_path / "store")
    yield opened
    await opened.close()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "store")


@pytest.fixture
def short_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are split at three keys, so a few sources make parts of parts."""
    monkeypatch.setattr(refs, "MAX_KEYS", 2)


def address(number: int) -> str:
    return f"http://h/{number}.png"


def listed(layout: Layout) -> refs.Refs:
    return refs.Refs(layout, Durable(layout.incoming))


class Traffic:
    """The bytes of lists of users that are read, and written into the store."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = self.written = self.files_written = 0
        read_regular, written_aside = opening.read_regular, Durable._written_aside

        def counted_read(path: Path) -> bytes:
            data = read_regular(path)
            self.read += len(data)
            return data

        def counted_write(durable: Durable, data: bytes) -> AbstractContextManager[tuple[int, Path]]:
            self.written += len(data)
            self.files_written += 1
            return written_aside(durable, data)

        monkeypatch.setattr(refs, "read_regular", counted_read)
        monkeypatch.setattr(Durable, "_written_aside", counted_write)


async def test_commit_of_bytes_with_many_users_costs_what_it_costs_with_few(
    store: Originals, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of 2,500 users is neither read nor written completely, and their entries are not read."""
    await keep(store, address(0), PIXEL)
    index = listed(layout)
    index.replace(DIGEST, (source_key(address(number)) for number in range(MANY - 1)), complete=True)
    await keep(store, address(MANY - 1), PIXEL)
    traffic = Traffic(monkeypatch)
    most = 0
    for number in range(MANY, MANY + 20):
        before = traffic.read + traffic.written
        await keep(store, address(number), PIXEL)
        most = max(most, traffic.read + traffic.written - before)
    # Read a file for each digit, write one anew, and the entry.
    assert most < 3 * 65 * refs.MAX_KEYS
    assert traffic.files_written == 2 * 20
    assert len(list(index.keys(DIGEST))) == MANY + 20
    assert index.is_complete(DIGEST)


async def test_commit_of_bytes_with_many_users_reads_no_entry_of_another_user(
    store: Originals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the judgement of a placeholder nor the commit reads the entries of other users."""
    read: list[str] = []
    read_blob = FileBlobs.read

    def counted(blobs: FileBlobs, name: str, max_bytes: int = -1) -> Blob:
        read.append(name)
        return read_blob(blobs, name, max_bytes)

    monkeypatch.setattr(FileBlobs, "read", counted)
    replacing = Replacing(store, now=lambda: 0.0)
    for number in range(100):
        assert not await replacing.is_known_placeholder(DIGEST, address(number))
        await keep(store, address(number), PIXEL)
    assert read == []


@pytest.mark.parametrize("head", ["complete", "partial"])
async def test_list_of_an_earlier_version_is_looked_at_once_for_those_who_set_the_body_aside(
    store: Originals, layout: Layout, head: str
) -> None:
    """The list does not record them. A known placeholder stays known, and other bytes are recorded as ordinary."""
    for number in range(3):
        await keep(store, address(number), b"picture %d" % number)
        await set_aside(store, address(number), PIXEL)
    for sha256 in (DIGEST, hashlib.sha256(b"picture 1").hexdigest()):
        path = layout.ref(sha256)
        first, rest = path.read_text().split("\n", 1)
        assert first.endswith(" complete")
        path.write_text(f"{head}\n{rest}")
        assert listed(layout).aside(sha256) is None
    replacing = Replacing(store, now=lambda: 0.0)
    assert await replacing.is_known_placeholder(DIGEST, address(7))
    await keep(store, address(8), PIXEL)
    await keep(store, address(9), b"picture 1")
    assert listed(layout).aside(DIGEST) is True
    assert listed(layout).aside(hashlib.sha256(b"picture 1").hexdigest()) is False
    assert await replacing.is_known_placeholder(DIGEST, address(7))


async def test_bytes_that_are_set_aside_by_a_promotion_are_noted_before_the_entry_says_so(
    store: Originals, layout: Layout
) -> None:
    """Bytes that replaced a picture are known as a placeholder once the picture is restored."""
    await keep(store, address(0), b"picture")
    for number in range(3):
        await keep(store, address(number), PIXEL)
    assert listed(layout).aside(DIGEST) is False
    assert await store.history.promote(address(0), hashlib.sha256(b"picture").hexdigest(), note="placeholder")
    assert listed(layout).aside(DIGEST) is True
    assert await Replacing(store, now=lambda: 0.0).is_known_placeholder(DIGEST, address(5))


async def set_aside(store: Originals, url: str, body: bytes) -> None:
    """Keep a body as a placeholder that came from a source."""
    async with store.receive() as incoming:
        await incoming.write(body)
        await incoming.finish()
        other = make_entry(url, sha256=incoming.sha256, size=incoming.size).as_former(note="placeholder")
        await store.history.set_aside(url, other, incoming, stamp=store.generations.stamp(url))


async def test_body_that_was_compared_once_is_not_read_for_each_commit(
    store: Originals, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body's inode, size and time have not changed since its digest was compared."""
    await keep(store, address(0), PIXEL)
    await keep(store, address(1), PIXEL)
    compared: list[object] = []
    digest = hashlib.file_digest

    def counted(reader: object, name: str) -> object:
        compared.append(reader)
        return digest(reader, name)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr("cache.originals.bodies.hashlib.file_digest", counted)
    await keep(store, address(2), PIXEL)
    assert not compared
    layout.body(DIGEST).write_bytes(b"A pixel")
    await keep(store, address(3), PIXEL)
    assert len(compared) == 1
    assert layout.body(DIGEST).read_bytes() == PIXEL


async def test_source_that_is_kept_again_is_listed_once(
    store: Originals, layout: Layout, short_lists: None
) -> None:
    """An origin that never answers 304 makes no list grow."""
    for _ in range(3):
        for number in range(12):
            await keep(store, address(number), PIXEL)
    assert list(listed(layout).keys(DIGEST)) == sorted(source_key(address(number)) for number in range(12))


@pytest.mark.parametrize("order", ["as kept", "by key", "backwards"])
async def test_shared_body_of_a_split_list_goes_with_its_last_entry(
    store: Originals, layout: Layout, short_lists: None, order: str
) -> None:
    """The sources may be purged in any order. The list is deleted with the body, and its parts with the list."""
    urls = [address(number) for number in range(20)]
    for url in urls:
        await keep(store, url, PIXEL)
    assert layout.ref_parts(DIGEST).is_dir()
    if order != "as kept":
        urls.sort(key=source_key, reverse=order == "backwards")
    for url in urls[:-1]:
        assert await store.purge_preview(url) == await store.purge(url)
        assert layout.body(DIGEST).exists()
    assert (await store.purge(urls[-1])).body_deleted
    assert files_below(layout.root / "refs") == []
    assert not layout.ref_parts(DIGEST).exists()


async def test_preview_of_a_split_list_frees_the_body_with_the_last_source(
    store: Originals, short_lists: None
) -> None:
    """A shared memory for several previews shows what they would do one after the other."""
    gone: dict[str, set[str]] = {}
    urls = [address(number) for number in range(9)]
    for url in urls:
        await keep(store, url, PIXEL)
    freed = [(await store.purge_preview(url, gone)).freed_bytes for url in urls]
    assert freed == [0] * 8 + [len(PIXEL)]


@pytest.mark.parametrize("loss", ["missing", "torn", "emptied", "foreign", "folder"])
async def test_split_list_that_lost_a_part_deletes_no_body_that_is_used(
    store: Originals, layout: Layout, short_lists: None, loss: str
) -> None:
    """A split list has all its parts, so a lost one is noticed, and all entries are read."""
    urls = sorted((address(number) for number in range(12)), key=source_key)
    for url in urls:
        await keep(store, url, PIXEL)
    parts = [
        path for path in files_below(layout.ref_parts(DIGEST)) if source_key(urls[5]) in path.read_text()
    ]
    for path in parts:
        if loss == "missing":
            path.unlink()
        else:
            path.write_bytes({"torn": path.read_bytes()[:-30], "foreign": b"\xff\0"}.get(loss, b""))
    if loss == "folder":
        shutil.rmtree(layout.ref_parts(DIGEST))
    for url in [*urls[:5], *urls[6:]]:
        assert not (await store.purge(url)).body_deleted
    assert layout.body(DIGEST).read_bytes() == PIXEL
    assert (await store.purge(urls[5])).body_deleted


@pytest.mark.parametrize("fault", ["damaged", "cut", "lost"])
async def test_body_that_is_fetched_again_without_its_list_stays_for_its_other_users(
    store: Originals, layout: Layout, fault: str
) -> None:
    """The list may be deleted at any time, so a body that replaces a damaged one may have users that no list names."""
    for number in range(2):
        await keep(store, address(number), PIXEL)
    path = layout.body(DIGEST)
    if fault == "lost":
        path.unlink()
    else:
        path.write_bytes(b"" if fault == "cut" else b"y" * len(PIXEL))
    shutil.rmtree(layout.root / "refs")
    await keep(store, address(0), PIXEL)
    assert not (await store.purge(address(0))).body_deleted
    assert path.read_bytes() == PIXEL
    assert (await store.purge(address(1))).body_deleted


@pytest.mark.parametrize("listed", ["listed", "not listed"])
@pytest.mark.parametrize("obstacle", ["pipe", "symbolic link"])
async def test_body_stays_while_an_entry_that_may_name_it_cannot_be_read(
    store: Originals, layout: Layout, obstacle: str, listed: str
) -> None:
    """A body is never deleted on a guess. It is deleted once its last entry can be read and is purged."""
    for number in range(2):
        await keep(store, address(number), PIXEL)
    path = layout.entry(source_key(address(1)))
    text = path.read_bytes()
    path.unlink()
    if obstacle == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path.with_suffix(".elsewhere"))
    if listed == "not listed":
        layout.ref(DIGEST).unlink()
    assert not (await store.purge(address(0))).body_deleted
    assert layout.body(DIGEST).read_bytes() == PIXEL
    path.unlink()
    path.write_bytes(text)
    assert (await store.purge(address(1))).body_deleted


async def test_commit_beside_a_lost_part_begins_a_partial_list(
    store: Originals, layout: Layout, short_lists: None
) -> None:
    """The list records that it no longer knows the other users, so a purge reads all entries."""
    for number in range(12):
        await keep(store, address(number), PIXEL)
    shutil.rmtree(layout.ref_parts(DIGEST))
    await keep(store, address(12), PIXEL)
    assert not listed(layout).is_complete(DIGEST)
    assert not (await store.purge(address(12))).body_deleted
    assert listed(layout).is_complete(DIGEST)
    assert len(list(listed(layout).keys(DIGEST))) == 12


async def test_long_list_of_an_earlier_version_is_used_and_split(store: Originals, layout: Layout) -> None:
    """All its users are known before and after the next one arrives, and opening the store does not change it."""
    await keep(store, address(0), PIXEL)
    keys = sorted(source_key(address(number)) for number in range(MANY))
    text = "\n".join(["complete", *keys, f"end {MANY}", ""])
    layout.ref(DIGEST).write_text(text)
    again = await Originals.open(layout.root)
    assert layout.ref(DIGEST).read_text() == text
    index = listed(layout)
    assert list(index.keys(DIGEST)) == keys
    await keep(again, address(MANY), PIXEL)
    assert layout.ref(DIGEST).stat().st_size < 100
    assert list(index.keys(DIGEST)) == sorted([*keys, source_key(address(MANY))])
    assert index.is_complete(DIGEST)
    assert not (await again.purge(address(0))).body_deleted
    assert (await again.purge(address(MANY))).body_deleted
    await again.close()


async def test_parts_that_an_earlier_list_left_are_never_read(
    store: Originals, layout: Layout, short_lists: None, tmp_path: Path
) -> None:
    """Deleting parts is not durable, so they may reappear behind a new list of the same body."""
    for number in range(12):
        await keep(store, address(number), PIXEL)
    shutil.copytree(layout.ref_parts(DIGEST), tmp_path / "old")
    for number in range(12):
        await store.purge(address(number))
    shutil.copytree(tmp_path / "old", layout.ref_parts(DIGEST))
    for number in range(20, 40):
        await keep(store, address(number), PIXEL)
        keys = sorted(source_key(address(later)) for later in range(20, number + 1))
        assert list(listed(layout).keys(DIGEST)) == keys
    for number in range(20, 39):
        assert not (await store.purge(address(number))).body_deleted


async def test_users_of_a_body_are_found_without_reading_all_of_them(
    store: Originals, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judging a placeholder reads a bounded number of entries."""
    await keep(store, address(0), PIXEL)
    gone = (source_key(f"http://gone/{number}") for number in range(MANY))
    listed(layout).replace(DIGEST, gone, complete=False)
    await keep(store, address(1), PIXEL)
    traffic = Traffic(monkeypatch)
    await store.history.users_of(DIGEST, most=3)
    assert traffic.read < 2 * 65 * refs.MAX_KEYS
    assert store.history.is_shared(DIGEST)
