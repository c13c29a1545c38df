"""Replacing: decides whether the bytes of a refresh may replace the kept original. Event loop.

Origins that forbid hotlinking, sold domains and expired accounts answer 200 with a different picture. Nothing in the
answer shows this, but two signs around it do:

    placeholder    the same bytes came in place of different pictures of one origin
    another_size   a picture that has not changed for at least `fetch.stable_after` suddenly has other dimensions

Such bytes are set aside as history. They are kept, counted and shown, and the operator can accept them, but they never
replace the kept original by themselves. Only pictures are judged. A known placeholder is not accepted for a source that
was never kept either, nor from an archive that captured it: it counts as a refusal of the origin.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from cache.base.entry import Entry, Former
from cache.base.errors import NotKept
from cache.durable_tier import Originals
from proxy.source import origin_of

log = logging.getLogger(__name__)

PLACEHOLDER = "placeholder"
ANOTHER_SIZE = "another_size"
ROLLED_BACK = "rolled_back"
SET_ASIDE = frozenset({PLACEHOLDER, ANOTHER_SIZE, ROLLED_BACK})
"""The notes of versions that were set aside on arrival, or later by the operator."""

PLACEHOLDER_PICTURES = 3
"""The same bytes in place of this many different pictures of one origin are a placeholder. For two pictures, the site
may have merged them itself."""

MAX_USERS = 64
"""How many entries are examined. Three decide, so further ones hardly change a verdict."""


class Replacing:
    """Judges new bytes, and restores originals that were replaced before a placeholder was recognized."""

    def __init__(self, store: Originals, *, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    async def objection(self, fresh: Entry, kept: Entry, *, stable_after_seconds: float) -> str:
        """Return why `fresh` must not replace `kept`; empty when it may."""
        if fresh.body_sha256 == kept.body_sha256 or not _are_pictures(fresh, kept):
            return ""
        known = next((item for item in kept.history if item.body_sha256 == fresh.body_sha256), None)
        if known is not None and known.note in SET_ASIDE:
            return known.note
        if known is not None and not known.note:
            return ""  # these bytes were current before: the source changes back and forth
        if await self._is_placeholder(fresh.body_sha256, besides=kept):
            return PLACEHOLDER
        if self._was_stable(kept, stable_after_seconds) and _size(fresh) != _size(kept):
            return "" if await self._is_placeholder(kept.body_sha256) else ANOTHER_SIZE
        return ""

    async def is_known_placeholder(self, sha256: str, url: str) -> bool:
        """Return whether these bytes were set aside before as a placeholder of the origin of `url`."""
        origin = origin_of(url)
        return any(
            item.body_sha256 == sha256 and item.note == PLACEHOLDER
            for entry in await self._store.history.who_set_aside(sha256, most=MAX_USERS)
            if origin_of(entry.source) == origin
            for item in entry.history
        )

    async def put_back(self, sha256: str, origin: str) -> int:
        """Restore originals of `origin` that a placeholder replaced before it was recognized; return their number."""
        count = 0
        for entry in await self._store.history.users_of(sha256, most=MAX_USERS):
            good = _good(entry, sha256)
            if entry.body_sha256 != sha256 or good is None or origin_of(entry.source) != origin:
                continue
            try:
                if await self._store.history.promote(entry.source, good, note=PLACEHOLDER):
                    log.warning(
                        "%s has its former picture back: what replaced it is a placeholder", entry.source
                    )
                    count += 1
            except NotKept as error:
                log.warning("the former picture of %s cannot be put back: %s", entry.source, error)
        return count

    async def _is_placeholder(self, sha256: str, *, besides: Entry | None = None) -> bool:
        """Return whether these bytes replace different pictures of one origin: that of `besides` if given, else any."""
        pictures: dict[str, set[str]] = {}
        for entry in await self._store.history.users_of(sha256, most=MAX_USERS):
            if besides is None or entry.source != besides.source:
                origin = origin_of(entry.source)
                # A source without any other version counts as one more picture, which we have never seen.
                pictures.setdefault(origin, set()).add(_good(entry, sha256) or entry.key)
        if besides is not None:
            origin = origin_of(besides.source)
            pictures = {origin: pictures.get(origin, set()) | {besides.body_sha256}}
        return any(len(found) >= PLACEHOLDER_PICTURES for found in pictures.values())

    def _was_stable(self, kept: Entry, stable_after_seconds: float) -> bool:
        if kept.recovered is not None:
            return False  # a copy from an archive says nothing about the stability of the address
        changed_before = any(not item.note for item in kept.history)
        return not changed_before and self._now() - kept.fetched_at >= stable_after_seconds


async def accept(store: Originals, url: str, sha256: str | None = None) -> Entry | None:
    """Make the newest version that was set aside, or the one with the given digest, the current original of a source.

    Going back to an older version sets the current one aside; otherwise the next refresh would restore it. Return the
    new entry, or None when there is no such version.
    """
    entry = await store.get(url)
    history = entry.history if entry else ()
    wanted = (item for item in history if (item.body_sha256 == sha256 if sha256 else item.note in SET_ASIDE))
    chosen = next(wanted, None)
    if chosen is None:
        return None
    note = "" if chosen.note in SET_ASIDE else ROLLED_BACK
    return await store.history.promote(url, chosen.body_sha256, note=note)


def as_set_aside(fresh: Entry, reason: str) -> Former:
    """Return the history item for bytes that are set aside."""
    return fresh.as_former(note=reason)


def _good(entry: Entry, placeholder: str) -> str | None:
    """Return the digest of an entry's picture other than `placeholder`, preferring the current one, or None."""
    if entry.body_sha256 != placeholder:
        return entry.body_sha256
    return next((item.body_sha256 for item in entry.history if not item.note and item.picture), None)


def _are_pictures(*entries: Entry) -> bool:
    return all(entry.picture and entry.media_type.startswith("image/") for entry in entries)


def _size(entry: Entry) -> tuple[object, object]:
    picture = entry.picture or {}
    return picture.get("width"), picture.get("height")
