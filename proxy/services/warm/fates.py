"""The fates of pictures that `warm` could not get: one table that determines figures, lists and pages. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fate = Literal["gone", "refused", "not_now"]
"""What a failure says about a picture, as written in the JSON report."""

OTHERWISE: Fate = "refused"
"""The fate of failures that no row of `FATES` names."""

DEAD = "dead"


@dataclass(frozen=True, slots=True)
class FateMeaning:
    """How the pictures of one fate are treated and reported.

    codes, statuses: the error codes of docs/api.md and the statuses of origins that lead to this fate; a status takes
    precedence. is_passing: the origin may send the picture later, so the last round asks for it again. listed: the
    word under which the terminal and the figures of the page count these pictures; fates may share one. title, text:
    the section of the page that lists them.
    """

    codes: frozenset[str]
    statuses: frozenset[int]
    is_passing: bool
    listed: str
    title: str
    text: str


FATES: dict[Fate, FateMeaning] = {
    "gone": FateMeaning(
        codes=frozenset({"source_not_found"}),
        statuses=frozenset(),
        is_passing=False,
        listed=DEAD,
        title="Gone",
        text="Their origins have no such picture (404, 410), and no copy was kept before.",
    ),
    "refused": FateMeaning(
        codes=frozenset(),
        statuses=frozenset(),
        is_passing=False,
        listed=DEAD,
        title="Refused",
        text="Their origins or this configuration refuse them. Readers of the article may still see them.",
    ),
    "not_now": FateMeaning(
        codes=frozenset({"source_unreachable", "source_timeout", "source_failed", "render_timeout"}),
        statuses=frozenset({429}),
        is_passing=True,
        listed="not now",
        title="Not now",
        text="Their origins were busy, broken or silent during this run. They may recover, so warm again before you "
        "change an article.",
    ),
}
"""All fates in the order of the report. A failure that no row names has the fate `OTHERWISE`."""


def fate_of(code: str, origin_status: int) -> Fate:
    """Return the fate of a picture by the code of its failure and the status of its origin (0: no answer)."""
    by_status = [fate for fate, meaning in FATES.items() if origin_status in meaning.statuses]
    by_code = [fate for fate, meaning in FATES.items() if code in meaning.codes]
    return next(iter(by_status + by_code), OTHERWISE)
