"""Exports style sheets, feeds and data: each picture's address is replaced by the address of one file. Pure.

style sheets      addresses relative to the sheet, as browsers resolve them; so are the site's own rooted addresses
feeds, drawings   the most compatible file, with the site's address if it is known
data              as for feeds; in a manifest, addresses are relative to the manifest
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from proxy.rewrite.base.beginnings import ABSOLUTE, EVERY
from proxy.rewrite.base.charset import page_encoding
from proxy.rewrite.base.masking import structure
from proxy.rewrite.base.spot import TEXTS, Spot, Use, address_text
from proxy.rewrite.exporting.edits import Edit, LineCounter, applied
from proxy.rewrite.exporting.pictures import ExportedFiles, Want
from proxy.rewrite.exporting.reading import NO_FILE
from proxy.rewrite.exporting.rules import Exported, LeftInPage, Rules
from proxy.rewrite.exporting.taking import Taken
from proxy.rewrite.exporting.tree import Here
from proxy.rewrite.markup.html import style_spots
from proxy.rewrite.site.sitetext import SiteKind, site_spots

RELATIVE = "readers may need an address with a host: give it with --site-url"
_READ_ALONE = frozenset({"xml", "json"})


def export_sheet(
    data: bytes, path: str, rules: Rules, pictures: Mapping[Want, ExportedFiles | None]
) -> Exported:
    """Export a style sheet."""
    text, raw, here = structure(data), data.decode("latin-1"), Here.of(path)
    lines, edits, left, spots = LineCounter(raw), [], [], []
    for spot in style_spots(text, 0, len(text), begins=EVERY):
        address = spot.read(raw[spot.start : spot.end])
        local = rules.tree.read(address, here)
        if local is None or (local.path is None and rules.taker.is_rooted(address)):
            spots.append(spot)
        elif local.path is None:
            if local.rooted:
                left.append(LeftInPage(lines.of(spot.start), address_text(address), NO_FILE))
        elif local.address != address and (new := spot.write(local.address)) is not None:
            edits.append(Edit(spot.start, spot.end, new))
    taken = rules.taker.taken(raw, [spot for spot in spots if _is_absolute(spot, raw)])
    return _exported(
        raw, taken, rules, pictures, lines=lines, edits=edits, left=left, here=here, absolute=False
    )


def export_text(
    data: bytes,
    path: str,
    rules: Rules,
    pictures: Mapping[Want, ExportedFiles | None],
    *,
    kind: SiteKind,
) -> Exported:
    """Export a feed, a drawing or data."""
    text, raw = structure(data), data.decode("latin-1")
    spots, _ = site_spots(text, kind, rules.fields)
    # Readers of these files need not be browsers, so offer a raster format. Leave addresses that only identify an
    # entry or a document.
    spots = [replace(spot, raster=True) for spot in spots if spot.use not in (*TEXTS, Use.LEAVE)]
    taken = rules.taker.taken(raw, spots, encoding=page_encoding(data))
    absolute = kind in _READ_ALONE and not path.endswith((".webmanifest", ".svg"))
    # Scripts on pages at any depth read data, and never on pages opened from a folder. So use the site's root.
    here = Here((), "/") if absolute and kind == "json" else Here.of(path)
    return _exported(
        raw,
        taken,
        rules,
        pictures,
        lines=LineCounter(raw),
        edits=[],
        left=[],
        here=here,
        absolute=absolute,
    )


def _is_absolute(spot: Spot, raw: str) -> bool:
    text = spot.read(raw[spot.start : spot.end])
    return text.startswith("/") or ABSOLUTE.match(text) is not None


def _exported(  # noqa: PLR0913 - what a document is made of
    raw: str,
    taken: list[Taken],
    rules: Rules,
    pictures: Mapping[Want, ExportedFiles | None],
    *,
    lines: LineCounter,
    edits: list[Edit],
    left: list[LeftInPage],
    here: Here,
    absolute: bool,
) -> Exported:
    wants: list[tuple[int, Want]] = []
    for item in taken:
        line = lines.of(item.spot.start)
        if item.source is None:
            left.append(LeftInPage(line, item.text, item.reason))
            continue
        want = Want(item.source, item.options, written=item.written)
        wants.append((line, want))
        shown = pictures.get(want)
        if shown is None:
            continue
        if absolute and not rules.site_url:
            left.append(LeftInPage(line, item.text, RELATIVE))
        file = shown.fallback if item.spot.raster else shown.one
        new = item.spot.write(rules.picture(file.name, here, absolute=absolute))
        if new is not None:
            edits.append(Edit(item.spot.start, item.spot.end, new))
    return Exported(applied(raw, edits), tuple(wants), tuple(left))
