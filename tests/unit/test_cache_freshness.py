"""Freshness, RFC 9111 §4.2."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keeping import NOW, make_entry

from cache.base.entry import Entry
from cache.http.freshness import (
    MAX_DELTA_SECONDS,
    FreshnessRules,
    cache_control,
    current_age,
    freshness_lifetime,
    kept_against_wish,
    may_refresh_behind,
    remaining_seconds,
    reusable_seconds,
    stale_seconds,
)
from cache.http.httpdate import format_http_date

DAY = 86400.0


def lifetime(**headers: str) -> float:
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return freshness_lifetime(pairs, response_time=NOW)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("max-age=60", 60),
        ("MAX-AGE=60", 60),
        ('max-age="60"', 60),
        ("max-age=60, s-maxage=10", 10),
        ("s-maxage=0, max-age=60", 0),
        ("public,max-age=60,immutable", 60),
        ("max-age=60, max-age=90", 60),
        ("max-age", 0),
        ("max-age=", 0),
        ("max-age=-1", 0),
        ("max-age=1.5", 0),
        ("max-age=x", 0),
        ("max-age=" + "9" * 5000, MAX_DELTA_SECONDS),
        ("max-age=99999999999", MAX_DELTA_SECONDS),
        ("max-age=60, no-cache", 0),
        ("max-age=60, no-store", 0),
        ("max-age=60, private", 0),
        ('max-age=60, no-cache="set-cookie"', 60),
        ('max-age=60, private="set-cookie"', 60),
        ("max-age=60, must-revalidate, proxy-revalidate", 60),
        ("max-age=60, no-store, must-understand", 60),
        ("max-age=60, private, must-understand", 0),
        ('ext="max-age=5, no-cache", max-age=60', 60),
        (", ,;=", 0),
        ("", 0),
    ],
)
def test_lifetime_of_cache_control(value: str, seconds: float) -> None:
    """§4.2.1 and §5.2.2, as a mirror reads them."""
    assert lifetime(cache_control=value) == seconds


def test_lifetime_of_several_lines_is_that_of_one_list() -> None:
    """RFC 9110 §5.3: lines of one name are one list."""
    headers = (("cache-control", "public"), ("cache-control", "max-age=60"))
    assert freshness_lifetime(headers, response_time=NOW) == 60


def test_lifetime_by_expires_counts_from_date() -> None:
    """§4.2.1: Expires minus Date, whatever our clock says."""
    date, expires = format_http_date(NOW - 5000), format_http_date(NOW - 4900)
    assert lifetime(date=date, expires=expires) == 100


def test_lifetime_by_an_expires_before_date_is_over() -> None:
    assert lifetime(date=format_http_date(NOW), expires=format_http_date(NOW - 5000)) == 0


def test_lifetime_by_max_age_wins_over_expires() -> None:
    """§5.3: Expires is ignored beside max-age."""
    assert lifetime(cache_control="max-age=7", expires=format_http_date(NOW + 100)) == 7


@pytest.mark.parametrize("expires", ["0", "-1", "", "tomorrow"])
def test_lifetime_by_an_invalid_expires_is_over(expires: str) -> None:
    """§5.3: above all "0" means already expired, and no heuristic makes up for it."""
    assert lifetime(expires=expires, last_modified=format_http_date(NOW - 100 * DAY)) == 0


def test_lifetime_by_two_different_expires_is_over() -> None:
    """§4.2.1: when the freshness information of several lines does not agree, the answer is stale."""
    later, sooner = format_http_date(NOW + 200), format_http_date(NOW + 100)
    assert freshness_lifetime((("expires", later), ("expires", sooner)), response_time=NOW) == 0
    assert freshness_lifetime((("expires", later), ("expires", later)), response_time=NOW) == 200


@pytest.mark.parametrize(
    ("vary", "seconds"),
    [
        (("*",), 0),
        (("Foo, *",), 0),
        (("*, Foo",), 0),
        (("Foo", " * "), 0),
        (("*", "Foo"), 0),
        (("Foo*",), 60),
        (("X*",), 60),
        (("Accept, Origin",), 60),
    ],
)
def test_lifetime_with_vary_ends_only_for_a_star(vary: tuple[str, ...], seconds: float) -> None:
    """§4.1: `*` never matches; names do, for every origin gets the same fields at all times."""
    headers = (("cache-control", "max-age=60"), *(("vary", value) for value in vary))
    assert freshness_lifetime(headers, response_time=NOW) == seconds


@pytest.mark.parametrize(
    ("targeted", "seconds"),
    [
        ("max-age=100", 100),
        ("s-maxage=5, max-age=100", 5),
        ("no-store", 0),
        ("private", 0),
        ("max-age=100, no-cache", 0),
        ("max-age=100;x=1, ext=(a b)", 100),
        ("max-age=100, &&&&&", 7),
        ('max-age="100"', 7),
        ("max-age=1.5", 7),
        ("MAX-AGE=100", 7),
        ("max-age", 7),
        ("max-age=-1", 7),
        ("", 7),
        ("\u0100", 7),
        ("s-maxage=1.5, max-age=100", 100),
        ("s-maxage=a", 7),
        ("stale-while-revalidate=a", 7),
        ("stale-if-error", 7),
    ],
)
def test_lifetime_by_a_valid_cdn_cache_control_wins_over_all_else(targeted: str, seconds: float) -> None:
    """RFC 9213 §2.1: a structured field; one that is invalid or empty, or of the wrong type, is as if absent."""
    assert lifetime(cdn_cache_control=targeted, cache_control="max-age=7") == seconds
    assert lifetime(cdn_cache_control="foo", expires=format_http_date(NOW + 100)) == 0


def test_lifetime_by_several_lines_of_cdn_cache_control_is_that_of_one_list() -> None:
    headers = (
        ("cdn-cache-control", "max-age=100"),
        ("cdn-cache-control", "public"),
        ("cache-control", "no-store"),
    )
    assert freshness_lifetime(headers, response_time=NOW) == 100


def test_lifetime_by_heuristic_is_a_tenth_since_the_last_change() -> None:
    """§4.2.2."""
    assert lifetime(last_modified=format_http_date(NOW - 10 * DAY)) == pytest.approx(DAY)


def test_lifetime_by_heuristic_follows_the_rules_it_is_given() -> None:
    headers = (("last-modified", format_http_date(NOW - 1000)),)
    rules = FreshnessRules(heuristic_fraction=0.5, heuristic_max_seconds=400)
    assert freshness_lifetime(headers, response_time=NOW, policy=rules) == 400
    rules = FreshnessRules(heuristic_fraction=0.25, heuristic_max_seconds=400)
    assert freshness_lifetime(headers, response_time=NOW, policy=rules) == 250


def test_lifetime_by_heuristic_ends_after_a_week() -> None:
    """A very old picture is asked about all the same."""
    assert lifetime(last_modified=format_http_date(0)) == 7 * DAY


@pytest.mark.parametrize("modified", [format_http_date(NOW + DAY), "0", "yesterday"])
def test_lifetime_by_a_senseless_last_modified_is_none(modified: str) -> None:
    """A change in the future, or at no time, says nothing."""
    assert lifetime(last_modified=modified) == 0


def test_lifetime_without_any_word_is_none() -> None:
    """Silence is not freshness."""
    assert lifetime() == 0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"pragma": "no-cache"}, 0),
        ({"pragma": "No-Cache"}, 0),
        ({"pragma": "x"}, DAY),
        ({"pragma": "no-cache", "cache_control": "public"}, DAY),
    ],
)
def test_lifetime_with_pragma_alone(headers: dict[str, str], seconds: float) -> None:
    """§5.4: Pragma counts where Cache-Control is absent."""
    assert lifetime(**headers, expires=format_http_date(NOW + DAY)) == seconds


def age(*, now: float = NOW, request_time: float = NOW, **headers: str) -> float:
    return current_age(tuple(headers.items()), request_time=request_time, response_time=NOW, now=now)


def test_age_is_the_larger_of_both_measures() -> None:
    """§4.2.3: apparent age by Date, corrected age by Age and the time on the way."""
    date = format_http_date(NOW - 30)
    assert age(date=date) == 30
    assert age(date=date, age="100") == 100
    assert age(date=date, age="100", request_time=NOW - 5) == 105
    assert age(date=date, age="100", request_time=NOW - 5, now=NOW + 7) == 112


@pytest.mark.parametrize("text", ["x", "-5", "5.0", "5;a=b", ", 2", "", "1e3"])
def test_age_that_is_no_number_is_ignored(text: str) -> None:
    """RFC 9111 §5.1."""
    assert age(age=text) == 0


def test_age_of_a_list_or_of_several_lines_is_the_first() -> None:
    """RFC 9111 §5.1."""
    times = {"request_time": NOW, "response_time": NOW, "now": NOW}
    assert age(age="7200, 0") == age(age="7200 ,0") == 7200
    assert current_age((("age", "7200"), ("age", "0")), **times) == 7200
    assert current_age((("age", "0"), ("age", "7200")), **times) == 0


def test_age_with_a_date_in_the_future_is_not_negative() -> None:
    """An origin with a wrong clock does not make its answers younger than now."""
    assert age(date=format_http_date(NOW + DAY)) == 0


def kept(control: str = "max-age=100") -> Entry:
    return make_entry("http://h/a", headers={"cache-control": control})


@pytest.mark.parametrize(("passed", "fresh"), [(0, True), (99.9, True), (100, False), (101, False)])
def test_entry_is_fresh_until_its_lifetime_is_over(passed: float, fresh: bool) -> None:
    """§4.2: fresh means that the lifetime exceeds the age."""
    assert (remaining_seconds(kept(), now=NOW + passed, min_fresh_seconds=0) > 0) is fresh


@pytest.mark.parametrize("control", ["no-store", "no-cache", "max-age=0", "private", ""])
def test_entry_is_fresh_as_long_as_the_operator_says(control: str) -> None:
    """`min_fresh` stands above the origin's word."""
    assert remaining_seconds(kept(control), now=NOW + 40, min_fresh_seconds=100) == 60
    assert remaining_seconds(kept(control), now=NOW + 100, min_fresh_seconds=100) == 0
    assert remaining_seconds(kept(control), now=NOW, min_fresh_seconds=0) == 0


