"""Records what a store promised, and checks a folder against it: with the store's code, and as plain files."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crash_files import Step
from crash_work import NUMBERS, OPERATIONS, Job, State, body_of

from cache.base.keys import source_key
from cache.durable_tier import Originals

NOTES = frozenset({"orphan"})
"""What a crash may leave. It takes space, and `store purge --orphans` deletes it."""


@dataclass(slots=True)
class Promises:
    """The states that each source may be in.

    1. When a job begins, its source may be in its previous state, or in any state that the job goes through.
    2. When the job is done, its source is in the last of these states.
    3. When the job was refused, the states of 1 remain possible, because a disk may fail after the fact.
    `stray`: bodies that failed jobs handled. Only these may exist without a name.
    """

    allowed: dict[str, frozenset[State]] = field(default_factory=dict)
    running: dict[int, tuple[Job, frozenset[State]]] = field(default_factory=dict)
    stray: set[int] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    jobs_done: int = 0

    def hear(self, events: Iterable[Any], *, faults: bool = False) -> None:
        """Take the report of a process. With `faults`, the disk may have refused any job."""
        for event in events:
            match event:
                case Job():
                    self._begun(event)
                case (int(number), str(outcome)):
                    self._done(number, outcome, faults=faults)
                case Step():
                    pass
                case ("died", str(error)):
                    self.problems.append(f"a process died of {error}")

    def after_crash(self) -> None:
        """Note that no job runs any more; jobs that were running may be half done."""
        self.stray |= self.in_hand()
        self.running.clear()

    def resolve(self, found: Found) -> None:
        """Take the states found as those promised from now on."""
        self.allowed = {url: frozenset({state}) for url, state in found.states.items()}
        self.stray &= found.nameless

    def in_hand(self) -> set[int]:
        """Return the bodies that running jobs may have written, or not deleted yet."""
        found = {job.body for job, _ in self.running.values()}
        for job, before in self.running.values():
            found.update(*(state.bodies for state in before | self.states(job.url)))
        return found

    def states(self, url: str) -> frozenset[State]:
        return self.allowed.get(url, frozenset({State()}))

    def _begun(self, job: Job) -> None:
        before = self.states(job.url)
        after = [OPERATIONS[job.name].states(state, job) for state in before]
        self.running[job.number] = job, before
        self.allowed[job.url] = before.union(*map(frozenset, after))

    def _done(self, number: int, outcome: str, *, faults: bool) -> None:
        in_hand = self.in_hand()
        job, before = self.running.pop(number)
        self.jobs_done += 1
        ends = {state: list(OPERATIONS[job.name].states(state, job)) for state in before}
        if outcome and faults:
            self.stray |= in_hand
            return
        if outcome:
            # Without a fault, a job is refused only when the state of its source forbids it.
            ends = {state: steps for state, steps in ends.items() if not steps}
            if not ends:
                self.problems.append(f"{job} was refused without a fault: {outcome}")
        self.allowed[job.url] = frozenset(steps[-1] if steps else state for state, steps in ends.items())


@dataclass(slots=True)
class Found:
    """The contents of a folder, and its faults."""

    states: dict[str, State] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    nameless: set[int] = field(default_factory=set)


def inspect(root: Path, urls: Iterable[str]) -> Found:
    """Open a store as a new process does, read what it keeps of the sources, and check everything else.

    1. `store verify` must find nothing wrong.
    2. Each entry, body and list of users is read once more without the store's code.
    3. The running count must be right after counting.
    """
    logging.disable(logging.ERROR)
    return asyncio.run(_inspect(root, list(urls)))


async def _inspect(root: Path, urls: list[str]) -> Found:
    found = Found()
    store = await Originals.open(root)
    try:
        if store._counting is not None:
            await store._counting
        report = await store.verify()
        found.wrong += [f"verify: {item}" for item in report.wrong]
        found.wrong += [f"note: {item}" for item in report.notes if item.kind not in NOTES]
        for url in urls:
            found.states[url] = await _state(store, url, found)
        found.wrong += _plain_faults(root)
        named = {number for state in found.states.values() for number in state.bodies}
        found.nameless = _bodies(root) - named
        await store.stat()
        counted, there = store.kept(), _counted(root)
        if (counted.bytes, counted.bodies, counted.entries) != there:
            found.wrong.append(f"the count says {counted}, the folder {there}")
    finally:
        await store.close()
    return found


async def _state(store: Originals, url: str, found: Found) -> State:
    blocked, entry = await store.look_up(url)
    article = await store.articles.date_of(url)
    if entry is None:
        return State(blocked=blocked, article=int(article or 0))
    for digest in entry.digests:
        if digest not in NUMBERS or await store.read_body(digest) != body_of(NUMBERS[digest]):
            found.wrong.append(f"{url}: the bytes of {digest} are not those that were kept")
    numbers = [NUMBERS.get(digest, -1) for digest in entry.digests]
    return State(numbers[0], frozenset(numbers[1:]), entry.validated_at, blocked, int(article or 0))


def _plain_faults(root: Path) -> list[str]:
    """Compare entries, bodies and lists of users without the program, as an archivist would."""
    wrong = []
    users: dict[str, set[str]] = {}
    for path in root.glob("entries/??/*.json"):
        known = json.loads(path.read_text())
        if path.stem != source_key(known["source"]):
            wrong.append(f"{path.name} is the entry of {known['source']}")
        for digest in (known["body_sha256"], *(item["body_sha256"] for item in known["history"])):
            users.setdefault(digest, set()).add(path.stem)
    for digest in users:
        body = root / "bodies" / digest[:2] / digest
        if hashlib.sha256(body.read_bytes()).hexdigest() != digest:
            wrong.append(f"the body {digest} has other bytes")
    for digest in {path.name for path in root.glob("refs/??/*") if path.is_file()}:
        listed = _listed(root / "refs" / digest[:2], digest)
        if listed is not None and not users.get(digest, set()) <= listed:
            wrong.append(f"the list of users of {digest} says that it is complete, and is not")
    return wrong


def _listed(folder: Path, digest: str, prefix: str = "") -> set[str] | None:
    """Return the keys that a list of users and its parts name; None when the list does not claim to be complete."""
    path = folder / f"{digest}.users" / prefix if prefix else folder / digest
    try:
        lines = path.read_text("ascii", "replace").split("\n")
    except FileNotFoundError:
        return None
    if len(lines) < 3 or lines[-2] != f"end {len(lines) - 3}" or not lines[0].endswith("complete"):
        return None
    found = set(lines[1:-2])
    if lines[0].startswith("split"):
        for digit in "0123456789abcdef":
            part = _listed(folder, digest, prefix + digit)
            if part is None:
                return None
            found |= part
    return found


def _bodies(root: Path) -> set[int]:
    return {NUMBERS.get(path.name, -1) for path in root.glob("bodies/??/*")}


def _counted(root: Path) -> tuple[int, int, int]:
    bodies = [path.stat().st_size for path in root.glob("bodies/??/*")]
    entries = [path.stat().st_size for path in root.glob("entries/??/*.json")]
    return sum(bodies) + sum(entries), len(bodies), len(entries)


def broken_promises(promises: Promises, found: Found) -> list[str]:
    """Return the states that were found and are not permitted."""
    wrong = [*promises.problems, *found.wrong]
    for url, state in found.states.items():
        if state not in promises.states(url):
            wrong.append(f"{url} is {state}, promised was one of {sorted(map(str, promises.states(url)))}")
    return wrong + [
        f"body {number} lies there without a name, and nobody had it in hand"
        for number in found.nameless - promises.stray - promises.in_hand()
    ]
