"""Finds which sources the articles of a run show. Other text of a site is rewritten only where its source is shown.

An article that was skipped unread may show a source by its own address. Skipped articles are read when a source is
looked up, those that may name its host first. Blocking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from proxy.services.articles.treework import ArticleJob, ArticleOutcome
from proxy.source import Source

_MOST_LOOKS = 8
"""After this many hosts, all skipped articles are read at once."""


class ShownSources:
    """The sources that articles show; `do` does jobs, as `Run.outcomes`."""

    def __init__(
        self, do: Callable[[Iterable[ArticleJob]], Iterator[tuple[ArticleJob, ArticleOutcome]]]
    ) -> None:
        self._do = do
        self._urls: set[str] = set()
        self._passed: list[ArticleJob] = []
        self._hosts: set[str] = set()

    def add(self, job: ArticleJob, outcome: ArticleOutcome) -> None:
        """Record the outcome of an article."""
        if outcome.passed:
            self._passed.append(job)
        self._urls.update(outcome.sources)

    def known(self, urls: Iterable[str]) -> tuple[str, ...]:
        """Return those of the given sources that an article shows."""
        urls = tuple(urls)
        hosts = {Source.parse(url).host for url in urls if url not in self._urls} - self._hosts
        if hosts and self._passed:
            self._read(() if len(self._hosts | hosts) > _MOST_LOOKS else tuple(sorted(hosts)))
            self._hosts |= hosts
        return tuple(url for url in urls if url in self._urls)

    def _read(self, hosts: tuple[str, ...]) -> None:
        jobs = [ArticleJob(job.article, ignored=job.ignored, shows_at=hosts) for job in self._passed]
        self._passed = []
        for job, outcome in self._do(jobs):
            self.add(job, outcome)
