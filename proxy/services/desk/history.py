"""The figures of the last day, minute by minute: a ring of rows in one file that every worker can read. Blocking.

One worker adds a row a minute. The file has a fixed size, outlasts restarts, and may be deleted at any time. Its head
names the columns; a file with other columns is begun anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cache.base.opening import open_regular
from proxy.services.desk.shared_files import read_file

FIGURES = (
    "answers", "refused", "failed", "lookups", "hits", "fetches", "failed_fetches", "renders", "failed_renders",
    "sent_bytes", "queue",
)  # fmt: skip
"""The counts in a row: answers, those with status 4xx and 5xx, picture answers, those without fetch and render,
fetches, renders, and bytes. `queue` is not a count: it says how many pictures waited at the end of the minute."""

MINUTES = 1500
"""A day and an hour."""

_HEAD_BYTES = 1024
_ROW = struct.Struct(f"<q{len(FIGURES)}d")
_HEAD = json.dumps({"format": 1, "minutes": MINUTES, "figures": FIGURES}).encode().ljust(_HEAD_BYTES)


@dataclass(frozen=True, slots=True)
class Minute:
    """The figures of one minute; `number` is Unix time divided by 60."""

    number: int
    figures: Mapping[str, float]


class FigureHistory:
    """The file of figures."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "history"

    def add(self, minute: Minute) -> None:
        """Write the row of a minute over the one of a day ago.

        Raises:
            OSError: the file cannot be written.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = open_regular(self._path, os.O_RDWR | os.O_CREAT)
        try:
            if os.pread(descriptor, _HEAD_BYTES, 0) != _HEAD:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, _HEAD, 0)
            row = _ROW.pack(minute.number, *(minute.figures.get(name, 0.0) for name in FIGURES))
            os.pwrite(descriptor, row, _HEAD_BYTES + minute.number % MINUTES * _ROW.size)
        finally:
            os.close(descriptor)

    def between(self, first: int, last: int) -> dict[int, Minute]:
        """Return the known minutes from `first` to `last`, both included, by number."""
        with contextlib.suppress(OSError):
            data = read_file(self._path, _HEAD_BYTES + MINUTES * _ROW.size)
            if data[:_HEAD_BYTES] == _HEAD:
                return {minute.number: minute for minute in _rows(data) if first <= minute.number <= last}
        return {}


class Recorder:
    """Turns totals that only grow into figures for each minute."""

    def __init__(self, history: FigureHistory, totals: Mapping[str, float]) -> None:
        self._history = history
        self._before = dict(totals)

    def record(self, number: int, totals: Mapping[str, float]) -> None:
        """Write the minute that has ended.

        Raises:
            OSError: the file cannot be written. The figures then count for the next minute.
        """
        # Totals become smaller when a worker is replaced, because its figures are lost.
        figures = {name: max(totals.get(name, 0.0) - self._before.get(name, 0.0), 0.0) for name in FIGURES}
        figures["queue"] = totals.get("queue", 0.0)
        self._history.add(Minute(number, figures))
        self._before = dict(totals)


def _rows(data: bytes) -> Iterator[Minute]:
    whole = (len(data) - _HEAD_BYTES) // _ROW.size
    for number, *values in _ROW.iter_unpack(data[_HEAD_BYTES : _HEAD_BYTES + whole * _ROW.size]):
        # Rows that were never written are zeros.
        if number:
            yield Minute(number, dict(zip(FIGURES, values, strict=True)))
