"""The index of articles."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cache.across.file_locks import HeldKey, KeyLocks
from cache.across.noted_blobs import NoNotes
from cache.across.source_locks import Exclusion
from cache.base.durable import Durable
from cache.base.errors import StoreUnwritable
from cache.base.layout import Layout, prepare
from cache.base.threads import StoreThreads
from cache.originals.articles import ArticleIndex, KeptArticle


@pytest.fixture
async def layout(tmp_path: Path) -> Layout:
    """A new store's folder."""
    return prepare(tmp_path)


@asynccontextmanager
async def opened(layout: Layout, locks: KeyLocks) -> AsyncIterator[ArticleIndex]:
    threads = StoreThreads("test")
    yield ArticleIndex(layout, Durable(layout.incoming), threads, Exclusion(locks), NoNotes())
    locks.close()
    await threads.close()


@pytest.fixture
async def index(layout: Layout) -> AsyncIterator[ArticleIndex]:
    """An index in it."""
    async with opened(layout, KeyLocks(layout.root / "locks")) as index:
        yield index


async def test_article_recorded_is_found_both_ways(index: ArticleIndex) -> None:
    """It is found by article and by source."""
    await index.record("posts/a.md", ["http://h/1", "http://h/2", "http://h/1"])
    await index.record("posts/b.md", ["http://h/2"])
    assert await index.sources_of("posts/a.md") == ("http://h/1", "http://h/2")
    assert await index.articles_of("http://h/2") == ["posts/a.md", "posts/b.md"]
    assert await index.articles() == ["posts/a.md", "posts/b.md"]
    assert await index.sources_of("posts/c.md") == ()


async def test_article_sources_are_parted_by_who_else_uses_them(index: ArticleIndex) -> None:
    """A purge by article takes what only it uses."""
    await index.record("a", ["http://h/1", "http://h/2"])
    await index.record("b", ["http://h/2", "http://h/3"])
    assert await index.sources_only_in("a") == (["http://h/1"], ["http://h/2"])
    assert await index.sources_only_in("unknown") == ([], [])


async def test_lines_belong_to_the_sources_that_are_recorded_when_they_are(
    index: ArticleIndex, layout: Layout
) -> None:
    """Another process may record the article anew until the lock is taken."""

    class Meanwhile(KeyLocks):
        async def acquire(self, key: str) -> HeldKey:
            await index.record("a", ["http://h/2", "http://h/3"], date=5.0)
            return await super().acquire(key)

    await index.record("a", ["http://h/1"], lines={"http://h/1": [1]})
    async with opened(layout, Meanwhile(layout.root / "locks")) as other:
        await other.record_lines("a", {"http://h/1": [1], "http://h/2": [7, 4]})
    assert await index.get("a") == KeptArticle(
        "a", ("http://h/2", "http://h/3"), 5.0, lines={"http://h/2": (4, 7)}
    )


async def test_sources_are_added_to_those_that_are_recorded_when_they_are(
    index: ArticleIndex, layout: Layout
) -> None:
    """What is known here stays: the date, the file and the lines."""

    class Meanwhile(KeyLocks):
        async def acquire(self, key: str) -> HeldKey:
            await index.record("a", ["http://h/2"], date=5.0, path="/x/a", lines={"http://h/2": [2]})
            return await super().acquire(key)

    more = KeptArticle("a", ("http://h/2", "http://h/3"), 9.0, lines={"http://h/2": (8,), "http://h/3": (3,)})
    async with opened(layout, Meanwhile(layout.root / "locks")) as other:
        await other.add(more)
    assert await index.get("a") == KeptArticle(
        "a", ("http://h/2", "http://h/3"), 5.0, "/x/a", {"http://h/2": (2,), "http://h/3": (3,)}
    )
    await index.add(replace(more, name="new"))
    assert await index.get("new") == replace(more, name="new")


async def test_lines_of_an_unknown_article_are_not_recorded(index: ArticleIndex) -> None:
    """They come without sources, so a purge by article could not use them."""
    await index.record_lines("a", {"http://h/1": [1]})
    assert await index.articles() == []


async def test_article_recorded_again_replaces_what_was_known(index: ArticleIndex) -> None:
    """A picture taken out of an article is not used by it any more."""
    await index.record("a", ["http://h/1"])
    await index.record("a", ["http://h/2"])
    assert await index.sources_of("a") == ("http://h/2",)
    assert await index.forget("a")
    assert not await index.forget("a")
    assert await index.articles() == []


@pytest.mark.parametrize("name", ["", "\udcff.md", "文章/一.md", "a\nb", "x" * 5000, "../../etc/passwd"])
async def test_article_of_any_name_is_kept(index: ArticleIndex, name: str) -> None:
    """Names are texts of others and never become paths."""
    await index.record(name, ["http://h/1"])
    assert await index.articles() == [name]
    assert await index.sources_of(name) == ("http://h/1",)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b'{"article": 1}', b"\xff", b"[" * 99999, b'{"article":"a","sources":[1]}']
)
async def test_article_file_with_rubbish_is_passed_over(
    index: ArticleIndex, layout: Layout, text: bytes
) -> None:
    """One damaged file does not hide the others."""
    await index.record("a", ["http://h/1"])
    damaged = layout.article("0" * 64)
    damaged.parent.mkdir(exist_ok=True)
    damaged.write_bytes(text)
    assert await index.articles() == ["a"]


async def test_article_that_cannot_be_noted_says_so(index: ArticleIndex, layout: Layout) -> None:
    """The caller gets an error of the store."""
    (layout.root / "articles").rmdir()
    (layout.root / "articles").touch()
    with pytest.raises(StoreUnwritable):
        await index.record("a", [])
