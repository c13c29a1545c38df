"""Several processes on one store: commits and purges of one digest exclude each other, and the counts agree."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keeping import finished, keep, run_program

from cache.base.errors import StoreFull
from cache.durable_tier import Originals

RIVAL = """
import asyncio, random, sys
from pathlib import Path
from cache.durable_tier import Originals
from keeping import keep

async def main(folder, name):
    store = await Originals.open(folder)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(40):
        url = f"http://h/{name}/{number % 3}"
        entry = await keep(store, url, b"the same bytes")
        assert await store.read_body(entry.body_sha256) == b"the same bytes"
        assert await store.get(url)
        await store.purge(url)
        assert await store.get(url) is None
    await store.close()

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


async def race(program: str, folder: Path, *names: str) -> list[str]:
    """Start programs, release them at the same moment, and return what they printed afterwards."""
    processes = [run_program(program, folder, name) for name in names]
    for process in processes:
        assert process.stdout
        assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    return await asyncio.gather(*(finished(process) for process in processes))


async def test_rivals_over_one_body_never_lose_it(tmp_path: Path) -> None:
    """Each process keeps and purges the same bytes under its own sources. No body is deleted while an entry names
    it."""
    await race(RIVAL, tmp_path / "store", "one", "two", "three")
    store = await Originals.open(tmp_path / "store")
    report = await store.verify()
    assert (report.wrong, report.notes, report.bodies, report.entries) == ([], [], 0, 0)
    assert store.kept().bytes == 0
    await store.close()


SPENDER = """
import asyncio, os, sys
from pathlib import Path
from cache.base.errors import StoreFull
from cache.durable_tier import Originals
from keeping import keep

async def main(folder, name):
    store = await Originals.open(folder, max_bytes=100_000)
    print("ready", flush=True)
    sys.stdin.readline()
    kept = 0
    for number in range(40):
        try:
            await keep(store, f"http://h/{name}/{number}", os.urandom(5000))
            kept += 1
        except StoreFull:
            pass
    print(kept)
    await store.close()

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


async def test_spenders_share_one_budget(tmp_path: Path) -> None:
    """Two processes together keep as much as one could, up to one original in progress for each."""
    outputs = await race(SPENDER, tmp_path / "store", "one", "two")
    store = await Originals.open(tmp_path / "store", max_bytes=100_000)
    stat = await store.stat()
    assert sum(map(int, outputs)) == stat.entries
    assert 100_000 - 6000 < stat.bytes <= 100_000 + 6000
    assert store.kept_bytes() == stat.bytes
    with pytest.raises(StoreFull):
        await keep(store, "http://h/late", b"x" * 9000)
    await store.close()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["keep", "keep", "purge", "lose one", "lose all"]),
        st.integers(0, 3),
        st.integers(0, 2),
    ),
    max_size=20,
)


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_no_order_of_commits_and_purges_loses_a_body(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is kept, purged and lost of the index, each entry has its bodies, and only purged bodies are deleted."""
    asyncio.run(_play(steps))


async def _play(steps: list[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, wanted = Path(name) / "store", dict[str, set[bytes]]()
        store = await Originals.open(folder)
        for action, source, content in steps:
            url, body = f"http://h/{source}", b"body %d" % content
            if action == "keep":
                await keep(store, url, body)
                wanted.setdefault(url, set()).add(body)
            elif action == "purge":
                await store.purge(url)
                wanted.pop(url, None)
            else:
                await asyncio.to_thread(_lose, folder / "refs", all_of_them=action == "lose all")
        kept = {path.read_bytes() for path in (folder / "bodies").glob("??/*")}
        assert kept == set().union(*wanted.values())
        report = await store.verify()
        assert (report.wrong, report.notes) == ([], [])
        await store.close()


def _lose(refs: Path, *, all_of_them: bool) -> None:
    files = sorted(path for path in refs.rglob("*") if path.is_file())
    if all_of_them:
        shutil.rmtree(refs, ignore_errors=True)
    elif files:
        files[len(files) // 2].unlink()
