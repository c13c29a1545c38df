"""`python benchmarks/shared_body.py`: does a body that many sources share make each commit more expensive?

It keeps small pictures as the service does: 10,000 addresses with one body, and 10,000 with a body each, in turns of a
hundred. It prints the processor time of a commit for both and the ratio of the last hundred. `--folder` names a folder
on the disk to measure; the default is the system's temporary folder.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path

from cache.base.entry import Entry
from cache.durable_tier import Originals
from proxy.services.troubles.replacing import Replacing

TURN = 100
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


async def compare(folder: Path, sources: int) -> None:
    """Print the cost of a commit while the body gets more and more users, beside that of bodies with one user."""
    shared_store = await Originals.open(folder / "shared")
    own_store = await Originals.open(folder / "own")
    shared, own = Sources(shared_store, own=False), Sources(own_store, own=True)
    print("sources  one body  own bodies  ratio   (processor ms a commit)")
    try:
        for done in range(TURN, sources + 1, TURN):
            one, several = await shared.turn(), await own.turn()
            if done in {TURN, 500, 1_000, 2_500, 5_000} or done == sources:
                print(f"{done:7}  {one:8.2f}  {several:10.2f}  {one / several:5.2f}", flush=True)
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
