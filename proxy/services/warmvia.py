"""Warming a running service by HTTP: asking for what visitors will ask for.

The service fetches, keeps and renders; each look is an answer of its own, so it decodes more often than warming
in its place would.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from proxy.errors import (
    RenderTimeout,
    TooManyFrames,
    TooManyPixels,
    UnsupportedFormat,
)
from proxy.fetch.via import ServiceUnreachable, Via, ViaAnswer
from proxy.images.formats import FORMAT_OF_MEDIA_TYPE
from proxy.services.looks import ORIGINAL, Looks
from proxy.services.warming import NOT_KEPT, REFUSALS, Failure, KeptOriginal, Look, Made, Outcome, Work
from proxy.source import Source

Path = Callable[[str, Source], str]
"""Returns the path of a source with options on the service, signed where it wants that."""

_BEYOND_LIMITS = {
    kind.code: kind for kind in (TooManyFrames, TooManyPixels, UnsupportedFormat, RenderTimeout)
}


class ViaWarmer:
    """Warm one picture.

    1. The original is asked for. It is kept when the service says that it was a hit, or that it stored it.
    2. Each look is asked for as the browser would.
    3. Addresses of ours are asked as the articles have them, where that differs: a signature may be an old key's.
    """

    def __init__(self, via: Via, looks: Looks, *, path: Path) -> None:
        self._via = via
        self._looks = looks
        self._path = path

    async def warm(self, work: Work, *, ask: bool) -> Outcome:
        """Return what became of `work`."""
        try:
            return await self._asked_as_written(work, await self._warmed(work))
        except ServiceUnreachable as error:
            return Outcome(work, failure=Failure(NOT_KEPT, f"The service cannot be reached: {error}"))

    def wants_pauses(self, origin: str) -> bool:
        """The service asks the origins, not we."""
        return False

    async def _asked_as_written(self, work: Work, outcome: Outcome) -> Outcome:
        asked = {self._path(options, work.source) for options in (ORIGINAL, *work.options)}
        for address in work.own:
            answer = None if address in asked else await self._via.get(address)
            if answer is not None and answer.status != 200 and answer.error[0] in REFUSALS:
                return outcome.refused_with(Failure(*answer.error), address)
        return outcome

    async def _warmed(self, work: Work) -> Outcome:
        looks, failed = self._looks.of(work)
        answer = await self._via.get(self._path(ORIGINAL, work.source))
        if answer.status != 200:
            return Outcome(work, failure=_failure(answer))
        made = [await self._made(work, look) for look in looks]
        words = answer.cache_words
        if not words & {"hit", "stored", "fwd=stale"} or "detail=not_kept" in words:
            return Outcome(work, None, Failure(NOT_KEPT, "The service did not keep it."), (*made, *failed))
        return Outcome(work, _kept(answer, made), None, (*made, *failed))

    async def _made(self, work: Work, look: Look) -> Made:
        accept = look.browser.accept
        answer = await self._via.get(self._path(look.options, work.source), accept=accept)
        if answer.status == 200:
            output_format = FORMAT_OF_MEDIA_TYPE.get(answer.media_type, "json")
            return Made(look.options, look.browser.name, output_format, answer.size_bytes)
        if answer.status == 302:
            code = next((word[7:] for word in answer.cache_words if word.startswith("detail=")), "redirected")
            message = _BEYOND_LIMITS[code].public_message if code in _BEYOND_LIMITS else "See the original."
            return Made(look.options, look.browser.name, failure=Failure(code, message), redirected=True)
        return Made(look.options, look.browser.name, failure=Failure(*answer.error))


def _kept(answer: ViaAnswer, made: list[Made]) -> KeptOriginal:
    words = answer.cache_words
    stale = (
        next((word[7:] for word in words if word.startswith("detail=")), "") if "fwd=stale" in words else ""
    )
    damaged = any(one.failure is not None and one.failure.code == "decode_failed" for one in made)
    return KeptOriginal(
        answer.sha256, answer.size_bytes, answer.media_type, "stored" in words, damaged=damaged, stale=stale
    )


def _failure(answer: ViaAnswer) -> Failure:
    statuses = (
        word.removeprefix("fwd-status=") for word in answer.cache_words if word.startswith("fwd-status=")
    )
    status = next(statuses, "")
    return Failure(*answer.error, origin_status=int(status) if status.isdecimal() and len(status) == 3 else 0)


def health_of(answer: ViaAnswer) -> bool:
    """Tell whether an answer to /healthz is that of one of our services."""
    try:
        return bool(json.loads(answer.body)["status"] == "ok")
    except (ValueError, KeyError, TypeError):
        return False
