"""Work on a store in a process that may be killed at any call: operations by name, and what each promises.

A new operation is one entry of `OPERATIONS`. It says how the operation is done with the store's own code, and through
which states its source goes. The process reports each operation when it begins it and after the store has returned.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import random
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from crash_files import PASS, Plot, Step, Watch
from keeping import make_entry

from cache.base.entry import Entry
from cache.base.errors import CacheError, NotKept
from cache.durable_tier import Originals
from cache.originals import refs
from cache.sweep import sweep
from cache.variants.bounded_tier import Variants

BODIES = 12
"""Few, so that sources share them all the time."""

SOURCES = 5
"""Sources of each lane."""

SPLIT_AT = 1
"""Keys in one file of a list of users: few, so that lists are split all the time."""


@dataclass(frozen=True, slots=True)
class State:
    """The promised state of one source: its present body and its history by number, when it was confirmed, whether it
    is blocked, and the date of its article."""

    body: int | None = None
    history: frozenset[int] = frozenset()
    validated_at: float = 0.0
    blocked: bool = False
    article: int = 0

    @property
    def bodies(self) -> frozenset[int]:
        return self.history if self.body is None else self.history | {self.body}


@dataclass(frozen=True, slots=True)
class Job:
    """One operation on one source, with its `body` and `moment`."""

    number: int
    name: str
    url: str
    body: int
    moment: float


@dataclass(frozen=True, slots=True)
class Operation:
    """How an operation is done, and the states that follow the one it found. It promises the last when it returns."""

    do: Callable[[Originals, Job], Awaitable[object]]
    states: Callable[[State, Job], Iterable[State]]
    weight: int = 1


def body_of(number: int) -> bytes:
    """Return the bytes with this number: most are small, some take several blocks."""
    return b"body %d\n" % number * (1, 700, 1, 9_000, 1, 160_000)[number % 6]


def digest_of(number: int) -> str:
    """Return the name of the bytes with this number."""
    return _DIGESTS[number]


_DIGESTS = {number: hashlib.sha256(body_of(number)).hexdigest() for number in range(BODIES)}
NUMBERS = {digest: number for number, digest in _DIGESTS.items()}


# The operations


def _entry(job: Job) -> Entry:
    body = body_of(job.body)
    entry = make_entry(job.url, sha256=digest_of(job.body), size=len(body))
    return replace(entry, validated_at=job.moment, fetched_at=job.moment)


async def _keep(store: Originals, job: Job) -> None:
    async with store.receive() as incoming:
        await incoming.write(body_of(job.body))
        await incoming.finish()
        await store.commit(_entry(job), incoming)


def _kept(state: State, job: Job) -> list[State]:
    if state.blocked:
        return []
    return [replace(state, body=job.body, history=state.bodies - {job.body}, validated_at=job.moment)]


async def _revalidate(store: Originals, job: Job) -> None:
    known = await store.get(job.url)
    if known is not None:
        await store.commit(replace(known, validated_at=job.moment), None)


def _revalidated(state: State, job: Job) -> list[State]:
    return [] if state.body is None or state.blocked else [replace(state, validated_at=job.moment)]


async def _purge(store: Originals, job: Job) -> None:
    await store.purge(job.url)


def _purged(state: State, _job: Job) -> list[State]:
    return [State(blocked=state.blocked, article=state.article)]


async def _purge_and_block(store: Originals, job: Job) -> None:
    await store.block(job.url, "a test")
    await store.purge(job.url)


def _purged_and_blocked(state: State, _job: Job) -> list[State]:
    return [replace(state, blocked=True), State(blocked=True, article=state.article)]


async def _unblock(store: Originals, job: Job) -> None:
    await store.unblock(job.url)


async def _set_aside(store: Originals, job: Job) -> None:
    stamp = store.generations.stamp(job.url)
    async with store.receive() as incoming:
        await incoming.write(body_of(job.body))
        await incoming.finish()
        await store.history.set_aside(
            job.url, _entry(job).as_former(note="placeholder"), incoming, stamp=stamp
        )


def _set_aside_states(state: State, job: Job) -> list[State]:
    if state.blocked or state.body in {None, job.body}:
        return []
    return [replace(state, history=state.history | {job.body})]


async def _promote(store: Originals, job: Job) -> None:
    await store.history.promote(job.url, digest_of(job.body))


def _promoted(state: State, job: Job) -> list[State]:
    if job.body not in state.history:
        return []
    return [replace(state, body=job.body, history=state.bodies - {job.body})]


async def _purge_history(store: Originals, job: Job) -> None:
    await store.history.purge(job.url, lambda entry: frozenset(entry.digests[1:]))


def _without_history(state: State, _job: Job) -> list[State]:
    return [replace(state, history=frozenset())]


async def _restore(store: Originals, job: Job) -> None:
    body = body_of(job.body)

    def land() -> Any:
        with store.land() as landing:
            landing.write(body)
            return landing.finish()

    landed = await asyncio.to_thread(land)
    try:
        arrived = {landed.arrived.sha256: landed.arrived}
        await store.history.restore(_entry(job), arrived, may_displace=True)
    finally:
        landed.close()


async def _record(store: Originals, job: Job) -> None:
    await store.articles.record(f"article of {job.url}", [job.url], date=job.moment)


def _recorded(state: State, job: Job) -> list[State]:
    return [replace(state, article=int(job.moment))]


async def _variants(store: Originals, job: Job) -> None:
    variants = await Variants.open(store.body_path("0" * 64).parents[2] / "variants", max_bytes=1 << 20)
    try:
        await variants.put(f"{job.url} {job.body}", body_of(job.body), tag=digest_of(job.body))
        await sweep(store, variants)
    finally:
        await variants.close()


async def _count(store: Originals, _job: Job) -> None:
    await store.stat()


async def _purge_orphans(store: Originals, _job: Job) -> None:
    await store.purge_orphans()


def _same(_state: State, _job: Job) -> list[State]:
    return []


OPERATIONS: dict[str, Operation] = {
    "keep": Operation(_keep, _kept, weight=12),
    "revalidate": Operation(_revalidate, _revalidated, weight=2),
    "purge": Operation(_purge, _purged, weight=4),
    "purge and block": Operation(_purge_and_block, _purged_and_blocked),
    "unblock": Operation(_unblock, lambda state, _job: [replace(state, blocked=False)], weight=2),
    "set aside": Operation(_set_aside, _set_aside_states, weight=3),
    "promote": Operation(_promote, _promoted, weight=2),
    "purge history": Operation(_purge_history, _without_history, weight=2),
    "restore": Operation(_restore, _kept, weight=3),
    "record article": Operation(_record, _recorded, weight=2),
    "variants": Operation(_variants, _same),
    "count": Operation(_count, _same),
    "purge orphans": Operation(_purge_orphans, _same),
}


# The process


@dataclass(frozen=True, slots=True)
class Shift:
    """The task of one process: `jobs` in each of several concurrent `lanes`.

    top: the watched folder around the store. first: the number of the first job; numbers and moments are never used
    twice. sources: a host that no other process has. plan: jobs to do instead of random ones, each with its name, the
    number of its source in the first lane, and its body. armed_at: the job from which the plot is asked.
    """

    root: Path
    top: Path
    seed: int
    first: int
    sources: str = "h"
    lanes: int = 1
    jobs: int = 10
    plan: tuple[tuple[str, int, int], ...] = ()
    armed_at: int = 0


def source_urls(shift: Shift) -> list[str]:
    """Return the sources that a shift works on."""
    return [url for lane in range(shift.lanes) for url in _urls(shift, lane)]


def _urls(shift: Shift, lane: int) -> list[str]:
    return [f"http://{shift.sources}/{lane}/{number}.png" for number in range(SOURCES)]


def work(shift: Shift, plot: Plot, tell: Callable[[object], None], *, steps: bool = False) -> None:
    """Do a shift under a plot; report what is begun and done, and every step of the disk if asked to."""
    logging.disable(logging.ERROR)
    refs.MAX_KEYS = SPLIT_AT
    armed = not shift.armed_at

    def begins(message: object) -> None:
        nonlocal armed
        armed = armed or (isinstance(message, Job) and message.number >= shift.armed_at)
        tell(message)

    told = tell if steps else lambda _step: None
    with Watch(shift.top, lambda step: plot(step) if armed else PASS, told, real_fsync=False):
        asyncio.run(_work(shift, begins))


async def _work(shift: Shift, tell: Callable[[object], None]) -> None:
    store = await Originals.open(shift.root)
    await asyncio.gather(*(_lane(store, shift, lane, tell) for lane in range(shift.lanes)))
    await store.close()


async def _lane(store: Originals, shift: Shift, lane: int, tell: Callable[[object], None]) -> None:
    for job in _jobs(shift, lane):
        tell(job)
        try:
            await OPERATIONS[job.name].do(store, job)
        except NotKept as error:
            tell((job.number, type(error).__name__))
        except CacheError as error:
            tell((job.number, f"failed: {error!r}"))
        else:
            tell((job.number, ""))


def _jobs(shift: Shift, lane: int) -> Iterator[Job]:
    urls = _urls(shift, lane)
    if shift.plan:
        for number, (name, source, body) in enumerate(shift.plan, start=shift.first):
            yield Job(number, name, urls[source], body, 1e9 + number)
        return
    rng = random.Random(f"{shift.seed} {lane}")  # noqa: S311 - the same jobs each time
    weights = [operation.weight for operation in OPERATIONS.values()]
    for number in range(shift.first + lane * shift.jobs, shift.first + (lane + 1) * shift.jobs):
        name = rng.choices(list(OPERATIONS), weights)[0]
        yield Job(number, name, rng.choice(urls), rng.randrange(BODIES), 1e9 + number)


def pass_all(_step: Step) -> Any:
    """The plot in which nothing fails."""
    return PASS


def run_in_child(target: Callable[[Callable[[object], None]], object]) -> tuple[list[Any], int]:
    """Run `target` in a forked process; return its reports up to its end, and how the process ended.

    It forks, because a new interpreter would take longer than the whole round.
    """
    return gather([begin_in_child(target)])[0]


@dataclass(slots=True)
class Child:
    """A forked process and the pipe through which it reports."""

    pid: int
    pipe: Connection


def begin_in_child(target: Callable[[Callable[[object], None]], object]) -> Child:
    """Start `target` in a forked process."""
    ours, theirs = Pipe(duplex=False)
    pid = os.fork()
    if pid:
        theirs.close()
        return Child(pid, ours)
    code = 1
    try:
        ours.close()
        target(_in_turns(theirs.send))
        code = 0
    except BaseException as error:  # noqa: BLE001 - the parent is to hear of it, whatever it is
        theirs.send(("died", repr(error)))
    finally:
        os._exit(code)


def _in_turns(send: Callable[[object], None]) -> Callable[[object], None]:
    turn = threading.Lock()

    def tell(message: object) -> None:
        with turn:
            send(message)

    return tell


def gather(children: list[Child]) -> list[tuple[list[Any], int]]:
    """Read the reports of children until each has ended."""
    heard: dict[int, list[Any]] = {child.pid: [] for child in children}
    talking = {child.pipe: child.pid for child in children}
    while talking:
        for pipe in [pipe for pipe in talking if pipe in wait(list(talking))]:
            try:
                heard[talking[pipe]].append(pipe.recv())
            except (EOFError, OSError):
                talking.pop(pipe)
                pipe.close()
    return [(heard[child.pid], os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])) for child in children]
