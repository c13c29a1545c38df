"""`store purge` and `store accept`: delete kept originals, or choose the version that is served."""

from __future__ import annotations

import argparse
import dataclasses
import re
import time

from proxy.cli.keeping.common import Stores, known_article, opened, show_figures, show_json
from proxy.cli.output.terminal import progress_bar, safe, say
from proxy.config import Config
from proxy.fetch.hooks import tell
from proxy.services.articles.article_use import kept_source, unwrapper_of
from proxy.services.troubles.replacing import accept
from proxy.services.upkeep.purging import PurgeRefused, PurgeReport, PurgeWish, Purging, wanted
from proxy.source import Source

_DIGEST = re.compile(r"[0-9a-f]{64}")


def purge_misuse(args: argparse.Namespace) -> str:
    """Return what is wrong with the options of `purge`, or an empty text."""
    named = [name for name in ("source", "origin", "article") if getattr(args, name) is not None]
    if args.orphans:
        others = named or args.block or args.history or args.before is not None or args.since is not None
        return "--orphans goes with nothing but --dry-run" if others else ""
    if not named and not args.history and args.before is None and args.since is None:
        return "purge takes exactly one of --source, --origin and --article, or --before, --since, --history"
    if len(named) > 1:
        return "purge takes exactly one of --source, --origin and --article"
    try:
        return _wanted(args, args.article).problem()
    except ValueError as error:
        return str(error)


def _wanted(args: argparse.Namespace, article: str | None) -> PurgeWish:
    return wanted(
        source=args.source,
        origin=args.origin,
        article=article,
        before=args.before,
        since=args.since,
        history=args.history,
        older_than=args.older_than,
        keep=args.keep,
        dry_run=args.dry_run,
        block=args.block,
    )


async def purge(args: argparse.Namespace, config: Config) -> int:
    """Delete the named sources, or print what would be deleted."""
    async with opened(config, look=args.dry_run) as stores:
        if args.orphans:
            return await _purge_orphans(args, stores)
        article = await known_article(stores.articles, args.article) if args.article is not None else None
        if args.article is not None and article is None:
            say(f"imgmirror: no such article is known: {safe(args.article)}", error=True)
            return 1
        purging = Purging(
            stores.originals,
            stores.variants,
            stores.articles,
            unwrapper=unwrapper_of(config),
            now=time.time,
        )
        refused: PurgeRefused | None = None
        with progress_bar("Purging") as progress:
            try:
                report = await purging.purge(_wanted(args, article), progress)
            except PurgeRefused as error:
                report, refused = error.report, error
    _show_purged(args, report, refused=refused is not None)
    if args.dry_run:
        return 0
    failed = await _tell_hooks(config, report)
    if refused is not None:
        # Raise after the report, so that a partial purge does not look like success.
        raise refused
    return int(failed)


async def _tell_hooks(config: Config, report: PurgeReport) -> bool:
    """Notify the caches in front of the purge; return whether notifying one of them failed."""
    told = await tell(config.server.purge_hooks, purged=report.purged, blocked=report.blocked)
    if failed := told.count(False):
        say(
            f"imgmirror: {failed} of {len(told)} purge hooks were not told; their caches may still have it",
            error=True,
        )
    return failed > 0


def _show_purged(args: argparse.Namespace, report: PurgeReport, *, refused: bool) -> None:
    if args.json:
        show_json(dataclasses.asdict(report))
        return
    verb = "would be purged" if args.dry_run else "purged"
    what = "older versions of " if args.history else ""
    for word, sources in (
        (f"{verb}: {what}", report.purged),
        ("stays, another article uses it: ", report.shared),
    ):
        for source in sources:
            say(f"{word}{source}")
    if args.source is not None and not report.purged and not refused:
        say(f"{'no older version is kept' if args.history else 'not kept'}: {safe(args.source)}")
    figures = {
        "purged": len(report.purged),
        "blocked": len(report.blocked),
        "freed_bytes": report.freed_bytes,
    }
    if args.history:
        figures["versions"] = report.versions
    show_figures(args, figures, title="Purged")


async def _purge_orphans(args: argparse.Namespace, stores: Stores) -> int:
    with progress_bar("Looking for orphans") as progress:
        count, freed = await stores.originals.purge_orphans(progress, dry_run=args.dry_run)
    show_figures(args, {"orphans": count, "freed_bytes": freed, "dry_run": args.dry_run}, title="Purged")
    return 0


def accept_misuse(args: argparse.Namespace) -> str:
    """Return what is wrong with the options of `accept`, or an empty text."""
    if args.source is None:
        return "accept takes --source"
    if args.version is not None and not _DIGEST.fullmatch(args.version):
        return "--version takes the SHA-256 that `store show --source` shows"
    return ""


async def accept_version(args: argparse.Namespace, config: Config) -> int:
    """Make a version that was set aside, or an older one, the current original."""
    async with opened(config) as stores:
        source = Source.parse(args.source)
        url = (await kept_source(unwrapper_of(config), stores.originals, source)).url
        entry = await accept(stores.originals, url, args.version)
    if entry is None:
        say(f"imgmirror: {url} has no such version; store show --source shows them", error=True)
        return 1
    show_figures(args, {"source": url, "sha256": entry.body_sha256}, title="Accepted")
    return 0
