"""History: older versions beside the current bytes, tested on the store alone, with crashes and other processes."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from keeping import NOW, files_below, keep, make_entry

from cache.base.entry import Entry, Former
from cache.base.errors import StoreFull, StoreUnwritable, Superseded
from cache.durable_tier import Originals
from cache.originals.keeper import Gone
from cache.variants.bounded_tier import Variants
from proxy.dialects import Unwrapper
from proxy.services.upkeep.purging import PurgeWish, Purging

URL = "http://h/a.png"
DAY = 86400.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Originals]:
    opened = await Originals.open(tmp_path / "store")
    yield opened
    await opened.close()


async def set_aside(store: Originals, body: bytes, *, note: str = "another_size", url: str = URL) -> str:
    async with store.receive() as incoming:
        await incoming.write(body)
        await incoming.finish()
        former = Former(incoming.sha256, incoming.size, "image/png", NOW, note=note)
        await store.history.set_aside(url, former, incoming, stamp=store.generations.stamp(url))
        return incoming.sha256


def bodies(tmp_path: Path) -> list[str]:
    return [path.name for path in files_below(tmp_path / "store" / "bodies")]


async def kept(store: Originals) -> Entry:
    entry = await store.get(URL)
    assert entry is not None
    return entry


async def test_bytes_set_aside_are_kept_and_the_present_ones_stay(store: Originals, tmp_path: Path) -> None:
    good = await keep(store, URL, b"good")
    stamp = store.generations.stamp(URL)
    aside = await set_aside(store, b"forbidden")
    entry = await kept(store)
    assert entry.body_sha256 == good.body_sha256
    assert [(item.body_sha256, item.note) for item in entry.history] == [(aside, "another_size")]
    assert store.generations.stamp(URL) == stamp
    assert sorted(bodies(tmp_path)) == sorted([good.body_sha256, aside])
    report = await store.verify()
    assert (report.wrong, report.notes) == ([], [])
    assert (await store.stat()).set_aside == 1
    assert store.kept().bodies == 2


async def test_bytes_of_a_purged_source_are_not_set_aside(store: Originals, tmp_path: Path) -> None:
    await keep(store, URL, b"good")
    async with store.receive() as incoming:
        await incoming.write(b"forbidden")
        await incoming.finish()
        stamp = store.generations.stamp(URL)
        await store.purge(URL)
        former = Former(incoming.sha256, incoming.size, "image/png", NOW)
        with pytest.raises(Superseded):
            await store.history.set_aside(URL, former, incoming, stamp=stamp)
    assert files_below(tmp_path / "store" / "bodies") == []
    assert files_below(tmp_path / "store" / "incoming") == []


async def test_bytes_are_not_set_aside_when_there_is_no_room(tmp_path: Path) -> None:
    store = await Originals.open(tmp_path / "store", max_bytes=10_000)
    await keep(store, URL, b"good")
    with pytest.raises(StoreFull):
        await set_aside(store, b"x" * 20_000)
    assert (await kept(store)).history == ()
    await store.close()


async def test_promoted_bytes_are_the_present_ones_in_every_process(store: Originals, tmp_path: Path) -> None:
    good = await keep(store, URL, b"good")
    aside = await set_aside(store, b"other")
    other = await Originals.open(tmp_path / "store")
    stamp = other.generations.stamp(URL)
    promoted = await store.history.promote(URL, aside)
    assert promoted is not None
    assert promoted.body_sha256 == aside
    assert [(item.body_sha256, item.note) for item in promoted.history] == [(good.body_sha256, "")]
    assert other.generations.stamp(URL) != stamp
    assert await other.get(URL) == promoted
    await other.close()


async def test_version_of_an_entry_that_changes_meanwhile_is_not_promoted(
    store: Originals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller learns that another change came first, as with a commit."""
    good = await keep(store, URL, b"good")
    aside = await set_aside(store, b"other")
    promoting = Entry.promoting
    (path,) = (tmp_path / "store" / "entries").glob("*/*.json")

    def overtaken(entry: Entry, sha256: str, *, note: str = "") -> Entry:
        os.utime(path, ns=(1, 1))
        return promoting(entry, sha256, note=note)

    monkeypatch.setattr(Entry, "promoting", overtaken)
    with pytest.raises(Superseded):
        await store.history.promote(URL, aside)
    assert (await kept(store)).body_sha256 == good.body_sha256


async def test_version_without_its_body_is_not_promoted(store: Originals) -> None:
    good = await keep(store, URL, b"good")
    aside = await set_aside(store, b"other")
    store.body_path(aside).unlink()
    assert await store.history.promote(URL, aside) is None
    assert await store.history.promote(URL, "0" * 64) is None
    assert (await kept(store)).body_sha256 == good.body_sha256


