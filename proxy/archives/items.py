"""What an archive holds, as values: the same for WARC files and plain folders. Pure.

A reader yields items; whoever takes one closes it, which removes its bodies unless they were kept.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from cache.base.entry import Entry
from cache.originals.articles import KeptArticle
from cache.originals.landing import Landed, Landing

ENTRY_TYPE = "application/vnd.imgmirror.entry+json"
ARTICLE_TYPE = "application/vnd.imgmirror.article+json"
BLOCK_TYPE = "application/vnd.imgmirror.block+json"

Headers = tuple[tuple[str, str], ...]
Land = Callable[[], Landing]


def entry_uri(entry: Entry) -> str:
    """Return what the metadata of an entry is filed under in a WARC."""
    return f"urn:imgmirror:entry:{entry.key}"


class BadArchive(Exception):
    """The archive cannot be read on; what was read before stands."""


class Refused(Exception):
    """One record, or one body, cannot be brought in. `reason` is a word that is counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class PackedEntry:
    """An entry of ours with the bodies that came along; `broken` names those that did not come as they should."""

    entry: Entry
    bodies: dict[str, Landed] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def close(self) -> None:
        """Remove the bodies that were not kept."""
        for landed in self.bodies.values():
            landed.close()


@dataclass(slots=True)
class Capture:
    """A picture from somebody else's archive.

    moment: when it was captured, unix seconds. status: of the HTTP answer. headers: names in lower case.
    has_length: whether the end of the body is known to be its end. digest: what the archive calls it.
    """

    url: str
    moment: float
    status: int
    headers: Headers
    body: Landed
    has_length: bool
    digest: str = ""

    def close(self) -> None:
        """Remove the body unless it was kept."""
        self.body.close()


@dataclass(frozen=True, slots=True)
class Revisit:
    """A capture that gave the same bytes as another one; `digest` is what the archive calls them."""

    url: str
    moment: float
    headers: Headers
    digest: str
    refers_to: str

    def close(self) -> None:
        """Nothing came along."""


@dataclass(frozen=True, slots=True)
class PackedArticle:
    """An article, the sources it uses, and when it was written (unix seconds)."""

    name: str
    sources: tuple[str, ...]
    date: float | None = None

    def close(self) -> None:
        """Nothing came along."""


@dataclass(frozen=True, slots=True)
class PackedBlock:
    """A source that is refused for good, and why."""

    url: str
    reason: str

    def close(self) -> None:
        """Nothing came along."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record that is not brought in: `refused` when it should have been one of ours or a picture and is not right."""

    reason: str
    url: str = ""
    refused: bool = False

    def close(self) -> None:
        """Nothing came along."""


Item = PackedEntry | Capture | Revisit | PackedArticle | PackedBlock | Skipped


class ArchiveReader(Protocol):
    """Reads an archive once, from beginning to end."""

    def items(self) -> Generator[Item, None, None]:
        """Yield what is in it.

        Raises:
            BadArchive: it cannot be read on.
            NotKept: the store takes no bytes.
            OSError: the disk refused.
        """

    def progress(self) -> tuple[int, int]:
        """Return how much was read, and of how much."""


@dataclass(frozen=True, slots=True)
class OpenBody:
    """A kept body that was compared with its digest and is open at its start. `is_shared`: others may use it too."""

    sha256: str
    size: int
    reader: BinaryIO
    is_shared: bool = True


class ArchiveWriter(Protocol):
    """Writes an archive aside; it has its name only after `finish`."""

    def entry(self, entry: Entry, bodies: Mapping[str, OpenBody]) -> int:
        """Write an entry with those bodies that were not written before; return how many were."""

    def article(self, article: KeptArticle) -> None:
        """Write which sources an article uses, and its date."""

    def block(self, url: str, reason: str) -> None:
        """Write that a source is refused for good."""

    def finish(self) -> None:
        """Make the archive last under its name."""

    def abandon(self) -> None:
        """Remove what was written."""


def is_warc(path: Path) -> bool:
    """Tell by its name whether a file is a WARC (or its forerunner, an ARC), packed or not."""
    return path.name.lower().removesuffix(".gz").endswith((".warc", ".arc"))
