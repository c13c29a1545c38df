"""Small plots of the figures of the last hour or day, as shapes for an SVG. Pure.

A plot has one bar for each step of time, or a stack of bars. Steps without figures stay empty: the service did not run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from proxy.services.desk.history import Minute
from proxy.web.desk.words import in_percent, in_thousands

HEIGHT = 100.0
STEP_WIDTH = 10.0
_GAP = 2.0

Span = Literal["hour", "day"]
STEPS: Mapping[Span, tuple[int, int]] = {"hour": (60, 1), "day": (96, 15)}
"""How many bars a plot has, and how many minutes each of them stands for."""

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle of a plot. tone: `good`, `plain`, `warn` or `bad`, which the style sheet colours."""

    x: float
    y: float
    width: float
    height: float
    tone: str


@dataclass(frozen=True, slots=True)
class Series:
    """One quantity of a plot. amount: returns it from the figures of one step."""

    label: str
    tone: str
    amount: Callable[[Figures], float]


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawn plot. legend: label, tone and figure of each series. top: the value of the upper edge. summary: the plot
    in words, for people who do not see it."""

    title: str
    width: float
    bars: tuple[Bar, ...]
    legend: tuple[tuple[str, str, str], ...]
    top: str
    summary: str
    is_empty: bool


def plots(minutes: Mapping[int, Minute], *, last: int, span: Span) -> list[Plot]:
    """Return the plots of the overview up to and including the minute `last`."""
    steps = _steps(minutes, last=last, span=span)
    return (
        [_counted("Picture answers", steps, _ANSWERS), _ratio(steps)]
        + [_counted(title, steps, series) for title, series in _COUNTED]
        + [_level("Render queue", steps, "queue")]
    )


def hit_ratio(minutes: Iterable[Minute]) -> float | None:
    """Return the share of picture answers that needed neither fetch nor render; None without answers."""
    lookups = hits = 0.0
    for minute in minutes:
        lookups += minute.figures["lookups"]
        hits += minute.figures["hits"]
    return hits / lookups if lookups else None


_ANSWERS = (
    Series("from cache", "good", lambda figures: figures["hits"]),
    Series("fetched or rendered", "plain", lambda figures: figures["lookups"] - figures["hits"]),
)
_COUNTED: tuple[tuple[str, tuple[Series, ...]], ...] = (
    (
        "Fetches",
        (
            Series("fetched", "plain", lambda figures: figures["fetches"] - figures["failed_fetches"]),
            Series("failed", "bad", lambda figures: figures["failed_fetches"]),
        ),
    ),
    (
        "Renders",
        (
            Series("rendered", "plain", lambda figures: figures["renders"]),
            Series("failed", "bad", lambda figures: figures["failed_renders"]),
        ),
    ),
    (
        "Error answers",
        (
            Series("refused (4xx)", "warn", lambda figures: figures["refused"]),
            Series("failed (5xx)", "bad", lambda figures: figures["failed"]),
        ),
    ),
)


def _steps(minutes: Mapping[int, Minute], *, last: int, span: Span) -> list[list[Figures]]:
    count, length = STEPS[span]
    # Steps begin at the same moments whenever the page is opened, so bars do not change while they move left.
    first = (last // length - count + 1) * length
    return [
        [minutes[number].figures for number in range(start, start + length) if number in minutes]
        for start in range(first, first + count * length, length)
    ]


def _counted(title: str, steps: Sequence[Sequence[Figures]], series: Sequence[Series]) -> Plot:
    sums = [[max(sum(map(one.amount, step)), 0.0) for one in series] for step in steps]
    most = max((sum(amounts) for amounts in sums), default=0.0)
    bars = [
        bar
        for number, amounts in enumerate(sums)
        for bar in _stack(number, amounts, [one.tone for one in series], most)
    ]
    totals = [sum(amounts[index] for amounts in sums) for index in range(len(series))]
    legend = tuple(
        (one.label, one.tone, in_thousands(total)) for one, total in zip(series, totals, strict=True)
    )
    return _plot(title, steps, bars, legend, in_thousands(most))


def _ratio(steps: Sequence[Sequence[Figures]]) -> Plot:
    shares = [_share(step) for step in steps]
    bars = [
        bar
        for number, share in enumerate(shares)
        if share is not None
        for bar in _stack(number, [share], ["good"], 1.0)
    ]
    whole = in_percent(_share([figures for step in steps for figures in step]))
    return _plot("Hit ratio", steps, bars, (("of all picture answers", "good", whole),), "100 %")


def _share(step: Sequence[Figures]) -> float | None:
    lookups = sum(figures["lookups"] for figures in step)
    return sum(figures["hits"] for figures in step) / lookups if lookups else None


def _level(title: str, steps: Sequence[Sequence[Figures]], name: str) -> Plot:
    levels = [max((figures[name] for figures in step), default=0.0) for step in steps]
    most = max(levels, default=0.0)
    bars = [bar for number, level in enumerate(levels) for bar in _stack(number, [level], ["plain"], most)]
    legend = (("waiting at most", "plain", in_thousands(most)),)
    return _plot(title, steps, bars, legend, in_thousands(most))


def _stack(number: int, amounts: Sequence[float], tones: Sequence[str], most: float) -> list[Bar]:
    bars, floor = [], HEIGHT
    for amount, tone in zip(amounts, tones, strict=True):
        if amount <= 0 or most <= 0:
            continue
        # A single failure among a thousand answers must be seen.
        height = max(HEIGHT * amount / most, 1.5)
        floor -= height
        x = number * STEP_WIDTH + _GAP / 2
        bars.append(Bar(round(x, 2), round(floor, 2), STEP_WIDTH - _GAP, round(height, 2), tone))
    return bars


def _plot(
    title: str,
    steps: Sequence[Sequence[Figures]],
    bars: Sequence[Bar],
    legend: tuple[tuple[str, str, str], ...],
    top: str,
) -> Plot:
    words = ", ".join(f"{label} {figure}" for label, _, figure in legend)
    is_empty = not any(steps)
    summary = f"{title}: no figures yet" if is_empty else f"{title}: {words}; the highest bar is {top}"
    return Plot(title, len(steps) * STEP_WIDTH, tuple(bars), legend, top, summary, is_empty)
