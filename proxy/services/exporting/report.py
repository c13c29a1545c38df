"""Sums up an export: counts, dead pictures by place, and notes that need attention. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from proxy.services.exporting.walk import Problem


@dataclass(frozen=True, slots=True)
class DocumentLine:
    """A line of a document; `path` is relative to the site."""

    path: str
    line: int


@dataclass(frozen=True, slots=True)
class Dead:
    """A picture that was not exported and keeps its address: the documents that show it, their lines, the reason."""

    source: str
    places: tuple[DocumentLine, ...]
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Note:
    """A note about a place. `on_purpose` is false when it needs attention."""

    place: DocumentLine
    text: str
    reason: str
    on_purpose: bool = True


@dataclass(slots=True)
class ExportReport:
    """Collects the results of a run. interrupted: a signal ended it."""

    documents: int = 0
    files: int = 0
    written: int = 0
    unchanged: int = 0
    removed: int = 0
    pictures: int = 0
    fetched: int = 0
    picture_files: int = 0
    dead: list[Dead] = field(default_factory=list)
    earlier: list[str] = field(default_factory=list)
    instead: list[tuple[str, str, str]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """Whether the copy has every file and picture of the site."""
        return not (self.dead or self.problems or self.interrupted or any(self.unfinished()))

    def unfinished(self) -> Iterator[Note]:
        """Yield the notes that need attention."""
        return (note for note in self.notes if not note.on_purpose)

    def counts(self) -> dict[str, int]:
        """Return the figures by name."""
        return {
            "documents": self.documents,
            "other_files": self.files,
            "pictures": self.pictures,
            "fetched": self.fetched,
            "dead": len(self.dead),
            "picture_files": self.picture_files,
            "written": self.written,
            "unchanged": self.unchanged,
            "removed": self.removed,
        }

    def to_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {
            "summary": {**self.counts(), "seconds": round(self.seconds, 3), "interrupted": self.interrupted},
            "dead": [
                {
                    "source": one.source, "code": one.code, "message": one.message,
                    "places": [{"path": place.path, "line": place.line} for place in one.places],
                }
                for one in self.dead
            ],
            "from_an_earlier_export": self.earlier,
            "originals_instead": [
                {"source": source, "options": options, "code": code} for source, options, code in self.instead
            ],
            "left": [
                {
                    "path": note.place.path, "line": note.place.line, "address": note.text, "reason": note.reason,
                    "on_purpose": note.on_purpose,
                }
                for note in self.notes
            ],
            "problems": [{"path": one.path, "reason": one.reason} for one in self.problems],
            "left_out": self.left_out,
        }  # fmt: skip
