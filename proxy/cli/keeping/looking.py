"""`store stat`, `store show`, `store verify` and `store sweep`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cache.base.entry import Entry
from cache.catalogue.database import NoCatalogueError, TooManyError
from cache.durable_tier import STAT_SECONDS
from cache.sweep import sweep
from cache.upkeep.census import StoreStat
from cache.upkeep.verify import Progress, VerifyReport
from proxy.app import open_engine
from proxy.cli.base.jobreport import as_job
from proxy.cli.keeping.common import MAX_LINES, Stores, opened, show_figures, show_json
from proxy.cli.output.terminal import progress_bar, safe, say, show_table
from proxy.config import Config
from proxy.dialects.native import VERSION_MARK, build
from proxy.services.articles.article_use import kept_source, unwrapper_of
from proxy.services.checks.sizes import readable
from proxy.services.jobs.work import verified_figures
from proxy.services.upkeep.repairing import Repair, Repairing
from proxy.services.upkeep.tally import Share, Tallied, Tally
from proxy.source import Source

_LARGEST = 20


async def stat(args: argparse.Namespace, config: Config) -> int:
    """Print counts of the stores and the space that could be freed."""
    async with opened(config, look=True) as stores:
        with progress_bar("Counting") as progress:
            counted, tally = await _counted(stores, progress, exact=args.exact)
        figures = await _figures(stores, counted, articles=len(tally.articles))
        failures = await stores.originals.failures.counts(now=time.time())
    figures["failures_remembered"] = sum(failures.values())
    if args.json:
        show_json(figures | _lists(tally) | {"failures": failures})
        return 0
    show_figures(args, figures, title="Kept")
    _show_shares("By origin", "origin", tally.origins)
    _show_shares("By article", "article", tally.articles)
    for suspect in tally.suspects[:_LARGEST]:
        say(f"same bytes under {suspect.sources} sources of {suspect.origin}: {suspect.sha256}")
    return 0


async def _counted(stores: Stores, progress: Progress, *, exact: bool) -> tuple[StoreStat, Tallied]:
    """Return the figures of the catalogue; with `exact`, or if it does not know everything, of the files."""
    originals = stores.originals
    if not exact and (known := await originals.stat_from_catalogue(progress)) is not None:
        with contextlib.suppress(NoCatalogueError, TooManyError):
            return known, await originals.catalogue.ask(Tallied.of, seconds=STAT_SECONDS)
    articles = await stores.articles.everything()
    tally = Tally({name: item.sources for name, item in articles.items()})
    counted = await originals.stat(progress, note=tally.note)
    return counted, tally.result()


def _lists(tally: Tallied) -> dict[str, list[dict[str, Any]]]:
    return {
        "origins": [dataclasses.asdict(share) for share in tally.origins],
        "by_article": [dataclasses.asdict(share) for share in tally.articles],
        "suspects": [dataclasses.asdict(suspect) for suspect in tally.suspects],
    }


async def _figures(stores: Stores, counted: StoreStat, *, articles: int) -> dict[str, Any]:
    rendered = await stores.variants.stat()
    leftovers = await stores.originals.remove_leftovers(dry_run=True)
    return {
        "originals": counted.entries, "bodies": counted.bodies, "bodies_bytes": counted.body_bytes,
        "entries_bytes": counted.entry_bytes, "shared_bytes": counted.shared_bytes, "damaged": counted.damaged,
        "recovered": counted.recovered, "blocked": counted.blocked, "articles": articles, "versions": counted.former,
        "set_aside": counted.set_aside, "variants": rendered.entries, "variants_bytes": rendered.bytes,
        "variants_max_bytes": rendered.max_bytes, "free_bytes": stores.originals.free_bytes(),
        "freed_by_sweep_files": len(leftovers), "freed_by_purge_history_bytes": counted.former_bytes,
        "freed_by_purge_orphans_bytes": counted.orphan_bytes,
    }  # fmt: skip


def _show_shares(title: str, name: str, shares: list[Share]) -> None:
    if not shares:
        return
    say()
    rows = [
        [
            safe(share.name),
            str(share.originals),
            readable(share.bytes),
            str(share.former),
            str(share.set_aside),
        ]
        + ([str(share.missing)] if name == "article" else [])
        for share in shares[:_LARGEST]
    ]
    columns = (name, "originals", "size", "versions", "set aside")
    show_table(title, (*columns, "missing") if name == "article" else columns, rows)
    if len(shares) > _LARGEST:
        say(f"{len(shares) - _LARGEST} more; --json lists them all")


def show_misuse(args: argparse.Namespace) -> str:
    """Return what is wrong with the options of `show`, or an empty text."""
    return "" if args.source is not None else "show takes --source"


async def show(args: argparse.Namespace, config: Config) -> int:
    """Show the facts of one picture and its versions with their addresses; exit 1 when it is not kept."""
    async with opened(config, look=True) as stores:
        source = Source.parse(args.source)
        url = (await kept_source(unwrapper_of(config), stores.originals, source)).url
        entry = await stores.originals.get(url)
        used_by = await stores.articles.articles_of(url)
        blocked = await stores.originals.is_blocked(url)
    if args.json:
        show_json({"source": url, "blocked": blocked, "articles": used_by, "entry": _plain(entry)})
        return int(entry is None)
    say(f"{url}: {'kept' if entry else 'not kept'}{', blocked' if blocked else ''}")
    for name in used_by:
        say(f"used by: {safe(name)}")
    for version in _versions(entry) if entry else ():
        note = f", {version['note']}" if version["note"] else ""
        say(
            f"{_day(version['fetched_at'])}  {version['media_type']}  {readable(version['body_size'])}{note}  "
            f"{version['address']}"
        )
        if version["recovered"]:
            say(f"  recovered from {safe(_provenance(version['recovered']))}")
    return int(entry is None)


def _provenance(recovered: Mapping[str, Any]) -> str:
    captured_at = recovered.get("captured_at")
    when = f", captured {_day(captured_at)}" if isinstance(captured_at, int | float) else ""
    return f"{recovered.get('from')}{when}: {recovered.get('url')}"


def _plain(entry: Entry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    return {
        "status": entry.status, "final_url": entry.final_url, "validated_at": entry.validated_at,
        "headers": [list(pair) for pair in entry.headers], "damaged": entry.damaged,
        "recovered": dict(entry.recovered) if entry.recovered else None, "versions": _versions(entry),
    }  # fmt: skip


def _versions(entry: Entry) -> list[dict[str, Any]]:
    """Return the current and the older versions, newest first, each with its address."""
    found = []
    for item in (entry.as_former(note="present"), *entry.history):
        address = build("", VERSION_MARK + item.body_sha256, Source.parse(entry.source))
        picture = dict(item.picture) if item.picture else None
        recovered = dict(item.recovered) if item.recovered else None
        found.append(
            dataclasses.asdict(item) | {"picture": picture, "recovered": recovered, "address": address}
        )
    return found


def _day(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):
        return "never"


async def verify(args: argparse.Namespace, config: Config) -> int:
    """Compare the kept files with their digests; with --repair, fetch damaged and missing ones again."""
    async with opened(config, look=True) as stores:
        with progress_bar("Verifying") as bar, as_job(config, "verify", bar, looks=True) as progress:
            report = await stores.originals.verify(progress)
            progress.result = verified_figures(report)
    repair = await _repaired(report, config) if args.repair else None
    left = repair.left if repair else report.wrong
    if args.json:
        extra = {} if repair is None else {"repair": dataclasses.asdict(repair)}
        show_json(dataclasses.asdict(report) | extra)
        return int(bool(left))
    for word, findings in (("wrong", report.wrong), ("note", report.notes)):
        for finding in findings[:MAX_LINES]:
            say(f"{word}: {finding.kind}: {safe(finding.path)}: {safe(finding.detail)}")
    figures = {
        "entries": report.entries, "bodies": report.bodies, "bodies_bytes": report.body_bytes,
        "wrong": len(report.wrong), "notes": len(report.notes),
    }  # fmt: skip
    if repair is not None:
        for url, copy in repair.recovered.items():
            say(f"recovered: {safe(url)}: {safe(copy)}")
        for url, code in repair.failed.items():
            say(f"not repaired: {code}: {url}")
        figures |= {"repaired": len(repair.repaired), "still_wrong": len(repair.left)}
    show_figures(args, figures, title="Verified")
    return int(bool(left))


async def _repaired(report: VerifyReport, config: Config) -> Repair:
    if not report.wrong:
        return Repair()
    async with open_engine(config, tidy=False) as engine:
        repairing = Repairing(engine.originals, engine.kept, engine.policy.check_hop)
        with progress_bar("Fetching again", total=len(report.sources)) as progress:
            return await repairing.repair(report, progress)


async def sweep_variants(args: argparse.Namespace, config: Config) -> int:
    """Shrink the variants to their budget, and remove files that killed processes left behind."""
    async with opened(config, look=args.dry_run) as stores:
        with progress_bar("Sweeping") as bar, as_job(config, "sweep", bar, looks=args.dry_run) as progress:
            report = await sweep(stores.originals, stores.variants, dry_run=args.dry_run, progress=progress)
            progress.result = dataclasses.asdict(report)
    show_figures(args, dataclasses.asdict(report), title="Would be swept" if args.dry_run else "Swept")
    return 0
