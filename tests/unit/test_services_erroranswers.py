"""Error answers that hold for a while because their origins said so."""

from __future__ import annotations

import pytest
from keeping import NOW

from proxy.errors import AnswerHead, SourceError, SourceFailed, SourceNotFound
from proxy.services import erroranswers
from proxy.services.erroranswers import MAX_OUTAGE_SECONDS, MAX_SECONDS, ErrorAnswers
from proxy.source import Source

SOURCE = Source.parse("http://h/a.png")


def not_found(
    control: str | None, *, kind: type[SourceError] = SourceNotFound, status: int = 404
) -> SourceError:
    error = kind(detail="private")
    error.origin_status = status
    error.forward = "uri-miss"
    error.answer = AnswerHead((("cache-control", control),) if control else (), NOW, NOW)
    return error


def test_fresh_404_holds_until_it_is_stale() -> None:
    """RFC 9111 §4.2; the error that is raised says that nobody was asked."""
    answers = ErrorAnswers()
    answers.note(SOURCE, not_found("max-age=60"), stamp=1, now=NOW)
    held = answers.of(SOURCE, stamp=1, now=NOW + 59)
    assert isinstance(held, SourceNotFound)
    assert (held.origin_status, held.forward) == (404, "")
    assert answers.of(SOURCE, stamp=1, now=NOW + 60) is None


def test_404_without_freshness_does_not_hold() -> None:
    """Silence is not freshness; what is remembered all the same is another room's policy."""
    answers = ErrorAnswers()
    answers.note(SOURCE, not_found(None), stamp=1, now=NOW)
    assert answers.of(SOURCE, stamp=1, now=NOW) is None


@pytest.mark.parametrize(
    ("kind", "status", "longest"),
    [(SourceNotFound, 404, MAX_SECONDS), (SourceFailed, 503, MAX_OUTAGE_SECONDS)],
)
def test_error_page_with_a_year_of_freshness_holds_for_our_longest(
    kind: type[SourceError], status: int, longest: float
) -> None:
    """A slip in an origin's configuration does not make a picture vanish for a year."""
    answers = ErrorAnswers()
    answers.note(SOURCE, not_found("max-age=31536000", kind=kind, status=status), stamp=1, now=NOW)
    assert answers.of(SOURCE, stamp=1, now=NOW + longest - 1) is not None
    assert answers.of(SOURCE, stamp=1, now=NOW + longest) is None


def test_purge_and_a_clock_put_back_end_what_holds() -> None:
    """Another stamp is another generation; a moment long before the answer came is no moment to trust it at."""
    answers = ErrorAnswers()
    answers.note(SOURCE, not_found("max-age=60"), stamp=1, now=NOW)
    assert answers.of(SOURCE, stamp=2, now=NOW) is None
    assert answers.of(SOURCE, stamp=1, now=NOW - 2 * MAX_SECONDS) is None


def test_failure_without_an_answer_does_not_hold() -> None:
    """A connection that broke has no fields."""
    answers = ErrorAnswers()
    answers.note(SOURCE, SourceFailed(), stamp=1, now=NOW)
    assert answers.of(SOURCE, stamp=1, now=NOW) is None


def test_number_of_answers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses are free; the oldest answer makes room."""
    monkeypatch.setattr(erroranswers, "MAX_ANSWERS", 2)
    answers = ErrorAnswers()
    sources = [Source.parse(f"http://h/{number}") for number in range(3)]
    for source in sources:
        answers.note(source, not_found("max-age=60"), stamp=1, now=NOW)
    assert [answers.of(source, stamp=1, now=NOW) is not None for source in sources] == [False, True, True]
