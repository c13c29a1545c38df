"""The order of warming: turns of origins, bounds, origins that keep silent; and what a report adds up to."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cli.output.reports import show_summary
from proxy.cli.output.warmpage import as_html
from proxy.services.troubles.reasons import GROUPS, GroupMeaning, ReasonGroup
from proxy.services.warm.fates import FATES, FateMeaning
from proxy.services.warm.turns import Turns
from proxy.services.warm.warming import (
    MAX_TIMEOUTS,
    KeptOriginal,
    PictureToWarm,
    WarmedVariant,
    WarmFailure,
    Warming,
    WarmOutcome,
)
from proxy.services.warm.warmreport import WarmReport
from proxy.source import Source
from proxy.web.targets.browsers import browsers_of


def work(number: int, host: str = "h") -> PictureToWarm:
    return PictureToWarm(Source.parse(f"http://{host}/{number}.png"), ("content",), ("a.md",))


def kept(item: PictureToWarm, **words: Any) -> WarmOutcome:
    return WarmOutcome(item, KeptOriginal("0" * 64, 1000, "image/png", new=True), **words)


def failed(item: PictureToWarm, code: str) -> WarmOutcome:
    return WarmOutcome(item, failure=WarmFailure(code, "no"))


class ScriptedWarmer:
    """Keeps everything but what `silent` hosts have; those wait for `release` and time out."""

    def __init__(self, silent: frozenset[str] | set[str] = frozenset()) -> None:
        self.silent = silent
        self.paced: set[str] = set()
        self.release = asyncio.Event()
        self.asked: list[tuple[str, bool]] = []
        self.active: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    def stop(self) -> None:
        """Nothing is waited for."""

    def wants_pauses(self, origin: str) -> bool:
        return origin.removeprefix("http://") in self.paced

    async def warm(self, item: PictureToWarm, *, ask: bool) -> WarmOutcome:
        host = item.source.host
        self.asked.append((host, ask))
        for name in (host, "all"):
            self.active[name] += 1
            self.most[name] = max(self.most[name], self.active[name])
        try:
            if host in self.silent:
                await self.release.wait()
                return failed(item, "source_timeout")
            await asyncio.sleep(0)
            return kept(item)
        finally:
            self.active.subtract((host, "all"))


async def test_silent_origin_does_not_hold_up_the_others() -> None:
    """All pictures of the living origin are done while the silent one still keeps its places."""
    warmer = ScriptedWarmer({"silent"})
    warming = Warming(warmer, per_origin=2, concurrency=4)
    works = [work(n, "silent") for n in range(5)] + [work(n, "alive") for n in range(20)]
    outcomes = warming.outcomes(works)
    first = [await anext(outcomes) for _ in range(20)]
    assert {one.work.source.host for one in first} == {"alive"}
    warmer.release.set()
    assert len([one async for one in outcomes]) == 5


async def test_origin_that_wants_pauses_gets_one_place_at_a_time() -> None:
    """Its pictures wait for each other. More of them in progress would only occupy places."""
    warmer = ScriptedWarmer()
    warmer.paced = {"paced"}
    works = [work(n, "paced") for n in range(12)] + [work(n, "well") for n in range(30)]
    outcomes = Warming(warmer, per_origin=4, concurrency=8).outcomes(works)
    seen = [await anext(outcomes)]
    while seen[-1].work.source.host != "paced":
        seen.append(await anext(outcomes))
    for _ in range(4):
        seen.append(await anext(outcomes))  # those that were under way before it was known
    warmer.most.clear()
    seen += [one async for one in outcomes]
    assert len({one.work.source.url for one in seen}) == len(works)
    assert warmer.most["paced"] == 1


async def test_bounds_are_kept_for_each_origin_and_in_all() -> None:
    warmer = ScriptedWarmer()
    warming = Warming(warmer, per_origin=3, concurrency=7)
    works = [work(n, f"h{n % 5}") for n in range(60)]
    outcomes = [one async for one in warming.outcomes(works)]
    assert {one.work.source.url for one in outcomes} == {item.source.url for item in works}
    assert warmer.most.pop("all") <= 7
    assert max(warmer.most.values()) <= 3


async def test_origin_is_left_alone_after_many_timeouts_in_a_row() -> None:
    warmer = ScriptedWarmer({"silent"})
    warmer.release.set()
    works = [work(n, "silent") for n in range(MAX_TIMEOUTS + 5)]
    outcomes = [one async for one in Warming(warmer, per_origin=1, concurrency=4).outcomes(works)]
    assert len(outcomes) == len(works)
    assert [ask for _, ask in warmer.asked] == [True] * MAX_TIMEOUTS + [False] * 5


async def test_stop_finishes_what_is_under_way_and_begins_nothing() -> None:
    warmer = ScriptedWarmer()
    warming = Warming(warmer, per_origin=2, concurrency=2)
    outcomes = warming.outcomes([work(n) for n in range(10)])
    done = [await anext(outcomes)]
    begun = len(warmer.asked)
    warming.stop()
    done += [one async for one in outcomes]
    assert len(done) == len(warmer.asked) == begun


async def test_closing_early_cancels_what_is_under_way() -> None:
    """A reader of the lines that goes away leaves no task behind."""
    warmer = ScriptedWarmer({"silent"})
    outcomes = Warming(warmer, per_origin=4, concurrency=4).outcomes([work(0, "alive"), work(1, "silent")])
    await anext(outcomes)
    assert isinstance(outcomes, AsyncGenerator)
    await outcomes.aclose()
    assert warmer.active["all"] == 0


@given(
    pieces=st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=60),
    per_origin=st.integers(1, 4),
    places=st.integers(1, 6),
    choices=st.lists(st.integers(0, 5), max_size=60),
)
def test_turns_give_every_work_once_within_bounds(
    pieces: list[tuple[str, bool]], per_origin: int, places: int, choices: list[int]
) -> None:
    """Whatever ends in whatever order, timed out or not, nothing is lost, doubled or stuck."""
    turns: Turns[tuple[int, str, bool]] = Turns(per_origin=per_origin, places=places)
    for number, (origin, timed_out) in enumerate(pieces):
        turns.add(origin, (number, origin, timed_out))
    picks = iter(choices)
    running: list[tuple[int, str, bool]] = []
    done: list[int] = []
    active: dict[str, int] = defaultdict(int)
    while True:
        while len(running) < places and (item := turns.take()):
            running.append(item)
            active[item[1]] += 1
            assert active[item[1]] <= per_origin
        if not running:
            break
        number, origin, timed_out = running.pop(next(picks, 0) % len(running))
        active[origin] -= 1
        turns.end(origin, timed_out=timed_out)
        done.append(number)
    assert sorted(done) == list(range(len(pieces)))


def test_browsers_cover_every_format_in_any_order_of_preference() -> None:
    for offered in (("avif", "webp"), ("webp", "avif"), ("webp",), ()):
        assert [browser.name for browser in browsers_of(offered)] == [*offered, "fallback"]
    assert browsers_of(("avif", "webp"))[0].acceptable == ("avif", "webp", "fallback")


def test_report_tells_dead_from_not_kept() -> None:
    report = WarmReport(articles=1, wanted=5)
    outcomes = [
        failed(work(0), "source_not_found"),
        failed(work(1), "not_kept"),
        failed(work(2), "queue_full"),
        kept(work(3)),
    ]
    for one in outcomes:
        report.add(one)
    assert [one.work for one in report.dead] == [work(0)]
    assert [one.work for one in report.not_kept] == [work(1), work(2)]
    assert report.left == 1
    assert not report.complete


def test_saved_bytes_count_the_original_where_a_variant_is_missing() -> None:
    """A picture whose variant is redirected to the original saves nothing."""
    report = WarmReport(articles=1, wanted=2)
    report.add(
        kept(
            work(0),
            made=(
                WarmedVariant("content", "avif", "avif", 100),
                WarmedVariant("content", "webp", "webp", 200),
            ),
        )
    )
    report.add(
        kept(
            work(1),
            made=(
                WarmedVariant(
                    "content", "avif", failure=WarmFailure("too_many_pixels", "no"), redirected=True
                ),
            ),
        )
    )
    avif, webp = report.weights()
    assert (avif.before_bytes, avif.after_bytes) == (2000, 1100)
    assert (webp.before_bytes, webp.after_bytes, webp.saved_share) == (1000, 200, 0.8)


class MoodyWarmer:
    """Gives what `moods` says, by path and turn; the last mood of a path stays."""

    def __init__(self, moods: dict[str, list[WarmFailure | None]]) -> None:
        self.moods = moods
        self.asked: list[str] = []

    def stop(self) -> None:
        """Nothing is waited for."""

    def wants_pauses(self, _origin: str) -> bool:
        return False

    async def warm(self, item: PictureToWarm, *, ask: bool) -> WarmOutcome:
        assert ask
        self.asked.append(item.source.target)
        moods = self.moods[item.source.target]
        failure = moods.pop(0) if len(moods) > 1 else moods[0]
        return kept(item) if failure is None else WarmOutcome(item, failure=failure)


BUSY = WarmFailure("source_refused", "no", 429, 30.0)


async def test_what_an_origin_does_not_give_for_the_moment_is_asked_for_again_in_a_last_round() -> None:
    """The last round comes after all others and after the longest requested pause. Gone or refused pictures are not
    repeated."""
    moods: dict[str, list[WarmFailure | None]] = {
        "/0.png": [BUSY, None],
        "/1.png": [WarmFailure("source_not_found", "no", 404)],
        "/2.png": [WarmFailure("source_failed", "no", 503, 5.0), WarmFailure("source_failed", "no", 503)],
        "/3.png": [WarmFailure("source_refused", "no", 403)],
        "/4.png": [WarmFailure("source_unreachable", "no"), None],
        "/5.png": [None],
    }
    warmer, pauses = MoodyWarmer(moods), []

    async def pause(seconds: float) -> None:
        pauses.append((seconds, len(warmer.asked)))

    warming = Warming(warmer, per_origin=1, concurrency=1, pause=pause)
    outcomes = {one.work.source.target: one async for one in warming.outcomes([work(n) for n in range(6)])}
    assert pauses == [(30.0, 6)]
    assert warmer.asked[6:] == ["/0.png", "/2.png", "/4.png"]
    assert [path for path, one in outcomes.items() if one.kept] == ["/5.png", "/0.png", "/4.png"]


async def test_last_round_waits_two_minutes_at_most_whatever_is_asked_for() -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    warmer = MoodyWarmer({"/0.png": [WarmFailure("source_failed", "no", 503, 86400.0), None]})
    outcomes = [
        one async for one in Warming(warmer, per_origin=1, concurrency=1, pause=pause).outcomes([work(0)])
    ]
    assert pauses == [120.0]
    assert [one.kept is not None for one in outcomes] == [True]


async def test_end_while_the_last_round_is_waited_for_gives_what_is_known() -> None:
    """Nobody waits for the pause, nothing is requested again, and every picture is in the report."""
    warmer = MoodyWarmer({"/0.png": [BUSY], "/1.png": [None]})
    warming = Warming(warmer, per_origin=1, concurrency=1, pause=lambda _seconds: asyncio.Event().wait())
    outcomes = warming.outcomes([work(0), work(1)])
    seen = [await anext(outcomes)]
    warming.stop()
    seen += [one async for one in outcomes]
    assert {one.work.source.target for one in seen} == {"/0.png", "/1.png"}
    assert len(warmer.asked) == 2


def test_report_tells_gone_refused_and_not_now_apart() -> None:
    """Only the origin's own word makes a picture gone."""
    report = WarmReport(articles=1, wanted=7)
    fates = {
        "gone": [WarmFailure("source_not_found", "no", 404), WarmFailure("source_not_found", "no", 410)],
        "refused": [WarmFailure("source_refused", "no", 403), WarmFailure("not_an_image", "no", 200)],
        "not_now": [BUSY, WarmFailure("source_failed", "no", 500), WarmFailure("source_timeout", "no")],
    }
    for number, failure in enumerate(failure for failures in fates.values() for failure in failures):
        report.add(WarmOutcome(work(number), failure=failure))
    told = report.to_json()
    assert [told["summary"][name] for name in ("dead", "gone", "refused", "not_now")] == [7, 2, 2, 3]
    for fate, failures in fates.items():
        assert [one["code"] for one in told["dead"] if one["fate"] == fate] == [one.code for one in failures]


