"""One run of `make bench-images` over running peers: warm-up, turns, quality curves, twelve variants together."""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from peers import Ask, Peer, Running
from peers.asking import Answers, ask, in_whole_passes, wrong_sizes
from peers.bare_codecs import NAME, BareCodecs, bare_codecs
from peers.jobs import JOBS, Job
from peers.process_tree import PeakMemory, cpu_seconds
from peers.quality import Judge, bytes_at
from peers.report import Measured, Together

CLIENTS = 2
STEPS = (-12, -6, 6, 12)
"""Offsets from the nominal quality, for the comparison at equal looks."""
WIDTHS = (320, 640, 960, 1280)
MODERN = ("avif", "webp", "jpeg")


class Bench:
    """Measures running peers in turns, each request with a new source."""

    def __init__(
        self, args: argparse.Namespace, sources: dict[str, list[Path]], base: str, scratch: Path
    ) -> None:
        self.args = args
        self.sources = sources
        self.base = base
        self.scratch = scratch
        self.judge = Judge(args.peers)
        self.problems: list[str] = []
        self._tickets = itertools.count(1)

    def measure(self, job: Job, everybody: Sequence[Running]) -> list[Measured]:
        """Return the measurements of each peer that can do the job, with the bare codecs last."""
        able, rows = self._warmed_up(job, everybody)
        floor = Measured(NAME)
        folder = self.sources[job.sources][0].parent
        with bare_codecs(folder, job, processes=self.args.cpus) as codecs:
            for round_ in range(self.args.rounds):
                pairs = list(zip(able, rows, strict=True))
                # No peer always follows the same neighbour.
                for at, row in pairs[round_ % len(pairs) :] + pairs[: round_ % len(pairs)]:
                    self._turn(at, job, row)
                _floor_turn(codecs, floor, pictures=len(self.sources[job.sources]))
        if job.quality and not self.args.no_curves:
            for at, step in itertools.product(able, STEPS):
                self._keep(job, at, job.quality + step, self._one_pass(at, job, quality=job.quality + step))
        self._score(job, able, rows)
        return [*rows, floor]

    def _warmed_up(self, job: Job, everybody: Sequence[Running]) -> tuple[list[Running], list[Measured]]:
        able, rows = [], []
        for at in everybody:
            if job.output not in at.peer.formats or (job.converts and not at.peer.converts):
                continue
            bodies = self._one_pass(at, job, quality=job.quality)
            if not bodies:
                continue  # `problems` says why
            for fault in wrong_sizes(list(bodies.values()), output_format=job.output, box=job.box):
                self.problems.append(f"{at.peer.name}, {job.name}: {fault}")
            able.append(at)
            rows.append(Measured(at.peer.name, mean_bytes=statistics.mean(map(len, bodies.values()))))
            self._keep(job, at, job.quality, bodies)
        return able, rows

    def _address(self, peer: Peer, job: Job, number: int, *, quality: int | None) -> str:
        """Return the address at which `peer` makes a thumbnail of a new source."""
        file = self.sources[job.sources][number % len(self.sources[job.sources])].name
        source = f"{self.base}/{job.sources}/{file}?{next(self._tickets)}"
        return peer.address(Ask(source, job.output, quality, *job.box))

    def _one_pass(self, at: Running, job: Job, *, quality: int | None) -> dict[int, bytes]:
        """Return one answer for each picture."""
        count = len(self.sources[job.sources])

        def question(number: int) -> str | None:
            return self._address(at.peer, job, number, quality=quality) if number < count else None

        answers = ask(at, clients=CLIENTS, questions=question, keep=True)
        self._note(at, job.name, answers)
        return answers.bodies

    def _note(self, at: Running, name: str, answers: Answers) -> None:
        """Keep the first failure of several for the end of the run."""
        if answers.failures:
            count = len(answers.failures)
            self.problems.append(f"{at.peer.name}, {name}: {count} not answered, first {answers.failures[0]}")

    def _turn(self, at: Running, job: Job, measured: Measured) -> None:
        """Let one peer work through the pictures for one turn."""

        def path(number: int) -> str:
            return self._address(at.peer, job, number, quality=job.quality)

        count = len(self.sources[job.sources])
        questions = in_whole_passes(path, pictures=count, seconds=self.args.seconds)
        before = cpu_seconds(at.pid)
        with PeakMemory(at.pid) as memory:
            answers = ask(at, clients=CLIENTS, questions=questions)
        self._note(at, job.name, answers)
        measured.answered += len(answers.latencies)
        measured.asked += answers.asked
        used = cpu_seconds(at.pid) - before
        measured.cpu_seconds += used
        measured.cpu_turns.append(used / max(1, len(answers.latencies)))
        measured.peak_bytes = max(measured.peak_bytes, memory.peak_bytes)
        measured.rates.append(len(answers.latencies) / answers.seconds)
        measured.latencies += answers.latencies

    def _keep(self, job: Job, at: Running, quality: int | None, bodies: dict[int, bytes]) -> None:
        """Write answers to files for the judge."""
        folder = self.scratch / "results" / job.name / at.peer.name / str(quality)
        folder.mkdir(parents=True)
        for number, body in bodies.items():
            (folder / f"{number}").write_bytes(body)

    def _score(self, job: Job, able: list[Running], rows: list[Measured]) -> None:
        """Fill in the scores, and our bytes at each peer's score, for every metric."""
        for at, row in zip(able, rows, strict=True):
            for folder in sorted((self.scratch / "results" / job.name / at.peer.name).iterdir()):
                results = sorted(folder.iterdir())
                if not results:
                    continue
                pairs = [(self.sources[job.sources][int(one.name)], one) for one in results]
                size = statistics.mean(one.stat().st_size for one in results)
                for metric, scores in self.judge.scores(pairs).items():
                    point = (statistics.mean(scores), size)
                    row.curves.setdefault(metric, []).append(point)
                    if folder.name == str(job.quality):
                        row.scores[metric] = point[0]
        for row in rows if job.quality else []:
            for metric, score in row.scores.items():
                ours = bytes_at(score, rows[0].curves[metric])
                if ours:
                    row.ours_at_equal_score[metric] = ours / row.mean_bytes

    def together(self, everybody: Sequence[Running]) -> list[Together]:
        """Return variants per second when four widths in three formats of one picture are requested together."""
        able = [at for at in everybody if at.peer.converts and set(MODERN) <= at.peer.formats]
        rows = {at.peer.name: Together(at.peer.name) for at in able}
        for number, file in enumerate(self.sources["jpeg"][: self.args.together]):
            for at in able[number % len(able) :] + able[: number % len(able)]:
                self._twelve(at, file.name, rows[at.peer.name])
        return [row for row in rows.values() if any(row.rates)]

    def _twelve(self, at: Running, file: str, row: Together) -> None:
        source = f"{self.base}/jpeg/{file}?{next(self._tickets)}"
        paths = [
            at.peer.address(Ask(source, name, JOBS[name].quality, width, width))
            for width, name in itertools.product(reversed(WIDTHS), MODERN)
        ]
        before = cpu_seconds(at.pid)
        answers = ask(at, clients=len(paths), questions=_listed(paths))
        self._note(at, "together", answers)
        row.rates.append(len(answers.latencies) / answers.seconds)
        row.cpu_turns.append((cpu_seconds(at.pid) - before) / max(1, len(answers.latencies)))


def _listed(paths: Sequence[str]) -> Callable[[int], str | None]:
    return lambda number: paths[number] if number < len(paths) else None


def _floor_turn(codecs: BareCodecs, floor: Measured, *, pictures: int) -> None:
    steps = codecs.work(pictures)
    passed = steps.pop("passed")
    made = pictures * codecs.processes
    each = sum(steps.values())
    floor.asked += made
    floor.answered += made
    floor.cpu_seconds += each * made
    floor.cpu_turns.append(each)
    floor.rates.append(made / passed)
    for step, seconds in steps.items():
        floor.steps.setdefault(step, []).append(seconds)
