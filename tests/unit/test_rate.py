"""The rate: a bucket that never gives more than it has, and says truly when there is more."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.rate import Rate

NOW = 1_700_000_000.0


def test_burst_is_given_at_once_and_no_more() -> None:
    rate, full_at = Rate(10, 5), 0.0
    for left in (4, 3, 2, 1, 0):
        taken = rate.take(full_at, now=NOW)
        assert (taken.allowed, taken.remaining) == (True, left)
        full_at = taken.full_at
    refused = rate.take(full_at, now=NOW)
    assert not refused.allowed
    assert refused.wait_seconds == pytest.approx(0.1, rel=1e-3)
    assert rate.take(full_at, now=NOW + refused.wait_seconds + 1e-6).allowed


@given(per_second=st.floats(0.01, 100), burst=st.integers(1, 200), now=st.floats(1e9, 2e9))
@example(per_second=5, burst=20, now=NOW)
@example(per_second=3, burst=2, now=NOW)
def test_whole_burst_is_given_at_once_at_any_moment(per_second: float, burst: int, now: float) -> None:
    """Today's time in seconds has a precision of a quarter of a microsecond. Its rounding costs no client the last
    unit."""
    rate, full_at = Rate(per_second, burst), 0.0
    for left in reversed(range(burst)):
        taken = rate.take(full_at, now=now)
        assert (taken.allowed, taken.remaining) == (True, left)
        full_at = taken.full_at
    refused = rate.take(full_at, now=now)
    assert (refused.allowed, refused.remaining) == (False, 0)


def test_refusals_cost_nothing() -> None:
    rate, full_at = Rate(1, 1), 0.0
    full_at = rate.take(full_at, now=NOW).full_at
    for _ in range(100):
        full_at = rate.take(full_at, now=NOW + 0.5).full_at
    assert rate.take(full_at, now=NOW + 1.001).allowed


def test_clock_that_was_put_back_shuts_nobody_out_for_longer_than_a_burst() -> None:
    rate = Rate(10, 20)
    full_at = rate.take(0.0, now=NOW).full_at
    taken = rate.take(full_at, now=NOW - 1e9)
    assert taken.wait_seconds <= 2


@given(
    per_second=st.sampled_from([0.01, 0.3, 1, 7, 100, 5000]),
    burst=st.integers(1, 500),
    steps=st.lists(st.floats(0, 5), max_size=200),
)
def test_never_more_than_burst_and_rate(per_second: float, burst: int, steps: list[float]) -> None:
    rate, full_at, now, given_out = Rate(per_second, burst), 0.0, NOW, 0
    for step in steps:
        now += step
        taken = rate.take(full_at, now=now)
        full_at = taken.full_at
        given_out += taken.allowed
        assert given_out <= burst + (now - NOW) * per_second + 1e-2
        assert 0 <= taken.remaining < burst
        assert taken.allowed == (taken.wait_seconds == 0)
        if not taken.allowed:
            assert rate.take(full_at, now=now + taken.wait_seconds * 1.001 + 1e-5).allowed