def test_entry_is_stale_since_the_later_of_both_ends() -> None:
    """RFC 5861 §4 counts from the end of freshness, not from the last answer of the origin."""
    assert stale_seconds(kept(), now=NOW + 99, min_fresh_seconds=0) == 0
    assert stale_seconds(kept(), now=NOW + 130, min_fresh_seconds=0) == 30
    assert stale_seconds(kept(), now=NOW + 130, min_fresh_seconds=120) == 10
    assert stale_seconds(kept("no-store"), now=NOW + 130, min_fresh_seconds=0) == 130


@pytest.mark.parametrize(("min_fresh", "stale"), [(0, 210), (1, 9)])
def test_entry_that_was_old_when_it_came_is_stale_by_its_age_unless_the_operator_says(
    min_fresh: float, stale: float
) -> None:
    """§4.2.3: the time in other caches counts; `min_fresh` counts from our own fetch, however short it is."""
    entry = make_entry("http://h/a", headers={"cache-control": "max-age=100", "age": "300"})
    assert stale_seconds(entry, now=NOW + 10, min_fresh_seconds=min_fresh) == stale


@pytest.mark.parametrize(
    ("control", "passed", "allowed"),
    [
        ("max-age=100, stale-while-revalidate=30", 129, True),
        ("max-age=100, stale-while-revalidate=30", 130, False),
        ("max-age=100, stale-while-revalidate=x", 101, False),
        ("max-age=100", 101, False),
        ("max-age=100", 100.5, False),
        ("max-age=100, stale-while-revalidate=30, must-revalidate", 101, False),
        ("max-age=100, stale-while-revalidate=30, proxy-revalidate", 101, False),
        ("s-maxage=100, stale-while-revalidate=30", 101, False),
        ("no-cache, stale-while-revalidate=30", 1, False),
    ],
)
def test_entry_is_refreshed_behind_the_answer_as_its_origin_allows(
    control: str, passed: float, allowed: bool
) -> None:
    """RFC 5861 §3, within RFC 9111 §4.2.4."""
    assert may_refresh_behind(kept(control), now=NOW + passed, min_fresh_seconds=0) is allowed


