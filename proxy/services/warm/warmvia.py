"""Warming a running service by HTTP: asking for what visitors will ask for.

The service fetches, keeps and renders; each look is an answer of its own, so it decodes more often than warming
in its place would. What it says of an origin, remembered or not, is read as `proxy.services.warm.warmlocal` hears it at
first hand: the code, the origin's status, and for how long the origin wants to be left alone.
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
"""Returns the path of a source with options on the service, signed where it wants that."""

_BUSY_STATUSES = frozenset({429, 503})
_BUSY_CODES = frozenset({"queue_full", "rate_limited"})

_BEYOND_LIMITS = {kind.code: kind for kind in PictureError.__subclasses__() if kind.beyond_limits}


class ViaWarmer:
    """Warm one picture.

    1. The original is asked for. It is kept when the service says that it was a hit, or that it stored it.
    2. Each look is asked for as the browser would.
    3. Addresses of ours are asked as the articles have them, where that differs: a signature may be an old key's.
    4. A service that is busy itself (`queue_full`, `rate_limited`, or what stands before it) is asked again after the
       time that it names, two minutes in all: this says nothing of the picture. Once that was in vain, nobody waits
       until it answers again.
    """

    def __init__(self, via: Via, looks: Looks, *, path: Path, pause: Pause = asyncio.sleep) -> None:
        self._via = via
        self._looks = looks
        self._path = path
        self._pause = pause
        self._waited_in_vain = False
        self._stopping = asyncio.Event()

    async def warm(self, work: PictureToWarm, *, ask: bool) -> WarmOutcome:
        """Return what became of `work`."""
        try:
            return await self._asked_as_written(work, await self._warmed(work))
        except ServiceUnreachable as error:
            return WarmOutcome(work, failure=WarmFailure(NOT_KEPT, f"The service cannot be reached: {error}"))

    def wants_pauses(self, origin: str) -> bool:
        """The service asks the origins, not we."""
        return False

    def stop(self) -> None:
        """Take what a busy service says as its answer from now on."""
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
    """Return the code and message of an error; what is not in our shape is not ours, and says nothing of a picture."""
    code, message = answer.error
    return (NOT_KEPT, message) if code == f"http_{answer.status}" else (code, message)


def _is_busy(answer: ViaAnswer) -> bool:
    # 429 and 503 of a server before the service have no code of ours.
    return answer.status in _BUSY_STATUSES and _told(answer)[0] in {*_BUSY_CODES, NOT_KEPT}


def _wait_seconds(answer: ViaAnswer) -> float:
    return wished_seconds(answer.headers.get("retry-after"), now=time.time()) or 0.0


def health_of(answer: ViaAnswer) -> bool:
    """Tell whether an answer to /healthz is that of one of our services."""
    try:
        return bool(json.loads(answer.body)["status"] == "ok")
    except (ValueError, KeyError, TypeError):
        return False
