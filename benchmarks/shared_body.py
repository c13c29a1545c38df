"""`python benchmarks/shared_body.py`: does a body that many sources share make each commit more expensive?

It keeps small pictures as the service does: 10,000 addresses with one body, and 10,000 with a body each, in turns of a
hundred. It prints the processor time of a commit for both as the median of the last ten turns, and the median, minimum
and maximum of their ratios. `--folder` names a folder on the disk to measure; the default is the system's temporary
folder.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections import deque
from pathlib import Path

from cache.base.entry import Entry
from cache.durable_tier import Originals
from proxy.services.troubles.replacing import Replacing

TURN = 100
_TURNS = 10
"""How many turns a figure is the median of. Single turns differ by a third on a machine that others use."""
_BODY_BYTES = 3_000


class Sources:
    """A store that keeps one picture after another; `own` gives each a body of its own."""

    def __init__(self, store: Originals, *, own: bool) -> None:
        self._store = store
        self._own = own
        self._replacing = Replacing(store, now=time.time)
        self._plain = os.urandom(_BODY_BYTES)
        self._count = 0

    async def turn(self) -> float:
        """Keep a hundred pictures; return the processor time of each in milliseconds."""
        begun = time.process_time()
        for _ in range(TURN):
            await self._keep_one()
        return (time.process_time() - begun) * 1000 / TURN

    async def _keep_one(self) -> None:
        url = f"http://{self._count % 50}.example/{self._count}.png"
        body = (b"%08d" % self._count if self._own else b"") + self._plain
        self._count += 1
        await self._store.look_up(url)
        async with self._store.receive() as incoming:
            await incoming.write(body)
            await incoming.finish()
            await self._replacing.is_known_placeholder(incoming.sha256, url)
            await incoming.sync()
            entry = _entry(url, incoming.sha256, incoming.size)
            await self._store.commit(entry, incoming, stamp=self._store.generations.stamp(url))


def _entry(url: str, sha256: str, size: int) -> Entry:
    now = time.time()
    return Entry(
        source=url,
        status=200,
        headers=(("content-type", "image/png"),),
        body_sha256=sha256,
        body_size=size,
        media_type="image/png",
        final_url=url,
        request_time=now,
        response_time=now,
        fetched_at=now,
        validated_at=now,
    )


def _figures(turns: deque[tuple[float, float]]) -> str:
    one, own = (statistics.median(column) for column in zip(*turns, strict=True))
    ratios = [a / b for a, b in turns]
    spread = f"{statistics.median(ratios):5.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    return f"{one:8.2f}  {own:10.2f}  {spread}"


async def compare(folder: Path, sources: int) -> None:
    """Print the cost of a commit while the body gets more and more users, beside that of bodies with one user."""
    shared_store = await Originals.open(folder / "shared")
    own_store = await Originals.open(folder / "own")
    shared, own = Sources(shared_store, own=False), Sources(own_store, own=True)
    print("sources  one body  own bodies  ratio   (processor ms a commit)")
    turns: deque[tuple[float, float]] = deque(maxlen=_TURNS)
    try:
        for done in range(TURN, sources + 1, TURN):
            turns.append((await shared.turn(), await own.turn()))
            if done in {1_000, 2_500, 5_000} or done == sources:
                print(f"{done:7}  {_figures(turns)}", flush=True)
    finally:
        await shared_store.close()
        await own_store.close()


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=int, default=10_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="shared-body-", dir=options.folder) as folder:
        asyncio.run(compare(Path(folder), options.sources))


if __name__ == "__main__":
    main()
