"""Groups why pictures of articles are missing: one table for the desk, the API and the CSV. Pure.

The catalogue says for each missing picture the kind of its last failure, `GIVEN_UP`, or nothing. A person needs fewer
words: whether the picture is lost, whether waiting helps, and what was decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from proxy.errors import MirrorError
from proxy.services.troubles.negatives import KINDS

ReasonGroup = Literal["gone", "refused", "not_now", "not_a_picture", "never_tried", "given_up"]

NEVER_TRIED = ""
GIVEN_UP = "given_up"
"""Reasons of the catalogue that are no kinds of failures: no failure is known; the source is blocked."""

GIVEN_UP_TEXT = "given up"
"""The reason that a block carries when its owner gives a picture up."""


@dataclass(frozen=True, slots=True)
class GroupMeaning:
    """The reasons of a group, its name, and what it means for the picture. tone: as in the templates of the desk."""

    title: str
    meaning: str
    tone: Literal["bad", "warn", "note"]
    reasons: frozenset[str]


GROUPS: Mapping[ReasonGroup, GroupMeaning] = {
    "gone": GroupMeaning(
        "Gone", "The origin has no such picture (404, 410).", "bad", frozenset({"not_found", "gone"})
    ),
    "refused": GroupMeaning(
        "Refused",
        "The origin refuses the picture, or it has more bytes than this service accepts.",
        "bad",
        frozenset({"refused", "too_large"}),
    ),
    "not_a_picture": GroupMeaning(
        "Not a picture",
        "The origin answered with something else, such as a page.",
        "bad",
        frozenset({"not_an_image", "unusable"}),
    ),
    "not_now": GroupMeaning(
        "Not now",
        "The origin was busy, broken, silent or not found at all. It may recover.",
        "warn",
        frozenset({"unreachable", "timeout", "busy", "failed"}),
    ),
    "never_tried": GroupMeaning(
        "Never tried",
        "No failure is known. Perhaps nobody has asked for it yet.",
        "note",
        frozenset({NEVER_TRIED}),
    ),
    "given_up": GroupMeaning(
        "Given up", "The source is refused here, so its origin is not asked.", "note", frozenset({GIVEN_UP})
    ),
}
"""All groups in the order of the desk. A test demands a group for every kind of failure."""

_GROUP_OF: Mapping[str, ReasonGroup] = {
    reason: group for group, meaning in GROUPS.items() for reason in meaning.reasons
}


def group_of(reason: str) -> ReasonGroup:
    """Return the group of a reason. A reason that a later version has recorded counts as passing."""
    return _GROUP_OF.get(reason, "not_now")


def by_group(counts: Mapping[str, int]) -> dict[ReasonGroup, int]:
    """Return how many pictures each group has, from the numbers by reason."""
    found = dict.fromkeys(GROUPS, 0)
    for reason, count in counts.items():
        found[group_of(reason)] += count
    return found


def error_of(reason: str) -> MirrorError | None:
    """Return what a visitor is told for a reason; None where it is no failure."""
    kind = KINDS.get(reason)
    return kind.error() if kind else None
