"""Chooses the next picture to warm, so that all origins get an equal share. Pure, O(1) for each step.

The fetcher enforces politeness. This module only orders the work, so that an origin with a thousand pictures, or one
that does not answer, does not delay the others.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _OriginTurns(Generic[T]):
    name: str
    waiting: deque[T] = field(default_factory=deque)
    active: int = 0
    timeouts: int = 0
    paced: bool = False
    queued: bool = False

    @property
    def slow(self) -> bool:
        return self.paced or bool(self.timeouts)


class Turns(Generic[T]):
    """A queue of work by origin. `take` a piece, do it, then `end` it."""

    def __init__(self, *, per_origin: int, places: int) -> None:
        self._per_origin = per_origin
        self._slow_places = max(1, places // 2)
        self._slow_active = 0
        self._left_well = 0
        self._origins: dict[str, _OriginTurns[T]] = {}
        self._well: deque[_OriginTurns[T]] = deque()
        self._slow: deque[_OriginTurns[T]] = deque()

    def add(self, origin: str, work: T) -> None:
        """Queue `work`."""
        place = self._origins.setdefault(origin, _OriginTurns(origin))
        place.waiting.append(work)
        self._left_well += not place.slow
        self._queue(place)

    def take(self) -> T | None:
        """Return the next piece of work, or None when none may begin now."""
        if self._well:
            return self._take_from(self._well.popleft())
        # Slow origins leave places free while the others have work waiting.
        if self._slow and (self._slow_active < self._slow_places or not self._left_well):
            return self._take_from(self._slow.popleft())
        return None

    def end(self, origin: str, *, timed_out: bool, paced: bool = False) -> None:
        """Record that a piece of work has ended, and whether its origin timed out or wants pauses."""
        place = self._origins[origin]
        place.active -= 1
        self._slow_active -= place.slow
        self._note(place, timed_out=timed_out, paced=paced)
        if place.waiting:
            self._queue(place)
        elif not place.active and not place.slow:
            del self._origins[origin]

    def timeouts(self, origin: str) -> int:
        """Return how many times in a row the origin has timed out."""
        place = self._origins.get(origin)
        return place.timeouts if place else 0

    def _take_from(self, place: _OriginTurns[T]) -> T:
        place.queued = False
        work = place.waiting.popleft()
        place.active += 1
        if place.slow:
            self._slow_active += 1
        else:
            self._left_well -= 1
        self._queue(place)
        return work

    def _note(self, place: _OriginTurns[T], *, timed_out: bool, paced: bool) -> None:
        before = place.slow
        place.timeouts = place.timeouts + 1 if timed_out else 0
        place.paced = paced
        if place.slow == before:
            return
        sign = 1 if place.slow else -1
        self._slow_active += sign * place.active
        self._left_well -= sign * len(place.waiting)
        if place.queued:
            (self._slow if before else self._well).remove(place)
            place.queued = False

    def _queue(self, place: _OriginTurns[T]) -> None:
        limit = 1 if place.slow else self._per_origin
        if place.waiting and place.active < limit and not place.queued:
            place.queued = True
            (self._slow if place.slow else self._well).append(place)
