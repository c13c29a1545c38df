"""`imgmirror export SITE OUT`: copy a built site together with its pictures, for a static host or for offline use.

Exit codes: 0 the copy is complete; 1 a picture is dead or a file is left; 2 wrong use, nothing was written.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import replace
from pathlib import Path

from cache.base.errors import CacheError
from proxy.app import Engine, open_engine
from proxy.cli.base.signals import Signals, Stopped
from proxy.cli.output.exportreport import show_report
from proxy.cli.output.terminal import complain, progress_bar, quiet_log, say, whole_number
from proxy.config import Config, WrapperConfig, base_url_problem
from proxy.errors import MirrorError
from proxy.rewrite.exporting.exporter import Exporter
from proxy.rewrite.exporting.pictures import FOLDER
from proxy.rewrite.exporting.rules import Rules
from proxy.rewrite.exporting.taking import Taker
from proxy.rewrite.exporting.tree import Tree
from proxy.rewrite.ondisk.journal import former_bases
from proxy.rewrite.site.sitetext import data_fields
from proxy.services.articles.article_use import RewriteSettings
from proxy.services.exporting.export import Export
from proxy.services.exporting.output import Output, OutputError
from proxy.services.exporting.overlap import overlap_problem
from proxy.services.exporting.pictures import ExportedPictures, ExportParts, ExportSettings, PictureFiles
from proxy.services.exporting.report import Dead
from proxy.services.exporting.state import StateError
from proxy.services.exporting.walk import Site, walk
from proxy.services.warm.warming import Warming
from proxy.source import Source
from proxy.web.targets.browsers import browsers_of

CONCURRENCY = 16
"""Pictures in progress at a time. Each may hold two dozen variants in memory."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("site", metavar="SITE", type=Path, help="the folder of a built site")
    parser.add_argument(
        "out", metavar="OUT", type=Path, help="the folder for the copy: new, empty, or an earlier one"
    )
    parser.add_argument(
        "--base-url", metavar="U", help="the mirror's address in the pages (server.public_url)"
    )
    parser.add_argument(
        "--site-url", metavar="U", help="the site's own address: for previews, feeds and links to itself"
    )
    parser.add_argument("--offline", action="store_true", help="fetch nothing; use only kept pictures")
    parser.add_argument(
        "--formats", metavar="F,F", help="only these of avif, webp and jpeg (stands for JPEG, PNG and GIF)"
    )
    parser.add_argument(
        "--concurrency",
        metavar="N",
        type=whole_number(1, 1024),
        default=CONCURRENCY,
        help="number of pictures in progress at a time",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace, config: Config) -> int:
    """Export; exit 1 when a picture is dead or a file is left."""
    quiet_log()
    try:
        if problem := _misuse(args, config):
            return complain(problem)
        settings = ExportSettings(
            config, browsers_of(config.render.formats, only=args.formats), offline=args.offline
        )
        site = walk(args.site)
        if not site.files:
            return complain(f"{args.site}: nothing to export")
        if FOLDER in site.files:
            return complain(f"{args.site / FOLDER}: a file has the name of the folder of pictures")
        with Output(args.out, waiting=_say_waiting) as output:
            return _ExportRun(args, config, settings, site, output).run()
    except (OSError, ValueError, MirrorError, CacheError, StateError) as error:
        return complain(getattr(error, "detail", "") or error)


def _misuse(args: argparse.Namespace, config: Config) -> str:
    for name, url in (("--base-url", args.base_url), ("--site-url", args.site_url)):
        if url and (problem := base_url_problem(url)):
            return f"{name} {problem}"
    return overlap_problem(args.site, args.out, store=config.store.dir)


def _say_waiting() -> None:
    say("imgmirror: another export is writing to this folder; waiting for it to end", error=True)


