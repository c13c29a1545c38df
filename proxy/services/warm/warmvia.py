"""Warms a running service by HTTP, with the requests that visitors will make. Event loop.

The service fetches, keeps and renders. It decodes a picture once for each look, more often than warming in its own
process. Its answers are read into the same outcomes as in `proxy.services.warm.warmlocal`: the code, the origin's
status, and how long the origin asks us to wait.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

from proxy.errors import PictureError
from proxy.fetch.failures import wished_seconds
from proxy.fetch.via import ServiceUnreachable, Via, ViaAnswer
from proxy.images.formats import FORMAT_OF_MEDIA_TYPE
from proxy.services.warm.looks import ORIGINAL, Looks
from proxy.services.warm.warming import (
    MAX_WAIT_SECONDS,
    NOT_KEPT,
    REFUSALS,
    KeptOriginal,
    Pause,
    PictureToWarm,
    VariantToWarm,
    WarmedVariant,
    WarmFailure,
    WarmOutcome,
    pause_until,
)
from proxy.source import Source

Path = Callable[[str, Source], str]
"""Returns the service's path for a source with options, signed if the service requires it."""

_BUSY_STATUSES = frozenset({429, 503})
_BUSY_CODES = frozenset({"queue_full", "rate_limited"})

_BEYOND_LIMITS = {kind.code: kind for kind in PictureError.__subclasses__() if kind.beyond_limits}


class ViaWarmer:
    """Warms one picture.

    1. Request the original. It is kept when the service reports a hit, or that it stored it.
    2. Request each look as the browser would.
    3. Request our addresses as written in the articles, where they differ: an old key may have signed them.
    4. When the service or a server before it is busy (`queue_full`, `rate_limited`), ask again after the time that it
       names, for two minutes in all. A busy service says nothing about the picture. After two minutes in vain no
       request waits until the service answers again.
    """

    def __init__(self, via: Via, looks: Looks, *, path: Path, pause: Pause = asyncio.sleep) -> None:
        self._via = via
        self._looks = looks
        self._path = path
        self._pause = pause
        self._waited_in_vain = False
        self._stopping = asyncio.Event()

    async def warm(self, work: PictureToWarm, *, ask: bool) -> WarmOutcome:
        """Warm `work` and return the outcome."""
        try:
            return await self._asked_as_written(work, await self._warmed(work))
        except ServiceUnreachable as error:
            return WarmOutcome(work, failure=WarmFailure(NOT_KEPT, f"The service cannot be reached: {error}"))

    def wants_pauses(self, origin: str) -> bool:
        """Return False: the service asks the origins, and it makes the pauses."""
        return False

    def stop(self) -> None:
        """Stop retrying: from now on the answer of a busy service is final."""
        self._stopping.set()

    async def _asked_as_written(self, work: PictureToWarm, outcome: WarmOutcome) -> WarmOutcome:
        asked = {self._path(options, work.source) for options in (ORIGINAL, *work.options)}
        for address in work.own:
            answer = None if address in asked else await self._get(address)
            if answer is not None and answer.status != 200 and _told(answer)[0] in REFUSALS:
                return outcome.refused_with(_failure(answer), address)
        return outcome

    async def _get(self, path: str, *, accept: str = "*/*") -> ViaAnswer:
        waited = 0.0
        while True:
            answer = await self._via.get(path, accept=accept)
            seconds = max(_wait_seconds(answer), 1.0)
            if not _is_busy(answer):
                self._waited_in_vain = False
                return answer
            if self._stopping.is_set() or self._waited_in_vain or waited + seconds > MAX_WAIT_SECONDS:
                self._waited_in_vain = True
                return answer
            await pause_until(self._stopping, self._pause(seconds))
            waited += seconds

    async def _warmed(self, work: PictureToWarm) -> WarmOutcome:
        looks, failed = self._looks.of(work)
        answer = await self._get(self._path(ORIGINAL, work.source))
        if answer.status != 200:
            return WarmOutcome(work, failure=_failure(answer))
        made = [await self._made(work, look) for look in looks]
        words = answer.cache_words
        if not words & {"hit", "stored", "fwd=stale"} or "detail=not_kept" in words:
            return WarmOutcome(
                work, None, WarmFailure(NOT_KEPT, "The service did not keep it."), (*made, *failed)
            )
        return WarmOutcome(work, _kept(answer, made), None, (*made, *failed))

    async def _made(self, work: PictureToWarm, look: VariantToWarm) -> WarmedVariant:
        accept = look.browser.accept
        answer = await self._get(self._path(look.options, work.source), accept=accept)
        if answer.status == 200:
            output_format = FORMAT_OF_MEDIA_TYPE.get(answer.media_type, "json")
            return WarmedVariant(look.options, look.browser.name, output_format, answer.size_bytes)
        if answer.status == 302:
            code = next((word[7:] for word in answer.cache_words if word.startswith("detail=")), "redirected")
            message = _BEYOND_LIMITS[code].public_message if code in _BEYOND_LIMITS else "See the original."
            return WarmedVariant(
                look.options, look.browser.name, failure=WarmFailure(code, message), redirected=True
            )
        return WarmedVariant(look.options, look.browser.name, failure=_failure(answer))


def _kept(answer: ViaAnswer, made: list[WarmedVariant]) -> KeptOriginal:
    words = answer.cache_words
    stale = (
        next((word[7:] for word in words if word.startswith("detail=")), "") if "fwd=stale" in words else ""
    )
    damaged = any(one.failure is not None and one.failure.code == "decode_failed" for one in made)
    return KeptOriginal(
        answer.sha256, answer.size_bytes, answer.media_type, "stored" in words, damaged=damaged, stale=stale
    )


def _failure(answer: ViaAnswer) -> WarmFailure:
    code, message = _told(answer)
    return WarmFailure(code, message, answer.origin_status, _wait_seconds(answer))


def _told(answer: ViaAnswer) -> tuple[str, str]:
    """Return code and message of an error. An answer in another format is not ours and says nothing about a picture."""
    code, message = answer.error
    return (NOT_KEPT, message) if code == f"http_{answer.status}" else (code, message)


def _is_busy(answer: ViaAnswer) -> bool:
    # A server before the service may answer 429 or 503, without one of our codes.
    return answer.status in _BUSY_STATUSES and _told(answer)[0] in {*_BUSY_CODES, NOT_KEPT}


def _wait_seconds(answer: ViaAnswer) -> float:
    return wished_seconds(answer.headers.get("retry-after"), now=time.time()) or 0.0


def health_of(answer: ViaAnswer) -> bool:
    """Return whether an answer to /healthz comes from one of our services."""
    try:
        return bool(json.loads(answer.body)["status"] == "ok")
    except (ValueError, KeyError, TypeError):
        return False
