"""`imgmirror warm`: keep every picture of the articles and render its variants before the first visitor comes."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cache.base.errors import CacheError
from cache.originals.articles import KeptArticle
from proxy.app import Engine, open_engine
from proxy.cli.base.jobreport import as_job
from proxy.cli.base.manifest import add_manifest_argument, manifest_problem, manifest_written
from proxy.cli.base.signals import Signals, Stopped
from proxy.cli.output.reports import report_problem, show_summary, write_report
from proxy.cli.output.terminal import (
    complain,
    own_files,
    progress_bar,
    quiet_log,
    safe,
    say,
    say_no_article,
    say_passed_by,
    whole_number,
)
from proxy.config import Config, base_url_problem
from proxy.dialects import Unwrapper
from proxy.dialects.native import build
from proxy.errors import MirrorError
from proxy.fetch.via import ServiceUnreachable, Via, open_via
from proxy.images.transforms.transform import Transform
from proxy.services.articles.article_use import RewriteSettings
from proxy.services.warm.former import with_former_bases, with_former_wrappers
from proxy.services.warm.gathering import Gathered, SiteTextRules, gather
from proxy.services.warm.looks import ORIGINAL, Looks
from proxy.services.warm.warming import Browser, Warmer, Warming, WarmOutcome
from proxy.services.warm.warmlocal import LocalWarmer, WarmingParts
from proxy.services.warm.warmreport import WarmReport
from proxy.services.warm.warmvia import ViaWarmer, health_of
from proxy.signing import Signer
from proxy.source import Source
from proxy.web.targets.browsers import browsers_of
from proxy.web.targets.plans import Plans

CONCURRENCY = 32
"""Pictures in progress at a time: many more than processors, because most of the time is spent waiting for origins."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("paths", nargs="+", metavar="PATH", type=Path, help="articles, or folders of them")
    parser.add_argument("--report", metavar="F.html|F.json", type=Path, help="write a report")
    parser.add_argument(
        "--concurrency",
        metavar="N",
        type=whole_number(1, 1024),
        default=CONCURRENCY,
        help="number of pictures in progress at a time",
    )
    parser.add_argument(
        "--formats", metavar="F,F", help="only these of avif, webp and jpeg (stands for JPEG, PNG and GIF)"
    )
    add_manifest_argument(parser)
    parser.add_argument("--via", metavar="URL", help="warm the running service at this address, by HTTP")
    parser.add_argument(
        "--base-url", metavar="U", help="what rewritten articles point at (server.public_url)"
    )
    parser.add_argument("--all-images", action="store_true", help="include pictures without a wrapper")
    parser.add_argument(
        "--recover",
        action="store_true",
        help="search for dead pictures in the archive (fetch.wayback), near the date of their article",
    )
    parser.add_argument(
        "--json", action="store_true", help="print a line for each original that is durably kept"
    )


def run(args: argparse.Namespace, config: Config) -> int:
    """Warm; exit 1 when a picture is dead or could not be kept."""
    quiet_log()
    gathered = Gathered()
    signals, begun = Signals("while articles were read"), time.monotonic()
    try:
        with signals.raised():
            return _run(args, config, gathered, signals)
    except Stopped:
        report = _report(gathered)
        report.stopped = signals.step
        report.seconds = time.monotonic() - begun
        return _told(args, report, signals)


def _run(args: argparse.Namespace, config: Config, gathered: Gathered, signals: Signals) -> int:
    try:
        browsers = browsers_of(config.render.formats, only=args.formats)
        if problem := _misuse(args, config):
            return complain(problem)
        _gather(args, config, gathered, signals)
        listed = manifest_written(args, gathered.through_us, complete=not gathered.unread)
        unwrapper = Unwrapper(config.rewrite.prefixes)
        gathered.works = with_former_wrappers(gathered.works, gathered.files.values(), unwrapper)
    except (OSError, ValueError, MirrorError) as error:
        return complain(error)
    if not (gathered.articles or gathered.unread):
        if any(path.is_dir() for path in args.paths):
            return complain(f"nothing to look at in {', '.join(safe(str(path)) for path in args.paths)}")
        # Each file was already reported as not being an article. Do not create a store for nothing.
        return int(not listed)
    try:
        signals.step = "while the service was asked" if args.via else "while the store was opened"
        return asyncio.run(_WarmRun(args, config, gathered, browsers, signals).run()) or int(not listed)
    except BrokenPipeError:
        raise
    except (CacheError, OSError, ServiceUnreachable, MirrorError) as error:
        return complain(getattr(error, "detail", "") or error)


def _report(gathered: Gathered) -> WarmReport:
    return WarmReport(
        len(gathered.articles),
        len(gathered.works),
        gathered.unread,
        lines=gathered.lines,
        files=gathered.files,
    )


def _told(args: argparse.Namespace, report: WarmReport, signals: Signals) -> int:
    """Print the report and write it to the requested file; return the exit code."""
    number = signals.ignore_first()
    report.interrupted = bool(number)
    show_summary(report, error=args.json)
    if args.report:
        write_report(args.report, report)
    return 128 + number if number else int(not report.complete)


def _misuse(args: argparse.Namespace, config: Config) -> str:
    if args.recover and args.via:
        return "--recover fills this store; over --via the service recovers by its own fetch.wayback"
    if args.recover and not (config.fetch.wayback or config.fetch.recover_wrappers):
        return 'with --recover, set fetch.wayback, such as "https://web.archive.org"'
    for name, url in (("--via", args.via), ("--base-url", args.base_url)):
        if url and (problem := base_url_problem(url)):
            return f"{name} {problem}"
    if args.manifest and (problem := manifest_problem(args.manifest)):
        return f"--manifest {problem}"
    return report_problem(args.report) if args.report else ""


