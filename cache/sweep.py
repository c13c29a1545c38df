"""Sweep: deletes data that can be made again, by fixed rules. Runs on the event loop, safe beside a running service.

Finds files in the variants' folder that no row of the database names (a process was killed between writing a file and
recording it), and reduces the variants to their budget. It does not touch originals, except temporary files whose owner
is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cache.durable_tier import Originals
from cache.upkeep.verify import Progress
from cache.variants.bounded_tier import Variants
from cache.variants.safe_disk import FILE_NAME
from cache.variants.shelf import DATABASE, looked_into

MIN_AGE_SECONDS = 600.0
"""A younger file may be about to be recorded in the database."""


@dataclass(frozen=True, slots=True)
class SweepReport:
    """The items that a sweep deleted, or would delete."""

    leftovers: int = 0
    orphans: int = 0
    orphan_bytes: int = 0
    culled: int = 0
    over_budget_bytes: int = 0
    dry_run: bool = False


def _show_nothing(_done: int, _total: int) -> None:
    pass


async def sweep(
    originals: Originals,
    variants: Variants,
    *,
    dry_run: bool = False,
    now: Callable[[], float] = time.time,
    progress: Progress = _show_nothing,
) -> SweepReport:
    """Remove leftovers and orphans, then reduce the variants to their budget. With `dry_run`, only report."""
    leftovers = await originals.remove_leftovers(dry_run=dry_run)
    progress(1, 3)
    found = await asyncio.to_thread(orphans, variants.folder, older_than=now() - MIN_AGE_SECONDS)
    if not dry_run:
        await asyncio.to_thread(_remove, [path for path, _ in found])
    progress(2, 3)
    over = max(0, (await variants.stat()).bytes - variants.max_bytes)
    culled = 0 if dry_run or not over else await variants.cull()
    progress(3, 3)
    return SweepReport(len(leftovers), len(found), sum(size for _, size in found), culled, over, dry_run)


def orphans(folder: Path, *, older_than: float) -> list[tuple[Path, int]]:
    """Return the files of variants that no row of the database names, with their sizes."""
    candidates = {}
    for path in (*folder.glob("??/*.val"), *folder.glob("??/??/*.val")):
        with contextlib.suppress(OSError):
            status, name = path.lstat(), path.relative_to(folder).as_posix()
            if FILE_NAME.match(name) and status.st_mtime < older_than:
                candidates[name] = status.st_size
    # Read the rows after the files, so that a file recorded in between is not an orphan.
    named = _named(folder)
    if named is None:
        return []
    return [(folder / name, size) for name, size in sorted(candidates.items()) if name not in named]


def _named(folder: Path) -> set[str] | None:
    """Return the files that rows name, or None if they cannot be read."""
    if not (folder / DATABASE).exists():
        return set()
    try:
        with looked_into(folder) as connection:
            rows = connection.execute("SELECT filename FROM Cache WHERE filename IS NOT NULL")
            return {str(name) for (name,) in rows}
    except sqlite3.Error:
        return None


def _remove(paths: list[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()
            path.parent.rmdir()
            path.parent.parent.rmdir()
