"""The table of docs/places.md is what the rewriter does. `python tests/unit/test_places_table.py` writes it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.config import RewriteConfig
from proxy.rewrite.rewriter import Rewriter, RewriteResult, TextKind, kind_of
from proxy.rewrite.site.sitetext import SITE_KINDS, site_kind

PAGE = Path(__file__).parents[2] / "docs" / "places.md"
BASE = "https://img.example.org"
DIRECT = "https://h.example/p.png"
WRAPPED = f"https://cors.zfour.workers.dev/?{DIRECT}"
MARK = "<!-- places -->\n"
_ENTITIES = {ord(char): f"&#{ord(char)};" for char in "&<>`*_[]|"}


@dataclass(frozen=True)
class Place:
    """One row: where, in which file, and the smallest input, with PIC in the place of the address."""

    generator: str
    what: str
    file: str
    text: str
    hidden: bool

    @property
    def kind(self) -> TextKind:
        return kind_of(self.file) or site_kind(self.file) or "other"


def places() -> list[Place]:
    data = tomllib.loads((Path(__file__).parent / "places.toml").read_text(encoding="utf-8"))
    return [
        Place(group["name"], item["what"], item["in"], item["text"], item.get("hidden", False))
        for group in data["generator"]
        for item in group["places"]
    ]


PLACES = places()


def rewritten(place: Place, address: str, *, all_images: bool) -> RewriteResult:
    """Return what becomes of a place that holds `address`."""
    rewriter = Rewriter(RewriteConfig(), base_url=BASE, all_images=all_images)
    return rewriter.rewrite(place.text.replace("PIC", address).encode(), kind=place.kind)


def fate(place: Place, address: str, *, all_images: bool) -> str:
    """Return what becomes of the addresses of a place, in the words of the table."""
    result = rewritten(place, address, all_images=all_images)
    found = [f"`{item.preset}`" for item in result.replaced if item.source.url == DIRECT]
    found += [f"left{'' if item.on_purpose else ', to be looked at'}: {item.reason}" for item in result.left]
    return "; ".join(dict.fromkeys(found)) or "stays"


def as_wrapped(place: Place) -> str:
    return fate(place, WRAPPED, all_images=False)


def as_direct(place: Place) -> str:
    """In text other than articles only wrappers are considered."""
    return "stays" if place.kind in SITE_KINDS else fate(place, DIRECT, all_images=True)


def table() -> str:
    """Return the rows of all places, a table for each generator."""
    lines: list[str] = []
    for generator in dict.fromkeys(place.generator for place in PLACES):
        lines += [f"\n## {generator}\n"]
        lines += ["| place | for example | a wrapper becomes | a direct address |", "|---|---|---|---|"]
        for place in (place for place in PLACES if place.generator == generator):
            cells = (f"{place.what}", code(place), as_wrapped(place), as_direct(place))
            lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines)


def code(place: Place) -> str:
    """Return the example in the line of a table; `⏎` ends its lines."""
    shown = f"{place.file}: {place.text.strip()}".translate(_ENTITIES)
    return f"<code>{shown.replace(chr(10), ' ⏎ ')}</code>"


def page() -> str:
    """Return docs/places.md with its table as it should be."""
    return PAGE.read_text(encoding="utf-8").partition(MARK)[0] + MARK + table() + "\n"


def test_table_of_the_page_is_what_the_rewriter_does() -> None:
    """Each row was made by rewriting its example."""
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place.generator}: {place.what}")
def test_no_picture_of_a_place_is_passed_over_in_silence(place: Place) -> None:
    """Each address is rewritten or reported, in both modes; twice is once."""
    for address, all_images in ((WRAPPED, False), (WRAPPED, True), (DIRECT, True)):
        if address == DIRECT and (place.hidden or place.kind in SITE_KINDS):
            continue
        result = rewritten(place, address, all_images=all_images)
        count = place.text.count("PIC")
        reported = [item for item in result.left if item.text]
        assert sum(item.source.url == DIRECT for item in result.replaced) + len(reported) >= count
        rewriter = Rewriter(RewriteConfig(), base_url=BASE, all_images=all_images)
        assert rewriter.rewrite(result.data, kind=place.kind).data == result.data


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
