"""Finds rewritten addresses in an article that was edited meanwhile. Pure; bytes in, positions out.

Several original spellings may have become the same new address: `https://worker/?http://h/a.png` and, in a lightbox
link, `http://h/a.png`. So each occurrence is matched with its own entry by the text around it, and by order where that
is not decisive.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

BEFORE_BYTES = 24
AFTER_BYTES = 12
MAX_COMPARISONS = 250_000
"""Beyond this number, occurrences are matched in order. Nobody writes the same picture five hundred times by hand."""

_GOES_ON = re.compile(rb"[A-Za-z0-9%/?=&#+_~@$:-]")
_COMES_FROM = re.compile(rb"[A-Za-z0-9%/?&#]")


@dataclass(frozen=True, slots=True)
class RewrittenAddress:
    """One rewritten address: its original spelling, its new one, and the text around the new one."""

    old: bytes
    new: bytes
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """An entry found at `start` of an article."""

    start: int
    entry: RewrittenAddress

    @property
    def end(self) -> int:
        """The end of the new address."""
        return self.start + len(self.entry.new)


def around(data: bytes, start: int, end: int) -> tuple[str, str]:
    """Return the text before and after `data[start:end]`, only whole characters."""
    before = data[max(0, start - BEFORE_BYTES) : start].decode("utf-8", "ignore")
    after = data[end : end + AFTER_BYTES].decode("utf-8", "ignore")
    return before, after


def locate(
    data: bytes, entries: Sequence[RewrittenAddress]
) -> tuple[list[Occurrence], list[RewrittenAddress]]:
    """Return the occurrences of the entries in `data`, in the order of the text, and the entries not found."""
    wanted: dict[bytes, list[RewrittenAddress]] = defaultdict(list)
    for entry in entries:
        wanted[entry.new].append(entry)
    positions = _positions(data, wanted)
    found: list[Occurrence] = []
    missing: list[RewrittenAddress] = []
    for new, group in wanted.items():
        pairs = _pair(data, group, positions.get(new, []))
        found.extend(Occurrence(position, entry) for entry, position in pairs if position is not None)
        missing.extend(entry for entry, position in pairs if position is None)
    return sorted(found, key=lambda occurrence: occurrence.start), missing


def _positions(data: bytes, wanted: dict[bytes, list[RewrittenAddress]]) -> dict[bytes, list[int]]:
    positions: dict[bytes, list[int]] = defaultdict(list)
    if not wanted:
        return positions
    # Try the longest first, because an address may be a prefix of another.
    ordered = sorted(wanted, key=len, reverse=True)
    for match in re.finditer(b"|".join(re.escape(new) for new in ordered), data):
        if _stands_alone(data, match.start(), match.end(), wanted[match[0]]):
            positions[match[0]].append(match.start())
    return positions


def _stands_alone(data: bytes, start: int, end: int, entries: Iterable[RewrittenAddress]) -> bool:
    if not (_COMES_FROM.match(data, start - 1) if start else None) and not _GOES_ON.match(data, end):
        return True
    near = around(data, start, end)
    return any(
        entry.before[-1:] == near[0][-1:] and entry.after[:1] == near[1][:1] and entry.after[:1] != ""
        for entry in entries
    )


def _pair(
    data: bytes, entries: list[RewrittenAddress], positions: list[int]
) -> list[tuple[RewrittenAddress, int | None]]:
    """Give each entry a position: first where the text around it is the same, then where it is most similar."""
    length = len(entries[0].new)
    free: dict[tuple[str, str], deque[int]] = defaultdict(deque)
    for position in positions:
        free[around(data, position, position + length)].append(position)
    chosen: dict[int, int] = {}
    for index, entry in enumerate(entries):
        if same := free.get((entry.before, entry.after)):
            chosen[index] = same.popleft()
    rest = sorted(position for group in free.values() for position in group)
    open_entries = [index for index in range(len(entries)) if index not in chosen]
    if len(rest) == len(open_entries) or len(rest) * len(open_entries) > MAX_COMPARISONS:
        chosen.update(zip(open_entries, rest, strict=False))
    else:
        chosen.update(_most_alike(data, entries, open_entries, rest))
    return [(entry, chosen.get(index)) for index, entry in enumerate(entries)]


def _most_alike(
    data: bytes, entries: list[RewrittenAddress], open_entries: list[int], positions: list[int]
) -> dict[int, int]:
    length = len(entries[0].new)
    near = {position: around(data, position, position + length) for position in positions}
    pairs = sorted(
        (-_likeness(entries[index], *near[position]), index, position)
        for index in open_entries
        for position in positions
    )
    chosen: dict[int, int] = {}
    taken: set[int] = set()
    for _, index, position in pairs:
        if index not in chosen and position not in taken:
            chosen[index] = position
            taken.add(position)
    return chosen


def _likeness(entry: RewrittenAddress, before: str, after: str) -> int:
    return _alike(entry.before[::-1], before[::-1]) + _alike(entry.after, after)


def _alike(one: str, other: str) -> int:
    """Return the length of the common prefix of two texts."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((count for count, (a, b) in pairs if a != b), min(len(one), len(other)))
