"""Sessions, guesses and the history of figures of the desk, without a service; `now` is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.observe.metrics import Metrics
from proxy.observe.totals import totals
from proxy.services.desk.history import FIGURES, MINUTES, FigureHistory, Minute, Recorder
from proxy.services.desk.sessions import (
    GUESS_SECONDS,
    MAX_SESSIONS,
    SESSION_SECONDS,
    Sessions,
    TooManyGuesses,
    WrongToken,
    form_token,
    is_form_token,
)

TOKEN = "a token"
NOW = 1_800_000_000.0


def signed_in(sessions: Sessions, *, now: float = NOW, before: str = "") -> str:
    return sessions.sign_in(TOKEN, token=TOKEN, client=1, before=before, now=now)


def guess(sessions: Sessions, *, now: float, client: int = 1) -> None:
    with pytest.raises(WrongToken):
        sessions.sign_in("wrong", token=TOKEN, client=client, before="", now=now)


def test_session_is_open_for_twelve_hours_and_no_longer(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    session = signed_in(sessions)
    assert sessions.is_open(session, token=TOKEN, now=NOW + SESSION_SECONDS - 1)
    assert not sessions.is_open(session, token=TOKEN, now=NOW + SESSION_SECONDS)


def test_clock_that_was_put_back_makes_no_session_longer(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    session = signed_in(sessions)
    assert not sessions.is_open(session, token=TOKEN, now=NOW - 3600)


def test_session_of_another_token_and_of_no_token_is_closed(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    session = signed_in(sessions)
    assert not sessions.is_open(session, token="another", now=NOW)
    assert not sessions.is_open(session, token="", now=NOW)


def test_empty_token_lets_nobody_in(tmp_path: Path) -> None:
    with pytest.raises(WrongToken):
        Sessions(tmp_path).sign_in("", token="", client=1, before="", now=NOW)


def test_sessions_are_bounded_and_the_oldest_ends_first(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    ids = [signed_in(sessions, now=NOW + number) for number in range(MAX_SESSIONS + 1)]
    later = NOW + MAX_SESSIONS + 1
    assert not sessions.is_open(ids[0], token=TOKEN, now=later)
    assert all(sessions.is_open(session, token=TOKEN, now=later) for session in ids[1:])


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"failed": 3}', b'{"x": "y"}', b"\xff\xfe"])
def test_damaged_files_count_as_empty(tmp_path: Path, damage: bytes) -> None:
    sessions = Sessions(tmp_path)
    session = signed_in(sessions)
    for name in ("sessions", "guesses"):
        (tmp_path / name).write_bytes(damage)
    assert not sessions.is_open(session, token=TOKEN, now=NOW)
    assert sessions.is_open(signed_in(sessions), token=TOKEN, now=NOW)


def test_guesses_are_forgotten_after_a_minute(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    for number in range(5):
        guess(sessions, now=NOW + number)
    with pytest.raises(TooManyGuesses) as refused:
        signed_in(sessions, now=NOW + 10)
    assert refused.value.retry_after_seconds == GUESS_SECONDS - 10
    assert signed_in(sessions, now=NOW + GUESS_SECONDS)


def test_refused_guesses_do_not_lock_the_owner_out_for_longer(tmp_path: Path) -> None:
    """Only wrong tokens that were compared count, so hammering does not extend the minute."""
    sessions = Sessions(tmp_path)
    for _ in range(5):
        guess(sessions, now=NOW)
    for number in range(20):
        with pytest.raises(TooManyGuesses):
            sessions.sign_in("wrong", token=TOKEN, client=1, before="", now=NOW + 30 + number)
    assert signed_in(sessions, now=NOW + GUESS_SECONDS)


def test_guesses_of_one_client_leave_another_alone(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    for _ in range(5):
        guess(sessions, now=NOW, client=2)
    assert signed_in(sessions)


def test_guesses_at_once_count_although_some_waited_for_the_lock(tmp_path: Path) -> None:
    """The moment of a guess is read before it waits, so the one before it may be later."""
    sessions = Sessions(tmp_path)
    for number in range(5):
        guess(sessions, now=NOW - number / 100)
    with pytest.raises(TooManyGuesses) as refused:
        guess(sessions, now=NOW - 1)
    assert refused.value.retry_after_seconds == GUESS_SECONDS


def test_guess_of_a_wrong_clock_locks_nobody_out(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    for _ in range(5):
        guess(sessions, now=NOW + 3600)
    assert signed_in(sessions)


def test_sessions_of_a_wrong_clock_keep_no_place(tmp_path: Path) -> None:
    """A clock that was days ahead must not shut the owner out until these days are over."""
    sessions = Sessions(tmp_path)
    for number in range(MAX_SESSIONS):
        signed_in(sessions, now=NOW + 10 * SESSION_SECONDS + number)
    assert sessions.is_open(signed_in(sessions), token=TOKEN, now=NOW)


def test_form_token_belongs_to_one_session() -> None:
    assert is_form_token(form_token("a"), "a")
    assert not is_form_token(form_token("a"), "b")
    assert not is_form_token("é", "a")
    assert not is_form_token(form_token(""), "")


def row(number: int, **figures: float) -> Minute:
    return Minute(number, {name: figures.get(name, 0.0) for name in FIGURES})


def test_history_returns_the_minutes_that_were_added(tmp_path: Path) -> None:
    history = FigureHistory(tmp_path)
    history.add(row(100, hits=3))
    history.add(row(102, hits=5))
    found = history.between(100, 102)
    assert {number: minute.figures["hits"] for number, minute in found.items()} == {100: 3, 102: 5}
    assert history.between(101, 101) == {}


def test_history_forgets_a_minute_of_a_day_ago(tmp_path: Path) -> None:
    history = FigureHistory(tmp_path)
    history.add(row(100))
    history.add(row(100 + MINUTES))
    assert list(history.between(0, 10_000)) == [100 + MINUTES]


@pytest.mark.parametrize("content", [b"", b"x" * 5000])
def test_history_with_other_columns_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "history").write_bytes(content)
    history = FigureHistory(tmp_path)
    assert history.between(0, 10_000) == {}
    history.add(row(100, hits=3))
    assert list(history.between(0, 10_000)) == [100]


def test_recorder_writes_differences_and_the_present_queue(tmp_path: Path) -> None:
    history = FigureHistory(tmp_path)
    recorder = Recorder(history, {"hits": 10.0, "queue": 1.0})
    recorder.record(100, {"hits": 15.0, "queue": 4.0})
    recorder.record(101, {"hits": 15.0, "queue": 0.0})
    found = history.between(100, 101)
    assert [(found[n].figures["hits"], found[n].figures["queue"]) for n in (100, 101)] == [(5, 4), (0, 0)]


def test_totals_that_shrink_count_as_nothing(tmp_path: Path) -> None:
    """A worker that died takes its figures with it; a bar below zero would be nonsense."""
    history = FigureHistory(tmp_path)
    Recorder(history, {"hits": 10.0}).record(100, {"hits": 2.0})
    assert history.between(100, 100)[100].figures["hits"] == 0


def test_totals_add_up_what_the_metrics_count() -> None:
    """Every figure of the history comes from a metric that exists."""
    metrics = Metrics()
    for result in ("memory", "store", "rendered", "fetched"):
        metrics.cache_requests.labels(result).inc()
    metrics.fetch_seconds.labels("ok").observe(1)
    metrics.fetch_seconds.labels("source_timeout").observe(1)
    metrics.render_seconds.observe(1)
    metrics.render_failures.labels("decode_failed").inc()
    for status in ("200", "404", "502"):
        metrics.requests.labels("variant", status).inc()
    metrics.bytes_sent.inc(7)
    metrics.queue.set(3)
    assert dict(totals(metrics)) == {
        "lookups": 4, "hits": 2, "fetches": 2, "failed_fetches": 1, "renders": 1, "failed_renders": 1, "answers": 3,
        "refused": 1, "failed": 1, "sent_bytes": 7, "queue": 3,
    }  # fmt: skip
