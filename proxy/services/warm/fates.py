"""The fates of pictures that `warm` could not get: one table, from which figures, lists and pages follow. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fate = Literal["gone", "refused", "not_now"]
"""What a failure says about a picture, as the JSON report writes it."""

OTHERWISE: Fate = "refused"
"""The fate of failures that no row of `FATES` names."""

DEAD = "dead"


@dataclass(frozen=True, slots=True)
class FateMeaning:
    """What is made of the pictures of one fate.

    codes, statuses: error codes of docs/api.md and statuses of the origin that mean it; a status counts first.
    is_passing: the origin may give the picture later, so it is asked again in the last round.
    listed: the word under which the terminal and the figures of the page count them; fates may share one. title, text:
    their part of the page.
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
        text="Their origins say that they have no such picture (404, 410), and nothing of them was kept before.",
    ),
    "refused": FateMeaning(
        codes=frozenset(),
        statuses=frozenset(),
        is_passing=False,
        listed=DEAD,
        title="Refused",
        text="Their origins or this configuration refuse them, or what comes is no picture. Readers of the article may "
        "still see them.",
    ),
    "not_now": FateMeaning(
        codes=frozenset({"source_unreachable", "source_timeout", "source_failed", "render_timeout"}),
        statuses=frozenset({429}),
        is_passing=True,
        listed="not now",
        title="Not now",
        text="Their origins were busy, broken or silent while this ran. They may be well tomorrow: warm again before "
        "you change an article.",
    ),
}
"""In the order of the report. A failure that no row names has the fate `OTHERWISE`."""


def fate_of(code: str, origin_status: int) -> Fate:
    """Return the fate of a picture whose failure has `code`, where its origin answered `origin_status` (0: nothing)."""
    by_status = [fate for fate, meaning in FATES.items() if origin_status in meaning.statuses]
    by_code = [fate for fate, meaning in FATES.items() if code in meaning.codes]
    return next(iter(by_status + by_code), OTHERWISE)