@pytest.mark.parametrize(
    ("listed", "line"),
    [("dead", "dead: 2 (source_asleep 1, source_not_found 1)"), ("asleep", "asleep: 1 (source_asleep 1)")],
)
def test_new_fate_is_counted_listed_and_shown_everywhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], listed: str, line: str
) -> None:
    """Rows of `GROUPS` and `FATES` are the only edits: figures, JSON, terminal and page follow, and the last round asks
    again."""
    asleep_group = GroupMeaning("Asleep", "They sleep.", "warn", frozenset(), frozenset({"source_asleep"}))
    monkeypatch.setitem(cast("dict[str, GroupMeaning]", GROUPS), "asleep", asleep_group)
    meaning = FateMeaning(
        cast("frozenset[ReasonGroup]", frozenset({"asleep"})), is_passing=True, listed=listed
    )
    monkeypatch.setitem(cast("dict[str, FateMeaning]", FATES), "asleep", meaning)
    report = WarmReport(articles=1, wanted=2)
    report.add(WarmOutcome(work(0), failure=WarmFailure("source_not_found", "no", 404)))
    asleep = WarmOutcome(work(1), failure=WarmFailure("source_asleep", "no", 503))
    assert asleep.not_now
    report.add(asleep)
    told = report.to_json()
    assert (told["summary"]["gone"], told["summary"]["asleep"]) == (1, 1)
    assert [one["fate"] for one in told["dead"]] == ["gone", "asleep"]
    show_summary(report)
    out = capsys.readouterr().out
    assert f"{listed}: source_asleep: {work(1).source.url}" in out
    assert line in " ".join(out.split())
    page = as_html(report, made_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert '<h2 id="asleep-title">Asleep' in page
    assert "They sleep." in page
    assert f"<dt>{listed}</dt>" in page
