"""Builds the markup of pictures in several formats: `<source>` elements and their `srcset`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proxy.rewrite.exporting.edits import escaped
from proxy.rewrite.exporting.pictures import SHOWN_IN_PAGES, Candidate, ExportedFiles
from proxy.rewrite.markup.srcset import candidates

AddressOf = Callable[[Candidate], str]
OPENING = '<picture style="display:contents">'
"""The element has no box of its own, so the layout around the picture does not change."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A `srcset` in one format."""

    format: str
    srcset: str


def widths(files: Sequence[Candidate], address_of: AddressOf) -> str:
    """Return the `srcset` of files with their widths; a single file gets no width."""
    if len(files) == 1:
        return address_of(files[0])
    return ", ".join(f"{address_of(file)} {file.width}w" for file in files)


def spread_offers(shown: ExportedFiles, address_of: AddressOf) -> list[Offer]:
    """Return an offer for each format of a picture."""
    return [Offer(files[-1].format, widths(files, address_of)) for files in shown.offers]


def srcset_offers(value: str, shown: Sequence[ExportedFiles], address_of: AddressOf) -> list[Offer]:
    """Return an offer for each format that all candidates of a `srcset` have, with their descriptors unchanged."""
    formats = [files[-1].format for files in shown[0].offers] if shown else []
    found = []
    for name in formats:
        files = [one.in_format(name) for one in shown]
        if all(files):
            found.append(Offer(name, srcset_with(value, [address_of(file) for file in files if file])))
    return found


def srcset_with(value: str, addresses: Sequence[str]) -> str:
    """Return a `srcset` with other addresses, one for each of its candidates."""
    pieces: list[str] = []
    position = 0
    for (start, end), address in zip(candidates(value), addresses, strict=True):
        pieces += value[position:start], address
        position = end
    return "".join((*pieces, value[position:])).strip()


def sizes_of(width: int) -> str:
    """Return the `sizes` for a picture of this width, so that it keeps its width unless a style sets another."""
    return f"(max-width: {width}px) 100vw, {width}px"


def source_tag(offer: Offer, others: Sequence[tuple[str, str]], *, closed: bool) -> str:
    """Return a `<source>`; `others` are attributes as decoded text, `closed` writes it as XHTML."""
    names = [("type", SHOWN_IN_PAGES[offer.format]), ("srcset", offer.srcset), *others]
    words = "".join(f' {name}="{escaped(value)}"' for name, value in names if value)
    return f"<source{words}{'/' if closed else ''}>"
