"""Shared parts of the actions of `imgmirror store`: opening the stores, printing figures."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from cache.durable_tier import Originals
from cache.originals.articles import ArticleIndex
from cache.variants.bounded_tier import Variants
from proxy.app import open_stores
from proxy.cli.output.terminal import say, show_rows
from proxy.config import Config
from proxy.services.checks.sizes import readable

MAX_LINES = 1000

Action = Callable[[argparse.Namespace, Config], Coroutine[Any, Any, int]]


@dataclass(frozen=True, slots=True)
class Stores:
    """The opened stores."""

    originals: Originals
    variants: Variants
    articles: ArticleIndex


@asynccontextmanager
async def opened(config: Config, *, look: bool = False) -> AsyncIterator[Stores]:
    """Open the stores without tidying them up, which `sweep` and the service do. A `look` changes nothing at all."""
    async with open_stores(config, tidy=False, look=look) as (originals, variants, articles):
        yield Stores(originals, variants, articles)


async def known_article(index: ArticleIndex, given: str) -> str | None:
    """Return the name an article was recorded under, for that name or a path that leads to its file."""
    known = await index.everything()
    spellings = _spellings(given)
    by_file = next((item.name for item in known.values() if item.path == spellings[-1]), None)
    return by_file or next((name for name in spellings if name in known), None)


def _spellings(path: str) -> tuple[str, ...]:
    """Return the names by which a path may be known, the one without links last."""
    absolute = os.path.abspath(path)  # noqa: PTH100 - as text
    return path, os.path.normpath(path), absolute, os.path.relpath(path), os.path.realpath(path)


def show_json(value: object) -> None:
    """Print a result for programs."""
    say(json.dumps(value, indent=1))


def show_figures(args: argparse.Namespace, figures: Mapping[str, Any], *, title: str) -> None:
    """Show figures; names that end in `_bytes` are sizes."""
    if args.json:
        show_json(figures)
        return
    rows = []
    for name, value in figures.items():
        words = name.removesuffix("_bytes").replace("_", " ")
        shown = readable(value) if name.endswith("_bytes") else str(value)
        base = name.removesuffix("_bytes")
        has_twin = name.endswith("_bytes") and not figures.keys().isdisjoint({base, f"{base}s"})
        rows.append((f"{words} size" if has_twin or name == "entries_bytes" else words, shown))
    show_rows(rows, title=title)
