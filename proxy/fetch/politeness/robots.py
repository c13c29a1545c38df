"""robots.txt of origins: how long a crawler is asked to wait between two requests (Crawl-delay). Event loop.

Only the delay is taken from it: what is warmed was named by the operator's own articles, and is not crawled for.
Asked once a day, before the second request to an origin: a single picture needs no delay. Whatever goes wrong
means no delay (RFC 9309 §2.3.1 forbids crawling then; the pictures would fail by themselves).
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
"""RFC 9309 §2.5: at least 500 KiB are read; the rest is not."""
MEMORY_SECONDS = 86_400.0
"""RFC 9309 §2.4."""
MAX_DELAY_SECONDS = 60.0
"""A longer delay counts as this one: at an hour each, nobody's pictures would ever be saved."""
MAX_ORIGINS = 4096

_PRODUCT = re.compile(r"[A-Za-z_-]+")

Read = Callable[[str], Awaitable[bytes]]
"""Returns the robots.txt of an origin, cut at `MAX_BYTES`; empty when it cannot be had."""


@dataclass(slots=True)
class _Known:
    until: float
    asked: asyncio.Task[float] | None = None
    requests: int = field(default=0)


class Robots:
    """The delays of origins. `read` fetches; `clock` gives seconds that never go back."""

    def __init__(self, read: Read, *, clock: Callable[[], float] | None = None) -> None:
        self._read = read
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def delay(self, origin: str, *, user_agent: str) -> float:
        """Return the seconds that `origin` asks for between two requests of `user_agent`."""
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
        """Return the delay of an origin whose robots.txt was read already, else 0."""
        known = self._known.get(origin)
        task = known.asked if known else None
        return (
            task.result() if task and task.done() and not task.cancelled() and not task.exception() else 0.0
        )

    async def close(self) -> None:
        """End what is being asked."""
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
    """Return the seconds between two requests that a robots.txt asks `user_agent` for, 60 at most.

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
    # Written so that "nan" is no delay.
    return min(float(delay), MAX_DELAY_SECONDS) if delay and delay > 0 else 0.0


def _product(user_agent: str) -> str:
    # RFC 9309 §2.2.1: the product token is letters, "_" and "-".
    match = _PRODUCT.match(user_agent)
    return match[0] if match else user_agent
