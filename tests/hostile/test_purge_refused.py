"""A purge that the disk refuses in part says what was purged and what was not, with a code of the contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from commands import invoke
from keeping import keep
from service import write_config

from cache.base.keys import source_key
from cache.base.layout import Layout
from cache.durable_tier import Originals
from cache.variants.bounded_tier import Variants
from proxy.config import Config
from proxy.errors import Internal
from proxy.services.articles.article_use import unwrapper_of
from proxy.services.upkeep import purging
from proxy.services.upkeep.purging import PurgeRefused, Purging, wanted

ADDRESSES = [f"http://h.example/{number}.png" for number in range(5)]
ARTICLE = "post.md"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Originals]:
    """A store with five sources of one article, each with its own bytes."""
    opened = await Originals.open(tmp_path / "store")
    for url in ADDRESSES:
        await keep(opened, url, url.encode())
    await opened.articles.record(ARTICLE, ADDRESSES)
    yield opened
    await opened.close()


@pytest.fixture
async def purger(store: Originals, tmp_path: Path) -> AsyncIterator[Purging]:
    variants = await Variants.open(tmp_path / "variants", max_bytes=1 << 20)
    yield Purging(store, variants, store.articles, unwrapper=unwrapper_of(Config()), now=lambda: 0.0)
    await variants.close()


def stick(store: Path, url: str) -> Path:
    """Put a folder in the place of an entry, because no disk deletes a folder as a file."""
    path = Layout(store).entry(source_key(url))
    path.unlink()
    path.mkdir()
    return path


async def test_purge_of_an_article_passes_by_what_is_stuck_and_names_it(
    store: Originals, purger: Purging, tmp_path: Path
) -> None:
    """The other sources are purged, and the article stays known, so the purge can be repeated."""
    stuck = stick(tmp_path / "store", ADDRESSES[1])
    with pytest.raises(PurgeRefused) as caught:
        await purger.purge(wanted(article=ARTICLE))
    error = caught.value
    assert (error.status, error.code) == (503, "queue_full")
    assert error.report.purged == [ADDRESSES[0], *ADDRESSES[2:]]
    assert f"Purged: 4. Not purged: {ADDRESSES[1]}." in error.message
    assert str(tmp_path) not in error.message
    assert await store.articles.sources_of(ARTICLE) == tuple(ADDRESSES)
    stuck.rmdir()
    await purger.purge(wanted(article=ARTICLE))
    assert await store.articles.get(ARTICLE) is None


async def test_purge_on_a_disk_that_refuses_everything_gives_up(
    store: Originals, purger: Purging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer says that other sources were not tried. A million sources are not tried one by one."""
    monkeypatch.setattr(purging, "MAX_REFUSED", 4)
    for url in ADDRESSES:
        stick(tmp_path / "store", url)
    with pytest.raises(
        PurgeRefused, match=r"Purged: 0\. Not purged: .* and 1 more; others were not tried"
    ) as caught:
        await purger.purge(wanted(article=ARTICLE))
    assert not isinstance(caught.value, Internal)


async def test_block_that_the_disk_refuses_is_not_reported_as_done(
    store: Originals, purger: Purging, tmp_path: Path
) -> None:
    """The source is named as not purged, and nothing of it was deleted."""
    folder = tmp_path / "store" / "blocked"
    folder.rmdir()
    folder.touch()
    with pytest.raises(PurgeRefused, match=f"Not purged: {ADDRESSES[0]}") as caught:
        await purger.purge(wanted(source=ADDRESSES[0], block=True))
    assert caught.value.report.blocked == []
    assert await store.get(ADDRESSES[0])


async def test_command_that_could_not_purge_all_says_so_and_fails(
    store: Originals, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Purged sources are listed on standard output, and the others are named on standard error."""
    stick(tmp_path / "store", ADDRESSES[0])
    config = write_config(tmp_path)
    assert await asyncio.to_thread(invoke, "store", "purge", "--article", ARTICLE, config=config) == 2
    said = capsys.readouterr()
    assert [url in said.out for url in ADDRESSES] == [False, True, True, True, True]
    assert f"Not purged: {ADDRESSES[0]}" in said.err
