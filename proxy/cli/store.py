"""`imgmirror store stat|verify|sweep|purge`: look after what is kept; all safe beside a running service.

Exit codes: 0 done; 1 `verify` found something wrong, or the article to purge is not known; 2 wrong use, no store,
or a store that cannot be used.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

from cache.articles import ArticleIndex
from cache.errors import CacheError
from cache.originals import Originals
from cache.sweep import sweep
from cache.variants import Variants
from proxy.app import open_stores
from proxy.cli.terminal import complain, progress_bar, quiet_log, readable, safe, say, show_rows
from proxy.config import Config
from proxy.errors import MirrorError
from proxy.services.articles import unwrapper_of
from proxy.services.purging import Purging, Wanted

MARKER = "imgmirror-store"
_MAX_LINES = 1000

Stores = tuple[Originals, Variants, ArticleIndex]
Action = Callable[[argparse.Namespace, Stores, Config], Awaitable[int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("action", choices=sorted(ACTIONS), help="count, check, tidy up, or delete on request")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--dry-run", action="store_true", help="sweep, purge: say what would be deleted")
    wanted = parser.add_argument_group("purge, one of")
    wanted.add_argument("--source", metavar="URL", help="one picture")
    wanted.add_argument(
        "--origin", metavar="URL", help="every picture of an origin, such as https://img.example.org"
    )
    wanted.add_argument("--article", metavar="PATH", help="the pictures that no other known article uses")
    parser.add_argument("--block", action="store_true", help="purge: refuse the pictures for good")


def run(args: argparse.Namespace, config: Config) -> int:
    """Do what is asked."""
    quiet_log()
    if problem := _misuse(args):
        return complain(problem)
    if not (config.store.dir / MARKER).is_file():
        # Nothing is made here: a store that the wrong user makes is one that the service cannot write.
        return complain(f"there is no store in {config.store.dir} (store.dir)")
    try:
        return asyncio.run(_run(args, config))
    except BrokenPipeError:
        raise
    except (CacheError, OSError, MirrorError) as error:
        return complain(error)


def _misuse(args: argparse.Namespace) -> str:
    named = [name for name in ("source", "origin", "article") if getattr(args, name) is not None]
    if args.action == "purge":
        return "" if len(named) == 1 else "purge takes exactly one of --source, --origin and --article"
    if named or args.block:
        return f"--{named[0] if named else 'block'} belongs to purge"
    return "--dry-run belongs to sweep and purge" if args.dry_run and args.action != "sweep" else ""


async def _run(args: argparse.Namespace, config: Config) -> int:
    async with open_stores(config) as stores:
        return await ACTIONS[args.action](args, stores, config)


async def _stat(args: argparse.Namespace, stores: Stores, _config: Config) -> int:
    originals, variants, index = stores
    with progress_bar("Counting") as progress:
        stat = await originals.stat(progress)
    rendered, articles = await variants.stat(), await index.articles()
    figures = {
        "originals": stat.entries, "bodies": stat.bodies, "bodies_bytes": stat.body_bytes,
        "entries_bytes": stat.entry_bytes, "shared_bytes": stat.shared_bytes, "damaged": stat.damaged,
        "recovered": stat.recovered,
        "blocked": stat.blocked, "articles": len(articles), "variants": rendered.entries,
        "variants_bytes": rendered.bytes, "variants_max_bytes": rendered.max_bytes,
        "free_bytes": originals.free_bytes(),
    }  # fmt: skip
    _show(args, figures, title="Kept")
    return 0


async def _verify(args: argparse.Namespace, stores: Stores, _config: Config) -> int:
    with progress_bar("Verifying") as progress:
        report = await stores[0].verify(progress)
    if args.json:
        say(json.dumps(dataclasses.asdict(report), indent=1))
        return int(bool(report.wrong))
    for word, findings in (("wrong", report.wrong), ("note", report.notes)):
        for finding in findings[:_MAX_LINES]:
            say(f"{word}: {finding.kind}: {safe(finding.path)}: {safe(finding.detail)}")
    figures = {
        "entries": report.entries, "bodies": report.bodies, "bodies_bytes": report.body_bytes,
        "wrong": len(report.wrong), "notes": len(report.notes),
    }  # fmt: skip
    _show(args, figures, title="Verified")
    return int(bool(report.wrong))


async def _sweep(args: argparse.Namespace, stores: Stores, _config: Config) -> int:
    report = await sweep(stores[0], stores[1], dry_run=args.dry_run)
    _show(args, dataclasses.asdict(report), title="Would be swept" if args.dry_run else "Swept")
    return 0


async def _purge(args: argparse.Namespace, stores: Stores, config: Config) -> int:
    originals, variants, index = stores
    article = await _known_name(index, args.article) if args.article is not None else None
    if args.article is not None and article is None:
        say(f"imgmirror: no such article is known: {safe(args.article)}", error=True)
        return 1
    wanted = Wanted(args.source, args.origin, article, dry_run=args.dry_run, block=args.block)
    purging = Purging(originals, variants, index, unwrapper=unwrapper_of(config))
    report = await purging.purge(wanted)
    if args.json:
        say(json.dumps(dataclasses.asdict(report), indent=1))
        return 0
    verb = "would be purged" if args.dry_run else "purged"
    for word, sources in ((verb, report.purged), ("stays, another article uses it", report.shared)):
        for source in sources:
            say(f"{word}: {source}")
    if args.source is not None and not report.purged:
        say(f"not kept: {safe(args.source)}")
    figures = {
        "purged": len(report.purged),
        "blocked": len(report.blocked),
        "freed_bytes": report.freed_bytes,
    }
    _show(args, figures, title="Purged")
    return 0


async def _known_name(index: ArticleIndex, given: str) -> str | None:
    """Return the name an article was recorded under: as it was given to `warm`, relative or absolute."""
    known = set(await index.articles())
    return next((name for name in _spellings(given) if name in known), None)


def _spellings(path: str) -> tuple[str, ...]:
    return path, os.path.normpath(path), os.path.abspath(path), os.path.relpath(path)  # noqa: PTH100 - as text


def _show(args: argparse.Namespace, figures: dict[str, Any], *, title: str) -> None:
    if args.json:
        say(json.dumps(figures, indent=1))
        return
    rows = []
    for name, value in figures.items():
        words = name.removesuffix("_bytes").replace("_", " ")
        shown = readable(value) if name.endswith("_bytes") else str(value)
        rows.append(
            (f"{words} size" if name in {"bodies_bytes", "entries_bytes", "variants_bytes"} else words, shown)
        )
    show_rows(rows, title=title)


ACTIONS: dict[str, Action] = {"stat": _stat, "verify": _verify, "sweep": _sweep, "purge": _purge}
