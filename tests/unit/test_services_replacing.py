"""When bytes may take the place of the kept ones: rules by themselves, on a real store."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from keeping import NOW, make_entry

from cache.base.entry import Entry, Former
from cache.durable_tier import Originals
from proxy.services.troubles.replacing import (
    ANOTHER_SIZE,
    PLACEHOLDER,
    ROLLED_BACK,
    Replacing,
    accept,
    as_set_aside,
)

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


@pytest.mark.parametrize("facts", [{"width": 60, "height": 41}, {"width": 61, "height": 40}])
async def test_one_other_side_is_another_size(store: Originals, facts: dict[str, int]) -> None:
    kept, fresh = picture("http://h/a.png", 1), picture("http://h/a.png", 2, facts)
    assert await objection(store, fresh, kept, now=NOW + WEEK) == ANOTHER_SIZE


async def test_same_bytes_are_never_objected_to(store: Originals) -> None:
    """Whatever an earlier version of the rules noted of them: they are the present ones."""
    kept = picture("http://h/a.png", 1, SMALL)
    assert await objection(store, picture("http://h/a.png", 1, LARGE), kept, now=NOW + WEEK) == ""


@pytest.mark.parametrize("changes", [{"picture": None}, {"media_type": "application/pdf"}])
async def test_picture_is_judged_only_against_a_picture(store: Originals, changes: dict[str, Any]) -> None:
    kept, fresh = picture("http://h/a.png", 1), picture("http://h/a.png", 2, LARGE)
    assert await objection(store, dataclasses.replace(fresh, **changes), kept, now=NOW + WEEK) == ""
    assert await objection(store, fresh, dataclasses.replace(kept, **changes), now=NOW + WEEK) == ""


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


@pytest.mark.parametrize(("note", "reason"), [("", ""), ("of_a_later_version", PLACEHOLDER)])
async def test_bytes_of_three_pictures_are_a_placeholder_unless_they_were_current_here(
    store: Originals, note: str, reason: str
) -> None:
    """A note that these rules do not know decides nothing: the bytes are judged as if they came first."""
    for url in ("http://h/b.png", "http://h/c.png"):
        fresh = await keep_as(store, picture(url, 2), b"forbidden")
    kept = await keep_as(store, picture("http://h/a.png", 1), b"good")
    kept = dataclasses.replace(kept, history=(as_set_aside(fresh, note),))
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


async def set_aside(store: Originals, entry: Entry, body: bytes, note: str) -> str:
    async with store.receive() as incoming:
        await incoming.write(body)
        await incoming.finish()
        fresh = dataclasses.replace(entry, body_sha256=incoming.sha256, body_size=incoming.size, history=())
        stamp = store.generations.stamp(entry.source)
        await store.history.set_aside(entry.source, as_set_aside(fresh, note), incoming, stamp=stamp)
    return fresh.body_sha256


async def present_body(store: Originals, url: str) -> str:
    entry = await store.get(url)
    assert entry is not None
    return entry.body_sha256


async def test_every_picture_that_a_placeholder_replaced_is_put_back(store: Originals) -> None:
    """Those that it did not replace, or in whose place it always stood, are passed over without ending the work."""
    urls = [f"http://h/{name}.png" for name in "abc"]
    good = {url: await keep_as(store, picture(url, 1), url.encode()) for url in urls}
    always = await keep_as(store, picture("http://h/0.png", 2), b"forbidden")
    aside = await keep_as(store, picture("http://h/1.png", 1), b"never replaced")
    await set_aside(store, aside, b"forbidden", PLACEHOLDER)
    for url in urls:
        placeholder = await keep_as(store, picture(url, 2), b"forbidden")
    assert await Replacing(store, now=lambda: NOW).put_back(placeholder.body_sha256, "http://h") == 3
    for url, entry in good.items():
        assert await present_body(store, url) == entry.body_sha256
    assert await present_body(store, always.source) == placeholder.body_sha256
    assert await present_body(store, aside.source) == aside.body_sha256
    assert await Replacing(store, now=lambda: NOW).is_known_placeholder(placeholder.body_sha256, "http://h/x")


async def test_version_that_was_set_aside_itself_is_not_put_back(store: Originals) -> None:
    """A picture that the operator or the rules refused is not restored."""
    first = await keep_as(store, picture("http://h/a.png", 1), b"good")
    placeholder = await keep_as(store, picture("http://h/a.png", 2), b"forbidden")
    turned_down = await set_aside(store, placeholder, b"turned down", ANOTHER_SIZE)
    assert await Replacing(store, now=lambda: NOW).put_back(placeholder.body_sha256, "http://h") == 1
    assert await present_body(store, "http://h/a.png") == first.body_sha256 != turned_down


async def test_version_that_is_no_picture_is_not_put_back(store: Originals) -> None:
    page = dataclasses.replace(picture("http://h/a.png", 1), picture=None, media_type="text/css")
    await keep_as(store, page, b"body{}")
    placeholder = await keep_as(store, picture("http://h/a.png", 2), b"forbidden")
    assert await Replacing(store, now=lambda: NOW).put_back(placeholder.body_sha256, "http://h") == 0
    assert await present_body(store, "http://h/a.png") == placeholder.body_sha256


async def test_placeholder_is_known_only_at_its_origin_and_only_by_its_own_note(store: Originals) -> None:
    kept = await keep_as(store, picture("http://h/a.png", 1), b"good")
    placeholder = await set_aside(store, kept, b"forbidden", PLACEHOLDER)
    other_size = await set_aside(store, kept, b"larger", ANOTHER_SIZE)
    rules = Replacing(store, now=lambda: NOW)
    assert await rules.is_known_placeholder(placeholder, "http://h/never-kept.png")
    assert not await rules.is_known_placeholder(placeholder, "http://elsewhere/a.png")
    assert not await rules.is_known_placeholder(other_size, "http://h/never-kept.png")
    assert not await rules.is_known_placeholder(kept.body_sha256, "http://h/never-kept.png")


async def test_one_picture_under_several_addresses_counts_once_against_other_bytes(
    store: Originals,
) -> None:
    """An origin may redraw one picture that stands under many addresses, where it is replaced or set aside."""
    for name in "ab":
        await keep_as(store, picture(f"http://h/{name}.png", 1), b"good")
        fresh = await keep_as(store, picture(f"http://h/{name}.png", 2), b"other")
    for name in "de":
        await set_aside(
            store, await keep_as(store, picture(f"http://h/{name}.png", 1), b"good"), b"other", ANOTHER_SIZE
        )
    kept = await keep_as(store, picture("http://h/c.png", 1), b"good")
    assert (
        await objection(store, dataclasses.replace(kept, body_sha256=fresh.body_sha256), kept, now=NOW) == ""
    )


async def test_accepting_takes_the_newest_of_what_was_set_aside(store: Originals) -> None:
    await keep_as(store, picture("http://h/a.png", 1), b"first")
    kept = await keep_as(store, picture("http://h/a.png", 1), b"second")
    older = await set_aside(store, kept, b"older", ANOTHER_SIZE)
    newer = await set_aside(store, kept, b"newer", ANOTHER_SIZE)
    accepted = await accept(store, "http://h/a.png")
    assert accepted is not None
    assert accepted.body_sha256 == newer
    notes = {item.body_sha256: item.note for item in accepted.history}
    assert notes[kept.body_sha256] == "", "what gives way to a new version is an ordinary former one"
    assert notes[older] == ANOTHER_SIZE


async def test_going_back_to_a_former_version_sets_the_present_one_aside(store: Originals) -> None:
    """The origin still gives it, so the next refresh would undo the operator's choice."""
    first = await keep_as(store, picture("http://h/a.png", 1), b"first")
    second = await keep_as(store, picture("http://h/a.png", 2), b"second")
    back = await accept(store, "http://h/a.png", first.body_sha256)
    assert back is not None
    assert back.body_sha256 == first.body_sha256
    assert await objection(store, second, back, now=NOW) == ROLLED_BACK


async def test_nothing_is_accepted_where_nothing_was_set_aside(store: Originals) -> None:
    await keep_as(store, picture("http://h/a.png", 1), b"first")
    kept = await keep_as(store, picture("http://h/a.png", 2), b"second")
    assert await accept(store, "http://h/a.png") is None
    assert await accept(store, "http://h/a.png", "f" * 64) is None
    assert await accept(store, "http://h/never-kept.png") is None
    assert await present_body(store, "http://h/a.png") == kept.body_sha256
