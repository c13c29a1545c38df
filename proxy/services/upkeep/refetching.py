"""Asks an origin again, now, although a picture is fresh or a failure is remembered. Event loop."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from cache.base.entry import Entry
from cache.base.errors import CacheError
from proxy.errors import MirrorError
from proxy.services.serving.kept import KeptOriginals
from proxy.services.serving.values import NOT_KEPT, Obtained
from proxy.source import Source

REFRESHING = "refreshing"
_MAX_WAITS = 60
"""Each wait takes a second. No fetch takes longer than this number of waits; if one does, it continues without us."""

RefetchOutcome = Literal["new", "unchanged", "changed", "failed", "not_kept", "pending"]


@dataclass(frozen=True, slots=True)
class Refetched:
    """The result of asking again.

    `new`: the picture was not kept before. `unchanged`, `changed`: the origin sent the same bytes, or different ones.
    `failed`: see `error`; kept versions stay. `not_kept`: the disk refused the bytes. `pending`: the origin is slow,
    and the fetch continues.
    """

    outcome: RefetchOutcome
    entry: Entry | None
    error: MirrorError | None = None


async def refetch(originals: KeptOriginals, source: Source, *, now: float) -> Refetched:
    """Ask the origin of a source, as if the kept original were stale and no failure were remembered.

    `now` is the present in Unix seconds: only failures after it count.

    A kept original is asked for with its validators and stays if the origin does not give a better one.

    Raises:
        SourceNotAllowed: the source was purged with a block.
    """
    look = await originals.look(source)
    before = look.entry
    if look.known is not None:
        look.known = replace(look.known, fresh_until=0.0)
    look.failure, look.looked_at = None, now
    try:
        obtained = await originals.obtain(source, patient=True, look=look)
        for _ in range(_MAX_WAITS):
            if obtained.state.detail != REFRESHING:
                break
            # Each call waits for the same fetch.
            obtained = await originals.obtain(source, patient=True)
    except MirrorError as error:
        return Refetched("failed", before, error)
    return Refetched(_outcome(obtained, before), obtained.entry, await _failure(originals, source, obtained))


def _outcome(obtained: Obtained, before: Entry | None) -> RefetchOutcome:
    if obtained.state.detail == REFRESHING:
        return "pending"
    if obtained.is_refused or obtained.state.detail == NOT_KEPT:
        return "not_kept"
    if before is None:
        return "new"
    if obtained.short:
        return "failed"
    return "unchanged" if obtained.entry.body_sha256 == before.body_sha256 else "changed"


async def _failure(originals: KeptOriginals, source: Source, obtained: Obtained) -> MirrorError | None:
    if not obtained.short:
        return None
    try:
        return await originals.failure_of(source)
    except CacheError:
        return None
