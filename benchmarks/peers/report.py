"""The measurements as tables for people (Markdown) and as JSON for the plot."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from peers.jobs import Job

MIB = 1 << 20
YARDSTICK = "imgproxy"
"""The peer to which ratios refer if it is present, else the first one that is not imgmirror."""


@dataclass(slots=True)
class Measured:
    """One peer in one job. rates: pictures per second of each turn; cpu_turns: processor seconds for each picture.

    By metric: scores at the nominal quality; curves of (score, mean bytes); ours_at_equal_score, our mean bytes at this
    peer's score as a share of its own. steps: seconds of the bare codecs' steps for each turn.
    """

    peer: str
    mean_bytes: float = 0.0
    answered: int = 0
    asked: int = 0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    cpu_turns: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    steps: dict[str, list[float]] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    ours_at_equal_score: dict[str, float] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """The median of the turns."""
        return statistics.median(self.rates) if self.rates else 0.0

    def percentile_ms(self, share: float) -> float:
        """Return the percentile of the latencies at `share`."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0.0


@dataclass(slots=True)
class Together:
    """One peer when all variants of a picture are requested at once. rates: variants per second of each picture."""

    peer: str
    rates: list[float] = field(default_factory=list)
    cpu_turns: list[float] = field(default_factory=list)


def ratios(values: Sequence[float], others: Sequence[float]) -> str:
    """Return the median, minimum and maximum over the turns of the ratio of two values of the same turn."""
    found = [a / b if b else 0.0 for a, b in zip(values, others, strict=True)]
    return f"{statistics.median(found):.2f} ({min(found):.2f}–{max(found):.2f})"


def _yardstick(peers: Sequence[str]) -> int:
    """Return the index of the peer to which ratios refer, never that of the bare codecs in the last row."""
    return peers.index(YARDSTICK) if YARDSTICK in peers else min(1, len(peers) - 1)


def table(job: Job, rows: Sequence[Measured], *, metrics: Sequence[str]) -> str:
    """Return the table of one job: imgmirror, the peers, and the bare codecs last."""
    to = rows[_yardstick([row.peer for row in rows[:-1]])]
    head = ["", "answered", "per second", f"to {to.peer}", "p50 ms", "p99 ms"]
    head += ["CPU ms each", "CPU to it", "peak PSS MiB", "mean bytes"]
    for metric in metrics:
        head += [metric, "our bytes at it"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    lines += [_cells(row, to, metrics) for row in rows]
    steps = ", ".join(f"{step} {statistics.median(s) * 1000:.2f}" for step, s in rows[-1].steps.items())
    return f"\n{job.title}\n\n{_markdown(lines)}\n\n{rows[-1].peer}, ms: {steps}"


def _cells(row: Measured, to: Measured, metrics: Sequence[str]) -> list[str]:
    cells = [
        row.peer,
        f"{row.answered}/{row.asked}",
        f"{row.per_second:.1f}",
        ratios(row.rates, to.rates),
        f"{row.percentile_ms(0.5):.0f}" if row.latencies else "",
        f"{row.percentile_ms(0.99):.0f}" if row.latencies else "",
        f"{statistics.median(row.cpu_turns) * 1000:.1f}",
        ratios(row.cpu_turns, to.cpu_turns),
        f"{row.peak_bytes / MIB:.0f}" if row.peak_bytes else "",
        f"{row.mean_bytes:.0f}" if row.mean_bytes else "",
    ]
    for metric in metrics:
        cells.append(f"{row.scores[metric]:.1f}" if metric in row.scores else "")
        cells.append(f"{row.ours_at_equal_score[metric]:.2f}" if metric in row.ours_at_equal_score else "")
    return cells


def together(rows: Sequence[Together], *, widths: Sequence[int], formats: Sequence[str]) -> str:
    """Return the table of variants per second when all variants of one picture are requested at once."""
    to = rows[_yardstick([row.peer for row in rows])]
    head = ["", "variants per second", f"to {to.peer}", "CPU ms each", "CPU to it"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    lines += [
        [
            row.peer,
            f"{statistics.median(row.rates):.1f}",
            ratios(row.rates, to.rates),
            f"{statistics.median(row.cpu_turns) * 1000:.1f}",
            ratios(row.cpu_turns, to.cpu_turns),
        ]
        for row in rows
    ]
    told = f"Widths {', '.join(map(str, widths))} in {', '.join(formats)} of one JPEG, asked for together"
    return f"\n{told}:\n\n{_markdown(lines)}"


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_json(tables: dict[str, list[Measured]], **about: object) -> str:
    """Return everything but single latencies, with the bare codecs separate from the peers."""
    formats = {name: [_facts(row) for row in rows[:-1]] for name, rows in tables.items()}
    floors = {name: _facts(rows[-1]) for name, rows in tables.items()}
    return json.dumps({**about, "formats": formats, "bare codecs": floors}, indent=1)


def _facts(row: Measured) -> dict[str, object]:
    facts: dict[str, object] = dataclasses.asdict(row)
    del facts["latencies"]
    first = next(iter(row.scores), None)
    return facts | {
        "per_second": row.per_second,
        "p50_ms": row.percentile_ms(0.5),
        "p99_ms": row.percentile_ms(0.99),
        "score": row.scores[first] if first else 0.0,
        "curve": row.curves.get(first, []) if first else [],
    }
