"""The plot: `python plot.py OUT.png < results.json`, in the environment that has matplotlib."""

from __future__ import annotations

import json
import sys

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt


def main() -> None:
    """Draw the rates of each format, and bytes against quality where there is a curve."""
    results = json.load(sys.stdin)
    tables = results["formats"]
    names = list(dict.fromkeys(row["peer"] for rows in tables.values() for row in rows))
    colours = dict(zip(names, plt.get_cmap("tab10").colors, strict=False))
    curves = {name: rows for name, rows in tables.items() if any(len(row["curve"]) > 1 for row in rows)}
    figure, places = plt.subplots(2, max(len(tables), 1), figsize=(4 * max(len(tables), 2), 7), squeeze=False)
    for place, (name, rows) in zip(places[0], tables.items(), strict=True):
        bars = place.bar(
            [row["peer"] for row in rows],
            [row["per_second"] for row in rows],
            color=[colours[row["peer"]] for row in rows],
        )
        place.bar_label(bars, fmt="%.1f")
        place.set_title(f"{name}: pictures per second")
    for place, name in zip(places[1], tables, strict=True):
        if name not in curves:
            place.axis("off")
            continue
        for row in curves[name]:
            points = sorted(row["curve"])
            kib = [point[1] / 1024 for point in points]
            place.plot(
                kib, [point[0] for point in points], marker="o", label=row["peer"], color=colours[row["peer"]]
            )
        place.set(title=f"{name}: {results['metric']} by size", xlabel="mean KiB")
        place.legend()
        place.grid(alpha=0.3)
    figure.suptitle(f"{results['title']}\n{results['machine']}", fontsize=9)
    figure.tight_layout()
    figure.savefig(sys.argv[1], dpi=100)


if __name__ == "__main__":
    main()
