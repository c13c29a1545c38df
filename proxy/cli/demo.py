"""`imgmirror demo`: shows the program on the sample article, with the real commands and an origin on loopback.

It rewrites the article, visits it, warms it and visits it again. Then it stops the origin and wipes the variants; all
pictures must still be served. Each promise is checked and reported; `--once` exits 1 when one was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.cli.output.terminal import complain, quiet_log, say, show_table
from proxy.cli.story.article import SampleArticle, picture_files
from proxy.cli.story.page import Line, article_page
from proxy.cli.story.service import Commands, ServiceFailed, free_port, write_config
from proxy.cli.story.visits import BROWSERS, PRESETS, Visits, originals, visit_all
from proxy.config import Config, RewriteConfig
from proxy.fetch.via import ServiceUnreachable, Via, open_via
from proxy.rewrite.rewriter import Rewriter
from proxy.services.checks.sizes import readable
from proxy.web.sample_origin import SampleFile, SampleOrigin

ADDRESSES = 7
"""Wrapper addresses in the sample article: two in its front matter, five in its text."""

LINE_BITS_PER_SECOND = 10_000_000
_BROWSER_NAMES = {"avif": "AVIF", "webp": "WebP", "fallback": "JPEG and PNG"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--once", action="store_true", help="exit when done, with 1 if a promise was not kept"
    )


def run(args: argparse.Namespace, config: Config) -> int:
    """Run the demo; without `--once`, keep the service running afterwards."""
    quiet_log()
    try:
        return asyncio.run(_demo(preferred_port=config.server.port, once=args.once))
    except BrokenPipeError:
        raise
    except (OSError, ServiceFailed, ServiceUnreachable) as error:
        complain(error)
        return 1


async def _demo(*, preferred_port: int, once: bool) -> int:
    stop = _stop_signal()
    with tempfile.TemporaryDirectory(prefix="imgmirror-demo-") as name:
        async with _stage(Path(name), free_port(preferred_port)) as stage:
            story = asyncio.ensure_future(Story(stage).tell())
            await _first_of(story, stop)
            if not story.done():
                return 130
            kept = story.result()
            if not once and not stop.done():
                say("Press Ctrl-C to end.")
                await _first_of(asyncio.ensure_future(stage.commands.wait()), stop)
    return int(not kept)


async def _first_of(work: asyncio.Future[Any], stop: asyncio.Future[None]) -> None:
    await asyncio.wait((work, stop), return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        work.cancel()
        await asyncio.wait((work,))


def _stop_signal() -> asyncio.Future[None]:
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[None] = loop.create_future()

    def end() -> None:
        if not stop.done():
            stop.set_result(None)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    return stop


@dataclass(frozen=True, slots=True)
class Stage:
    """The parts that the demo runs with."""

    folder: Path
    origin: SampleOrigin
    pages: SampleOrigin
    commands: Commands
    via: Via
    article: SampleArticle

    @property
    def sources(self) -> list[str]:
        """The addresses of the pictures at their origin."""
        return [self.origin.base_url + path for path in self.origin.files]


@asynccontextmanager
async def _stage(folder: Path, port: int) -> AsyncIterator[Stage]:
    say("Making five pictures for the sample article: photos, charts, one large PNG")
    files = await asyncio.to_thread(picture_files)
    async with AsyncExitStack() as stack:
        origin, pages = SampleOrigin(files), SampleOrigin({})
        for server in (origin, pages):
            await server.start()
            stack.push_async_callback(server.stop)
        commands = Commands(write_config(folder, port=port))
        stack.push_async_callback(commands.stop_service)
        base_url = f"http://127.0.0.1:{port}"
        via = await stack.enter_async_context(open_via(base_url))
        rewriter = Rewriter(RewriteConfig(), base_url=base_url)
        article = SampleArticle(folder, origin_url=origin.base_url, rewriter=rewriter)
        yield Stage(folder, origin, pages, commands, via, article)


@dataclass(slots=True)
class Story:
    """Runs the acts in order; each prints what it does and the result."""

    stage: Stage
    kept: bool = True
    cold: Visits = field(default_factory=dict)
    warm: dict[str, Visits] = field(default_factory=dict)

    async def tell(self) -> bool:
        """Run all acts; return whether every promise was kept."""
        acts: tuple[Callable[[], Awaitable[None]], ...] = (
            self._rewrite, self._first_visitors, self._warm, self._visitors, self._origin_dies,
        )  # fmt: skip
        for act in acts:
            await act()
        self._show_page()
        say()
        say("Every promise was kept." if self.kept else "NOT everything is as promised: see FAILED above.")
        return self.kept

    def _promise(self, text: str, kept: bool) -> None:
        self.kept = self.kept and kept
        say(f"  {'ok    ' if kept else 'FAILED'} {text}")

    async def _rewrite(self) -> None:
        say()
        say(f"1. Rewrite the article ({self.stage.article.path})")
        result = self.stage.article.rewrite()
        first = result.replaced[0]
        say(f"  {first.old.decode('latin-1')}")
        say(f"  becomes {first.new.decode('latin-1')}")
        self._promise(
            f"{len(result.replaced)} of {ADDRESSES} wrapper addresses replaced",
            len(result.replaced) == ADDRESSES,
        )
        undo = self.stage.article.undo_and_again()
        same = undo.before_sha256 == undo.undone_sha256 and undo.again_equal
        self._promise(f"undo gives the same SHA-256 as before: {undo.undone_sha256}", same)

    async def _first_visitors(self) -> None:
        say()
        say(f"2. Serve ({self.stage.via.base_url}) to the first visitors: nothing is kept yet")
        await self.stage.commands.start_service()
        self.cold = await visit_all(self.stage.via, self.stage.sources)
        self._promise(f"{len(self.cold)} pictures answered", _all_good(self.cold))
        asked = self.stage.origin.requests
        once = all(asked[path] == 1 for path in self.stage.origin.files)
        self._promise("the origin was asked once for each picture", once)
        described = await self.stage.via.get(
            f"/image/headimg,format=json/{self.stage.sources[0]}", want_body=True
        )
        self._promise("headimg is 1200x630", _size_of(described.body) == (1200, 630))

    async def _warm(self) -> None:
        say()
        say("3. Warm: every preset in every format, before anybody asks")
        code, output = await self.stage.commands.run(
            "warm", str(self.stage.article.path), "--report", str(self.stage.folder / "report.html")
        )
        for line in output.splitlines():
            say(f"  | {line}")
        self._promise("imgmirror warm exits 0", code == 0)

    async def _visitors(self) -> None:
        say()
        say("4. The same visitors after a restart: nothing is in memory, all is on disk")
        await self._restart()
        before = self.stage.origin.requests.total()
        for browser in BROWSERS:
            self.warm[browser] = await visit_all(self.stage.via, self.stage.sources, browser=browser)
        hits = all(
            "hit" in visit.answer.cache_words for visits in self.warm.values() for visit in visits.values()
        )
        self._promise("every picture is a hit", hits and all(map(_all_good, self.warm.values())))
        self._promise("the origin was not asked again", self.stage.origin.requests.total() == before)
        self._show_times()
        show_table(
            "Before and after", ("downloaded", "before", "now", "left"),
            [(line.name, line.before, line.after, line.share) for line in self._lines()],
        )  # fmt: skip

    async def _origin_dies(self) -> None:
        say()
        say("5. The origin is switched off, the variants are wiped, the service is restarted")
        await self.stage.origin.stop()
        await self.stage.commands.stop_service()
        shutil.rmtree(self.stage.folder / "store" / "variants")
        await self.stage.commands.start_service()
        again = await visit_all(self.stage.via, self.stage.sources)
        same = all(again[key].answer.sha256 == visit.answer.sha256 for key, visit in self.cold.items())
        self._promise("every picture still answers, with the same bytes", same and _all_good(again))
        kept = await originals(self.stage.via, self.stage.sources)
        whole = all(
            kept[self.stage.origin.base_url + path].sha256 == hashlib.sha256(file.body).hexdigest()
            for path, file in self.stage.origin.files.items()
        )
        self._promise("every original is there, byte for byte (/?http://...)", whole)

    async def _restart(self) -> None:
        await self.stage.commands.stop_service()
        await self.stage.commands.start_service()

    # What was measured

    def _show_times(self) -> None:
        headers = ["picture", "preset", "original", "now", "cold", "warm"]
        rows = []
        for path, file in self.stage.origin.files.items():
            # One row for each preset: the table fits a terminal of 80 columns.
            for preset in PRESETS:
                key = (self.stage.origin.base_url + path, preset)
                cold, warm = self.cold[key], self.warm["avif"][key]
                sizes = [readable(len(file.body)), readable(warm.answer.size_bytes)]
                rows.append(
                    [path.rpartition("/")[2][:8], preset, *sizes, _ms(cold.seconds), _ms(warm.seconds)]
                )
        title = "Per picture (AVIF): bytes, first visit, visit after warming and restart"
        show_table(title, headers, rows, right=2)

    def _lines(self) -> list[Line]:
        files = self.stage.origin.files
        first = self.stage.sources[0]
        page_before = sum(len(file.body) for file in files.values())
        lines = []
        for browser, visits in self.warm.items():
            shown = [visits[first, "headimg"], *(visits[source, "content"] for source in self.stage.sources)]
            after = sum(visit.answer.size_bytes for visit in shown)
            lines.append(_line(f"the article, {_BROWSER_NAMES[browser]}", page_before, after))
        card = self.warm["avif"][first, "thumbnail"].answer.size_bytes
        lines.append(_line("its card in a list, AVIF", len(next(iter(files.values())).body), card))
        best = self.warm["avif"]
        after = sum(best[source, "content"].answer.size_bytes for source in self.stage.sources)
        after += best[first, "headimg"].answer.size_bytes
        seconds = [size * 8 / LINE_BITS_PER_SECOND for size in (page_before, after)]
        name = "the article, AVIF, at 10 Mbit/s (computed)"
        lines.append(Line(name, f"{seconds[0]:.1f} s", f"{seconds[1]:.2f} s", _share(after, page_before)))
        return lines

    def _show_page(self) -> None:
        page = article_page(
            self.stage.article.path.read_bytes(), lines=self._lines(), service_url=self.stage.via.base_url
        )
        report = self.stage.folder / "report.html"
        self.stage.pages.files["/"] = SampleFile(page, "text/html; charset=utf-8")
        self.stage.pages.files["/report.html"] = SampleFile(report.read_bytes(), "text/html; charset=utf-8")
        say()
        say("Look at it:")
        say(f"  the article   {self.stage.pages.base_url}/")
        say(f"  the report    {self.stage.pages.base_url}/report.html")
        say(f"  the service   {self.stage.via.base_url}/")


def _all_good(visits: Visits) -> bool:
    return all(visit.good for visit in visits.values())


def _size_of(description: bytes) -> tuple[int, int]:
    try:
        told = json.loads(description)
        return int(told["width"]), int(told["height"])
    except (ValueError, KeyError, TypeError):
        return 0, 0


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


def _line(name: str, before: int, after: int) -> Line:
    return Line(name, readable(before), readable(after), _share(after, before))


def _share(part: int, whole: int) -> str:
    return f"{part / whole * 100:.1f} %"
