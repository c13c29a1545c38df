"""Looks a dead source up in the Wayback Machine for the operator, and takes the capture that they choose. Event loop.

`Recovery` does both by itself while a source is fetched. This module is for people who want to look first.
"""

from __future__ import annotations

from collections.abc import Callable

from cache.base.entry import Entry
from cache.durable_tier import Originals
from proxy.config import FetchConfig
from proxy.errors import InvalidRequest, NotFound, SourceUnreachable
from proxy.fetch.fetcher import Fetcher
from proxy.fetch.wayback import Copy, Wayback
from proxy.services.serving.kept import KeptOriginals
from proxy.source import Source


class ArchiveSearch:
    """The captures of one Wayback Machine, and keeping one of them."""

    def __init__(
        self,
        fetcher: Fetcher,
        originals: KeptOriginals,
        kept: Originals,
        config: FetchConfig,
        *,
        now: Callable[[], float],
    ) -> None:
        self._fetcher = fetcher
        self._originals = originals
        self._kept = kept
        self._now = now
        self._config = config
        self._wayback: Wayback | None = None

    def reconfigure(self, config: FetchConfig) -> None:
        """Use new settings from now on."""
        self._config, self._wayback = config, None

    async def look(self, source: Source) -> list[Copy]:
        """Return the captures of a source, those nearest to the date of its article first.

        Raises:
            InvalidRequest: no archive is configured.
            SourceUnreachable: the archive does not answer.
        """
        near = await self._kept.articles.date_of(source.url)
        found = await self._machine().captures(source, near=near)
        if found is None:
            raise SourceUnreachable("The archive does not answer; try again later.")
        return found

    async def take(self, source: Source, timestamp: str) -> Entry:
        """Keep the capture of a moment (14 digits), and return the entry.

        Raises:
            InvalidRequest: no archive is configured, or an intact picture of the source is kept.
            MirrorError: the capture cannot be fetched, or is no picture.
        """
        copy = self._machine().at(source, timestamp)
        if copy is None:
            raise NotFound("The archive has no such address.")
        entry = await self._kept.get(source.url)
        if entry is not None and await self._is_whole(entry):
            # The store would keep its own picture, and the caller would believe that the capture was taken.
            raise InvalidRequest("A picture of this source is kept; purge it before you take a capture.")
        obtained = await self._originals.take(source, copy)
        return obtained.entry

    async def _is_whole(self, entry: Entry) -> bool:
        try:
            return (await self._kept.condition(entry.body_sha256)).is_sound
        except OSError:
            return False

    def _machine(self) -> Wayback:
        if not self._config.wayback:
            raise InvalidRequest(
                'No archive is configured; set fetch.wayback, such as "https://web.archive.org".'
            )
        if self._wayback is None:
            # It remembers when the archive has asked for a pause.
            self._wayback = Wayback(self._fetcher, self._config, now=self._now)
        return self._wayback
