"""The work of warming the pictures of the known articles, in a running service. Event loop.

The command `warm` reads articles and so knows the options of each picture. A service knows which sources an article
shows, so it keeps these and renders the presets that are asked for. It reads the files of articles for the lines only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any

from cache.originals.articles import KeptArticle
from proxy.errors import MirrorError
from proxy.services.jobs.running import JobProgress, Work
from proxy.services.jobs.work import MAX_LISTED
from proxy.services.warm.warming import PictureToWarm, Warmer, Warming, WarmOutcome
from proxy.source import Source


def pictures_of(articles: Iterable[KeptArticle], presets: tuple[str, ...]) -> list[PictureToWarm]:
    """Return the pictures that articles show, each once, with the earliest date of its articles."""
    names: dict[str, list[str]] = {}
    dates: dict[str, float] = {}
    for article in articles:
        for url in article.sources:
            names.setdefault(url, []).append(article.name)
            if article.date is not None:
                dates[url] = min(article.date, dates.get(url, article.date))
    found = []
    for url, users in sorted(names.items()):
        try:
            found.append(PictureToWarm(Source.parse(url), presets, tuple(users), dates.get(url)))
        except MirrorError:
            continue  # an article of an earlier version, whose address cannot be a source any more
    return found


ReadLines = Callable[[JobProgress], Awaitable[int]]
"""Records in which lines the articles show their pictures; returns the number of articles."""


def warm_work(
    warmer: Warmer,
    works: list[PictureToWarm],
    *,
    read_lines: ReadLines,
    per_origin: int,
    concurrency: int,
) -> Work:
    """Return the work of recording the lines of articles and of warming their pictures, with origins in turns as `warm`
    does."""

    async def work(progress: JobProgress) -> Mapping[str, Any]:
        articles_read = await read_lines(progress)
        warming = Warming(warmer, per_origin=per_origin, concurrency=concurrency)
        counts: Counter[str] = Counter()
        dead: list[dict[str, str]] = []
        async with aclosing(warming.outcomes(works)) as outcomes:  # type: ignore[type-var] # an async generator
            async for outcome in outcomes:
                _count(outcome, counts, dead)
                missing = counts["dead"] + counts["not_kept"]
                progress(counts["pictures"], len(works), f"{missing} not kept" if missing else "")
        named = {name: counts[name] for name in ("pictures", "kept", "new", "dead", "not_kept", "variants")}
        return {**named, "articles_read": articles_read, "dead_pictures": dead}

    return work


def _count(outcome: WarmOutcome, counts: Counter[str], dead: list[dict[str, str]]) -> None:
    counts["pictures"] += 1
    counts["kept"] += outcome.kept is not None
    counts["new"] += outcome.kept is not None and outcome.kept.new
    counts["not_kept"] += outcome.not_kept
    counts["variants"] += sum(made.failure is None for made in outcome.made)
    if outcome.dead:
        counts["dead"] += 1
        if len(dead) < MAX_LISTED and outcome.failure is not None:
            dead.append({"source": outcome.work.source.url, "code": outcome.failure.code})
