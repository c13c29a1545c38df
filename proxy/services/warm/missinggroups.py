"""Groups the pictures that a warming could not get by their reason, for people. Pure.

The groups and their words are those of the desk (`troubles.reasons`). A run also has pictures that exist, or may exist,
and that could not be kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.services.troubles.reasons import GROUPS
from proxy.services.warm.warming import WarmOutcome
from proxy.services.warm.warmreport import WarmReport


@dataclass(frozen=True, slots=True)
class MissingGroup:
    """Pictures with the same reason, ordered by source. key: its name in the page."""

    key: str
    title: str
    text: str
    outcomes: list[WarmOutcome]


def missing_groups(report: WarmReport) -> list[MissingGroup]:
    """Return the groups in the order of the page, without empty ones."""
    dead = report.dead
    groups = [
        MissingGroup(
            key, one.title, one.meaning, [it for it in dead if it.failure and it.failure.group == key]
        )
        for key, one in GROUPS.items()
    ]
    not_kept = MissingGroup(
        "not_kept",
        "Not kept",
        "This mirror could not keep them now, whether or not their origins have them. Warm again later.",
        report.not_kept,
    )
    return [group for group in (*groups, not_kept) if group.outcomes]
