"""The catalogue of a large store: how fast it is made, and how long the first page of each list takes.

Used by `million.py`. The articles show a hundred sources each, and one of twenty is not kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cache.base.layout import Layout
from cache.catalogue import lists, questions
from cache.catalogue.questions import PictureQuestion
from cache.durable_tier import Originals

PER_ARTICLE = 100
MISSING_EACH = 20
"""One picture of so many in an article is not kept."""

TURNS = 5
KINDS = ("gone", "timeout", "refused", "not_an_image")


@dataclass(frozen=True, slots=True)
class CatalogueMeasured:
    """The costs of one catalogue. files: read while it was made, in `seconds`. again: seconds of a comparison that
    finds nothing. bytes: of its files. lists: median seconds of the first page of each list, by name."""

    files: int
    seconds: float
    again: float
    bytes: int
    lists: dict[str, float]


def measured_catalogue(root: Path, *, entries: int, source: Callable[[int], str]) -> CatalogueMeasured:
    """Make the articles and the catalogue of a store, and ask it."""
    _write_articles(root, entries=entries, source=source)

    async def run() -> CatalogueMeasured:
        store = await Originals.open(root)
        try:
            begun = time.perf_counter()
            files = await store.catalogue.catch_up()
            seconds = time.perf_counter() - begun
            begun = time.perf_counter()
            await store.catalogue.catch_up(again=True)
            again = time.perf_counter() - begun
            await _note(store, entries=entries)
            found = {name: await _median(store, ask) for name, ask in _lists(entries, source).items()}
        finally:
            await store.close()
        size = sum(path.stat().st_size for path in (root / "catalogue").iterdir() if path.is_file())
        return CatalogueMeasured(files, seconds, again, size, found)

    return asyncio.run(run())


def shown(small: CatalogueMeasured, large: CatalogueMeasured) -> str:
    """Return the figures of both catalogues as lines of text."""
    lines = [
        f"catalogue: {one.files} files read in {one.seconds:.1f} s, {one.files / one.seconds:.0f} /s; "
        f"compared again in {one.again:.1f} s; {one.bytes / 1e6:.0f} MB"
        for one in (small, large)
    ]
    for name, seconds in large.lists.items():
        before = small.lists[name]
        lines.append(f"  {name}: {before * 1e3:.1f} ms, {seconds * 1e3:.1f} ms ({seconds / before:.1f})")
    return "\n".join(lines)


def _lists(entries: int, source: Callable[[int], str]) -> dict[str, Callable[[Any], object]]:
    middle = source(entries // 2)

    def pictures(**wanted: Any) -> Callable[[Any], object]:
        return lambda it: questions.pictures(it, PictureQuestion(**wanted))

    return {
        "pictures, newest": pictures(),
        "pictures, largest": pictures(sorting="size"),
        "pictures, most used": pictures(sorting="use"),
        "pictures, by address": pictures(sorting="address"),
        "search, one address": pictures(text=middle[-14:]),
        "search, in every address": pictures(text="pictures", sorting="size"),
        "search, in none": pictures(text="nowhere at all"),
        "pictures of the only origin": pictures(origin="http://pictures.example", sorting="size"),
        "pictures of an article": pictures(article="posts/0.md"),
        "pictures by digest": pictures(sha256="7f"),
        "pictures whose origin fails": pictures(state="failing"),
        "missing": lists.missing,
        "missing, one reason": lambda it: lists.missing(it, reasons=["gone"]),
        "missing, by reason": lists.missing_by_reason,
        "articles": lists.articles,
        "articles with missing pictures": lambda it: lists.articles(it, only_missing=True),
    }


async def _median(store: Originals, ask: Callable[[Any], object]) -> float:
    seconds = []
    for _ in range(TURNS):
        begun = time.perf_counter()
        await store.catalogue.ask(ask)
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


def _absent(number: int) -> str:
    return f"http://gone.example/{number}.jpg"


def _write_articles(root: Path, *, entries: int, source: Callable[[int], str]) -> None:
    layout = Layout(root)
    for article in range(entries // PER_ARTICLE):
        name = f"posts/{article}.md"
        numbers = range(article * PER_ARTICLE, (article + 1) * PER_ARTICLE)
        urls = [_absent(number) if number % MISSING_EACH == 0 else source(number) for number in numbers]
        content = {"article": name, "sources": sorted(urls), "date": 1.6e9, "path": ""}
        path = layout.article(hashlib.sha256(name.encode()).hexdigest())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    os.sync()


async def _note(store: Originals, *, entries: int) -> None:
    for number in range(0, entries, MISSING_EACH):
        kind = KINDS[number // MISSING_EACH % len(KINDS)]
        store.catalogue.notes.note_failure(_absent(number), kind, status=0, at=time.time())
        if number % (MISSING_EACH * 1000) == 0:
            await store.catalogue.flush()
    await store.catalogue.flush()