@pytest.mark.parametrize(
    ("control", "wish"),
    [
        ("no-store", "no-store"), ("max-age=9, private", "private"), ('private="set-cookie"', ""),
        ("no-store, must-understand", ""), ("no-cache", ""), ("public", ""),
    ],
)  # fmt: skip
def test_wish_not_to_be_kept_is_told(control: str, wish: str) -> None:
    """§5.2.2.5, §5.2.2.7: a mirror keeps, and says against which directive."""
    assert kept_against_wish((("cache-control", control),)) == wish


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (404, {"cache-control": "max-age=60"}, 50),
        (503, {"cache-control": "s-maxage=60"}, 50),
        (599, {"cache-control": "max-age=60"}, 50),
        (404, {"expires": format_http_date(NOW + 60)}, 50),
        (403, {"expires": format_http_date(NOW + 60)}, 50),
        (404, {"last-modified": format_http_date(NOW - 600)}, 50),
        (403, {"last-modified": format_http_date(NOW - 600)}, 0),
        (599, {"last-modified": format_http_date(NOW - 600), "cache-control": "public"}, 50),
        (404, {"cache-control": "max-age=60, no-store"}, 0),
        (404, {"cache-control": "max-age=5"}, 0),
        (404, {}, 0),
        (599, {"cache-control": "max-age=60, no-store, must-understand"}, 0),
        (404, {"cache-control": "max-age=60, no-store, must-understand"}, 50),
        (206, {"cache-control": "max-age=60"}, 0),
        (304, {"cache-control": "max-age=60"}, 0),
        (199, {"cache-control": "max-age=60"}, 0),
        (200, {"cache-control": "max-age=60"}, 50),
        (600, {"cache-control": "max-age=60"}, 0),
    ],
)
def test_answer_of_another_status_is_reusable_as_its_fields_say(
    status: int, headers: dict[str, str], seconds: float
) -> None:
    """§3, §4.2.2: explicit freshness counts for every status, the heuristic for those of RFC 9110 §15.1 only."""
    fields = (("date", format_http_date(NOW)), *headers.items())
    times = {"request_time": NOW, "response_time": NOW, "now": NOW + 10}
    assert reusable_seconds(fields, status=status, **times) == pytest.approx(seconds)


