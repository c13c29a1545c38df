"""kill -9 at any call that changes the store: announced changes hold, others hold or do not, and none is half done."""

from __future__ import annotations

import functools
import os
import random
from pathlib import Path

import pytest
from crash_files import Fate, Plot, at_step
from crash_promises import Found, Promises, broken_promises, inspect
from crash_work import Shift, begin_in_child, gather, pass_all, run_in_child, source_urls, work

ROUNDS = int(os.environ.get("CRASHES", "200"))
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(2**32)
STEPS = 150
"""A process is killed at one of this many first changes of the disk, or survives."""

LIVES = 6
"""The number of rounds in one folder, before a new one is used."""


class History:
    """A store through its lives: processes that work on it, are killed, and are followed by others."""

    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir()
        self.root = folder / "store"
        self.promises = Promises()
        self.killed = 0
        self._rng = random.Random(seed)  # noqa: S311 - the same crashes each time
        self._first = 0
        self._urls: set[str] = set()

    def live(self, *, processes: int) -> list[str]:
        """Let processes work until they are killed or done; return what is broken then."""
        shifts = [self._shift(number) for number in range(processes)]
        plots = [self._plot() for _ in shifts]
        children = [
            begin_in_child(functools.partial(work, shift, plot))
            for shift, plot in zip(shifts, plots, strict=True)
        ]
        for heard, code in gather(children):
            self.promises.hear(heard)
            self.killed += code == -9
        self.promises.after_crash()
        return self.broken()

    def broken(self) -> list[str]:
        """Return the faults that a fresh process finds."""
        (found, *died), code = run_in_child(lambda tell: tell(inspect(self.root, sorted(self._urls))))
        if not isinstance(found, Found) or code:
            return [f"the store cannot be opened: {found} {died}"]
        wrong = broken_promises(self.promises, found)
        self.promises.resolve(found)
        return wrong

    def _shift(self, number: int) -> Shift:
        shift = Shift(
            self.root,
            self.root.parent,
            self._rng.randrange(2**32),
            self._first,
            sources=f"process{number}",
            lanes=self._rng.choice((1, 1, 3)),
            jobs=8,
        )
        self._first += 100
        self._urls.update(source_urls(shift))
        return shift

    def _plot(self) -> Plot:
        if self._rng.random() < 0.1:
            return pass_all
        death = self._rng.choice(("before", "after"))
        takes = self._rng.choice((None, 0, 1, 100))
        return at_step(self._rng.randrange(STEPS), Fate(takes=takes, death=death))


@pytest.mark.kill
@pytest.mark.timeout(3600)
def test_store_killed_at_any_change_of_the_disk_breaks_no_promise(tmp_path: Path) -> None:
    """Rounds of one to three processes, each killed at a call of its own. The next ones continue in the same folder."""
    rng = random.Random(SEED)  # noqa: S311 - the same rounds each time
    killed = jobs = 0
    for number in range(ROUNDS):
        if number % LIVES == 0:
            history = History(tmp_path / str(number), SEED + number)
        before = history.killed
        broken = history.live(processes=rng.choice((1, 1, 2, 3)))
        if broken:
            pytest.fail("\n".join([f"round {number}, SEED={SEED}", *broken]), pytrace=False)
        killed += history.killed - before
        jobs += history.promises.jobs_done
        history.promises.jobs_done = 0
    assert killed >= ROUNDS // 3, "the kills came too late to prove anything"
    print(
        f"{ROUNDS} rounds, seed {SEED}: {killed} processes killed, {jobs} operations done, nothing lost or wrong"
    )
