"""Exports a site: read, fetch and render, write, tidy. Blocking; the caller makes pictures on an event loop in between.

1. `read` reads every document, or its record from an earlier run. It collects the wanted pictures and writes the
   documents that want none.
2. The caller makes the pictures (`PictureFiles`).
3. `write` writes the files that pages load, then the pages. Unchanged documents are not read again.
4. `finish` removes unused files and saves the state. After an interruption it only saves the state.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from cache.base.opening import open_regular
from proxy.rewrite.exporting.exporter import Exporter, Kind, kind_of
from proxy.rewrite.exporting.pictures import FOLDER, ExportedFiles, Want
from proxy.rewrite.exporting.rules import Exported
from proxy.services.exporting.output import Output, Put
from proxy.services.exporting.report import DocumentLine, ExportReport, Note
from proxy.services.exporting.state import PageRecord, shown_json
from proxy.services.exporting.walk import Problem, Site, documents
from proxy.services.warm.warming import PictureToWarm
from proxy.source import Source

Progress = Callable[[int], None]
VERSION = "1"
"""Part of the settings of every document. Raise it when the output for the same document changes."""
_CHANGED = "changed while it was exported; export again"
_TOO_LONG = "longer than server.max_body, so it was copied and not read"


@dataclass(slots=True)
class WantedPictures:
    """All wanted pictures by source, with the documents of each and its first line there."""

    wants: dict[Source, dict[Want, None]] = field(default_factory=dict)
    places: dict[Source, list[DocumentLine]] = field(default_factory=dict)

    def add(self, path: str, wants: Iterable[tuple[int, Want]]) -> None:
        """Add the wants of a document."""
        for line, want in wants:
            self.wants.setdefault(want.source, {})[want] = None
            places = self.places.setdefault(want.source, [])
            if not places or places[-1].path != path:
                places.append(DocumentLine(path, line))

    def works(self) -> list[PictureToWarm]:
        """Return the pictures to make."""
        return [
            PictureToWarm(
                source,
                tuple(dict.fromkeys(want.options for want in wants)),
                tuple(place.path for place in self.places[source]),
                written=tuple(Source.parse(url) for want in wants for url in want.written),
            )
            for source, wants in self.wants.items()
        ]

    def by_source(self) -> dict[Source, tuple[Want, ...]]:
        """Return the wants of each source."""
        return {source: tuple(wants) for source, wants in self.wants.items()}


class Export:
    """One run over one site. `settings` is a text that changes when documents must be read again."""

    def __init__(
        self, site: Site, output: Output, exporter: Exporter, *, settings: str, max_bytes: int
    ) -> None:
        self._site = site
        self._output = output
        self._exporter = exporter
        names = "\0".join(site.files).encode("utf-8", "surrogateescape")
        self._settings = hashlib.sha256(f"{VERSION}\0{settings}\0".encode() + names).hexdigest()
        self._max_bytes = max_bytes
        self._records: dict[str, PageRecord] = {}
        self._unreadable: set[str] = set()
        self._written: set[str] = set()
        self.wanted = WantedPictures()
        self.report = ExportReport(problems=list(site.problems), left_out=site.left_out)

    def read(self, progress: Progress) -> None:
        """Collect the pictures that the documents of the site want; write the documents that want none.

        Raises:
            OutputError: the copy cannot be written.
        """
        for number, (path, kind) in enumerate(self._documents(), start=1):
            progress(number)
            data = self._data(path)
            if data is None:
                continue
            digest = hashlib.sha256(data).hexdigest()
            record = self._output.state.pages.get(path)
            if record is None or (record.sha256, record.settings) != (digest, self._settings):
                exported = self._exporter.export(data, path, {}, kind=kind)
                record = PageRecord(digest, self._settings, exported.wants, exported.left)
                if not exported.wants:
                    # The document depends on no picture, so write it now and do not read it twice.
                    record = self._put(path, exported, record, {})
            self._records[path] = record
            self.wanted.add(path, record.wants)
        self.report.documents = len(self._records)
        self.report.files = len(self._site.files) - len(self._records)
        self.report.pictures = len(self.wanted.wants)

    def write(self, shown: Mapping[Want, ExportedFiles | None], progress: Progress) -> None:
        """Write the files of the site; `shown` maps each want to its files.

        Raises:
            OutputError: the copy cannot be written.
        """
        for number, path in enumerate(documents(self._site), start=1):
            progress(number)
            if path in self._records:
                self._document(path, shown)
            elif path not in self._unreadable:
                self._copy(path)

    def finish(self) -> None:
        """Remove unused files and save the state. After an interruption only save the state."""
        state = self._output.state
        if not (self.report.interrupted or self._unreadable or self._site.unread):
            sources = {source.url for source in self.wanted.wants}
            state.pages = {path: one for path, one in state.pages.items() if path in self._records}
            state.pictures = {url: one for url, one in state.pictures.items() if url in sources}
            self.report.removed = self._output.tidy()
        self._output.save()
        self.report.problems += self._output.problems
        self.report.picture_files = sum(path.startswith(f"{FOLDER}/") for path in state.files)

    def _documents(self) -> Iterator[tuple[str, Kind]]:
        for path in self._site.files:
            kind = kind_of(path)
            if kind is not None:
                yield path, kind

    def _data(self, path: str) -> bytes | None:
        """Return the bytes of a document, or None when it is too long or unreadable."""
        try:
            with os.fdopen(open_regular(self._site.files[path]), "rb") as reader:
                data = reader.read(self._max_bytes + 1)
        except OSError as error:
            self._unread(path, error)
            return None
        if len(data) <= self._max_bytes:
            return data
        self.report.notes.append(Note(DocumentLine(path, 1), "", _TOO_LONG, on_purpose=False))
        return None

    def _unread(self, path: str, error: OSError) -> None:
        if path not in self._unreadable:
            self._unreadable.add(path)
            self.report.problems.append(Problem(path, error.strerror or str(error)))

    def _document(self, path: str, shown: Mapping[Want, ExportedFiles | None]) -> None:
        record = self._records[path]
        name = _name_of(record, shown)
        if path in self._written:
            pass
        elif record.shown == name and self._output.is_ours(path):
            self.report.unchanged += 1
        elif (data := self._data(path)) is not None:
            exported = self._exporter.export(data, path, shown, kind=kind_of(path) or "other")
            if hashlib.sha256(data).hexdigest() != record.sha256:
                self.report.problems.append(Problem(path, _CHANGED))
            record = self._records[path] = self._put(path, exported, record, shown)
        self._output.state.pages[path] = record
        self.report.notes += (
            Note(DocumentLine(path, left.line), left.text, left.reason, on_purpose=left.on_purpose)
            for left in record.left
        )

    def _put(
        self, path: str, exported: Exported, record: PageRecord, shown: Mapping[Want, ExportedFiles | None]
    ) -> PageRecord:
        put = self._output.put(path, exported.data)
        self._written.add(path)
        self._count(put)
        return replace(record, left=exported.left, shown="" if put == "left" else _name_of(record, shown))

    def _copy(self, path: str) -> None:
        try:
            self._count(self._output.copy(path, self._site.files[path]))
        except OSError as error:
            self._unread(path, error)

    def _count(self, put: Put) -> None:
        self.report.written += put == "written"
        self.report.unchanged += put == "unchanged"


def _name_of(record: PageRecord, shown: Mapping[Want, ExportedFiles | None]) -> str:
    """Return a text that changes when a document must name other files."""
    digest = hashlib.sha256()
    for _, want in record.wants:
        files = shown.get(want)
        digest.update(json.dumps(shown_json(files) if files else None).encode("ascii"))
    return digest.hexdigest()
