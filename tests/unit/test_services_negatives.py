"""The memory of failed sources: for how long, after which failure, and which failures are never remembered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fetching import fetch_config

from cache.across.failures import Failures, RememberedFailure
from cache.base.threads import StoreThreads
from proxy.config import FetchConfig
from proxy.errors import (
    AnswerHead,
    DecodeFailed,
    MirrorError,
    NotAnImage,
    QueueFull,
    SourceError,
    SourceFailed,
    SourceNotAllowed,
    SourceTimeout,
    SourceUnreachable,
)
from proxy.fetch.failures import status_failure, wished_seconds
from proxy.fetch.politeness.breaker import TRIPS_AFTER
from proxy.services.serving.values import SHORT_SECONDS
from proxy.services.troubles.negatives import (
    KINDS,
    MAX_ASKED_SECONDS,
    MAX_OUTAGE_SECONDS,
    Kind,
    Negatives,
    is_dead,
    kind_of,
)
from proxy.source import Source

SOURCE = Source.parse("http://h.example/a.png")
STAMP = 7


class Memory:
    """Negatives over a real file, with a clock of the test's own and no jitter."""

    def __init__(self, failures: Failures) -> None:
        self.now = 1_700_000_000.0
        self.failures = failures
        self.origin_stamps: dict[str, int] = defaultdict(int)
        self.negatives = self.make(fetch_config())

    def make(self, config: FetchConfig) -> Negatives:
        return Negatives(
            self.failures,
            config,
            now=lambda: self.now,
            stamp_of=lambda origin: self.origin_stamps[origin],
            chance=lambda low, high: (low + high) / 2,
        )

    async def fail(self, error: MirrorError, *, times: int = 1, kept: bool = False) -> None:
        for _ in range(times):
            await self.negatives.note(SOURCE, error, stamp=STAMP, kept=kept)

    async def known(self, *, stamp: int = STAMP) -> MirrorError | None:
        return await self.negatives.remembered(SOURCE, stamp=stamp)


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[Memory]:
    threads = StoreThreads("test")
    yield Memory(Failures(tmp_path / "failures", threads))
    await threads.close()


def error_of(kind: str) -> MirrorError:
    error = KINDS[kind].error()
    if isinstance(error, SourceError):
        error.failure = kind
    return error


@pytest.mark.parametrize("kind", KINDS)
async def test_kind_has_one_quick_recheck_and_then_its_own_time(memory: Memory, kind: str) -> None:
    error = error_of(kind)
    assert kind_of(error) == kind
    await memory.fail(error)
    assert await memory.known() is None, "the next request asks again"
    await memory.fail(error)
    again = await memory.known()
    assert type(again) is type(error)
    memory.now += KINDS[kind].seconds - 1
    assert await memory.known() is not None
    memory.now += 2
    assert await memory.known() is None


@pytest.mark.parametrize("kind", KINDS)
async def test_kept_source_is_asked_again_within_a_minute_and_then_at_the_pace_of_its_kind(
    memory: Memory, kind: str
) -> None:
    await memory.fail(error_of(kind), kept=True)
    assert await memory.known() is not None
    memory.now += SHORT_SECONDS + 1
    assert await memory.known() is None
    await memory.fail(error_of(kind), kept=True)
    memory.now += KINDS[kind].seconds - 1
    assert await memory.known() is not None


@pytest.mark.parametrize("kind", KINDS)
async def test_remembered_failure_is_as_dead_as_its_kind(memory: Memory, kind: str) -> None:
    """A copy is looked for after the failure itself, and after a remembered one for which nobody asked the origin."""
    error = error_of(kind)
    await memory.fail(error, times=2)
    known = await memory.known()
    assert known is not None
    assert is_dead(error) is is_dead(known) is KINDS[kind].is_dead


@pytest.mark.parametrize("failure", ["dns", "connect", "tls"])
def test_origin_without_an_answer_is_dead(failure: str) -> None:
    error = SourceUnreachable()
    error.failure = failure
    assert is_dead(error)


@pytest.mark.parametrize(
    "error", [SourceFailed(), QueueFull()], ids=["an unnamed failure", "no failure of the source"]
)
def test_failure_without_a_kind_is_not_dead(error: MirrorError) -> None:
    if isinstance(error, SourceError):
        error.failure = ""
    assert not is_dead(error)


def test_kind_of_failure_says_whether_the_picture_is_dead() -> None:
    """No default: who adds a kind decides it."""
    with pytest.raises(TypeError, match="is_dead"):
        Kind(SourceFailed, 30)  # type: ignore[call-arg]


