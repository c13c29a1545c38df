"""The index of articles."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cache.across.noted_blobs import NoNotes
from cache.base.durable import Durable
from cache.base.errors import StoreUnwritable
from cache.base.layout import Layout, prepare
from cache.base.threads import StoreThreads
from cache.originals.articles import ArticleIndex


@pytest.fixture
async def layout(tmp_path: Path) -> Layout:
    """A new store's folder."""
    return prepare(tmp_path)


@pytest.fixture
async def index(layout: Layout) -> AsyncIterator[ArticleIndex]:
    """An index in it."""
    threads = StoreThreads("test")
    yield ArticleIndex(layout, Durable(layout.incoming), threads, NoNotes())
    await threads.close()


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
