"""The items of an archive as values, the same for WARC files and plain folders. Pure.

A reader yields items. The caller must close each one, which removes its bodies unless they were kept.
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
    """Return the URI of an entry's metadata record in a WARC."""
    return f"urn:imgmirror:entry:{entry.key}"


class BadArchive(Exception):
    """The archive is damaged at this point. Items read before it remain valid."""


class Refused(Exception):
    """One record or body cannot be unpacked. `reason` is the word under which it is counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class PackedEntry:
    """An entry of our own pack with its bodies; `broken` names the damaged ones."""

    entry: Entry
    bodies: dict[str, Landed] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def close(self) -> None:
        """Remove the bodies that were not kept."""
        for landed in self.bodies.values():
            landed.close()


@dataclass(slots=True)
class Capture:
    """A picture from another program's archive.

    moment: when it was captured, unix seconds. status: of the HTTP answer. headers: names in lower case.
    has_length: whether the body is known to be complete. digest: the digest that the archive states.
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
    """A capture with the same bytes as another one; `digest` is the digest that the archive states."""

    url: str
    moment: float
    headers: Headers
    digest: str
    refers_to: str

    def close(self) -> None:
        """Do nothing: this item has no body."""


@dataclass(frozen=True, slots=True)
class PackedArticle:
    """An article, the sources it uses, and when it was written (unix seconds).

    lines: where its sources stand in its file, from 1; of a source that is not known, none. has_bad_lines: the archive
    says something else instead of lines.
    """

    name: str
    sources: tuple[str, ...]
    date: float | None = None
    lines: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    has_bad_lines: bool = False

    def close(self) -> None:
        """Do nothing: this item has no body."""


@dataclass(frozen=True, slots=True)
class PackedBlock:
    """A blocked source, and the reason."""

    url: str
    reason: str

    def close(self) -> None:
        """Do nothing: this item has no body."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record that is not unpacked. `refused`: it should be one of our records or a picture, but is invalid."""

    reason: str
    url: str = ""
    refused: bool = False

    def close(self) -> None:
        """Do nothing: this item has no body."""


Item = PackedEntry | Capture | Revisit | PackedArticle | PackedBlock | Skipped


class ArchiveReader(Protocol):
    """Reads an archive once, from beginning to end."""

    def items(self) -> Generator[Item, None, None]:
        """Yield the items of the archive.

        Raises:
            BadArchive: the archive is damaged at this point.
            NotKept: the store accepts no bytes.
            OSError: the disk refused.
        """

    def progress(self) -> tuple[int, int]:
        """Return how many bytes were read, and the total."""


@dataclass(frozen=True, slots=True)
class OpenBody:
    """A kept body, compared with its digest and open at its start. `is_shared`: other entries may have it too."""

    sha256: str
    size: int
    reader: BinaryIO
    is_shared: bool = True


class ArchiveWriter(Protocol):
    """Writes an archive under a temporary name; `finish` gives it its final name."""

    def entry(self, entry: Entry, bodies: Mapping[str, OpenBody]) -> int:
        """Write an entry and those of its bodies that are not in the archive yet; return how many were written."""

    def article(self, article: KeptArticle) -> None:
        """Write the sources that an article uses, and its date."""

    def block(self, url: str, reason: str) -> None:
        """Record that a source is blocked."""

    def finish(self) -> None:
        """Make the archive durable under its final name."""

    def abandon(self) -> None:
        """Remove what was written."""


def is_warc(path: Path) -> bool:
    """Return whether a file's name is that of a WARC (or its predecessor, an ARC), compressed or not."""
    return path.name.lower().removesuffix(".gz").endswith((".warc", ".arc"))