def test_kind_of_failure_either_trips_the_breaker_or_speaks_of_one_picture() -> None:
    of_one_picture = {"refused", "not_found", "gone", "unusable", "not_an_image", "too_large"}
    of_the_origin = {"unreachable" if kind in {"dns", "connect", "tls"} else kind for kind in TRIPS_AFTER}
    undecided = KINDS.keys() ^ (of_one_picture | of_the_origin)
    assert not undecided, (
        f"put {undecided} in TRIPS_AFTER of proxy/fetch/politeness/breaker.py when it says something about the whole "
        "origin, or in the set here when it says something about one picture"
    )


async def test_answer_of_the_origin_is_remembered_with_the_failure(memory: Memory) -> None:
    await memory.fail(status_failure(404), times=2)
    known = await memory.known()
    assert isinstance(known, SourceError)
    assert (known.code, known.status, known.origin_status) == ("source_not_found", 404, 404)
    await memory.fail(status_failure(410), times=2)
    known = await memory.known()
    assert known is not None
    assert known.status == 410


@pytest.mark.parametrize("failure", ["dns", "connect", "tls", "unreachable"])
async def test_cause_of_an_unreachable_source_is_not_to_be_told_from_what_is_remembered(
    memory: Memory, failure: str
) -> None:
    """No name, a prohibited address, no TLS: one time, one wording, one count."""
    for cause in (failure, "unreachable"):
        error = SourceUnreachable()
        error.failure = cause
        await memory.fail(error)
    known = await memory.known()
    assert isinstance(known, SourceUnreachable)
    assert (known.failure, known.detail) == ("unreachable", "remembered: unreachable, 2 in a row")
    memory.now += KINDS["unreachable"].seconds - 1
    assert await memory.known() is not None
    memory.now += 2
    assert await memory.known() is None


async def test_another_kind_of_failure_is_a_first_one(memory: Memory) -> None:
    """An origin on its way down: 503, then refused."""
    await memory.fail(status_failure(503), times=2)
    memory.now += KINDS["failed"].seconds + 1
    await memory.fail(error_of("unreachable"))
    assert await memory.known() is None


async def test_retry_after_is_taken_at_its_word_at_once_and_bounded(memory: Memory) -> None:
    await memory.fail(status_failure(429, retry_after="120"))
    memory.now += 119
    assert await memory.known() is not None
    memory.now += 2
    assert await memory.known() is None
    await memory.fail(status_failure(503, retry_after="999999999"))
    memory.now += MAX_ASKED_SECONDS + 1
    assert await memory.known() is None


async def test_what_is_remembered_says_for_how_long_it_still_is(memory: Memory) -> None:
    """So that who asks can come back when the origin is asked again; for each kind of failure."""
    await memory.fail(status_failure(429, retry_after="120"))
    memory.now += 50
    known = await memory.known()
    assert isinstance(known, SourceError)
    assert (known.origin_status, known.retry_after_seconds) == (429, 70.0)
    await memory.fail(SourceTimeout(), times=2)
    known = await memory.known()
    assert isinstance(known, SourceError)
    assert known.retry_after_seconds == KINDS["timeout"].seconds


async def test_purge_forgets(memory: Memory) -> None:
    """A purge changes the stamp of the source."""
    await memory.fail(status_failure(404), times=2)
    assert await memory.known(stamp=STAMP + 1) is None


async def test_reload_with_other_settings_forgets(memory: Memory) -> None:
    await memory.fail(NotAnImage(), times=2)
    assert await memory.known() is not None
    memory.negatives.reconfigure(fetch_config(types=["*/*"]))
    assert await memory.known() is None
    memory.negatives.reconfigure(fetch_config())
    assert await memory.known() is not None


async def test_success_forgets(memory: Memory) -> None:
    await memory.fail(status_failure(500), kept=True)
    await memory.negatives.forget(SOURCE, stamp=STAMP)
    assert await memory.known() is None


async def test_longest_time_is_the_operators(memory: Memory) -> None:
    memory.negatives = memory.make(fetch_config(remember_failures="10s"))
    await memory.fail(status_failure(410), times=2)
    memory.now += 9
    assert await memory.known() is not None
    memory.now += 2
    assert await memory.known() is None
    memory.negatives = memory.make(fetch_config(remember_failures=0))
    await memory.fail(status_failure(410), times=9)
    assert await memory.known() is None


