"""Keeps what was judged: commits it to the store, announces it meanwhile, or refuses it. Event loop.

A commit takes as long as the disk needs. A visitor waits for it only briefly, so that the answer can say whether the
original is kept. After that the original is announced, and the commit continues.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NoReturn

from cache.base.entry import Entry
from cache.base.errors import NotKept, SourceBlocked, StoreFull, Superseded
from cache.originals.incoming import Incoming
from proxy.errors import SourceRemoved, SourceReplaced, SourceUnreachable
from proxy.fetch.fetcher import NotModified
from proxy.images.jobs import Output, Wish
from proxy.services.serving import ServingParts, judging
from proxy.services.serving.download import Arrival, room_required
from proxy.services.serving.lookup import Freshness
from proxy.services.serving.values import NOT_KEPT, CacheState, Obtained, SourceOrder
from proxy.services.troubles.replacing import PLACEHOLDER, Replacing, as_set_aside

log = logging.getLogger(__name__)

KEEP_GRACE_SECONDS = 0.25
"""How long a visitor waits for the disk, so that the answer can say whether the original is kept."""


Outputs = tuple[Mapping[Wish, Output], Mapping[Wish, asyncio.Future[Mapping[Wish, Output]]]]
"""The finished results for an original, and those still being rendered, by wish."""

NOTHING_RENDERED: Outputs = ({}, {})


class Keeping:
    """Keeps originals.

    1. Bytes that look like a placeholder for the kept picture are set aside. A known placeholder is refused even if
       nothing is kept (`Replacing`).
    2. If the disk is slow, the original is announced, so that visitors need not wait for the disk.
    3. The original is committed. If the store refuses it (full, broken), the bytes answer requests for one minute.
    """

    def __init__(self, parts: ServingParts, freshness: Freshness) -> None:
        self._parts = parts
        self._freshness = freshness
        self._replacing = Replacing(parts.store, now=parts.now)

    def announce_late(
        self,
        arrival: Arrival,
        order: SourceOrder,
        entry: Entry,
        early: contextlib.ExitStack,
        outputs: Outputs = NOTHING_RENDERED,
    ) -> None:
        """Announce an original if the disk takes longer than a visitor waits. Leaving `early` cancels that.

        The calling task keeps the original afterwards. `outputs`: its finished results, and those still being rendered.
        """
        # An original that would replace a kept one is judged first.
        if arrival.previous is not None or arrival.incoming.refusal is not None:
            return
        keeping = asyncio.current_task()
        task: asyncio.Task[None] | None = None

        def begin() -> None:
            nonlocal task
            kept = self._freshness.kept(entry, judging.state_of(arrival), stamp=arrival.stamp)
            rendered, rendering = outputs
            announced = replace(
                self._freshness.short(kept, None), ending=keeping, rendered=rendered, rendering=rendering
            )
            task = asyncio.create_task(self._announce(arrival, order, announced))

        def call_off() -> None:
            later.cancel()
            if task is not None:
                task.cancel()

        later = asyncio.get_running_loop().call_later(KEEP_GRACE_SECONDS, begin)
        early.callback(call_off)

    async def _announce(self, arrival: Arrival, order: SourceOrder, announced: Obtained) -> None:
        """Answer the waiting requests while the disk is slow. Whether it keeps the original is not known yet."""
        with contextlib.suppress(OSError):
            condition = await self._parts.store.condition(arrival.incoming.sha256)
            # If this very commit has put the body in its place, it may remove the body again.
            is_readable = condition.is_sound and not arrival.incoming.may_lie_in_place
            announced = replace(announced, is_readable=is_readable)
        if arrival.incoming.refusal is None:
            self._parts.flight.announce(order.flight_key, announced)

    async def keep(self, arrival: Arrival, entry: Entry, rendered: Mapping[Wish, Output]) -> Obtained:
        """Commit a download and return it as an answer, whether the disk accepted it or not."""
        stored = await self._commit(entry, arrival.incoming, stamp=arrival.stamp)
        # Use the stamp from before the fetch, so that a purge since then invalidates the answer in memory.
        state = judging.state_of(arrival, stored=stored)
        obtained = replace(self._freshness.kept(entry, state, stamp=arrival.stamp), rendered=rendered)
        if stored:
            return obtained
        return self._freshness.short(obtained, await asyncio.to_thread(self._bytes_of, arrival.incoming))

    async def keep_vouched(
        self, order: SourceOrder, answer: NotModified, incoming: Incoming, *, stamp: int
    ) -> Obtained:
        """Keep the entry after a 304. If the disk refused the original before, keep its bytes too.

        Raises:
            SourceUnreachable: the request had no validators.
        """
        if order.last_given is None:
            raise SourceUnreachable(detail="304 to a request without validators")
        entry = judging.entry_vouched(order.last_given, answer)
        body = order.refused.body if order.refused else None
        stored = await self._commit_known(entry, body, incoming, stamp=stamp)
        state = CacheState(
            "stale", 304, stored=stored and body is not None, detail="" if stored else NOT_KEPT
        )
        obtained = self._freshness.kept(entry, state, stamp=stamp)
        return obtained if stored else self._freshness.short(obtained, body)

    async def keep_refused(self, refused: Obtained) -> bool:
        """Try again to keep an original that the disk refused; return whether it is kept."""
        stamp = self._parts.store.generations.stamp(refused.entry.source)
        async with self._parts.store.receive() as incoming:
            return await self._commit_known(refused.entry, refused.body, incoming, stamp=stamp)

    async def keep_entry(self, entry: Entry, *, stamp: int) -> None:
        """Write an entry whose bytes were examined again."""
        await self._commit(entry, None, stamp=stamp)

    async def objection(self, entry: Entry, arrival: Arrival) -> str:
        """Return why bytes must not become the current ones of their source; empty if they may."""
        if arrival.previous is not None:
            return await self._replacing.objection(
                entry, arrival.previous, stable_after_seconds=self._parts.config.stable_after
            )
        reason = ""
        if arrival.lost is not None:
            # No picture is left to be replaced. But bytes that were refused before are refused again.
            reason = await self._replacing.objection(entry, arrival.lost, stable_after_seconds=math.inf)
        if not reason and await self._replacing.is_known_placeholder(entry.body_sha256, entry.source):
            reason = PLACEHOLDER
        return reason

    async def refuse(self, entry: Entry, arrival: Arrival, reason: str) -> NoReturn:
        """Raise a refusal of the origin. If something is kept of the source, set the bytes aside first."""
        if arrival.recovered is None and (arrival.previous or arrival.lost):
            await self._set_aside(entry, arrival, reason)
        error = SourceReplaced(detail=f"not taken: {reason}")
        error.origin_status = arrival.answer.status
        raise error

    async def _set_aside(self, entry: Entry, arrival: Arrival, reason: str) -> None:
        self._parts.metrics.set_aside.labels(reason).inc()
        log.warning("different bytes from %s were set aside: %s", entry.source, reason)
        try:
            former = as_set_aside(entry, reason)
            await self._parts.store.history.set_aside(
                entry.source, former, arrival.incoming, stamp=arrival.stamp
            )
            if reason == PLACEHOLDER:
                await self._replacing.put_back(entry.body_sha256, arrival.source.origin)
        except NotKept as refused:
            log.info("bytes from %s could not be set aside: %s", entry.source, refused)

    async def _commit(self, entry: Entry, incoming: Incoming | None, *, stamp: int) -> bool:
        try:
            with self._parts.traces.step("keep"):
                await self._parts.store.commit(entry, incoming, stamp=stamp)
        except SourceBlocked as error:
            raise SourceRemoved from error
        except Superseded:
            log.info("%s was purged or changed while it was fetched", entry.source)
            return False
        except StoreFull:
            log.warning("no room to keep %s", entry.source)
        except NotKept as error:
            log.error("cannot keep %s: %s", entry.source, error)
        else:
            return True
        self._parts.metrics.not_kept.inc()
        return False

    async def _commit_known(
        self, entry: Entry, body: bytes | None, incoming: Incoming, *, stamp: int
    ) -> bool:
        """Keep an entry whose body is kept already or is in memory."""
        if body is None:
            return await self._commit(entry, None, stamp=stamp)
        with room_required():
            await incoming.write(body)
            await incoming.finish()
        return await self._commit(entry, incoming, stamp=stamp)

    def _bytes_of(self, incoming: Incoming) -> bytes:
        """Return the bytes of a body that is not kept, or not yet. On a hanging disk it may have its final name
        already."""
        try:
            return incoming.path.read_bytes()
        except FileNotFoundError:
            with self._parts.store.files.opened(incoming.sha256) as body:
                return body.read()
