"""Purge hooks: tells caches in front of the service what was purged. Runs on the event loop.

Each hook gets a POST with a JSON object: `purged` and `blocked`, lists of sources. The operator configures the
addresses, so they may lie in a private network. Redirects are not followed. The addresses may contain secrets, so the
log shows their numbers instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

import aiohttp

from proxy.version import __version__

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 5.0
"""The time limit of one attempt."""
TRIES = 2
LONGEST_SECONDS = 30.0
"""The longest time for which all hooks together may delay the answer to a purge."""
MAX_AT_ONCE = 8
BATCH = 1000
"""The most sources in one request. A purge of an origin may have a hundred thousand."""


async def tell(
    hooks: Sequence[str],
    *,
    purged: Sequence[str],
    blocked: Sequence[str] = (),
    timeout_seconds: float = TIMEOUT_SECONDS,
    longest_seconds: float = LONGEST_SECONDS,
) -> list[bool]:
    """Notify every hook, in batches, each tried at most twice. Return for each hook whether it answered 2xx to all of
    them.

    A hook that fails gets no further batches, and causes no exception. One attempt takes at most `timeout_seconds`, and
    all of them together take at most `longest_seconds`.
    """
    if not hooks or not (purged or blocked):
        return []
    places = asyncio.Semaphore(MAX_AT_ONCE)
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=timeout_seconds),
        headers={"User-Agent": f"imgmirror/{__version__}"},
    ) as session:

        async def told(number: int, hook: str) -> bool:
            problem = "it took too long"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(longest_seconds), places:
                    problem = await _all_told(session, hook, _batches(purged, blocked))
            if problem:
                log.warning("server.purge_hooks: number %d was not told: %s", number, problem)
            return not problem

        return list(await asyncio.gather(*(told(number, hook) for number, hook in enumerate(hooks, start=1))))


def _batches(purged: Sequence[str], blocked: Sequence[str]) -> list[dict[str, Sequence[str]]]:
    length = max(len(purged), len(blocked))
    return [
        {"purged": purged[start : start + BATCH], "blocked": blocked[start : start + BATCH]}
        for start in range(0, length, BATCH)
    ]


async def _all_told(
    session: aiohttp.ClientSession, hook: str, batches: Sequence[dict[str, Sequence[str]]]
) -> str:
    """Return why a hook did not get all batches, or an empty text."""
    for news in batches:
        if problem := await _told(session, hook, news):
            return problem
    return ""


async def _told(session: aiohttp.ClientSession, hook: str, news: dict[str, Sequence[str]]) -> str:
    problem = ""
    for _ in range(TRIES):
        try:
            async with session.post(hook, json=news, allow_redirects=False) as answer:
                if answer.status // 100 == 2:
                    return ""
                problem = f"it answered {answer.status}"
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            problem = type(error).__name__
    return problem
