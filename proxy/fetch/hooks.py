"""Purge hooks: caches in front of the service are told what was purged. Runs on the event loop.

Each hook gets a POST with a JSON object: `purged` and `blocked`, lists of sources. The addresses are the operator's
own, so they may lie in a private network; redirects are not followed. Only their origin is logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import aiohttp

from proxy.source import origin_of
from proxy.version import __version__

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 5.0
"""How long one try may take."""
TRIES = 2
MAX_AT_ONCE = 8
BATCH = 1000
"""Sources in one request: an origin's may be a hundred thousand."""


async def tell(hooks: Sequence[str], *, purged: Sequence[str], blocked: Sequence[str] = ()) -> list[bool]:
    """Tell every hook, each twice at most; return for each whether it answered 2xx to all it was told.

    Never raises because of a hook.
    """
    if not hooks or not (purged or blocked):
        return []
    places = asyncio.Semaphore(MAX_AT_ONCE)
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
        headers={"User-Agent": f"imgmirror/{__version__}"},
    ) as session:

        async def told(hook: str) -> bool:
            async with places:
                return all([await _told(session, hook, news) for news in _batches(purged, blocked)])

        return list(await asyncio.gather(*map(told, hooks)))


def _batches(purged: Sequence[str], blocked: Sequence[str]) -> list[dict[str, Sequence[str]]]:
    length = max(len(purged), len(blocked))
    return [
        {"purged": purged[start : start + BATCH], "blocked": blocked[start : start + BATCH]}
        for start in range(0, length, BATCH)
    ]


async def _told(session: aiohttp.ClientSession, hook: str, news: dict[str, Sequence[str]]) -> bool:
    problem = ""
    for _ in range(TRIES):
        try:
            async with session.post(hook, json=news, allow_redirects=False) as answer:
                if answer.status // 100 == 2:
                    return True
                problem = f"it answered {answer.status}"
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            problem = type(error).__name__
    log.warning("a purge hook at %s was not told: %s", origin_of(hook), problem)
    return False
