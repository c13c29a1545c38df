"""`imgmirror` on a disk that fails when a file beside the store says so: `faulty_service.py ORDERS ROOT serve …`.

ORDERS holds JSON: {"share": 0.3, "kinds": ["sync", …]}. An empty or missing file means a disk that works. No entry is
finished while another process locks the file ORDERS.gate, and no fsync while it locks ORDERS.syncs.
`FAULTY_HUNG_SECONDS` sets the time after which the service considers a disk hung.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from crash_files import PASS, Fate, Plot, Step, Watch, faulty

from cache.base import durable, threads
from proxy.cli import main


class Ordered:
    """A plot that reads its orders again whenever they have changed."""

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
    """Make the disk of a running service fail from now on; without `kinds`, make it work again."""
    aside = orders.with_suffix(".new")
    aside.write_text(json.dumps({"kinds": kinds, "share": share}) if kinds else "")
    os.replace(aside, orders)  # noqa: PTH105 - as a whole


@contextlib.contextmanager
def held_entries(orders: Path) -> Iterator[None]:
    """Keep the disk of a running service from finishing an entry until the block is left."""
    with orders.with_suffix(".gate").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def held_syncs(orders: Path) -> Iterator[None]:
    """Keep every fsync of a running service from returning until the block is left."""
    with orders.with_suffix(".syncs").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield
    orders.with_suffix(".syncs").unlink()


def _hold_syncs(gate: Path) -> None:
    fsync = os.fsync

    def held(descriptor: int) -> None:
        with contextlib.suppress(FileNotFoundError), gate.open() as waiting:
            fcntl.flock(waiting, fcntl.LOCK_SH)
        fsync(descriptor)

    os.fsync = held  # type: ignore[assignment]  # the store calls it with descriptors only


def _hold_entries(gate: Path) -> None:
    sync_folder = durable.sync_folder

    def held(folder: Path) -> None:
        if folder.parent.name == "entries" and gate.exists():
            with gate.open() as waiting:
                fcntl.flock(waiting, fcntl.LOCK_SH)
        sync_folder(folder)

    durable.sync_folder = held


if __name__ == "__main__":
    _hold_entries(Path(sys.argv[1]).with_suffix(".gate"))
    threads.HUNG_SECONDS = float(os.environ.get("FAULTY_HUNG_SECONDS", threads.HUNG_SECONDS))
    with Watch(Path(sys.argv[2]), Ordered(Path(sys.argv[1]))):
        _hold_syncs(Path(sys.argv[1]).with_suffix(".syncs"))
        sys.exit(main(sys.argv[3:]))
