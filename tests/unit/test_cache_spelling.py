"""The former spelling of sources: everything kept under it is found and moved, and nothing is fetched or lost."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keeping import NOW, files_below, keep

from cache.base.errors import StoreFull
from cache.base.keys import source_key
from cache.base.spelling import former_spelling, present_spelling
from cache.durable_tier import Originals
from proxy.source import Source

FORMER = "http://h.example/a|b^c.png?q={x}"
PRESENT = "http://h.example/a%7Cb%5Ec.png?q=%7Bx%7D"


@given(
    text=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#"), max_size=40)
)
def test_present_spelling_is_the_canonical_one(text: str) -> None:
    """This holds for every former canonical URL and in both directions."""
    former = "http://h/" + text.replace("\\", "")
    present = Source.parse(former).url
    assert present_spelling(present) == present == Source.parse(present).url
    back = former_spelling(present)
    assert back is None or present_spelling(back) == present


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Originals]:
    opened = await Originals.open(tmp_path / "store", now=lambda: NOW)
    yield opened
    await opened.close()


def entry_names(store: Originals) -> list[str]:
    return [path.stem for path in files_below(store.body_path("0" * 64).parents[2] / "entries")]


async def test_entry_under_the_former_spelling_is_found_and_moved(store: Originals) -> None:
    """One look, and there is one entry: that of the present spelling, with the same bytes."""
    before = await keep(store, FORMER, b"x")
    for _ in range(2):
        found = await store.get(PRESENT)
        assert found is not None
        assert (found.source, found.final_url, found.body_sha256) == (PRESENT, PRESENT, before.body_sha256)
        assert entry_names(store) == [source_key(PRESENT)]
    assert await store.read_body(before.body_sha256) == b"x"
    assert (await store.verify()).wrong == []
    assert (await store.stat()).orphans == 0
    assert store.kept().entries == 1


async def test_body_shared_by_both_spellings_outlives_the_move_and_ends_with_its_purge(
    store: Originals,
) -> None:
    """The list of users moves along."""
    entry = await keep(store, FORMER, b"x")
    await keep(store, "http://h.example/other.png", b"x")
    assert await store.get(PRESENT) is not None
    await store.purge("http://h.example/other.png")
    assert await store.read_body(entry.body_sha256) == b"x"
    purged = await store.purge(PRESENT)
    assert (purged.found, purged.body_deleted) == (True, True)


async def test_history_under_the_former_spelling_is_moved(store: Originals) -> None:
    """Earlier bytes of the source are named by the moved entry, and kept."""
    first = await keep(store, FORMER, b"first")
    await keep(store, FORMER, b"second")
    found = await store.get(PRESENT)
    assert found is not None
    assert [item.body_sha256 for item in found.history] == [first.body_sha256]
    assert await store.read_body(first.body_sha256) == b"first"


async def test_entries_under_both_spellings_become_one(store: Originals) -> None:
    """No bytes are lost: those of the other spelling are history."""
    old = await keep(store, FORMER, b"old")
    await keep(store, PRESENT, b"new")
    found = await store.get(PRESENT)
    assert found is not None
    assert {found.body_sha256, *(item.body_sha256 for item in found.history)} >= {old.body_sha256}
    assert entry_names(store) == [source_key(PRESENT)]


async def test_purge_of_a_source_deletes_what_is_under_the_former_spelling(store: Originals) -> None:
    """This works without an earlier look-up, and the preview reports it."""
    await keep(store, FORMER, b"x")
    assert (await store.purge_preview(PRESENT)).found
    assert (await store.purge(PRESENT)).found
    assert entry_names(store) == []


async def test_block_under_the_former_spelling_holds_and_is_lifted(store: Originals) -> None:
    """The decision of a purge stands."""
    await store.block(FORMER, "wish of the author")
    assert await store.is_blocked(PRESENT)
    assert await store.unblock(PRESENT)
    assert not await store.is_blocked(PRESENT)


async def test_article_that_names_the_former_spelling_uses_the_source(store: Originals) -> None:
    """A purge by article finds it."""
    await store.articles.record("post.md", [FORMER])
    assert await store.articles.articles_of(PRESENT) == ["post.md"]
    assert await store.articles.sources_of("post.md") == (PRESENT,)


async def test_entry_that_cannot_be_moved_is_answered_all_the_same(
    store: Originals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that takes nothing hides no kept original."""
    entry = await keep(store, FORMER, b"x")

    async def full(*_: object, **__: object) -> None:
        raise StoreFull("no space")

    monkeypatch.setattr(store.history, "restore", full)
    found = await store.get(PRESENT)
    assert found is not None
    assert (found.source, found.body_sha256) == (PRESENT, entry.body_sha256)
