"""Exports one file of a site: returns its new bytes, its wanted pictures, and the addresses left. Pure; CPU-bound.

It is called twice: first without pictures, to learn which are wanted, then with their files. The results differ only in
the addresses of the pictures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Literal

from proxy.rewrite.base.masking import is_wide
from proxy.rewrite.exporting.edits import LineCounter
from proxy.rewrite.exporting.page import export_page
from proxy.rewrite.exporting.pictures import ExportedFiles, Want
from proxy.rewrite.exporting.rules import Exported, LeftInPage, Rules
from proxy.rewrite.exporting.texts import export_sheet, export_text

Kind = Literal["html", "css", "xml", "json", "other"]
_KINDS: dict[str, Kind] = {
    ".html": "html", ".htm": "html", ".xhtml": "html", ".css": "css", ".xml": "xml", ".rss": "xml", ".atom": "xml",
    ".svg": "xml", ".json": "json", ".webmanifest": "json",
    ".js": "other", ".mjs": "other", ".txt": "other", ".md": "other",
}  # fmt: skip
WIDE = "it is UTF-16 or UTF-32 and was not read; save it as UTF-8"
UNREAD = "an address of the mirror in a place that is not read"


def kind_of(path: str) -> Kind | None:
    """Return how a file is parsed, by its name, or None when it is only copied."""
    return _KINDS.get(PurePosixPath(path).suffix.lower())


class Exporter:
    """Exports files for one set of rules."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        bases = b"|".join(re.escape(base) for base in rules.taker.bases if base)
        self._ours = re.compile(rb"(?:" + bases + rb")/image/", re.IGNORECASE) if bases else None

    def export(
        self, data: bytes, path: str, pictures: Mapping[Want, ExportedFiles | None], *, kind: Kind
    ) -> Exported:
        """Export a file. `pictures` has the files of each want, None for a picture that is not available."""
        if is_wide(data):
            return Exported(data, left=(LeftInPage(1, "", WIDE, on_purpose=False),))
        exported = self._read(data, path, pictures, kind)
        return replace(exported, left=(*exported.left, *self._unread(exported, pictures)))

    def _read(
        self, data: bytes, path: str, pictures: Mapping[Want, ExportedFiles | None], kind: Kind
    ) -> Exported:
        if kind == "html":
            return export_page(data, path, self._rules, pictures)
        if kind == "css":
            return export_sheet(data, path, self._rules, pictures)
        if kind == "other":
            return Exported(data)
        return export_text(data, path, self._rules, pictures, kind=kind)

    def _unread(self, exported: Exported, pictures: Mapping[Want, ExportedFiles | None]) -> list[LeftInPage]:
        """Return our own addresses that remain without a reported reason: in scripts, comments, other text."""
        if self._ours is None or any(pictures.get(want) is None for _, want in exported.wants):
            # Addresses of unavailable pictures remain too, and are reported with their pictures.
            return []
        found = [match.start() for match in self._ours.finditer(exported.data)]
        if not found:
            return []
        lines = LineCounter(exported.data.decode("latin-1"))
        named = {left.line for left in exported.left}
        return [
            LeftInPage(line, "", UNREAD) for line in dict.fromkeys(map(lines.of, found)) if line not in named
        ]
