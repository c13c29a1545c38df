"""Adding a store is one class and a line in its contract (docs/architecture.md): made here on a copy.

The toy keeps bodies and entries in one SQLite file and shares the rest as files do. Nothing is behind a lock for it:
it compares and changes in one step, as an object store does. The whole contract then runs on it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TOY = '''\
"""A store whose blobs are rows."""

import contextlib
import sqlite3

from cache.across.file_seams import FileSeams
from cache.across.seams import Blob, BlobState
from cache.base.errors import BlobChanged

TABLE = """CREATE TABLE IF NOT EXISTS blobs
(kind, name, data, version INTEGER PRIMARY KEY AUTOINCREMENT, UNIQUE (kind, name))"""


class ToyBlobs:
    def __init__(self, file, kind):
        self._file, self._kind = file, kind
        with self._rows() as rows:
            rows.execute(TABLE)

    def where(self, name):
        return f"{self._file}, {self._kind} {name}"

    def state(self, name):
        try:
            return self.read(name).state
        except FileNotFoundError:
            return None

    def read(self, name, max_bytes=-1):
        with self._rows() as rows:
            query = "SELECT data, version FROM blobs WHERE kind = ? AND name = ?"
            found = rows.execute(query, (self._kind, name)).fetchone()
        if found is None:
            raise FileNotFoundError(name)
        data, version = found
        return Blob(data if max_bytes < 0 else data[:max_bytes], BlobState(len(data), (version,)))

    @contextlib.contextmanager
    def opened(self, name):
        yield ToyOpen(self.read(name))

    def write(self, name, content, *, known):
        data = content if isinstance(content, bytes) else content.read_bytes()
        with self._rows() as rows:
            self._drop(rows, name, known)
            rows.execute("INSERT INTO blobs (kind, name, data) VALUES (?, ?, ?)", (self._kind, name, data))

    def take_back(self, name, aside):
        self.delete(name, known=self.state(name))

    def delete(self, name, *, known):
        with self._rows() as rows:
            return self._drop(rows, name, known)

    def settle(self, name):
        pass

    def adopt(self, name):
        pass

    def shards(self):
        return sorted({name[:2] for name, _ in self.list()})

    def irregular(self):
        return iter(())

    def list(self, prefix=""):
        query = "SELECT name, LENGTH(data) FROM blobs WHERE kind = ? AND name GLOB ? ORDER BY name"
        with self._rows() as rows:
            found = rows.execute(query, (self._kind, prefix + "*")).fetchall()
        yield from found

    def _drop(self, rows, name, known):
        query = "SELECT version FROM blobs WHERE kind = ? AND name = ?"
        found = rows.execute(query, (self._kind, name)).fetchone()
        if found != (known.version if known else None):
            raise BlobChanged(self.where(name))
        rows.execute("DELETE FROM blobs WHERE kind = ? AND name = ?", (self._kind, name))
        return found is not None

    @contextlib.contextmanager
    def _rows(self):
        with contextlib.closing(sqlite3.connect(self._file, isolation_level=None)) as rows:
            rows.execute("PRAGMA synchronous = OFF")  # a toy may forget
            rows.execute("BEGIN IMMEDIATE")
            with rows:
                yield rows


class ToyOpen:
    def __init__(self, blob):
        self.state, self._data = blob.state, blob.data

    def read(self, start, size):
        return self._data[start : start + size]


class ToySeams(FileSeams):
    def __init__(self, layout, *others, **named):
        super().__init__(layout, *others, **named)
        self.entries = ToyBlobs(layout.root / "toy.db", "entry")
        self.bodies = ToyBlobs(layout.root / "toy.db", "body")
'''

NODES = '''

@asynccontextmanager
async def toy_nodes(folder: Path) -> AsyncIterator[OpenNode]:
    """Rows of a table."""
    from cache.across.toy_seams import ToySeams

    async with file_nodes(folder, ToySeams) as node:
        yield node


IMPLEMENTATIONS = SHARED_BY_PROCESSES = (toy_nodes,)
'''


WORK = """
import asyncio
from pathlib import Path

from keeping import keep
from cache.durable_tier import Originals