async def test_purge_of_history_keeps_bodies_that_others_name(store: Originals, tmp_path: Path) -> None:
    old = await keep(store, URL, b"old")
    shared = await keep(store, URL, b"shared")
    await keep(store, "http://h/b.png", b"shared")
    present = await keep(store, URL, b"present")
    purged = await store.history.purge(
        URL, lambda entry: frozenset(entry.digests)
    )  # the current version is never purged
    assert sorted(purged.versions) == sorted([old.body_sha256, shared.body_sha256])
    assert purged.bodies == (old.body_sha256,)
    assert purged.freed_bytes == 3
    assert sorted(bodies(tmp_path)) == sorted([shared.body_sha256, present.body_sha256])
    assert (await store.verify()).wrong == []
    before = store.kept()
    await store.stat()
    assert store.kept() == before


async def test_history_leaves_the_entry_before_its_bodies_go(
    store: Originals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash in between leaves a body that no entry names, never an entry without its body."""
    await keep(store, URL, b"old")
    await keep(store, URL, b"new")

    def refuse(_path: Path, missing_ok: bool = False) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        with pytest.raises(StoreUnwritable):
            await store.history.purge(URL, lambda entry: frozenset(entry.digests))
    assert (await kept(store)).history == ()
    report = await store.verify()
    assert report.wrong == []
    assert {finding.kind for finding in report.notes} >= {"orphan"}


async def test_orphans_go_on_request_and_nothing_else(store: Originals, tmp_path: Path) -> None:
    await keep(store, URL, b"old")
    await keep(store, URL, b"new")
    damaged = await keep(store, "http://h/damaged.png", b"damaged")
    path = tmp_path / "store" / "entries" / damaged.key[:2] / f"{damaged.key}.json"
    path.write_bytes(path.read_bytes()[:-40])
    await keep(store, "http://h/crashed.png", b"orphan")
    (crashed,) = [
        path for path in files_below(tmp_path / "store" / "entries") if b"crashed" in path.read_bytes()
    ]
    crashed.unlink()
    assert (await store.stat()).orphan_bytes == len(b"orphan")
    assert await store.purge_orphans(dry_run=True) == (1, len(b"orphan"))
    assert len(bodies(tmp_path)) == 4
    assert await store.purge_orphans() == (1, len(b"orphan"))
    assert damaged.body_sha256 in bodies(tmp_path)
    assert len(bodies(tmp_path)) == 3


async def test_body_that_found_a_name_meanwhile_is_no_orphan(
    store: Originals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(store, URL, b"bytes")
    path = files_below(tmp_path / "store" / "entries")[0]
    path.unlink()
    counted = store._counted

    async def counted_late(*arguments: Any) -> object:
        census = await counted(*arguments)
        await keep(store, "http://h/late.png", b"bytes")
        return census

    monkeypatch.setattr(store, "_counted", counted_late)
    assert await store.purge_orphans() == (0, 0)
    assert (await store.verify()).wrong == []


def test_entry_of_the_first_format_is_read() -> None:
    """History items had four members at first. Members added later have defaults."""
    entry = make_entry(URL)
    old = json.loads(entry.to_json())
    old["history"] = [
        {"body_sha256": "1" * 64, "body_size": 3, "media_type": "image/png", "fetched_at": NOW - 5}
    ]
    read = Entry.from_json(json.dumps(old).encode())
    assert read.history == (Former("1" * 64, 3, "image/png", NOW - 5),)
    assert Entry.from_json(read.to_json()) == read


async def purging(store: Originals, tmp_path: Path, now: float) -> tuple[Purging, Variants]:
    variants = await Variants.open(tmp_path / "variants", max_bytes=1 << 20)
    return Purging(
        store, variants, store.articles, unwrapper=Unwrapper((), own=()), now=lambda: now
    ), variants


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ({"keep": 0}, [""]),
        ({"keep": 1}, ["c", ""]),
        ({"keep": 9}, ["c", "b", "a", ""]),
        # `c` came on day 2 and was displaced on day 3; it is day 10.
        ({"older_than_seconds": 7 * DAY}, [""]),
        ({"older_than_seconds": 7.5 * DAY}, ["c", ""]),
        ({"older_than_seconds": 9.5 * DAY}, ["c", "b", "a", ""]),
        ({"older_than_seconds": 0.0, "keep": 2}, ["c", "b", ""]),
        ({"before": NOW + 0.5 * DAY}, ["c", "b", ""]),
        ({"since": NOW + 0.5 * DAY}, ["a", ""]),
    ],
)
async def test_history_is_purged_by_age_count_and_date(
    store: Originals, tmp_path: Path, wanted: dict[str, Any], left: list[str]
) -> None:
    """Versions a, b, c were fetched on days 0, 1, 2, and the current one on day 3. Age counts from the displacement."""
    names = {}
    for day, body in enumerate((b"a", b"b", b"c", b"present")):
        async with store.receive() as incoming:
            await incoming.write(body)
            await incoming.finish()
            entry = make_entry(URL, sha256=incoming.sha256, size=incoming.size)
            names[incoming.sha256] = body.decode()
            await store.commit(dataclasses.replace(entry, fetched_at=NOW + day * DAY), incoming)
    purger, variants = await purging(store, tmp_path, NOW + 10 * DAY)
    await purger.purge(PurgeWish(history=True, **wanted))
    entry = await kept(store)
    assert [*(names[item.body_sha256] for item in entry.history), ""] == left
    assert len(bodies(tmp_path)) == len(left)
    await variants.close()


async def test_dry_run_over_histories_that_share_bytes_counts_them_with_the_last(store: Originals) -> None:
    for url in (URL, "http://h/b.png"):
        await keep(store, url, b"old and shared")
        await keep(store, url, url.encode())

    def everything(entry: Entry) -> frozenset[str]:
        return frozenset(entry.digests)

    gone: Gone = {}
    urls = (URL, "http://h/b.png")
    dry = [await store.history.purge(url, everything, would_go=gone) for url in urls]
    assert [await store.history.purge(url, everything) for url in urls] == dry
    assert [item.freed_bytes for item in dry] == [0, len(b"old and shared")]


async def require_counted(store: Originals) -> None:
    """Assert that the running count, which enforces the budget, equals a count of all files."""
    running, found = store.kept(), await store.stat()
    assert (running.bytes, running.bodies, running.entries) == (found.bytes, found.bodies, found.entries)


async def test_count_follows_every_change_of_a_history(store: Originals, tmp_path: Path) -> None:
    """Versions are added, replace damaged ones, become current and are purged; in the end the source is purged."""
    present = await keep(store, URL, b"good")
    aside = await set_aside(store, b"forbidden")
    await require_counted(store)
    await store.history.promote(URL, aside)
    await require_counted(store)
    store.body_path(aside).write_bytes(b"cut")
    other = await Originals.open(tmp_path / "store")
    before = other.kept().bytes
    again = await keep(other, "http://h/b.png", b"forbidden")
    # The count still had the body in its full length; a short file that is replaced adds what it lacked.
    assert other.kept().bytes - before == len(again.to_json()) + len(b"forbidden") - len(b"cut")
    await other.stat()
    await require_counted(other)
    await other.history.purge(URL, lambda entry: frozenset({present.body_sha256}))
    await require_counted(other)
    await other.purge(URL)
    await other.purge("http://h/b.png")
    await require_counted(other)
    assert (other.kept().bytes, other.kept().bodies, other.kept().entries) == (0, 0, 0)
    await other.close()


COPY = {"from": "http://archive/", "url": "http://archive/a.png"}


async def recover(store: Originals, body: bytes) -> Entry:
    """Keep bytes from an archive, as the service does when a source seems dead."""
    async with store.receive() as incoming:
        await incoming.write(body)
        await incoming.finish()
        entry = make_entry(URL, sha256=incoming.sha256, size=incoming.size)
        await store.commit(dataclasses.replace(entry, recovered=COPY), incoming)
    return await kept(store)


async def test_copy_of_an_archive_does_not_replace_what_the_source_gave_meanwhile(
    store: Originals, tmp_path: Path
) -> None:
    """A kept original wins: while the archive was asked, the source may have answered after all."""
    own = await keep(store, URL, b"own")
    with pytest.raises(Superseded):
        await recover(store, b"copy")
    assert await kept(store) == own
    assert bodies(tmp_path) == [own.body_sha256]


@pytest.mark.parametrize("damage", [b"", b"oth"])
async def test_copy_of_an_archive_replaces_bytes_that_are_lost(store: Originals, damage: bytes) -> None:
    """A damaged original counts as missing, but its address and history stay."""
    own = await keep(store, URL, b"own")
    store.body_path(own.body_sha256).write_bytes(damage)
    entry = await recover(store, b"copy")
    assert entry.recovered == COPY
    assert await store.read_body(entry.body_sha256) == b"copy"
    assert [item.body_sha256 for item in entry.history] == [own.body_sha256]


async def test_archive_that_gives_the_lost_bytes_heals_the_original(store: Originals) -> None:
    """The bytes are the source's own, so its headers still apply to them, validators included."""
    async with store.receive() as incoming:
        await incoming.write(b"own")
        await incoming.finish()
        own = make_entry(URL, sha256=incoming.sha256, size=3, headers={"etag": '"own"'})
        await store.commit(own, incoming)
    store.body_path(own.body_sha256).write_bytes(b"")
    assert await recover(store, b"own") == own
    assert await store.read_body(own.body_sha256) == b"own"


async def test_copy_of_an_archive_is_kept_for_a_source_that_gave_nothing(store: Originals) -> None:
    entry = await recover(store, b"copy")
    assert (entry.recovered, entry.history) == (COPY, ())


async def test_present_bytes_are_not_set_aside(store: Originals) -> None:
    """The same bytes may arrive again. An entry that named them twice would lose both when one name is removed."""
    good = await keep(store, URL, b"good")
    with pytest.raises(Superseded):
        await set_aside(store, b"good")
    assert await kept(store) == good
