"""Merges two entries of the same source into one. Pure.

Nothing that either of them names is lost: bytes that do not become current become history.
"""

from __future__ import annotations

from dataclasses import replace

from cache.base.entry import MAX_HISTORY, Entry, Former


def merged(ours: Entry | None, theirs: Entry, *, may_displace: bool) -> Entry:
    """Return the merged entry.

    The bytes confirmed last become current if `theirs` may replace ours, else ours do. Bytes from the origin take
    precedence over recovered ones. Without an entry of ours, `theirs` is returned unchanged, including its history.
    """
    if ours is None:
        return theirs
    theirs_are_newer = _standing(theirs) > _standing(ours)
    if theirs.body_sha256 == ours.body_sha256:
        present, other = (theirs, ours) if theirs_are_newer else (ours, theirs)
        present = replace(present, fetched_at=min(ours.fetched_at, theirs.fetched_at))
    else:
        present, other = (theirs, ours) if may_displace and theirs_are_newer else (ours, theirs)
    return replace(present, history=_united(present, other))


def _standing(entry: Entry) -> tuple[bool, float]:
    return entry.recovered is None, entry.validated_at


def _united(present: Entry, other: Entry) -> tuple[Former, ...]:
    items: dict[str, Former] = {}
    for item in (*present.history, other.as_former(), *other.history):
        known = items.get(item.body_sha256)
        # The entry that set bytes aside had a reason that the other one did not know.
        if known is None or (item.note and not known.note):
            items[item.body_sha256] = item
    items.pop(present.body_sha256, None)
    return tuple(sorted(items.values(), key=lambda item: -item.fetched_at))[:MAX_HISTORY]