async def work():
    store = await Originals.open(Path("store"))
    entry = await keep(store, "http://h/a.png", b"one")
    assert await store.get("http://h/a.png") == entry
    await keep(store, "http://h/b.png", b"one")
    await keep(store, "http://h/b.png", b"two")
    assert [each.source for each in sorted([each async for each in store.entries()], key=lambda each: each.source)] == [
        "http://h/a.png", "http://h/b.png"
    ]
    assert (await store.condition(entry.body_sha256)).is_sound and await store.has_body(entry.body_sha256, 3)
    stat = await store.stat()
    assert (stat.entries, stat.bodies, stat.former, stat.orphans) == (2, 2, 1, 0), stat
    assert (await store.purge("http://h/a.png")).bodies == ()
    assert len((await store.purge("http://h/b.png")).bodies) == 2
    assert await store.purge_orphans() == (0, 0)
    assert store.kept_bytes() == 0
    await store.close()
    assert not [path for room in ("entries", "bodies") for path in Path("store", room).rglob("*") if path.is_file()]


asyncio.run(work())
print("all there")
"""


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of both packages and of the contract, with a store of another kind."""
    for package in ("proxy", "cache", "tests/lib"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests" / "contract").mkdir()
    for contract in (ROOT / "tests" / "contract").glob("test_seams*.py"):
        shutil.copy(contract, tmp_path / "tests" / "contract")
    for name in ("pyproject.toml", "tests/conftest.py", "tests/contract/conftest.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "cache" / "across" / "toy_seams.py").write_text(TOY, encoding="utf-8")
    nodes = tmp_path / "tests" / "lib" / "nodes.py"
    nodes.write_text(nodes.read_text(encoding="utf-8") + NODES, encoding="utf-8")
    return tmp_path


def contract_on(copied: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the contract in the copy. If it hangs, fail with what it has said, which is the stacks of its threads."""
    program = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "faulthandler_timeout=60",
    ]
    try:
        return subprocess.run(
            [*program, "tests/contract", *arguments],
            cwd=copied,
            env={**os.environ, "PYTHONPATH": str(copied)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,  # less than the limit of a test, which would tell nothing
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        pytest.fail(f"the contract hangs: {(late.stdout or b'').decode(errors='replace')}")


@pytest.mark.slow
def test_one_class_adds_a_store_that_keeps_the_whole_contract(copied: Path) -> None:
    """Blobs, lists, exclusion, stamps, failures, counts; the keeper cut at every step; two processes."""
    done = contract_on(copied)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"^(\d+) passed in", done.stdout, re.MULTILINE)
    assert passed is not None, done.stdout
    assert int(passed[1]) > 30


def test_originals_are_kept_in_a_store_that_is_named_once(copied: Path) -> None:
    """Kept, counted and purged with no file of an entry or a body: the durable tier knows nothing but the seams."""
    keeping = copied / "cache" / "originals" / "keeping.py"
    text = keeping.read_text(encoding="utf-8")
    named = "from cache.across.file_seams import FileSeams\n"
    assert text.count(named) == 1
    named_anew = "from cache.across.toy_seams import ToySeams as FileSeams\n"
    keeping.write_text(text.replace(named, named_anew), encoding="utf-8")
    path = os.pathsep.join([str(copied), str(copied / "tests" / "lib")])
    done = subprocess.run(
        [sys.executable, "-c", WORK],
        cwd=copied,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "all there\n", done.stderr


def test_contract_refuses_a_store_that_forgets_to_compare(copied: Path) -> None:
    """One that writes whatever was there would lose what another node has written."""
    toy = copied / "cache" / "across" / "toy_seams.py"
    text = toy.read_text(encoding="utf-8")
    assert text.count("        if found != (known.version if known else None):") == 1
    toy.write_text(
        text.replace("if found != (known.version if known else None):", "if False:"), encoding="utf-8"
    )
    done = contract_on(copied, "-k", "overtaken or another_process_changed")
    assert done.returncode == 1
    assert "test_writer_that_was_overtaken_changes_nothing[toy_nodes-True]" in done.stdout
    assert "test_blob_that_another_process_changed_is_not_written[toy_nodes]" in done.stdout
