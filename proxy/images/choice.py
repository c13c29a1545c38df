"""Chooses the format of a negotiated answer, once the picture is known. Pure; runs anywhere.

`acceptable` is the result of negotiation (`proxy.web.targets.negotiate`): names of formats, best first. The client
likes
the formats before `LOWER` equally. JPEG, PNG and GIF are adjacent, and named `fallback` when all three are acceptable.
They are one choice; the picture decides between them.

A still picture gets the first format. A drawing gets the smallest of the equal formats. An unchanged original may be
answered with its own bytes, and a format whose encoder fails is skipped. These three cases are known only after
encoding, so `EncodeFinding` records them for later requests.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.images.formats import JSON, OUTPUTS, UNTOUCHED, PictureFacts

FALLBACK = "fallback"
"""A format that every browser shows: JPEG, PNG or GIF, whichever suits the picture."""
LOWER = ">"
"""Separates the formats that a client likes best from those that it likes less."""
PLAIN = ("jpeg", "png", "gif")
ANYWAY = "anyway"
"""JPEG or PNG, for clients that accept neither."""
ORIGINAL = "original"
"""The name of the original's own bytes among the answers of a transform that changes no pixels."""
MOVING = frozenset(name for name, written in OUTPUTS.items() if written.moves)
"""The formats that can hold animations."""

_FOUND = frozenset({*OUTPUTS, JSON, ORIGINAL})
_FOR_PHOTOS = ("jpeg", "png", "gif")
_FOR_TRANSPARENCY = ("png", "jpeg", "gif")
_FOR_DRAWINGS = ("png", "gif", "jpeg")


@dataclass(frozen=True, slots=True)
class Candidates:
    """The formats for one picture and one client.

    order: best first; later ones are used when encoders fail. equals: the formats from which a drawing gets the
    smallest.
    accepted: the formats in which the client accepts the original's own bytes.
    """

    order: tuple[str, ...]
    equals: tuple[str, ...] = ()
    accepted: frozenset[str] = frozenset()


def candidates(acceptable: tuple[str, ...], facts: PictureFacts, *, anim: bool = True) -> Candidates:
    """Return the formats to try. A single acceptable format is returned as it is. `anim=False` means the first frame
    only.

    `UNTOUCHED` applies to SVG only, wherever it stands: the SVG is then answered unchanged.
    """
    if UNTOUCHED in acceptable:
        if facts.scalable:
            return Candidates((UNTOUCHED,))
        acceptable = tuple(name for name in acceptable if name != UNTOUCHED)
    acceptable = acceptable or (FALLBACK,)
    best = acceptable.index(LOWER) if LOWER in acceptable else len(acceptable)
    levels = (acceptable[:best], acceptable[best + 1 :])
    order = [name for level in levels for name in _concrete(level, facts)]
    accepted = frozenset(order) if ANYWAY not in acceptable else frozenset(acceptable)
    if facts.animated and anim:
        # An animation takes the best format that can move. It becomes a still picture only if there is none.
        moving = [name for name in order if name in MOVING]
        return Candidates(tuple(dict.fromkeys((*moving, *order))), (), accepted)
    return Candidates(tuple(order), _rivals(_concrete(levels[0], facts), facts), accepted)


def likeliest(acceptable: tuple[str, ...]) -> str:
    """Return the output format that a photo gets, as far as this can be known before the picture is."""
    first = next((name for name in acceptable if name not in {LOWER, UNTOUCHED}), FALLBACK)
    return _FOR_PHOTOS[0] if first in {FALLBACK, ANYWAY} else first


def without(acceptable: tuple[str, ...], refused: Collection[str]) -> tuple[str, ...]:
    """Return `acceptable` without the output formats in `refused`, in the same order; empty when none is left."""
    left: list[str] = []
    for name in acceptable or (FALLBACK,):
        members = PLAIN if name == FALLBACK else PLAIN[:2] if name == ANYWAY else (name,)
        stay = tuple(member for member in members if member not in refused)
        left += (name,) if stay == members else stay
    return tuple(left) if any(name not in {LOWER, UNTOUCHED} for name in left) else ()


