"""Purges and the failures of the catalogue: it forgets what the failure memory forgets, whoever writes it, whenever."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from keeping import NOW, finished, keep, run_program

from cache.catalogue import lists, questions
from cache.catalogue.questions import PictureQuestion
from cache.durable_tier import Originals
from cache.variants.bounded_tier import Variants
from proxy.config import FetchConfig
from proxy.dialects import Unwrapper
from proxy.errors import SourceNotFound
from proxy.services.troubles.negatives import Negatives
from proxy.services.upkeep.purging import PurgeWish, Purging
from proxy.source import Source

A, B, C = "http://a.example/a.png", "http://a.example/b.png", "http://b.example/c.png"
ORIGIN = "http://a.example"


@pytest.fixture
async def purging(store: Originals, tmp_path: Path) -> AsyncIterator[Purging]:
    variants = await Variants.open(tmp_path / "variants", max_bytes=1 << 20)
    yield Purging(store, variants, store.articles, unwrapper=Unwrapper((), own=()), now=lambda: NOW + 60)
    await variants.close()


async def reasons(store: Originals) -> dict[str, str]:
    """Return the missing pictures of all articles, with the kinds of their failures."""
    await store.catalogue.flush()
    page = await store.catalogue.ask(lists.missing)
    return {row.source: row.reason for row in page.rows}


@pytest.mark.parametrize(
    ("wish", "forgotten"),
    [
        (PurgeWish(source=A), {A}),
        (PurgeWish(source=A, dry_run=True), set()),
        (PurgeWish(source=A, since=NOW), set()),
        (PurgeWish(origin=ORIGIN), {A, B}),
        (PurgeWish(origin=ORIGIN, dry_run=True), set()),
        (PurgeWish(article="post.md"), {A}),
        (PurgeWish(since=NOW + 20), {C}),
        (PurgeWish(before=NOW + 20), {A, B}),
        (PurgeWish(since=NOW + 5, before=NOW + 20), {B}),
        (PurgeWish(since=NOW + 5, before=NOW + 20, dry_run=True), set()),
    ],
)
async def test_purge_forgets_failures_in_the_catalogue_as_in_the_failure_memory(
    store: Originals, purging: Purging, wish: PurgeWish, forgotten: set[str]
) -> None:
    await store.articles.record("post.md", [A, B])
    await store.articles.record("other.md", [B, C])
    stamp_of, now = store.generations.stamp, NOW
    negatives = Negatives(
        store.failures, FetchConfig(), now=lambda: now, stamp_of=stamp_of, notes=store.catalogue.notes
    )
    for at, url in ((0, A), (10, B), (20, C)):
        now = NOW + at
        for _ in range(2):
            error = SourceNotFound()
            error.failure = "not_found"
            await negatives.note(Source.parse(url), error, stamp=stamp_of(url), kept=False)
    assert await reasons(store) == dict.fromkeys((A, B, C), "not_found")
    await purging.purge(wish)
    await store.articles.record("again.md", [A, B, C])
    known = {url for url in (A, B, C) if await negatives.remembered(Source.parse(url), stamp=stamp_of(url))}
    assert known == {A, B, C} - forgotten
    assert {url for url, reason in (await reasons(store)).items() if reason} == known


async def test_failure_of_a_kept_picture_is_forgotten_with_it(store: Originals, purging: Purging) -> None:
    await keep(store, A, b"a")
    await store.catalogue.flush()
    store.catalogue.notes.note_failure(A, "gone", status=410, at=NOW)
    await purging.purge(PurgeWish(source=A))
    await store.catalogue.flush()
    await keep(store, A, b"a")
    await store.catalogue.flush()
    page = await store.catalogue.ask(lambda it: questions.pictures(it, PictureQuestion()))
    assert [(row.source, row.failure) for row in page.rows] == [(A, "")]


@pytest.mark.parametrize("wish", [PurgeWish(source=A), PurgeWish(origin=ORIGIN), PurgeWish(since=0.0)])
async def test_failure_of_before_a_purge_is_not_written_after_it(
    store: Originals, folder: Path, purging: Purging, wish: PurgeWish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has noted it, or its fetch began before the purge and fails now."""
    other = await Originals.open(folder)
    other.catalogue.notes.start()
    await store.articles.record("post.md", [A])
    before = other.generations.stamp(A)
    with monkeypatch.context() as patched:
        patched.setattr(other.catalogue.notes, "_write", lambda *, uses: None)
        other.catalogue.notes.note_failure(A, "gone", status=410, at=NOW)
        await purging.purge(wish)
        await store.catalogue.flush()
    if wish.source:
        other.catalogue.notes.note_failure(A, "gone", status=410, at=NOW + 61, stamp=before)
    await other.catalogue.flush()
    assert await reasons(store) == {A: ""}
    other.catalogue.notes.note_failure(A, "timeout", status=0, at=time.time() + 60)
    await other.close()
    assert await reasons(store) == {A: "timeout"}