@pytest.mark.parametrize("status", [*range(199, 605)])
def test_answer_without_explicit_freshness_is_reusable_only_with_statuses_that_the_rfc_lists(
    status: int,
) -> None:
    """RFC 9110 §15.1 lists the statuses that are heuristically cacheable; 206 is a part, which we never reuse."""
    fields = (("date", format_http_date(NOW)), ("last-modified", format_http_date(NOW - 600)))
    seconds = reusable_seconds(fields, status=status, request_time=NOW, response_time=NOW, now=NOW)
    assert (seconds > 0) is (status in {200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})


def test_entry_is_fresh_by_whichever_lasts_longer() -> None:
    """A long lifetime of the origin is not cut short by `min_fresh`."""
    assert remaining_seconds(kept("max-age=1000"), now=NOW, min_fresh_seconds=10) == 1000


def test_entry_can_be_fresh_for_ever() -> None:
    """An operator who never wants to ask again may say so."""
    assert remaining_seconds(kept(), now=NOW + 1e9, min_fresh_seconds=math.inf) == math.inf


def test_entry_from_the_future_is_stale() -> None:
    """After the clock was set back, an entry from the wrong time is revalidated, not trusted for years."""
    entry = dataclasses.replace(
        kept("max-age=99999"), response_time=NOW + 10 * DAY, validated_at=NOW + 10 * DAY
    )
    assert remaining_seconds(entry, now=NOW, min_fresh_seconds=DAY) == 0


def test_entry_whose_origin_has_the_same_wrong_clock_is_stale() -> None:
    """A `Date` as far ahead as our own clock was gives no age; the origin's lifetime must not count from there."""
    ahead = NOW + 10 * DAY
    headers = {"cache-control": "max-age=99999", "date": format_http_date(ahead)}
    entry = make_entry("http://h/a", headers=headers)
    entry = dataclasses.replace(entry, request_time=ahead, response_time=ahead, validated_at=ahead)
    assert remaining_seconds(entry, now=ahead, min_fresh_seconds=0) == 99999
    assert remaining_seconds(entry, now=NOW, min_fresh_seconds=0) == 0


def test_entry_from_some_seconds_ahead_is_fresh() -> None:
    """The clocks of two machines differ a little, which is no reason to revalidate."""
    assert remaining_seconds(kept(), now=NOW - 5, min_fresh_seconds=0) == 100


@pytest.mark.parametrize(("ahead", "remaining"), [(0.0, 100), (60.0, 100), (60.5, 0)])
def test_entry_is_fresh_until_its_clock_is_more_than_a_minute_ahead(ahead: float, remaining: float) -> None:
    """This applies to the operator's times and to the origin's. A moment ahead makes nothing fresh for longer."""
    by_origin, by_operator = kept("max-age=100"), kept("no-store")
    assert remaining_seconds(by_origin, now=NOW - ahead, min_fresh_seconds=0) == remaining
    assert remaining_seconds(by_operator, now=NOW - ahead, min_fresh_seconds=100) == remaining


@given(st.text(max_size=60), st.text(max_size=40), st.floats(-1e12, 1e12), st.floats(0, 1e9))
def test_entry_of_any_headers_at_any_time_has_a_remaining_time(
    control: str, other: str, now: float, min_fresh: float
) -> None:
    """Whatever an origin says and whatever the clock shows: a number that is not negative, and finite."""
    headers = {
        "cache-control": control,
        "expires": other,
        "age": other,
        "date": other,
        "last-modified": other,
        "cdn-cache-control": other,
        "vary": other,
    }
    remaining = remaining_seconds(
        make_entry("http://h/a", headers=headers), now=now, min_fresh_seconds=min_fresh
    )
    assert 0 <= remaining < math.inf


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_entry_never_becomes_fresher_by_waiting(max_age: int, passed: int, more: int) -> None:
    """Remaining freshness falls as time goes on."""
    entry = kept(f"max-age={max_age}")
    sooner = remaining_seconds(entry, now=NOW + passed, min_fresh_seconds=50)
    assert remaining_seconds(entry, now=NOW + passed + more, min_fresh_seconds=50) <= sooner


@given(st.text())
def test_directives_of_any_text_are_read(text: str) -> None:
    """A header may hold anything."""
    assert all(name == name.lower() for name in cache_control([("cache-control", text)]))
