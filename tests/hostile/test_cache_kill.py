"""kill -9 in the middle of commits and purges: everything reported as kept exists, and nothing is wrong."""

from __future__ import annotations

import asyncio
import hashlib
import random
from pathlib import Path

from keeping import run_program

from cache.durable_tier import Originals

ROUNDS = 10

WRITER = """
import asyncio, random, sys
from pathlib import Path
from cache.durable_tier import Originals
from keeping import keep

async def work(store, rng, number):
    while True:
        url = f"http://h/{number}/{rng.randrange(40)}"
        body = b"%d" % rng.randrange(60) * rng.choice((1, 5000, 100000))
        if rng.random() < 0.25:
            print("purging", url, flush=True)
            await store.purge(url)
            print("purged", url, flush=True)
        else:
            print("keeping", url, flush=True)
            entry = await keep(store, url, body)
            print("kept", url, entry.body_sha256, flush=True)

async def main():
    store = await Originals.open(Path(sys.argv[1]))
    rng = random.Random(int(sys.argv[2]))
    await asyncio.gather(*(work(store, rng, number) for number in range(4)))

asyncio.run(main())
"""


class Announced:
    """The announcements of the writers, in order."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.unsure: set[str] = set()

    def hear(self, line: str) -> None:
        match line.split():
            case ["kept", url, digest]:
                self.kept[url] = digest
                self.unsure.discard(url)
            case ["purged", url]:
                self.kept.pop(url, None)
                self.unsure.discard(url)
            case ["keeping" | "purging", url]:
                self.unsure.add(url)


async def test_writer_killed_at_any_point_leaves_what_it_announced(tmp_path: Path) -> None:
    """Ten writers are killed after some announcements each. The next ones continue in the same folder."""
    rng, announced = random.Random(20), Announced()  # noqa: S311 - the same moments each time
    for number in range(ROUNDS):
        process = run_program(WRITER, tmp_path / "store", number)
        assert process.stdout
        assert process.stdin
        for _ in range(rng.randrange(1, 120)):
            announced.hear(await asyncio.to_thread(process.stdout.readline))
        process.kill()
        for line in await asyncio.to_thread(process.stdout.readlines):
            announced.hear(line)
        process.wait()
        process.stdout.close()
        process.stdin.close()
        await _require_kept(tmp_path / "store", announced)


async def _require_kept(folder: Path, announced: Announced) -> None:
    store = await Originals.open(folder)
    report = await store.verify()
    assert report.wrong == []
    # Leftovers of the killed writer were removed at this start.
    assert {finding.kind for finding in report.notes} <= {"orphan"}
    for url, digest in announced.kept.items():
        if url in announced.unsure:
            continue
        entry = await store.get(url)
        assert entry, url
        assert entry.body_sha256 == digest
        assert hashlib.sha256(await store.read_body(digest)).hexdigest() == digest
    await store.close()
