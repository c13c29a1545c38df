"""When bytes may take the place of the kept ones: rules by themselves, on a real store."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from keeping import NOW, make_entry

from cache.base.entry import Entry, Former
from cache.durable_tier import Originals
from proxy.services.troubles.replacing import ANOTHER_SIZE, PLACEHOLDER, Replacing

WEEK = 7 * 86400.0
SMALL, LARGE = {"width": 60, "height": 40}, {"width": 90, "height": 30}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Originals]:
    opened = await Originals.open(tmp_path / "store")
    yield opened
    await opened.close()


def picture(url: str, number: int, facts: dict[str, int] = SMALL, *history: Former) -> Entry:
    entry = make_entry(url, sha256=f"{number:064x}", size=number)
    return dataclasses.replace(entry, picture=facts, history=history)


async def objection(store: Originals, fresh: Entry, kept: Entry, *, now: float) -> str:
    return await Replacing(store, now=lambda: now).objection(fresh, kept, stable_after_seconds=WEEK)


@pytest.mark.parametrize(
    ("age_seconds", "facts", "reason"),
    [
        (WEEK, LARGE, ANOTHER_SIZE),
        (WEEK - 1, LARGE, ""),
        (WEEK * 100, SMALL, ""),
        (-1.0, LARGE, ""),
    ],
    ids=["stable", "young", "same size", "clock turned back"],
)
async def test_another_size_matters_only_where_a_picture_was_stable(
    store: Originals, age_seconds: float, facts: dict[str, int], reason: str
) -> None:
    kept, fresh = picture("http://h/a.png", 1), picture("http://h/a.png", 2, facts)
    assert await objection(store, fresh, kept, now=NOW + age_seconds) == reason


async def test_picture_that_changed_before_may_change_again(store: Originals) -> None:
    former = Former("0" * 64, 3, "image/png", NOW - 100 * WEEK)
    kept, fresh = picture("http://h/a.png", 1, SMALL, former), picture("http://h/a.png", 2, LARGE)
    assert await objection(store, fresh, kept, now=NOW + 9 * WEEK) == ""
    noted = dataclasses.replace(kept, history=(dataclasses.replace(former, note=ANOTHER_SIZE),))
    assert await objection(store, fresh, noted, now=NOW + 9 * WEEK) == ANOTHER_SIZE


async def test_what_was_set_aside_once_is_set_aside_again(store: Originals) -> None:
    former = Former(f"{2:064x}", 2, "image/png", NOW, note=PLACEHOLDER)
    kept, fresh = picture("http://h/a.png", 1, SMALL, former), picture("http://h/a.png", 2)
    assert await objection(store, fresh, kept, now=NOW) == PLACEHOLDER


async def test_what_was_here_before_comes_back_freely(store: Originals) -> None:
    former = Former(f"{2:064x}", 2, "image/png", NOW)
    kept, fresh = picture("http://h/a.png", 1, SMALL, former), picture("http://h/a.png", 2, LARGE)
    assert await objection(store, fresh, kept, now=NOW + 9 * WEEK) == ""


async def test_what_is_no_picture_is_not_judged(store: Originals) -> None:
    kept = dataclasses.replace(make_entry("http://h/a.css", sha256="1" * 64), media_type="text/css")
    fresh = dataclasses.replace(kept, body_sha256="2" * 64)
    assert await objection(store, fresh, kept, now=NOW + 9 * WEEK) == ""


async def keep_as(store: Originals, entry: Entry, body: bytes) -> Entry:
    async with store.receive() as incoming:
        await incoming.write(body)
        await incoming.finish()
        kept = dataclasses.replace(entry, body_sha256=incoming.sha256, body_size=incoming.size)
        await store.commit(kept, incoming)
    return kept


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        (["http://h/b.png", "http://h/c.png"], PLACEHOLDER),
        (["http://h/b.png"], ""),
        (["http://h/b.png", "http://elsewhere/c.png"], ""),
    ],
    ids=["three of one origin", "two", "of two origins"],
)
async def test_same_bytes_for_pictures_never_seen_otherwise_count_as_different_pictures(
    store: Originals, others: list[str], reason: str
) -> None:
    for url in others:
        fresh = await keep_as(store, picture(url, 2), b"forbidden")
    kept = await keep_as(store, picture("http://h/a.png", 1), b"good")
    fresh = dataclasses.replace(kept, body_sha256=fresh.body_sha256)
    assert await objection(store, fresh, kept, now=NOW) == reason


async def test_placeholder_that_came_first_gives_way_to_the_picture(store: Originals) -> None:
    """Nothing good was ever kept: an origin that lets us in at last must not be turned away."""
    for name in "abc":
        kept = await keep_as(store, picture(f"http://h/{name}.png", 2, LARGE), b"forbidden")
    fresh = picture(kept.source, 1)
    assert await objection(store, fresh, kept, now=NOW + 9 * WEEK) == ""


async def test_placeholder_of_one_origin_leaves_the_pictures_of_another_alone(store: Originals) -> None:
    """Two sites may show the same bytes; what one of them means by it says nothing about the other."""
    good = Former(f"{7:064x}", 4, "image/png", NOW - WEEK, picture=SMALL)
    for url in ("http://h/a.png", "http://elsewhere/a.png"):
        await keep_as(store, picture(url, 1), b"good")
        placeholder = await keep_as(store, picture(url, 2, SMALL, good), b"forbidden")
    rules = Replacing(store, now=lambda: NOW)
    await rules.put_back(placeholder.body_sha256, "http://h")
    there = await store.get("http://elsewhere/a.png")
    assert there is not None
    assert there.body_sha256 == placeholder.body_sha256


async def test_copy_of_an_archive_is_no_proof_that_a_picture_was_stable(store: Originals) -> None:
    """The archive's copy is old, but what the source itself gives was never seen to stay."""
    kept, fresh = picture("http://h/a.png", 1), picture("http://h/a.png", 2, LARGE)
    recovered = dataclasses.replace(kept, recovered={"from": "http://archive/a.png"})
    assert await objection(store, fresh, kept, now=NOW + 9 * WEEK) == ANOTHER_SIZE
    assert await objection(store, fresh, recovered, now=NOW + 9 * WEEK) == ""