class _ExportRun:
    def __init__(
        self, args: argparse.Namespace, config: Config, settings: ExportSettings, site: Site, output: Output
    ) -> None:
        self._args = args
        self._config = config
        self._settings = settings
        self._output = output
        self._signals = Signals("while the site was read")
        exporter, text = _exporter(args, config, site)
        self._export = Export(site, output, exporter, settings=text, max_bytes=config.server.max_body)
        self._made = ExportedPictures()

    def run(self) -> int:
        """Export; return the exit code."""
        begun, report = time.monotonic(), self._export.report
        failure: object = None
        try:
            with self._signals.raised():
                self._steps()
        except Stopped:
            report.interrupted = True
        except OutputError as error:
            failure, report.interrupted = error, True
        number = self._signals.ignore_first()
        self._take()
        self._export.finish()
        report.seconds = time.monotonic() - begun
        show_report(report, as_json=self._args.json)
        if failure is not None:
            say(f"imgmirror: {failure}", error=True)
        return 128 + number if number else int(not report.complete)

    def _steps(self) -> None:
        with progress_bar("Reading the site") as progress:
            self._export.read(lambda number: self._step(progress, number))
        works = self._export.wanted.works()
        if works:
            asyncio.run(self._pictures())
            self._signals.require_none()
        with progress_bar("Writing the site") as progress:
            self._export.write(self._made.shown, lambda number: self._step(progress, number))

    def _step(self, progress: object, number: int) -> None:
        self._signals.require_none()
        if callable(progress):
            progress(number)

    async def _pictures(self) -> None:
        this = asyncio.current_task()
        with self._signals.heard(this.cancel if this else lambda: None):
            try:
                async with open_engine(self._config) as engine:
                    await self._make(engine)
            except asyncio.CancelledError:
                if this is None or not self._signals.number:
                    raise
                this.uncancel()

    async def _make(self, engine: Engine) -> None:
        signed = True if engine.signer else None

        def admit(source: Source) -> None:
            # The options come from the owner's pages, not from a visitor, so any transform is admitted.
            engine.policy.admit(source, transform_is_preset_only=True, signed=signed)

        parts = ExportParts(
            engine.originals, engine.variants, engine.kept, admit, engine.fetcher.wants_pauses
        )
        wanted = self._export.wanted
        files = PictureFiles(parts, self._settings, self._output, wanted.by_source())
        self._made = files.made
        warming = Warming(files, per_origin=self._config.fetch.per_origin, concurrency=self._concurrency())

        def finish() -> None:
            say(
                "imgmirror: finishing the pictures in progress; a second signal ends the run at once",
                error=True,
            )
            warming.stop()

        self._signals.then(finish)
        works = wanted.works()
        with progress_bar("Making pictures", total=len(works)) as progress:
            done = dead = 0
            async for outcome in warming.outcomes(works):
                done += 1
                dead += outcome.kept is None
                self._export.report.fetched += bool(outcome.kept and outcome.kept.new)
                progress(done, note=f"{dead} dead" if dead else "")

    def _concurrency(self) -> int:
        # The render queue would refuse more.
        return int(min(self._args.concurrency, self._config.render.queue + 1))

    def _take(self) -> None:
        """Add the outcomes of the pictures to the report."""
        report, made, wanted = self._export.report, self._made, self._export.wanted
        failures = {want.source: failure for want, failure in made.failures.items()}
        report.dead = [
            Dead(source.url, tuple(wanted.places[source]), failure.code, failure.message)
            for source, failure in sorted(failures.items(), key=lambda item: item[0].url)
        ]
        report.earlier = sorted(source.url for source in made.earlier)
        report.instead = sorted((want.source.url, want.options, code) for want, code in made.instead.items())


def _exporter(args: argparse.Namespace, config: Config, site: Site) -> tuple[Exporter, str]:
    """Return the exporter of documents, and a text that changes when its output would change."""
    own = f"http://{config.server.host}:{config.server.port}"
    base_url = (args.base_url or config.server.public_url or own).rstrip("/")
    former = [base for base in former_bases([args.site.absolute()]) if not base_url_problem(base)]
    urls = tuple(dict.fromkeys((*config.rewrite.former_urls, config.server.public_url, *former)))
    hosts = (
        WrapperConfig(prefix=f"{scheme}://{host}/", dialect=dialect)
        for host, dialect in config.hosts.items()
        for scheme in ("https", "http")
    )
    rewrite = config.rewrite.model_copy(
        update={
            "former_urls": tuple(filter(None, urls)),
            "wrappers": (*config.rewrite.wrappers, *hosts),
        }
    )
    settings = RewriteSettings.of(
        config.model_copy(update={"rewrite": rewrite}), base_url=base_url, all_images=True
    )
    taker = Taker(settings.config, base_url=settings.base_url, sizes=settings.sizes(), types=settings.types)
    site_url = (args.site_url or "").rstrip("/")
    tree, fields = Tree(site.files, site_url=site_url), data_fields(config.rewrite.fields)
    # Signing keys do not affect the output, and a published copy must not reveal anything about them.
    return Exporter(Rules(tree, taker, fields, site_url)), repr((replace(settings, keys=()), site_url))
