"""The picture that a place shows, and its exported files, as values. Pure.

A static host does not negotiate formats, so each format has its own file and the page offers all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.source import Source

FOLDER = "imgmirror"
"""The folder of the pictures, at the root of an exported site."""

SHOWN_IN_PAGES = {
    "avif": "image/avif", "webp": "image/webp", "jpeg": "image/jpeg", "png": "image/png", "gif": "image/gif",
    "svg": "image/svg+xml",
}  # fmt: skip
"""Media types by format, as exported pages write them in `type`: the formats that we write, and SVG."""


@dataclass(frozen=True, slots=True)
class Want:
    """A picture and our options for it, written as in an address.

    spread: the place accepts several widths, and its author named none. written: the wrappers' addresses by which the
    document shows it.
    """

    source: Source
    options: str
    spread: bool = False
    written: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file in the folder of pictures. `width` is in pixels, 0 when it is not known."""

    name: str
    format: str
    width: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ExportedFiles:
    """The files of a want.

    offers: by format, best first, widths ascending; each is the whole picture in that format. plain: files that every
    browser shows, widths ascending. one: for places with a single address that only browsers read.
    """

    offers: tuple[tuple[Candidate, ...], ...]
    plain: tuple[Candidate, ...]
    one: Candidate

    @property
    def fallback(self) -> Candidate:
        """The most compatible file, at full width."""
        return self.plain[-1]

    def in_format(self, name: str) -> Candidate | None:
        """Return the file in one format at full width, if that is offered."""
        return next((offer[-1] for offer in self.offers if offer[-1].format == name), None)
