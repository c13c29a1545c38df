"""Fetches originals again that a verification found damaged or missing. Runs on the event loop of the command.

The only other copy is at the origin or, when the origin is dead, at a place that `Recovery` may ask. Originals that
neither gives, and older versions, cannot be repaired and are reported. Origins are asked in turn, with their pauses,
as `warm` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cache.base.errors import CacheError
from cache.durable_tier import Originals
from cache.upkeep.verify import StoreFault, VerifyReport
from proxy.errors import MirrorError
from proxy.services.serving.kept import KeptOriginals
from proxy.services.warm.warming import NOT_KEPT
from proxy.source import Source

IN_HISTORY = "in_history"
"""The reason for not asking a source: only an older version is damaged, and origins give the current one only."""


@dataclass(slots=True)
class Repair:
    """repaired: sources fetched again. failed: by source, the error code. left: damage that remains.

    recovered: by source, the address of the copy, for repaired sources whose origin no longer gives them.
    """

    repaired: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left: list[StoreFault] = field(default_factory=list)
    recovered: dict[str, str] = field(default_factory=dict)


class Repairing:
    """Asks origins for missing or damaged originals, one source after the other, as far as the policy allows."""

    def __init__(self, originals: KeptOriginals, kept: Originals, admit: Callable[[Source], None]) -> None:
        self._originals = originals
        self._kept = kept
        self._admit = admit

    async def repair(self, report: VerifyReport, progress: Callable[[int], None]) -> Repair:
        """Fetch the sources that `report` names, then verify them again."""
        repair = Repair()
        for number, url in enumerate(report.sources, start=1):
            code = await self._fetched_again(url, report, repair)
            if code:
                repair.failed[url] = code
            else:
                repair.repaired.append(url)
            progress(number)
        repair.left = await self._kept.still_wrong(report)
        return repair

    async def _fetched_again(self, url: str, report: VerifyReport, repair: Repair) -> str:
        entry = await self._kept.get(url)
        if entry is not None and entry.body_sha256 not in report.hurt:
            return IN_HISTORY
        try:
            source = Source.parse(url)
            self._admit(source)
            obtained = await self._originals.obtain_again(source, patient=True)
        except MirrorError as error:
            return error.code
        except CacheError:
            return NOT_KEPT
        if obtained.body is not None:
            return NOT_KEPT
        if obtained.entry.recovered:
            repair.recovered[url] = str(obtained.entry.recovered.get("url", ""))
        return ""
