"""`make bench-million`: does a store of a million entries cost more than one of a thousand?

It prints for both how fast the catalogue is made and how long the first page of each list takes; then how long the
service takes to start, the median look-up of an entry with a warm page cache, and hits per second; and the ratios. It
writes the entries without fsync, which no real store does.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from million_lists import measured_catalogue, shown
from service import load, machine, photo, service

from cache.base.entry import Entry
from cache.base.keys import source_key
from cache.base.layout import Layout
from cache.durable_tier import Originals

PER_BODY = 100
LOOKUPS = 4_000
VISITED = 400
"""Sources requested while hits are counted: more than a page shows, all of them in memory."""
_FRESH_SECONDS = 10**8


@dataclass(frozen=True, slots=True)
class Measured:
    """The costs of one store: start and look-up in seconds, and hits per second."""

    start: float
    look_up: float
    hits: float


def source(number: int) -> str:
    """Return the address of entry `number`; its origin is never asked."""
    return f"http://pictures.example/{number // PER_BODY}/{number}.jpg"


def _body(number: int) -> bytes:
    # A comment segment (ITU-T T.81 §B.2.4.5) makes each body different.
    plain = _PLAIN[0]
    return plain[:2] + b"\xff\xfe\x00\x0a" + b"%08d" % number + plain[2:]


_PLAIN: list[bytes] = []


def _prepare(plain: bytes) -> None:
    _PLAIN[:] = [plain]


def _write(root: Path, bodies: range, now: float) -> None:
    layout = Layout(root)
    for number in bodies:
        body = _body(number)
        sha256 = hashlib.sha256(body).hexdigest()
        keys = []
        for entry in _entries(number, sha256, len(body), now):
            layout.entry(entry.key).write_bytes(entry.to_json())
            keys.append(entry.key)
        layout.body(sha256).write_bytes(body)
        layout.ref(sha256).write_bytes(_users(keys))


def _users(keys: list[str]) -> bytes:
    return "\n".join(["complete", *sorted(keys), f"end {len(keys)}", ""]).encode("ascii")


def _entries(number: int, sha256: str, size: int, now: float) -> Iterator[Entry]:
    for place in range(number * PER_BODY, (number + 1) * PER_BODY):
        yield Entry(
            source=source(place),
            status=200,
            headers=(("cache-control", f"max-age={_FRESH_SECONDS}"), ("content-type", "image/jpeg")),
            body_sha256=sha256,
            body_size=size,
            media_type="image/jpeg",
            final_url=source(place),
            request_time=now,
            response_time=now,
            fetched_at=now,
            validated_at=now,
            damaged=False,
            picture={"format": "jpeg", "width": 240, "height": 160},
        )


def fill(root: Path, *, entries: int) -> None:
    """Make a store of `entries` entries over a hundredth as many bodies."""

    async def opened(*, count: bool) -> None:
        store = await Originals.open(root, min_free_bytes=0, max_bytes=None)
        if count:
            await store.stat()
        await store.close()

    asyncio.run(opened(count=False))
    for folder, shard in itertools.product(("entries", "bodies", "refs"), range(256)):
        (root / folder / f"{shard:02x}").mkdir(exist_ok=True)
    plain, bodies, now = photo(1, (240, 160)), entries // PER_BODY, time.time()
    step = max(1, bodies // 64)
    parts = [range(start, min(start + step, bodies)) for start in range(0, bodies, step)]
    with ProcessPoolExecutor(initializer=_prepare, initargs=(plain,)) as pool:
        list(pool.map(_write, [root] * len(parts), parts, [now] * len(parts)))
    asyncio.run(opened(count=True))


def median_look_up(root: Path, *, entries: int) -> float:
    """Return the median seconds of a look-up with a warm page cache."""
    chosen = random.Random(1).sample(range(entries), min(entries, LOOKUPS))  # noqa: S311 - which, not a secret

    async def run() -> float:
        store = await Originals.open(root, min_free_bytes=0, max_bytes=None)
        seconds = []
        for turn in range(2):
            for number in chosen:
                begun = time.perf_counter()
                _, entry = await store.look_up(source(number))
                if turn:
                    seconds.append(time.perf_counter() - begun)
                if entry is None or entry.key != source_key(source(number)):
                    raise SystemExit(f"entry {number} is missing")
        await store.close()
        return statistics.median(seconds)

    return asyncio.run(run())


def measured_in_turns(folders: dict[int, Path], *, rounds: int) -> list[Measured]:
    """Return the costs of the stores in `folders` by number of entries, measured in turns on a shared machine."""
    starts: dict[int, list[float]] = {entries: [] for entries in folders}
    look_ups: dict[int, list[float]] = {entries: [] for entries in folders}
    hits: dict[int, list[float]] = {entries: [] for entries in folders}
    for _, (entries, folder) in itertools.product(range(rounds), folders.items()):
        visited = random.Random(2).sample(range(entries), min(entries, VISITED))  # noqa: S311 - which, not a secret
        begun = time.perf_counter()
        with service(folder) as ours:
            starts[entries].append(time.perf_counter() - begun)
            paths = [f"/?{source(number)}" for number in visited]
            load(ours.port, paths, seconds=1)
            hits[entries].append(load(ours.port, paths, seconds=2)["per_second"])
        look_ups[entries].append(median_look_up(folder / "store", entries=entries))
    return [
        Measured(*(statistics.median(found[entries]) for found in (starts, look_ups, hits)))
        for entries in folders
    ]


def main() -> None:
    """Fill both stores, measure them in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--folder", type=Path, help="where to make the stores (default: the temporary folder)"
    )
    args = parser.parse_args()
    print(f"imgmirror, many entries, {machine()}")
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folders = {entries: Path(name, str(entries)) for entries in (1_000, args.entries)}
        for entries, folder in folders.items():
            begun = time.perf_counter()
            fill(folder / "store", entries=entries)
            seconds = time.perf_counter() - begun
            print(
                f"{entries} entries over {entries // PER_BODY} bodies, written in {seconds:.0f} s", flush=True
            )
        # Writing a million dirty inodes to the disk would slow down the measurements that follow.
        os.sync()
        catalogues = [
            measured_catalogue(folder / "store", entries=entries, source=source)
            for entries, folder in folders.items()
        ]
        print(shown(*catalogues), flush=True)
        measured = measured_in_turns(folders, rounds=args.rounds)
    for entries, one in zip(folders, measured, strict=True):
        print(
            f"{entries}: start {one.start:.2f} s, look-up {one.look_up * 1e6:.0f} us, hits {one.hits:.0f} /s"
        )
    small, large = measured
    print(
        f"large : small: start {large.start / small.start:.2f}, look-up {large.look_up / small.look_up:.2f}, "
        f"hits {large.hits / small.hits:.2f}"
    )


if __name__ == "__main__":
    main()