def _concrete(names: tuple[str, ...], facts: PictureFacts) -> tuple[str, ...]:
    """Return `names` with JPEG, PNG and GIF in the order that suits the picture."""
    admitted = PLAIN if FALLBACK in names else PLAIN[:2] if ANYWAY in names else names
    plain = [name for name in _suited(facts) if name in admitted]
    modern = [name for name in names if name not in {FALLBACK, ANYWAY, *PLAIN}]
    # JPEG, PNG and GIF are adjacent in `names`, at any position.
    at = next((number for number, name in enumerate(names) if name not in modern), len(modern))
    return (*modern[:at], *plain, *modern[at:])


def _rivals(equals: tuple[str, ...], facts: PictureFacts) -> tuple[str, ...]:
    """Return the formats from which a drawing gets the smallest. Only one of JPEG, PNG and GIF takes part, the one that
    suits.

    Both JPEG and PNG take part if the original has neither a palette nor transparency. It may then be a screenshot with
    flat
    areas around photos, which may be many times larger as a PNG.
    """
    plain = [name for name in equals if name in PLAIN]
    suited = plain[:1] if facts.drawing or facts.has_alpha else plain[:2]
    return tuple(name for name in equals if name not in plain or name in suited)


def _suited(facts: PictureFacts) -> tuple[str, ...]:
    if facts.drawing:
        return _FOR_DRAWINGS
    return _FOR_TRANSPARENCY if facts.has_alpha else _FOR_PHOTOS


@dataclass(frozen=True, slots=True)
class EncodeFinding:
    """The results of encoding one body with one transform.

    sizes: the number of bytes in each format that was tried, None if its encoder failed. `ORIGINAL` stands for the
    original's own bytes if they show the same. smallest: whether the picture is a drawing.
    """

    sizes: Mapping[str, int | None] = field(default_factory=dict)
    smallest: bool = False

    def answer(self, wanted: Candidates, *, source_format: str) -> str | None:
        """Return the format of the answer, `ORIGINAL` for the original's bytes, or None if it is not known yet."""
        chosen = self._smallest_of(wanted) if self.smallest and wanted.equals else self._first_of(wanted)
        if chosen is None:
            return None
        own, size = self.sizes.get(ORIGINAL), self.sizes.get(chosen)
        if own is None or source_format not in wanted.accepted:
            return chosen
        if size is None:
            return None
        return ORIGINAL if own < size else chosen

    def _first_of(self, wanted: Candidates) -> str | None:
        return next((name for name in wanted.order if self.sizes.get(name, 0) is not None), None)

    def _smallest_of(self, wanted: Candidates) -> str | None:
        if any(name not in self.sizes for name in wanted.equals):
            return None
        tried = [(size, name) for name in wanted.equals if (size := self.sizes[name]) is not None]
        # `min` takes the first of equal sizes, in order of preference.
        return min(tried, key=lambda pair: pair[0])[1] if tried else self._first_of(wanted)

    def merged(self, newer: EncodeFinding) -> EncodeFinding:
        """Return the sizes of both findings together."""
        return EncodeFinding({**self.sizes, **newer.sizes}, smallest=self.smallest or newer.smallest)

    @property
    def is_plain(self) -> bool:
        """Whether the facts of the picture alone would lead to the same answer."""
        return not self.smallest and ORIGINAL not in self.sizes and None not in self.sizes.values()

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON values."""
        return {"sizes": dict(self.sizes), "smallest": self.smallest}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> EncodeFinding:
        """Read what `to_dict` returned.

        Raises:
            ValueError: `data` is not a finding.
        """
        try:
            sizes, smallest = dict(stored["sizes"]), bool(stored["smallest"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a finding: {error}") from error
        if not all(name in _FOUND and (size is None or type(size) is int) for name, size in sizes.items()):
            raise ValueError("not the sizes of formats")
        return cls(sizes, smallest=smallest)