@pytest.mark.parametrize("error", [QueueFull(), DecodeFailed(), SourceNotAllowed()])
async def test_trouble_of_our_own_is_not_remembered(memory: Memory, error: MirrorError) -> None:
    await memory.fail(error, times=3)
    assert await memory.known() is None


async def test_waiting_in_vain_for_others_says_nothing_of_the_source(memory: Memory) -> None:
    error = SourceTimeout()
    error.failure = ""
    await memory.fail(error, times=3)
    assert await memory.known() is None


async def test_origin_that_was_not_asked_says_nothing_of_the_source(memory: Memory) -> None:
    error = error_of("unreachable")
    assert isinstance(error, SourceError)
    error.not_asked = True
    await memory.fail(error, times=3)
    assert await memory.known() is None


async def test_failure_of_another_process_meanwhile_is_known(memory: Memory) -> None:
    begun = memory.now
    memory.now += 5
    await memory.fail(error_of("timeout"))
    found = await memory.failures.get(memory.negatives.key(SOURCE, stamp=STAMP) or "")
    assert memory.negatives.since(found, begun) is not None
    assert memory.negatives.since(found, memory.now) is None


async def test_failure_of_a_kind_that_a_newer_version_wrote_is_not_believed(memory: Memory) -> None:
    """All versions share the folder of failures; an unknown word there must not fail a request."""
    key = memory.negatives.key(SOURCE, stamp=STAMP)
    assert key is not None
    found = RememberedFailure("melted", 500, 2, memory.now, memory.now + 60)
    await memory.failures.put(key, found)
    assert await memory.known() is None
    assert memory.negatives.since(found, memory.now - 1) is None


async def test_clock_that_was_put_back_forgets(memory: Memory) -> None:
    await memory.fail(status_failure(410), times=2)
    memory.now -= 1e7
    assert await memory.known() is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0), (" 5 ", 5.0), ("0", 0.0), ("9" * 5000, 86_400.0), ("Tue, 14 Nov 2023 22:15:20 GMT", 120.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0), ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0), ("-5", None),
        ("1.5", None), ("soon", None), ("", None), (None, None), ("\u0661", None), ("Tue, 99 Nov 2023", None),
    ],
)  # fmt: skip
def test_retry_after_is_read_as_seconds_or_date(text: str | None, seconds: float | None) -> None:
    """RFC 9110 §10.2.3."""
    assert wished_seconds(text, now=1_700_000_000.0) == seconds


async def test_failures_of_an_origin_are_forgotten_when_its_stamp_changes(memory: Memory) -> None:
    """This is a purge by origin, for which there is no list of the sources that were never kept."""
    await memory.fail(error_of("gone"), times=2)
    memory.origin_stamps["http://elsewhere.example"] += 1
    assert await memory.known() is not None
    memory.origin_stamps["http://h.example"] += 1
    assert await memory.known() is None


def answered(status: int, control: str | None) -> SourceError:
    error = status_failure(status)
    headers = (("cache-control", control),) if control else ()
    error.answer = AnswerHead(headers, 1_700_000_000.0, 1_700_000_000.0)
    return error


async def test_error_answer_holds_for_as_long_as_its_origin_calls_it_fresh(memory: Memory) -> None:
    """RFC 9111 §4.2, from the first answer on. The raised error says that the origin was not asked."""
    await memory.fail(answered(404, "max-age=60"))
    memory.now += 59
    held = await memory.known()
    assert isinstance(held, SourceError)
    assert (held.code, held.origin_status, held.not_asked) == ("source_not_found", 404, True)
    memory.now += 1
    assert await memory.known() is None


@pytest.mark.parametrize("control", [None, "no-store, max-age=60", "private, max-age=60", "max-age=0"])
async def test_error_answer_without_freshness_is_asked_for_again(memory: Memory, control: str | None) -> None:
    await memory.fail(answered(404, control))
    assert await memory.known() is None


@pytest.mark.parametrize(("status", "longest"), [(404, MAX_ASKED_SECONDS), (503, MAX_OUTAGE_SECONDS)])
async def test_error_page_with_a_year_of_freshness_holds_for_our_longest(
    memory: Memory, status: int, longest: float
) -> None:
    """A slip in an origin's configuration does not make a picture vanish for a year."""
    await memory.fail(answered(status, "max-age=31536000"))
    memory.now += longest - 1
    assert await memory.known() is not None
    memory.now += 1
    assert await memory.known() is None
