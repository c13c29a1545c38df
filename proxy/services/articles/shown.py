"""What the articles of a run show: other text of a site is rewritten where its source is known to be a picture so.

Articles that were passed unread may show it by its own address. They are read when somebody wants to know, those that
may name its host first. Blocking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from proxy.services.articles.treework import ArticleJob, ArticleOutcome
from proxy.source import Source

_MOST_LOOKS = 8
"""After so many hosts all that was passed is read at once."""


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
        """Take note of an article."""
        if outcome.passed:
            self._passed.append(job)
        self._urls.update(outcome.sources)

    def known(self, urls: Iterable[str]) -> tuple[str, ...]:
        """Return those of some sources that an article shows."""
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
