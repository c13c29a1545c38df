"""Error answers that their origins called fresh: a 404 with `max-age` is not asked about again before its time.

RFC 9111 §4 makes no difference between a picture and a 404. Only answers are remembered here, and only as long as
their own fields say, within bounds: an error page with a year of freshness is a slip, and a picture may come back.
One process, bounded in number, lost at a restart. Runs on the event loop; `now` is given.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from cache.freshness import reusable_seconds
from proxy.errors import SourceError
from proxy.source import Source

MAX_ANSWERS = 10_000

MAX_SECONDS = 3600.0
"""For what speaks of the picture: 4xx, and what is no answer to a GET."""

MAX_OUTAGE_SECONDS = 60.0
"""For 5xx, which speak of the origin's health."""


@dataclass(frozen=True, slots=True)
class _Remembered:
    error: SourceError
    stamp: int
    until: float


class ErrorAnswers:
    """The error answers of sources that were never kept."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, _Remembered] = OrderedDict()

    def of(self, source: Source, *, stamp: int, now: float) -> SourceError | None:
        """Return the answer of the origin that still holds, as a new error; None when the origin is to be asked."""
        found = self._answers.get(source.url)
        if found is None or found.stamp != stamp or not found.until - MAX_SECONDS <= now < found.until:
            return None
        return _copy(found.error)

    def note(self, source: Source, error: SourceError, *, stamp: int, now: float) -> None:
        """Remember an answer for as long as it is fresh."""
        seconds = min(_fresh_seconds(error, now=now), _longest(error.origin_status))
        if seconds > 0:
            self._answers[source.url] = _Remembered(error, stamp, now + seconds)
            self._answers.move_to_end(source.url)
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)


def _fresh_seconds(error: SourceError, *, now: float) -> float:
    answer = error.answer
    if answer is None:
        return 0.0
    times = {"request_time": answer.request_time, "response_time": answer.response_time}
    return reusable_seconds(answer.headers, status=error.origin_status, now=now, **times)


def _longest(status: int) -> float:
    return MAX_OUTAGE_SECONDS if status >= 500 else MAX_SECONDS


def _copy(error: SourceError) -> SourceError:
    copy = type(error)(error.message, detail=f"{error.detail}, and that it holds")
    copy.origin_status = error.origin_status
    return copy
