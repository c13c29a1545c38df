"""The fates of pictures that `warm` could not get: one table that determines figures and lists. Pure.

A fate is coarser than the groups of `troubles.reasons`, from which it follows. Programs read it in the JSON report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from proxy.services.troubles.reasons import ReasonGroup, group_of_failure

Fate = Literal["gone", "refused", "not_now"]
"""What a failure says about a picture, as written in the JSON report."""

DEAD = "dead"


@dataclass(frozen=True, slots=True)
class FateMeaning:
    """How the pictures of one fate are treated and reported.

    groups: of the failures that lead to this fate. is_passing: the origin may send the picture later, so the last round
    asks for it again. listed: the word under which the terminal and the figures of the page count these pictures; fates
    may share one.
    """

    groups: frozenset[ReasonGroup]
    is_passing: bool
    listed: str


FATES: dict[Fate, FateMeaning] = {
    "gone": FateMeaning(frozenset({"gone"}), is_passing=False, listed=DEAD),
    "refused": FateMeaning(frozenset({"refused", "not_a_picture"}), is_passing=False, listed=DEAD),
    "not_now": FateMeaning(frozenset({"not_now"}), is_passing=True, listed="not now"),
}
"""All fates in the order of the report. A test demands one for every group of failures."""


def fate_of(code: str, origin_status: int) -> Fate:
    """Return the fate of a picture by the code of its failure and the status of its origin (0: no answer)."""
    group = group_of_failure(code, origin_status)
    return next(fate for fate, meaning in FATES.items() if group in meaning.groups)
