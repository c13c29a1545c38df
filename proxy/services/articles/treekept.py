"""Runs that need facts of kept pictures: articles are read once to find them, and again with the facts. Blocking.

Articles are done in chunks, so that all processes are busy and memory stays bounded.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from proxy.rewrite.base.kept import Known, LookUp, Wanted
from proxy.services.articles.treework import ArticleJob, ArticleOutcome
from proxy.source import Source

CHUNK = 512

Do = Callable[[Iterable[ArticleJob]], Iterator[tuple[ArticleJob, ArticleOutcome]]]
"""Does jobs, as `Run.outcomes`."""


def outcomes_with_kept(
    jobs: Iterable[ArticleJob], do: Do, look_up: LookUp
) -> Iterator[tuple[ArticleJob, ArticleOutcome]]:
    """Yield every job with its outcome, in order, after looking up its kept pictures.

    Raises:
        CacheError, OSError: raised by `look_up`.
    """
    jobs = iter(jobs)
    while chunk := list(itertools.islice(jobs, CHUNK)):
        first = list(do(chunk))
        asked = {id(job): _wanted(outcome) for job, outcome in first if outcome.asked}
        known = look_up(dict.fromkeys(itertools.chain.from_iterable(asked.values())))
        again = (replace(job, kept=_of(known, asked[id(job)])) for job, _ in first if id(job) in asked)
        second = do(again)
        for job, outcome in first:
            yield next(second) if id(job) in asked else (job, outcome)


def _wanted(outcome: ArticleOutcome) -> list[Wanted]:
    return [tuple(map(Source.parse, urls)) for urls in outcome.asked]


def _of(known: Known, asked: list[Wanted]) -> Known:
    return {wanted[0]: known[wanted[0]] for wanted in asked}
