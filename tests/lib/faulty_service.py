"""`imgmirror` on a disk that fails when a file beside the store says so: `faulty_service.py ORDERS ROOT serve …`.

ORDERS holds JSON: {"share": 0.3, "kinds": ["sync", …]}; an empty or missing file means a disk that works.
"""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path

from crash_files import PASS, Fate, Plot, Step, Watch, faulty

from proxy.cli import main


class Ordered:
    """A plot that reads its orders whenever they have changed."""

    def __init__(self, orders: Path) -> None:
        self._orders = orders
        self._known = (0, 0, 0)
        self._plot: Plot | None = None

    def __call__(self, step: Step) -> Fate:
        try:
            status = self._orders.stat()
        except FileNotFoundError:
            return PASS
        identity = (status.st_ino, status.st_mtime_ns, status.st_size)
        if identity != self._known:
            self._known, self._plot = identity, self._read()
        return self._plot(step) if self._plot else PASS

    def _read(self) -> Plot | None:
        text = self._orders.read_text()
        if not text:
            return None
        known = json.loads(text)
        return faulty(random.Random(1), known["share"], kinds=frozenset(known["kinds"]))  # noqa: S311 - which steps fail, not a secret


def give_orders(orders: Path, *, kinds: tuple[str, ...] = (), share: float = 1.0) -> None:
    """Have the disk of a running service fail from now on; without `kinds`, work again."""
    aside = orders.with_suffix(".new")
    aside.write_text(json.dumps({"kinds": kinds, "share": share}) if kinds else "")
    os.replace(aside, orders)  # noqa: PTH105 - as a whole


if __name__ == "__main__":
    with Watch(Path(sys.argv[2]), Ordered(Path(sys.argv[1]))):
        sys.exit(main(sys.argv[3:]))
