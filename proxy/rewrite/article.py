"""Builds the rewritten article from decisions, with the lists of changes. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import replace

from proxy.dialects.native import ORIGINAL
from proxy.rewrite.base.result import MAX_LINES, ArticlePicture, Left, Replacement
from proxy.rewrite.base.spot import Spot, Use
from proxy.rewrite.deciding.classify import Address, AddressKind
from proxy.rewrite.deciding.decide import Decision
from proxy.source import Source

_LINE_END = re.compile(r"\r\n?|\n")
NewAddress = Callable[[Decision], tuple[Source, str] | None]


class Article:
    """Collects the replacements, the addresses that stay, and the pictures of one article."""

    def __init__(self, text: str, *, body_preset: str, new_address: NewAddress) -> None:
        self._text = text
        self._line_starts: list[int] = []
        self._body_preset = body_preset
        self._new_address = new_address
        self._pictures: dict[Source, ArticlePicture] = {}
        self._end = 0
        self.replaced: list[Replacement] = []
        self.added: list[Replacement] = []
        self.left: list[Left] = []

    @property
    def pictures(self) -> tuple[ArticlePicture, ...]:
        """The pictures in order of their first appearance."""
        return tuple(self._pictures.values())

    def line_of(self, position: int) -> int:
        """Return the line number, from 1."""
        if not self._line_starts:
            self._line_starts = [0, *(match.end() for match in _LINE_END.finditer(self._text))]
        return bisect_right(self._line_starts, position)

    def take(self, decisions: Iterable[Decision]) -> None:
        """Apply decisions in the order of the article."""
        for decision in decisions:
            spot = decision.address.spot
            if spot.start < self._end:
                continue
            self._end = spot.end
            source = self._replace(decision) if decision.preset else None
            if source is None and decision.reason:
                self._leave(decision.address, decision.reason, on_purpose=decision.on_purpose)
            self._keep_in_mind(decision, source)

    def add(self, at: int, text: str, source: Source, context: str, names: tuple[str, ...]) -> None:
        """Insert `text` at a position where nothing is replaced."""
        new = text.encode("ascii")
        line = self.line_of(at)
        self.added.append(Replacement(at, at, b"", new, source, "", context, line, attributes=names))

    def exchange(  # noqa: PLR0913, PLR0917 - what a replacement is made of
        self, start: int, end: int, new: bytes, source: Source, spot: Spot, names: tuple[str, ...]
    ) -> None:
        """Replace a range around the address at `spot` by `new`, even if the address was replaced already."""
        old = self._text[start:end].encode("latin-1")
        index = next((at for at, item in enumerate(self.replaced) if item.start == spot.start), None)
        if index is None:
            line = self.line_of(start)
            item = Replacement(start, end, old, new, source, "", spot.context, line, attributes=names)
            self.added.append(item)
            return
        known = self.replaced[index]
        self.replaced[index] = replace(known, start=start, end=end, old=old, new=new, attributes=names)

    def data(self) -> bytes:
        """Return the article with the replacements made."""
        original = self._text.encode("latin-1")
        pieces: list[bytes] = []
        position = 0
        for item in sorted((*self.replaced, *self.added), key=lambda item: (item.start, item.end)):
            pieces += original[position : item.start], item.new
            position = item.end
        return b"".join((*pieces, original[position:]))

    def _replace(self, decision: Decision) -> Source | None:
        address, spot = decision.address, decision.address.spot
        new = self._new_address(decision)
        written = spot.write(new[1]) if new else None
        if new is None or written is None:
            self._leave(address, f"{spot.context}: this place cannot hold the new address", on_purpose=False)
            return None
        self.replaced.append(
            Replacement(
                spot.start,
                spot.end,
                self._text[spot.start : spot.end].encode("latin-1"),
                written.encode("latin-1"),
                new[0],
                decision.preset,
                spot.context,
                self.line_of(spot.start),
                (*address.dropped, *(f"{name}: not admitted" for name in decision.lost)),
            )
        )
        return new[0]

    def _leave(self, address: Address, reason: str, *, on_purpose: bool) -> None:
        spot = address.spot
        self.left.append(Left(self.line_of(spot.start), address.text, reason, on_purpose, spot.context))

    def _keep_in_mind(self, decision: Decision, replaced: Source | None) -> None:
        address = decision.address
        source = replaced or address.source
        preset = self._picture_preset(decision)
        if source is None or not preset:
            return
        wrapped = replaced is not None or address.kind is not AddressKind.DIRECT
        own = (address.text[address.own.base_length :],) if address.own else ()
        known = self._pictures.get(source)
        line = self.line_of(address.spot.start)
        if known is None:
            self._pictures[source] = ArticlePicture(source, (preset,), (line,), wrapped, own, address.written)
            return
        lines = known.lines if line == known.lines[-1] else (*known.lines, line)[:MAX_LINES]
        presets = tuple(dict.fromkeys((*known.presets, preset)))
        own = tuple(dict.fromkeys((*known.own, *own)))
        written = tuple(dict.fromkeys((*known.written, *address.written)))
        self._pictures[source] = ArticlePicture(
            source, presets, lines, known.wrapped or wrapped, own, written
        )

    def _picture_preset(self, decision: Decision) -> str:
        """Return the preset in which a picture is shown; empty when the place does not show a picture."""
        address = decision.address
        if address.spot.use is Use.LEAVE:
            return ""
        if address.own is not None:
            return address.own.preset
        if address.is_shown:
            return decision.preset or address.spot.preset or self._body_preset
        return ORIGINAL if decision.preset else ""
