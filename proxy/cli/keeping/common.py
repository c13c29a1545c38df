"""What the actions of `imgmirror store` share: their type, and how figures are shown."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from cache.articles import ArticleIndex
from cache.originals import Originals
from cache.variants import Variants
from proxy.app import open_stores
from proxy.cli.terminal import readable, say, show_rows
from proxy.config import Config

MAX_LINES = 1000

Action = Callable[[argparse.Namespace, Config], Coroutine[Any, Any, int]]


@dataclass(frozen=True, slots=True)
class Stores:
    """What is kept, opened."""

    originals: Originals
    variants: Variants
    articles: ArticleIndex


@asynccontextmanager
async def opened(config: Config, *, look: bool = False) -> AsyncIterator[Stores]:
    """Open what is kept. Nothing is tidied up: that is for `sweep` and the service. A `look` changes nothing at all."""
    async with open_stores(config, tidy=False, look=look) as (originals, variants, articles):
        yield Stores(originals, variants, articles)


async def known_article(index: ArticleIndex, given: str) -> str | None:
    """Return the name an article was recorded under: as it was given to `warm`, relative or absolute."""
    known = set(await index.articles())
    return next((name for name in _spellings(given) if name in known), None)


def _spellings(path: str) -> tuple[str, ...]:
    return path, os.path.normpath(path), os.path.abspath(path), os.path.relpath(path)  # noqa: PTH100 - as text


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
