"""Reads robots.txt of origins: how long a crawler should wait between two requests (Crawl-delay). Event loop.

Only the delay is used, because warming does not crawl: the operator's own articles name the pictures. The file is
fetched once a day, before the second request to an origin, because a single picture needs no delay. Any failure means
no delay. (RFC 9309 §2.3.1 forbids crawling after some failures; then the pictures fail too.)
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from protego import Protego

log = logging.getLogger(__name__)

MAX_BYTES = 512 * 1024
"""RFC 9309 §2.5: at least 500 KiB must be read. We ignore the rest."""
MEMORY_SECONDS = 86_400.0
"""RFC 9309 §2.4."""
MAX_DELAY_SECONDS = 60.0
"""Upper bound on the delay. With an hour between pictures, an article would never be complete."""
MAX_ORIGINS = 4096

_PRODUCT = re.compile(r"[A-Za-z_-]+")

Read = Callable[[str], Awaitable[bytes]]
"""Returns the robots.txt of an origin, cut at `MAX_BYTES`; empty when it is not available."""


@dataclass(slots=True)
class _Known:
    until: float
    asked: asyncio.Task[float] | None = None
    requests: int = field(default=0)


class Robots:
    """The delays of origins. `read` fetches a file; `clock` is monotonic, in seconds."""

    def __init__(self, read: Read, *, clock: Callable[[], float] | None = None) -> None:
        self._read = read
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def delay(self, origin: str, *, user_agent: str) -> float:
        """Return how many seconds `origin` wants between two requests of `user_agent`."""
        now = self._clock() if self._clock else asyncio.get_running_loop().time()
        known = self._known.get(origin)
        if known is None or known.until <= now:
            known = self._known[origin] = _Known(now + MEMORY_SECONDS)
            self._known.move_to_end(origin)
            if len(self._known) > MAX_ORIGINS:
                self._known.popitem(last=False)
        known.requests += 1
        if known.requests == 1:
            return 0.0
        if known.asked is None:
            known.asked = asyncio.create_task(self._ask(origin, user_agent))
        return await asyncio.shield(known.asked)

    def known_delay(self, origin: str) -> float:
        """Return the delay of an origin if its robots.txt was already read, else 0."""
        known = self._known.get(origin)
        task = known.asked if known else None
        return (
            task.result() if task and task.done() and not task.cancelled() and not task.exception() else 0.0
        )

    async def close(self) -> None:
        """Cancel running fetches."""
        tasks = [known.asked for known in self._known.values() if known.asked is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, origin: str, user_agent: str) -> float:
        text = await self._read(origin)
        delay = await asyncio.to_thread(delay_in, text, user_agent) if text else 0.0
        if delay:
            log.info("%s asks for %g s between two requests", origin, delay)
        return delay


def delay_in(text: bytes, user_agent: str) -> float:
    """Return the seconds between two requests of `user_agent` that a robots.txt asks for, at most 60.

    `Crawl-delay` counts, else `Request-rate`; both are older than RFC 9309 and not part of it.
    """
    try:
        rules = Protego.parse(text[:MAX_BYTES].decode("utf-8-sig", "replace"))
        product = _product(user_agent)
        delay = rules.crawl_delay(product)
        if delay is None and (rate := rules.request_rate(product)) and rate.requests > 0:
            delay = rate.seconds / rate.requests
    except Exception as error:  # noqa: BLE001 - a stranger's text through a stranger's parser
        log.info("a robots.txt cannot be read: %r", error)
        return 0.0
    # The comparison is written so that "nan" means no delay.
    return min(float(delay), MAX_DELAY_SECONDS) if delay and delay > 0 else 0.0


def _product(user_agent: str) -> str:
    # RFC 9309 §2.2.1: the product token is letters, "_" and "-".
    match = _PRODUCT.match(user_agent)
    return match[0] if match else user_agent
