"""Circuit breakers of origins: when they open, who tries again, and which failures they ignore."""

from __future__ import annotations

import functools

import pytest

from proxy.errors import SourceError, SourceFailed, SourceRefused, SourceTimeout, SourceUnreachable
from proxy.fetch.politeness.breaker import (
    MAX_ASKED_SECONDS,
    MAX_ORIGINS,
    MAX_PAUSE_SECONDS,
    PAUSE_SECONDS,
    TRIPS_AFTER,
    Breaker,
)

ORIGIN = "http://h.example"


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def made(failure: str, *, wish: float | None = None) -> SourceError:
    kinds = {"timeout": SourceTimeout, "busy": SourceRefused, "failed": SourceFailed}
    error = kinds.get(failure, SourceUnreachable)()
    error.failure, error.retry_after_seconds = failure, wish
    return error


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock=clock, chance=lambda low, high: (low + high) / 2)


def fail(breaker: Breaker, failure: str, times: int, *, wish: float | None = None) -> None:
    for _ in range(times):
        breaker.begin(ORIGIN)
        breaker.failed(ORIGIN, made(failure, wish=wish))


@pytest.mark.parametrize(("failure", "times"), TRIPS_AFTER.items())
def test_circuit_opens_after_its_number_of_failures(breaker: Breaker, failure: str, times: int) -> None:
    fail(breaker, failure, times - 1)
    breaker.require(ORIGIN)
    fail(breaker, failure, 1)
    with pytest.raises(type(made(failure))) as caught:
        breaker.require(ORIGIN)
    assert caught.value.not_asked
    breaker.require("http://other.example")


@pytest.mark.parametrize("failure", ["unreachable", "not_found", "unusable", "too_large", ""])
def test_failure_of_one_picture_never_opens_the_circuit(breaker: Breaker, failure: str) -> None:
    fail(breaker, failure, 100)
    breaker.require(ORIGIN)
    assert len(breaker) == 0


def test_answer_between_failures_begins_the_count_anew(breaker: Breaker) -> None:
    for _ in range(10):
        fail(breaker, "connect", 4)
        breaker.answered(ORIGIN)
    breaker.require(ORIGIN)
    assert len(breaker) == 0


def test_one_probe_is_let_through_after_the_pause_and_closes_the_circuit(
    breaker: Breaker, clock: Clock
) -> None:
    fail(breaker, "timeout", 5)
    clock.now += PAUSE_SECONDS - 1
    with pytest.raises(SourceTimeout):
        breaker.begin(ORIGIN)
    clock.now += 2
    breaker.begin(ORIGIN)
    with pytest.raises(SourceTimeout):
        breaker.begin(ORIGIN)
    breaker.answered(ORIGIN)
    breaker.begin(ORIGIN)
    assert len(breaker) == 0


def test_probe_that_fails_doubles_the_pause_up_to_the_longest(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, "connect", 5)
    pauses = []
    for _ in range(8):
        begun = clock.now
        while True:
            try:
                breaker.begin(ORIGIN)
            except SourceUnreachable:
                clock.now += 1
                continue
            break
        pauses.append(clock.now - begun)
        breaker.failed(ORIGIN, made("connect"))
    assert pauses[:4] == [PAUSE_SECONDS, 2 * PAUSE_SECONDS, 4 * PAUSE_SECONDS, 8 * PAUSE_SECONDS]
    assert pauses[-1] == MAX_PAUSE_SECONDS


def test_probe_that_is_given_up_lets_another_try(breaker: Breaker, clock: Clock) -> None:
    """A visitor who leaves must not close an origin for good."""
    fail(breaker, "connect", 5)
    clock.now += PAUSE_SECONDS + 1
    breaker.begin(ORIGIN)
    breaker.left(ORIGIN)
    breaker.begin(ORIGIN)


def test_failures_that_were_under_way_do_not_lengthen_the_pause(breaker: Breaker, clock: Clock) -> None:
    for _ in range(9):
        breaker.begin(ORIGIN)
    for _ in range(9):
        breaker.failed(ORIGIN, made("timeout"))
    clock.now += PAUSE_SECONDS + 1
    breaker.require(ORIGIN)


def test_retry_after_is_kept_and_bounded(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, "busy", 3, wish=300.0)
    clock.now += 299
    with pytest.raises(SourceRefused):
        breaker.require(ORIGIN)
    clock.now += 2
    breaker.require(ORIGIN)
    fail(breaker, "busy", 1, wish=10 * MAX_ASKED_SECONDS)
    clock.now += MAX_ASKED_SECONDS + 1
    breaker.require(ORIGIN)


def test_clock_that_was_put_back_does_not_close_an_origin_for_years(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, "connect", 5)
    clock.now -= 1e8
    breaker.require(ORIGIN)


def drawn(share: float, _low: float, _high: float) -> float:
    return share


def test_pauses_of_workers_differ(clock: Clock) -> None:
    seen = set()
    for share in (0.8, 1.0, 1.2):
        breaker = Breaker(clock=clock, chance=functools.partial(drawn, share))
        fail(breaker, "connect", 5)
        seen.add(breaker._origins[ORIGIN].open_until)
    assert len(seen) == 3


def test_origins_that_clients_make_up_do_not_fill_the_memory(breaker: Breaker) -> None:
    for number in range(MAX_ORIGINS + 100):
        breaker.failed(f"http://h{number}.example", made("dns"))
    assert len(breaker) == MAX_ORIGINS
