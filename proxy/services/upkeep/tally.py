"""Counts kept originals by origin and by article, and finds bytes that look like placeholders.

The catalogue knows the figures. Where there is none, they are counted one entry at a time, which holds a number for
each picture that an article uses and for each body.
"""

from __future__ import annotations

import dataclasses
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cache.base.entry import Entry
from cache.catalogue import totals
from cache.catalogue.totals import MAX_SUSPECTS, KeptShare
from proxy.services.troubles.replacing import PLACEHOLDER_PICTURES, SET_ASIDE
from proxy.source import origin_of


@dataclass(slots=True)
class Share:
    """The figures of one origin or article: originals kept, their bytes, older versions and those set aside.

    missing: for an article, the sources it uses that are not kept.
    """

    name: str
    originals: int = 0
    bytes: int = 0
    former: int = 0
    former_bytes: int = 0
    set_aside: int = 0
    missing: int = 0

    @classmethod
    def of(cls, known: KeptShare) -> Share:
        """Return the figures that the catalogue knows."""
        return cls(**dataclasses.asdict(known))

    def add(self, entry: Entry) -> None:
        """Count an original."""
        self.originals += 1
        self.bytes += entry.body_size
        self.former += len(entry.history)
        self.former_bytes += sum(item.body_size for item in entry.history)
        self.set_aside += sum(item.note in SET_ASIDE for item in entry.history)


@dataclass(frozen=True, slots=True)
class Suspect:
    """Bytes shared by several sources of one origin: a placeholder, or a picture with several addresses."""

    origin: str
    sha256: str
    sources: int


@dataclass(frozen=True, slots=True)
class Tallied:
    """The figures by origin and by article, the largest first, and suspicious bytes, the most common first."""

    origins: list[Share]
    articles: list[Share]
    suspects: list[Suspect]

    @classmethod
    def of(cls, connection: sqlite3.Connection) -> Tallied:
        """Return the figures of the catalogue: a question for `CatalogueService.ask`."""
        shared = totals.shared_bodies(connection, least=PLACEHOLDER_PICTURES)
        return cls(
            [Share.of(share) for share in totals.by_origin(connection)],
            [Share.of(share) for share in totals.by_article(connection)],
            [Suspect(body.origin, body.sha256, body.sources) for body in shared],
        )


@dataclass(slots=True)
class Tally:
    """Counts by origin and by article; `articles` are the known ones with their sources."""

    articles: Mapping[str, Iterable[str]]
    _origins: dict[str, Share] = field(default_factory=dict)
    _articles: dict[str, Share] = field(default_factory=dict)
    _users: dict[str, list[Share]] = field(default_factory=dict)
    _bodies: Counter[tuple[str, bytes]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        for name, sources in self.articles.items():
            share = self._articles[name] = Share(name)
            for url in sources:
                self._users.setdefault(url, []).append(share)
                share.missing += 1

    def note(self, entry: Entry) -> None:
        """Count one entry."""
        origin = origin_of(entry.source)
        self._origins.setdefault(origin, Share(origin)).add(entry)
        self._bodies[origin, bytes.fromhex(entry.body_sha256)] += 1
        for share in self._users.get(entry.source, ()):
            share.add(entry)
            share.missing -= 1

    def result(self) -> Tallied:
        """Return the figures of the entries that were counted."""
        return Tallied(self.by_origin(), self.by_article(), self.suspects())

    def by_origin(self) -> list[Share]:
        """Return the origins, the largest first."""
        return sorted(self._origins.values(), key=lambda share: (-share.bytes, share.name))

    def by_article(self) -> list[Share]:
        """Return the known articles, the largest first."""
        return sorted(self._articles.values(), key=lambda share: (-share.bytes, share.name))

    def suspects(self) -> list[Suspect]:
        """Return bytes shared by at least three sources of an origin, the most common first."""
        common = self._bodies.most_common(MAX_SUSPECTS)
        return [
            Suspect(origin, body.hex(), count)
            for (origin, body), count in common
            if count >= PLACEHOLDER_PICTURES
        ]