@pytest.mark.parametrize("wish", [PurgeWish(source=A), PurgeWish(origin=ORIGIN)])
async def test_failure_of_after_a_purge_stays_when_the_purge_is_written_later(
    store: Originals, folder: Path, purging: Purging, wish: PurgeWish, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.articles.record("post.md", [A])
    store.catalogue.notes.note_failure(A, "gone", status=410, at=NOW)
    await store.catalogue.flush()
    other = await Originals.open(folder)
    other.catalogue.notes.start()
    with monkeypatch.context() as patched:
        patched.setattr(store.catalogue.notes, "_write", lambda *, uses: None)
        await purging.purge(wish)
        other.catalogue.notes.note_failure(A, "timeout", status=0, at=NOW + 120)
        await other.close()
    assert await reasons(store) == {A: "timeout"}


_PURGE_AND_DIE = """
import asyncio, os, sys
from pathlib import Path
from cache.durable_tier import Originals
from cache.variants.bounded_tier import Variants
from proxy.dialects import Unwrapper
from proxy.services.upkeep.purging import PurgeWish, Purging

async def main():
    store = await Originals.open(Path(sys.argv[1]))
    # Nothing is written to the catalogue any more, as if this were killed before.
    store.catalogue.notes._stopping.set()
    store.catalogue.notes._write = lambda *, uses: None
    variants = await Variants.open(Path(sys.argv[2]), max_bytes=1 << 20)
    purging = Purging(store, variants, store.articles, unwrapper=Unwrapper((), own=()), now=lambda: 0.0)
    await purging.purge(PurgeWish(**{sys.argv[3]: sys.argv[4]}))
    os._exit(0)

asyncio.run(main())
"""


@pytest.mark.parametrize("wish", [("source", A), ("origin", ORIGIN)])
async def test_failures_are_forgotten_when_the_process_that_purged_was_killed(
    store: Originals, folder: Path, tmp_path: Path, wish: tuple[str, str]
) -> None:
    await store.articles.record("post.md", [A, C])
    for url in (A, C):
        store.catalogue.notes.note_failure(url, "gone", status=410, at=NOW)
    assert await reasons(store) == {A: "gone", C: "gone"}
    await finished(run_program(_PURGE_AND_DIE, folder, tmp_path / "variants", *wish))
    assert await reasons(store) == {A: "gone", C: "gone"}
    await store.catalogue.catch_up()
    assert await reasons(store) == {A: "", C: "gone"}


@pytest.mark.parametrize("wish", [PurgeWish(origin=ORIGIN), PurgeWish(since=0.0)])
async def test_many_failures_are_forgotten_in_steps(
    store: Originals, purging: Purging, wish: PurgeWish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache.catalogue.failing.FORGOTTEN_AT_ONCE", 3)
    urls = [f"{ORIGIN}/{number}.png" for number in range(10)]
    await store.articles.record("post.md", urls)
    for url in urls:
        store.catalogue.notes.note_failure(url, "gone", status=410, at=NOW)
    assert set((await reasons(store)).values()) == {"gone"}
    await purging.purge(wish)
    assert await reasons(store) == dict.fromkeys(urls, "")


async def test_failures_that_wait_are_written_when_the_store_is_closed(folder: Path) -> None:
    """The stamps are compared once more, so they must still be those that other processes see."""
    store = await Originals.open(folder)
    await store.catalogue.catch_up()
    await store.articles.record("post.md", [A])
    store.catalogue.notes.note_failure(A, "gone", status=410, at=NOW)
    await store.close()
    store = await Originals.open(folder)
    assert await reasons(store) == {A: "gone"}
    await store.close()
