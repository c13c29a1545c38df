"""`store pack`, `store unpack` and `store backup`: move the collection into archives, out of them, and to a copy."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

from cache.originals.articles import KeptArticle
from proxy.app import open_engine
from proxy.archives.items import is_warc
from proxy.cli.base.jobreport import as_job
from proxy.cli.keeping.common import MAX_LINES, Stores, known_article, opened, show_figures, show_json
from proxy.cli.output.terminal import progress_bar, safe, say
from proxy.config import Config
from proxy.services.articles.article_use import unwrapper_of
from proxy.services.moving.packing import Packing, Selection
from proxy.services.moving.unpacking import Unpacking, UnpackingParts, UnpackReport
from proxy.source import Source, origin_of


def pack_misuse(args: argparse.Namespace) -> str:
    """Return what is wrong with the options of `pack`, or an empty text."""
    if len(args.paths) != 1:
        return "pack takes one target: a file that ends in .warc or .warc.gz, or a folder"
    if sum(value is not None for value in (args.source, args.origin, args.article)) > 1:
        return "pack takes only one of --source, --origin and --article"
    target = args.paths[0]
    if is_warc(target) and ".arc" in target.suffixes[-2:]:
        return "ARC files are read only; name a file that ends in .warc or .warc.gz"
    return "" if target.absolute().parent.is_dir() else f"there is no folder {target.absolute().parent}"


def backup_misuse(args: argparse.Namespace) -> str:
    """Return what is wrong with the options of `backup`, or an empty text."""
    return "" if len(args.paths) == 1 else "backup takes one target: a folder"


async def backup(args: argparse.Namespace, config: Config) -> int:
    """Update a second store; exit 1 when something in this one is damaged or left out."""
    async with opened(config, look=True) as stores:
        with progress_bar("Backing up") as progress:
            report = await stores.originals.backup(args.paths[0].absolute(), progress)
    if args.json:
        show_json(dataclasses.asdict(report))
    else:
        for name in report.damaged[:MAX_LINES]:
            say(f"not copied, missing or damaged here: {safe(name)}")
        show_figures(args, dataclasses.asdict(report) | {"damaged": len(report.damaged)}, title="Backed up")
    return int(bool(report.damaged or report.versions_left_out))


def unpack_misuse(args: argparse.Namespace) -> str:
    """Return what is wrong with the options of `unpack`, or an empty text."""
    return "" if args.paths else "unpack takes WARC files, or folders with a manifest.jsonl"


async def pack(args: argparse.Namespace, config: Config) -> int:
    """Write the store into a WARC file or a folder; exit 1 when something is damaged and left out."""
    async with opened(config, look=True) as stores:
        selection = await _selected(args, stores, config)
        if selection is None:
            say(f"imgmirror: no such article is known: {safe(args.article)}", error=True)
            return 1
        target = args.paths[0].absolute()
        with (
            progress_bar("Packing") as bar,
            as_job(config, "pack", bar, detail=target.name, looks=True) as progress,
        ):
            report = await Packing(stores.originals).pack(target, selection, progress)
            progress.result = dataclasses.asdict(report) | {"damaged": len(report.damaged)}
    if args.json:
        show_json(dataclasses.asdict(report))
    else:
        for url in report.damaged[:MAX_LINES]:
            say(f"left out, missing or damaged: {url}")
        figures = dataclasses.asdict(report) | {"damaged": len(report.damaged)}
        show_figures(args, figures, title="Packed")
    return int(bool(report.damaged or report.versions_left_out))


async def _selected(args: argparse.Namespace, stores: Stores, config: Config) -> Selection | None:
    if args.source is not None:
        way = unwrapper_of(config).way(Source.parse(args.source))
        urls = {way.source.url, *(source.url for source in way.written)}
        return Selection(urls.__contains__, blocks=False)
    if args.origin is not None:
        origin = Source.parse(args.origin).origin
        return Selection(lambda source: origin_of(source) == origin, blocks=False)
    if args.article is not None:
        name = await known_article(stores.articles, args.article)
        if name is None:
            return None
        article = await stores.articles.get(name) or KeptArticle(name, ())
        wanted = frozenset(article.sources)
        return Selection(wanted.__contains__, (article,), blocks=False)
    known = await stores.articles.everything()
    return Selection(articles=tuple(known.values()))


async def unpack(args: argparse.Namespace, config: Config) -> int:
    """Unpack archives into the store; exit 1 when something is refused or damaged."""
    paths: list[Path] = args.paths
    async with open_engine(config, tidy=False) as engine:
        unpacking = Unpacking(
            UnpackingParts(engine.kept, engine.pool, config.fetch, unwrapper_of(config), time.time)
        )
        with progress_bar("Unpacking") as progress:
            report = await unpacking.unpack(paths, progress)
    if args.json:
        show_json(_plain(report))
    else:
        for url, reason in report.refused_sources.items():
            say(f"refused: {reason}: {safe(url)}")
        for name, reason in report.broken.items():
            say(f"cannot be read any further: {safe(name)}: {safe(reason)}")
        show_figures(args, _figures(report), title="Unpacked")
    return int(not report.is_complete)


def _plain(report: UnpackReport) -> dict[str, Any]:
    return dataclasses.asdict(report) | {"skipped": dict(report.skipped), "refused": dict(report.refused)}


def _figures(report: UnpackReport) -> dict[str, Any]:
    figures: dict[str, Any] = {
        name: getattr(report, name)
        for name in ("new", "changed", "same", "body_bytes", "articles", "blocked", "versions_left_out")
    }
    for word, counts in (("skipped", report.skipped), ("refused", report.refused)):
        told = ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
        figures[word] = f"{sum(counts.values())} ({told})" if told else 0
    return figures
