"""Groups the pictures that a warming could not get by their reason, for people. Pure.

The JSON report has the fates of `fates.FATES`. People also ask whether an origin sent something that is not a picture,
so such pictures have a group of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.errors import NotAnImage
from proxy.services.warm.fates import FATES, OTHERWISE
from proxy.services.warm.warming import WarmOutcome
from proxy.services.warm.warmreport import WarmReport

_SOMETHING_ELSE = "Their origins send something else, such as an error page with status 200."


@dataclass(frozen=True, slots=True)
class MissingGroup:
    """Pictures with the same reason, ordered by source. key: its name in the page."""

    key: str
    title: str
    text: str
    outcomes: list[WarmOutcome]


def missing_groups(report: WarmReport) -> list[MissingGroup]:
    """Return the groups in the order of the page, without empty ones."""
    groups: list[MissingGroup] = []
    for fate, outcomes in report.by_fate.items():
        meaning = FATES[fate]
        if fate != OTHERWISE:
            groups.append(MissingGroup(fate, meaning.title, meaning.text, outcomes))
            continue
        others = [one for one in outcomes if _is_no_picture(one)]
        rest = [one for one in outcomes if not _is_no_picture(one)]
        groups.append(MissingGroup(fate, meaning.title, meaning.text, rest))
        groups.append(MissingGroup("not_a_picture", "Not a picture", _SOMETHING_ELSE, others))
    groups.append(
        MissingGroup(
            "not_kept",
            "Not kept",
            "This mirror could not keep them now, whatever their origins have. Warm again when the reason is gone.",
            report.not_kept,
        )
    )
    return [group for group in groups if group.outcomes]


def _is_no_picture(one: WarmOutcome) -> bool:
    return one.failure is not None and one.failure.code == NotAnImage.code