def _gather(args: argparse.Namespace, config: Config, gathered: Gathered, signals: Signals) -> None:
    base_url = (args.base_url or config.server.public_url or args.via or _own_address(config)).rstrip("/")
    former = with_former_bases(config, args.paths)
    settings = RewriteSettings.of(former, base_url=base_url, all_images=args.all_images)
    passed_by: list[Path] = []
    with progress_bar("Reading articles") as progress:

        def read(number: int) -> None:
            signals.require_none()
            progress(number)

        gather(
            args.paths,
            settings,
            progress=read,
            look=SiteTextRules(
                config.server.max_body,
                own_files(args, config),
                config.rewrite.ignore,
                say_no_article,
                passed_by.append,
            ),
            into=gathered,
        )
    say_passed_by(passed_by)


def _own_address(config: Config) -> str:
    # The same default as that of `imgmirror rewrite`.
    return f"http://{config.server.host}:{config.server.port}"


class _WarmRun:
    """One run: opens the warmer, warms the pictures and reports."""

    def __init__(
        self,
        args: argparse.Namespace,
        config: Config,
        gathered: Gathered,
        browsers: tuple[Browser, ...],
        signals: Signals,
    ) -> None:
        self._args = args
        self._config = config if args.recover else _without_recovery(config)
        self._gathered = gathered
        self._looks = Looks(config.presets, browsers, widths=config.rewrite.widths)
        self._signer = Signer(config.sources.keys) if config.sources.keys else None
        self._report = _report(gathered)
        self._signals = signals
        self._kept_so_far = 0

    async def run(self) -> int:
        """Warm everything; return the exit code."""
        begun = time.monotonic()
        this = asyncio.current_task()
        with self._signals.heard(this.cancel if this else lambda: None):
            try:
                await self._warm_all()
            except asyncio.CancelledError:
                if this is None or not self._signals.number:
                    raise
                this.uncancel()
                self._report.stopped = self._signals.step
            self._report.seconds = time.monotonic() - begun
            return _told(self._args, self._report, self._signals)

    async def _warm_all(self) -> None:
        async with self._warmer() as warmer:
            warming = Warming(
                warmer, per_origin=self._config.fetch.per_origin, concurrency=self._concurrency()
            )

            def finish() -> None:
                say(
                    "imgmirror: finishing the pictures in progress; a second signal ends the run at once",
                    error=True,
                )
                warming.stop()

            self._signals.then(finish)
            await self._warm(warming)

    def _concurrency(self) -> int:
        # The render queue would refuse more.
        return int(min(self._args.concurrency, self._config.render.queue + 1))

    async def _warm(self, warming: Warming) -> None:
        wanted, here = self._report.wanted, None if self._args.via else self._config
        detail = f"{self._report.articles} articles"
        with (
            progress_bar("Warming", total=wanted) as bar,
            as_job(here, "warm", bar, detail=detail) as progress,
        ):
            progress(0, wanted)
            async for outcome in warming.outcomes(self._gathered.works):
                self._report.add(outcome, now=time.time())
                self._announce(outcome)
                dead = len(self._report.outcomes) - self._kept_so_far
                progress(len(self._report.outcomes), note=f"{dead} not kept" if dead else "")
            progress.result = {"pictures": len(self._report.outcomes), "kept": self._kept_so_far}

    def _announce(self, outcome: WarmOutcome) -> None:
        if outcome.kept is None:
            return
        self._kept_so_far += 1
        if self._args.json:
            print(json.dumps({"kept": outcome.work.source.url, "sha256": outcome.kept.sha256}), flush=True)

    @asynccontextmanager
    async def _warmer(self) -> AsyncIterator[Warmer]:
        if self._args.via:
            async with open_via(self._args.via) as via:
                await _require_service(via)
                yield ViaWarmer(via, self._looks, path=self._path)
            return
        async with open_engine(self._config) as engine:
            await self._record(engine)
            yield self._local(engine)

    def _local(self, engine: Engine) -> LocalWarmer:
        signed = True if engine.signer else None

        def admit(source: Source, preset_only: bool) -> None:
            engine.policy.admit(source, transform_is_preset_only=preset_only, signed=signed)

        plans = Plans(self._config, engine.policy, engine.signer)

        def check(address: str) -> None:
            plans.make(address, now=time.time())

        parts = WarmingParts(
            engine.originals, engine.variants, engine.kept, admit, engine.fetcher.wants_pauses, check
        )
        return LocalWarmer(parts, self._looks)

    async def _record(self, engine: Engine) -> None:
        """Record which article uses which source, for purges by article. A failure to write does not stop the run."""
        found = self._gathered
        articles = [
            KeptArticle(name, sources, found.dates.get(name), str(found.files[name]), found.lines[name])
            for name, sources in found.articles.items()
        ]
        try:
            await engine.articles.record(articles)
        except CacheError as error:
            say(f"imgmirror: the use of sources by articles cannot be recorded: {error}", error=True)

    def _path(self, options: str, source: Source) -> str:
        if options != ORIGINAL:
            options = Transform.parse(options).canonical()
        sig = self._signer.sign(options, source.url) if self._signer else None
        return build("", options, source, sig=sig)


def _without_recovery(config: Config) -> Config:
    """Return the configuration without recovery sources, so that a plain warm reports dead pictures as dead."""
    fetch = config.fetch.model_copy(update={"wayback": "", "recover_wrappers": ()})
    return config.model_copy(update={"fetch": fetch})


async def _require_service(via: Via) -> None:
    answer = await via.get("/healthz", want_body=True)
    if not health_of(answer):
        raise ServiceUnreachable(
            f"{via.base_url} is not an imgmirror service (/healthz answered {answer.status})"
        )
