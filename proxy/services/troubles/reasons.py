"""Groups the reasons why pictures are missing: one table for the desk, the API, the CSV and the report of `warm`. Pure.

For each missing picture the catalogue has the kind of its last failure, `GIVEN_UP`, or nothing. `warm` knows the code
of the failure and the status of the origin. A person needs to know less: whether the picture is lost, whether waiting
helps, and whether somebody gave it up.
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
"""The reason in the block of a picture that the owner gave up."""


REFUSED: ReasonGroup = "refused"
"""The group of failures whose code no group names, such as `source_not_allowed`."""

_TOO_MANY_REQUESTS = 429


@dataclass(frozen=True, slots=True)
class GroupMeaning:
    """The reasons of a group, its name, and its meaning for the picture. tone: as in the templates of the desk.

    codes: those of failures that have no kind, because only `warm` meets them.
    """

    title: str
    meaning: str
    tone: Literal["bad", "warn", "note"]
    reasons: frozenset[str]
    codes: frozenset[str] = frozenset()


GROUPS: Mapping[ReasonGroup, GroupMeaning] = {
    "gone": GroupMeaning(
        "Gone",
        "The origin has no such picture (404, 410), and no copy is kept.",
        "bad",
        frozenset({"not_found", "gone"}),
    ),
    "refused": GroupMeaning(
        "Refused",
        "The origin refuses the picture, or this service does, for example because it has too many bytes. Readers of "
        "the article may still see it.",
        "bad",
        frozenset({"refused", "too_large"}),
    ),
    "not_a_picture": GroupMeaning(
        "Not a picture",
        "The origin sends something else, such as an error page with status 200.",
        "bad",
        frozenset({"not_an_image"}),
    ),
    "not_now": GroupMeaning(
        "Not now",
        "The origin was busy, broken, silent or not found at all, or its answer was no whole file. It may recover, so "
        "try again before you change an article.",
        "warn",
        frozenset({"unreachable", "timeout", "busy", "failed", "unusable"}),
        frozenset({"render_timeout"}),
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
"""All groups in the order of the pages. A test demands a group for every kind of failure, and that kinds with the same
code share it."""

_GROUP_OF: Mapping[str, ReasonGroup] = {
    reason: group for group, meaning in GROUPS.items() for reason in meaning.reasons
}


def group_of(reason: str) -> ReasonGroup:
    """Return the group of a reason. A reason that a later version has recorded counts as passing."""
    return _GROUP_OF.get(reason, "not_now")


def group_of_failure(code: str, origin_status: int) -> ReasonGroup:
    """Return the group of a failure by its code and the status of the origin (0: no answer)."""
    if origin_status == _TOO_MANY_REQUESTS:
        return group_of("busy")
    for kind, meaning in KINDS.items():
        if meaning.error.code == code:
            return group_of(kind)
    return next((group for group, meaning in GROUPS.items() if code in meaning.codes), REFUSED)


def by_group(counts: Mapping[str, int]) -> dict[ReasonGroup, int]:
    """Return how many pictures each group has, from the numbers by reason."""
    found = dict.fromkeys(GROUPS, 0)
    for reason, count in counts.items():
        found[group_of(reason)] += count
    return found


def error_of(reason: str) -> MirrorError | None:
    """Return the error that visitors get for a reason; None where it is not a failure."""
    kind = KINDS.get(reason)
    return kind.error() if kind else None
