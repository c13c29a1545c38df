"""Articles read in processes that can be ended: the same answers, limits of time, memory and number, and an end."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import io
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
from rewriting import BASE, WRAPPED

from proxy.cli import build_parser
from proxy.cli import rewrite as rewrite_command
from proxy.config import Config, SourcesConfig
from proxy.errors import QueueFull, RequestTooLarge
from proxy.rewrite.base.kept import Kept
from proxy.rewrite.rewriter import TextKind
from proxy.services.articles import rewritepool, rewriteprocess
from proxy.services.articles.article_use import RewriteSettings
from proxy.services.articles.rewritejobs import (
    ArticleLimits,
    frame,
    read_frame,
    settings_from_wire,
    settings_to_wire,
)
from proxy.services.articles.rewritepool import RewritePool
from proxy.services.articles.rewriteprocess import SMALL_BYTES, GuardedRewriter, RewriteProcess, TooCostly
from proxy.services.articles.rewritetree import Run
from proxy.services.warm.gathering import gather

SETTINGS = RewriteSettings.of(Config(sources=SourcesConfig(keys=("a key of this test",))), base_url=BASE)
ARTICLE = f"---\nheadimg: {WRAPPED}\n---\n![\xe9]({WRAPPED})\n`{WRAPPED}`\n![](https://wsrv.nl/?url=h/a.png&w=9&x=1)\n"
LARGE = ARTICLE.encode("latin-1") + b"text \xff" * (SMALL_BYTES // 6)
SLOW = f"![]({WRAPPED})\n\n".encode() + b"> " * 20 + b"a\n" * 400_000
"""Tens of seconds of processor time: deep quotes whose lines are lazy."""
HUGE = b"a" * (64 << 20)
SHORT = ArticleLimits(cpu_seconds=1)
NARROW = ArticleLimits(memory_bytes=200 << 20)


@pytest.fixture
async def pool() -> AsyncIterator[RewritePool]:
    pool = RewritePool(processes=1, waiting=1, limits=SHORT)
    yield pool
    await pool.close()


@pytest.mark.parametrize("kind", ["markdown", "html"])
def test_process_answers_what_the_rewriter_answers(kind: TextKind) -> None:
    """Every value is returned unchanged: bytes of any encoding, sources, signatures, presets."""
    near = SETTINGS.rewriter()
    with GuardedRewriter(SETTINGS) as far:
        assert far.rewrite(LARGE, kind=kind) == near.rewrite(LARGE, kind=kind)
        assert far.addresses(LARGE, kind=kind) == near.addresses(LARGE, kind=kind)


def test_process_answers_what_the_rewriter_answers_about_responsive_pictures() -> None:
    """Its questions, the answers and the additions cross the wire."""
    settings = RewriteSettings.of(Config(), base_url=BASE, responsive=True)
    article = f'<img src="{WRAPPED}"> <img src="{WRAPPED}x"> <img src="{WRAPPED}y">\n'.encode() + LARGE
    near = settings.rewriter()
    with GuardedRewriter(settings) as far:
        asked = near.rewrite(article, kind="html").asked
        assert len(asked) == 3
        assert near.rewrite(article, kind="html").data == article
        assert far.rewrite(article, kind="html").asked == asked
        known = (Kept(900, 600, colour="#123456"), None, Kept(90, 60, resizes=False))
        kept = {wanted[0]: item for wanted, item in zip(asked, known, strict=True)}
        here = near.rewrite(article, kind="html", kept=kept)
        assert len(here.added) == 2
        assert far.rewrite(article, kind="html", kept=kept) == here


@pytest.mark.parametrize(("transforms", "options"), [("any", "content,format=png"), ("presets", "content")])
def test_process_is_told_which_transforms_are_served(
    transforms: Literal["any", "presets"], options: str
) -> None:
    """It writes no address that the service refuses, and the drawing that previews need where it may."""
    settings = RewriteSettings.of(Config(sources=SourcesConfig(transforms=transforms)), base_url=BASE)
    page = b'<meta property="og:image" content="https://wsrv.nl/?url=h/a.svg">'
    process = RewriteProcess(SHORT)
    result = process.rewrite(page, kind="html", settings=settings)
    process.close()
    assert result == settings.rewriter().rewrite(page, kind="html")
    assert (
        result.data.decode() == f'<meta property="og:image" content="{BASE}/image/{options}/http://h/a.svg">'
    )


def test_settings_come_back_from_the_wire_as_they_were() -> None:
    """Each of them differs from its default, so that one that is not sent shows."""
    config = Config.model_validate(
        {
            "rewrite": {"body": "thumbnail"},
            "render": {"max_output_side": 1000, "max_output_pixels": 10_000},
            "presets": {name: {"width": 99} for name in ("thumbnail", "headimg", "content")},
            "sources": {"keys": ("a key of this test",), "transforms": "presets"},
            "fetch": {"types": ["image/*", "text/css"]},
        }
    )
    settings = RewriteSettings.of(config, base_url=BASE, all_images=True, responsive=True)
    plain = RewriteSettings.of(Config(), base_url="")
    names = [field.name for field in dataclasses.fields(settings)]
    assert all(getattr(settings, name) != getattr(plain, name) for name in names)
    header, _ = read_frame(io.BytesIO(frame(settings_to_wire(settings))).read)
    assert settings_from_wire(header) == settings


def test_small_article_needs_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriteprocess, "RewriteProcess", None)
    with GuardedRewriter(SETTINGS) as rewriter:
        assert rewriter.rewrite(ARTICLE.encode(), kind="markdown").replaced
        assert rewriter.addresses(ARTICLE.encode(), kind="markdown")


@pytest.mark.parametrize(
    ("limits", "article", "reason"),
    [(SHORT, SLOW, "more than 1 s of processor time"), (NARROW, HUGE, "more than 200 MiB of memory")],
)
def test_article_that_takes_too_much_is_refused_and_the_next_is_read(
    limits: ArticleLimits, article: bytes, reason: str
) -> None:
    """The reason names the limit; the process is gone, memory and all, and a new one reads on."""
    with GuardedRewriter(SETTINGS, limits=limits) as rewriter:
        with pytest.raises(TooCostly, match=reason):
            rewriter.rewrite(article, kind="markdown")
        assert rewriter.rewrite(LARGE, kind="markdown").replaced


def test_killed_process_answers_that_it_ended() -> None:
    process = RewriteProcess(SHORT)
    process.kill()
    with pytest.raises(TooCostly, match="ended"):
        process.rewrite(LARGE, kind="markdown", settings=SETTINGS)
    process.close()


def test_hostile_article_costs_the_commands_that_article_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`rewrite` and `warm` name it with the reason and do the others; `rewrite` exits 1."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.md").write_text(f"![]({WRAPPED})\n")
    (tmp_path / "slow.md").write_bytes(SLOW)
    (tmp_path / "z.md").write_text(f"![]({WRAPPED})\n")
    monkeypatch.setattr(rewrite_command, "Run", functools.partial(Run, limits=SHORT))
    args = build_parser("rewrite").parse_args(["rewrite", ".", "--write", "--base-url", BASE])
    assert rewrite_command.run(args, Config()) == 1
    assert "slow.md: reading it takes more than 1 s of processor time" in capsys.readouterr().err
    assert all(BASE in (tmp_path / name).read_text() for name in ("a.md", "z.md"))
    gathered = gather([tmp_path], SETTINGS, limits=SHORT)
    assert [Path(item.article).name for item in gathered.unread] == ["slow.md"]
    assert len(gathered.articles) == 2


async def test_pool_says_that_an_article_is_too_much_and_reads_the_next(pool: RewritePool) -> None:
    with pytest.raises(RequestTooLarge, match="processor time"):
        await pool.rewrite(SLOW, kind="markdown", settings=SETTINGS)
    assert (await pool.rewrite(ARTICLE.encode(), kind="markdown", settings=SETTINGS)).replaced


async def test_pool_gives_an_article_without_wrappers_back_without_a_process(
    pool: RewritePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    article = b"![](https://h.example/a.png)\n"
    monkeypatch.setattr(rewritepool, "RewriteProcess", None)
    assert (await pool.rewrite(article, kind="markdown", settings=SETTINGS)).data == article


async def test_pool_refuses_what_its_queue_does_not_hold(pool: RewritePool) -> None:
    """One is read, one waits, the third is refused; a place that was given back is free again."""
    with pool.admitted():
        with pool.admitted(), pytest.raises(QueueFull), pool.admitted():
            pass
        with pool.admitted():
            pass


async def test_cancelled_article_ends_its_process_and_frees_its_place(
    pool: RewritePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is gone, so the work ends."""
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    pids: list[int] = []
    original = RewriteProcess.rewrite

    def noted(process: RewriteProcess, *words: Any, **options: Any) -> object:
        pids.append(process.pid)
        loop.call_soon_threadsafe(begun.set)
        return original(process, *words, **options)

    monkeypatch.setattr(RewriteProcess, "rewrite", noted)
    task = asyncio.create_task(pool.rewrite(SLOW, kind="markdown", settings=SETTINGS))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
    assert (await pool.rewrite(ARTICLE.encode(), kind="markdown", settings=SETTINGS)).replaced


def test_process_of_a_large_service_is_kept() -> None:
    """Memory that was resident in its parent does not count as the process's own."""
    program = (
        "from proxy.services.articles.rewriteprocess import RewriteProcess\n"
        "from test_services_rewriting import ARTICLE, SETTINGS\n"
        "ballast = b'x' * (400 << 20)\n"
        "process = RewriteProcess()\n"
        "process.rewrite(ARTICLE.encode(), kind='markdown', settings=SETTINGS)\n"
        "assert not process.retired\n"
        "process.close()\n"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": paths})


async def test_idle_process_reads_the_next_article(pool: RewritePool) -> None:
    """A process that took little is kept, for its start takes longer than most articles."""
    for _ in range(2):
        await pool.rewrite(ARTICLE.encode(), kind="markdown", settings=SETTINGS)
    (process,) = pool._idle
    assert not process.retired
