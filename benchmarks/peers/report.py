"""What was measured, as tables for people (Markdown) and as JSON for the plot."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

MIB = 1 << 20


@dataclass(slots=True)
class Measured:
    """One peer in one format. rates: pictures per second of each turn; curve: (score, mean bytes) by quality.

    ours_at_equal_score: our mean bytes at this peer's score, as a share of its own.
    """

    peer: str
    mean_bytes: float = 0.0
    answered: int = 0
    asked: int = 0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    score: float = 0.0
    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    curve: list[tuple[float, float]] = field(default_factory=list)
    ours_at_equal_score: float | None = None

    @property
    def per_second(self) -> float:
        """The median of the turns."""
        return statistics.median(self.rates) if self.rates else 0.0

    @property
    def cpu_each(self) -> float:
        """CPU seconds of the process tree for each answer."""
        return self.cpu_seconds / max(1, self.answered)

    def percentile_ms(self, share: float) -> float:
        """Return the latency that `share` of the answers did not exceed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0.0


def ratio(rates: Sequence[float], others: Sequence[float]) -> float:
    """Return the median over the rounds of one rate by the other of the same round."""
    return statistics.median(a / b if b else 0.0 for a, b in zip(rates, others, strict=True))


def table(name: str, quality: int | None, rows: Sequence[Measured], *, metric: str) -> str:
    """Return the table of one format; the ratio is to the first peer that is not ourselves."""
    first = rows[min(1, len(rows) - 1)]
    head = [
        f"{name}{f' q{quality}' if quality else ''}",
        *[
            "answered",
            "per second",
            f"to {first.peer}",
            "p50 ms",
            "p99 ms",
            "CPU s each",
            "CPU to it",
            "peak PSS MiB",
        ],
        *["mean bytes", metric, "our bytes at its score"],
    ]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for row in rows:
        lines.append(
            [
                row.peer,
                f"{row.answered}/{row.asked}",
                f"{row.per_second:.1f}",
                f"{ratio(row.rates, first.rates):.2f}",
                f"{row.percentile_ms(0.5):.0f}",
                f"{row.percentile_ms(0.99):.0f}",
                f"{row.cpu_each:.4f}",
                f"{row.cpu_each / (first.cpu_each or 1):.2f}",
                f"{row.peak_bytes / MIB:.0f}",
                f"{row.mean_bytes:.0f}",
                f"{row.score:.1f}",
                f"{row.ours_at_equal_score:.2f}" if row.ours_at_equal_score else "",
            ]
        )
    return "\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def together(
    rates: Sequence[tuple[str, list[float]]], *, widths: Sequence[int], formats: Sequence[str]
) -> str:
    """Return the table of variants per second when all of one picture are asked for at once."""
    first = rates[min(1, len(rates) - 1)]
    lines = [
        f"\nWidths {', '.join(map(str, widths))} in {', '.join(formats)} of one JPEG, asked for together:\n",
        f"| peer | variants per second | to {first[0]} |",
        "| --- | ---: | ---: |",
    ]
    lines += [
        f"| {name} | {statistics.median(values):.1f} | {ratio(values, first[1]):.2f} |"
        for name, values in rates
    ]
    return "\n".join(lines)


def as_json(tables: dict[str, list[Measured]], **about: str) -> str:
    """Return everything but single latencies."""
    formats = {}
    for name, rows in tables.items():
        formats[name] = []
        for row in rows:
            facts = dataclasses.asdict(row)
            del facts["latencies"]
            facts |= {"per_second": row.per_second, "p50_ms": row.percentile_ms(0.5)}
            facts["p99_ms"] = row.percentile_ms(0.99)
            formats[name].append(facts)
    return json.dumps({**about, "formats": formats}, indent=1)
