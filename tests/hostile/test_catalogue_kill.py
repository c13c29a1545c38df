"""kill -9 of processes that change a store and of those that compare its catalogue: the catalogue catches up by
itself."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
from pathlib import Path

import pytest
from catalogues import differences
from keeping import keep, run_program

from cache.durable_tier import Originals

ROUNDS = int(os.environ.get("ROUNDS", "12"))
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(2**32)

_WORK = """
import asyncio, random, sys
from pathlib import Path
from keeping import keep
from cache.base.errors import CacheError
from cache.durable_tier import Originals

async def main(root, seed):
    rng = random.Random(seed)
    store = await Originals.open(Path(root))
    while True:
        url = f"http://{rng.randrange(3)}.example/{rng.randrange(40)}.png"
        try:
            match rng.randrange(8):
                case 0: await store.purge(url)
                case 1: await store.block(url, "no")
                case 2: await store.unblock(url)
                case 3: await store.articles.record(f"{rng.randrange(9)}.md", [url, url + "?2"], lines={url: [3]})
                case 4: await store.articles.forget(f"{rng.randrange(9)}.md")
                case 5: store.catalogue.notes.note_failure(url, "gone", status=410, at=1.0)
                case _: await keep(store, url, str(rng.randrange(20)).encode())
        except CacheError:
            pass
        print(flush=True)

asyncio.run(main(*sys.argv[1:]))
"""

_COMPARE = """
import asyncio, sqlite3, sys
from pathlib import Path
from cache.catalogue.database import NoCatalogueError
from cache.durable_tier import Originals

async def main(root, _seed):
    store = await Originals.open(Path(root))
    while True:
        try:
            await store.catalogue.catch_up(lambda *_: print(flush=True), again=True)
        except (NoCatalogueError, sqlite3.Error, OSError):
            pass

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.kill
@pytest.mark.timeout(3600)
async def test_catalogue_agrees_with_the_files_after_kills_at_any_moment(tmp_path: Path) -> None:
    rng = random.Random(SEED)  # noqa: S311 - the same kills each time
    root = tmp_path / "store"
    store = await Originals.open(root)
    for number in range(20):
        await keep(store, f"http://0.example/{number}.png", b"%d" % number)
    await store.catalogue.catch_up()
    await store.close()
    for number in range(ROUNDS):
        programs = [_WORK, _WORK, _COMPARE][: rng.choice((1, 2, 3, 3))]
        running = [run_program(program, root, rng.randrange(2**32)) for program in programs]
        await asyncio.gather(
            *(asyncio.to_thread(_killed_after, each, rng.randrange(1, 120)) for each in running)
        )
        if number % 3 == 2:
            assert await differences(root) == [], f"round {number}, SEED={SEED}"
    print(f"{ROUNDS} rounds of kills, seed {SEED}: the catalogue agrees with the files")


def _killed_after(process: subprocess.Popen[str], lines: int) -> None:
    assert process.stdout is not None
    for _ in range(lines):
        process.stdout.readline()
    process.kill()
    process.communicate()
