"""The cost of one cold picture beside its codecs: `python benchmarks/cold.py [CHECKOUT ...]`.

Each CHECKOUT is a work tree of this project with its own `.venv`; without one, this tree is measured. Each tree starts
its own service. All services use one scripted origin on loopback and take turns within every round, so two states can
be compared in one run on a shared machine. Every picture is a new source with a new body.

    python benchmarks/cold.py . ../before --rounds 5 --jobs jpeg-webp chart-webp
    python benchmarks/cold.py . --photos FOLDER          # JPEGs of yours instead of generated ones
    python benchmarks/cold.py . --only-time              # without the rounds that count calls and system calls

It prints for each picture: milliseconds of processor time of the event loop, of the web process's other threads and of
the render processes; the same work by the bare codecs (`peers/codec_loop.py`, a loop in one process), and the
difference; waits and preemptions; pictures per second. The floors (`coldway/floor.py`) run no codecs. They fetch the
body, or also keep it, without and with fsync. Two more rounds count system calls of the web process (strace) and calls
of Python functions (`coldway/probe.py`). Figures are medians of the rounds, with minimum and maximum. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from coldway import counting
from coldway.usage import Usage, usage
from peers import Ask, Launch, Peer, Running, running, servers
from peers.asking import ask
from peers.bare_codecs import NAME, bare_codecs
from peers.jobs import JOBS, Job
from peers.sources import make_sources, photos
from service import machine, started

HERE = Path(__file__).parent
CLIENTS = 2
WARM_UP = 6
SETTLE_SECONDS = 0.4
"""The wait after a turn, so that work after the answer (the commit) counts too."""
SELDOM = 0.5
"""Events that are rarer than this for each picture are not printed."""
STEPS = ("decode", "resize", "encode")
FLOORS = ("fetch", "thread", "sync")


@dataclass(frozen=True, slots=True)
class Turn:
    """The cost of one picture in one turn."""

    used: Usage
    seconds: float
    bare_seconds: float = 0.0
    """The cost of the bare codecs in the same turn, because a busy machine slows them down as well."""

    @property
    def beyond_seconds(self) -> float:
        """Processor time of the render processes beyond that of the bare codecs."""
        return self.used.render_seconds - self.bare_seconds


class Cold:
    """One run: services, floors and bare codecs that take turns."""

    def __init__(self, args: argparse.Namespace, scratch: Path, base: str) -> None:
        self.args = args
        self.sources = scratch / "sources"
        self.base = base
        self._tickets = itertools.count(1)

    def ask(self, at: Running, job: Job, *, pictures: int) -> float:
        """Request so many cold pictures; return the elapsed seconds.

        Raises:
            SystemExit: a picture was not answered.
        """
        files = sorted(path.name for path in (self.sources / job.sources).iterdir())

        def question(number: int) -> str | None:
            if number >= pictures:
                return None
            source = f"{self.base}/{job.sources}/{files[number % len(files)]}?{next(self._tickets)}"
            return at.peer.address(Ask(source, job.output, job.quality, *job.box))

        answers = ask(at, clients=CLIENTS, questions=question)
        if answers.failures:
            raise SystemExit(f"{at.peer.name}: {answers.failures[0]}")
        return answers.seconds

    def turn(self, at: Running, job: Job) -> Turn:
        """Return the cost of a picture, including the work after its answer."""
        pictures = self.args.pictures
        before = usage(at.pid)
        seconds = self.ask(at, job, pictures=pictures)
        time.sleep(SETTLE_SECONDS)
        return Turn((usage(at.pid) - before).each(pictures), seconds / pictures)

    def timed(self, name: str, everybody: Sequence[Running]) -> None:
        """Print one job's table of times."""
        job = JOBS[name]
        able = list(everybody)
        turns: dict[str, list[Turn]] = {at.peer.name: [] for at in able}
        alone: list[dict[str, float]] = []
        with bare_codecs(self.sources / job.sources, job) as codecs:
            for at in able:
                self.ask(at, job, pictures=WARM_UP)
            for round_ in range(self.args.rounds):
                turn = round_ % len(able)
                for at in able[turn:] + able[:turn]:
                    turn_of_it = self.turn(at, job)
                    if at.peer.name not in FLOORS:
                        alone.append(codecs.work(max(8, self.args.pictures // 4)))
                        bare = sum(alone[-1][step] for step in STEPS)
                        turn_of_it = dataclasses.replace(turn_of_it, bare_seconds=bare)
                    turns[at.peer.name].append(turn_of_it)
        self._print_times(job, turns, alone)

    def _print_times(self, job: Job, turns: dict[str, list[Turn]], alone: list[dict[str, float]]) -> None:
        rounds, pictures = self.args.rounds, self.args.pictures
        print(
            f"\n{job.title}, {CLIENTS} clients, "
            f"{rounds} rounds of {pictures} pictures; each picture, median (minimum-maximum)"
        )
        steps = {step: statistics.median(one[step] for one in alone) * 1000 for step in STEPS}
        bare = sum(steps.values())
        rows: dict[str, Callable[[Turn], float]] = {
            "event loop, ms": lambda t: t.used.loop_seconds * 1000,
            "other threads, ms": lambda t: t.used.threads_seconds * 1000,
            "web process, ms": lambda t: t.used.web_seconds * 1000,
            "render processes, ms": lambda t: t.used.render_seconds * 1000,
            "  beyond bare codecs": lambda t: t.beyond_seconds * 1000,
            "all beside codecs, ms": lambda t: (t.used.web_seconds + t.beyond_seconds) * 1000,
            "waits of the loop": lambda t: t.used.loop_waits,
            "waits of threads": lambda t: t.used.threads_waits,
            "waits of renders": lambda t: t.used.render_waits,
            "preemptions": lambda t: t.used.preempted,
            "pictures per second": lambda t: 1 / t.seconds,
        }
        print_table(
            list(turns),
            {
                row: [_spread([value(turn) for turn in turns[at]]) for at in turns]
                for row, value in rows.items()
            },
        )
        told = ", ".join(f"{step} {ms:.2f}" for step, ms in steps.items())
        print(f"{NAME}: {bare:.2f} ms ({told})")

    def counted(self, name: str, checkouts: Sequence[Path]) -> None:
        """Print one job's table of calls."""
        job, pictures = JOBS[name], self.args.counted
        columns: list[dict[str, float]] = []
        for peer in _services(checkouts):
            with self.serving(peer) as at:
                self.ask(at, job, pictures=WARM_UP)
                with counting.system_calls(at.pid, at.scratch) as calls:
                    self.ask(at, job, pictures=pictures)
                    time.sleep(SETTLE_SECONDS)
            columns.append({f"system calls: {kind}": count / pictures for kind, count in calls.items()})
        for column, peer in zip(columns, _services(checkouts, program=counting.PROBED), strict=True):
            with counting.orders_folder() as orders, self.serving(peer, {"BENCH_PROBE": str(orders)}) as at:
                self.ask(at, job, pictures=WARM_UP)
                counts = counting.python_calls(
                    orders, functools.partial(self.ask, at, job, pictures=pictures)
                )
            whole = {what: count for what, count in counts.items() if what.startswith("files")}
            column.update(
                {what: count / pictures for what, count in counts.items() if what not in whole} | whole
            )
        kinds = [
            kind
            for kind in dict.fromkeys(itertools.chain(*columns))
            if max(column.get(kind, 0) for column in columns) >= SELDOM
        ]
        print(f"\n{name}: counted over {pictures} pictures, each picture")
        print_table(
            [_label(path) for path in checkouts],
            {kind: [f"{column.get(kind, 0):.1f}" for column in columns] for kind in kinds},
        )

    def serving(
        self, peer: Peer, environment: dict[str, str] | None = None
    ) -> contextlib.AbstractContextManager[Running]:
        """Start a service or a floor."""
        return running(peer, origin_port=0, cpus=self.args.processes, environment=environment)


def _label(path: Path) -> str:
    return path.resolve().name


def _services(checkouts: Sequence[Path], program: tuple[str, ...] = ("-m", "proxy")) -> list[Peer]:
    return [servers.ourselves(path.resolve(), name=_label(path), program=program) for path in checkouts]


def _floor(mode: str) -> Peer:
    def command(launch: Launch) -> list[str]:
        folder = launch.scratch / "kept"
        folder.mkdir()
        return [sys.executable, str(HERE / "coldway" / "floor.py"), mode, str(folder), str(launch.port)]

    return Peer(mode, "", lambda asked: f"/?source={quote(asked.source, safe='')}", command)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def print_table(columns: Sequence[str], rows: dict[str, list[str]]) -> None:
    """Print a table in Markdown, its columns aligned."""
    lines = [["", *columns], ["---", *["---:" for _ in columns]]]
    lines += [[name, *cells] for name, cells in rows.items()]
    widths = [max(len(line[number]) for line in lines) for number in range(len(columns) + 1)]
    for line in lines:
        cells = [
            cell.rjust(width) if n else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    bodies, told = photos(args.photos, at_most=args.photos_used)
    print(f"imgmirror, cold pictures, {machine()}; photos: {told}; {args.processes} render processes")
    with (
        tempfile.TemporaryDirectory(prefix="bench-cold-", dir=args.folder) as folder,
        contextlib.ExitStack() as stack,
    ):
        scratch = Path(folder)
        (scratch / "sources").mkdir()
        make_sources(bodies, args.jobs, scratch / "sources")
        origin = [sys.executable, str(HERE / "peers" / "origin.py"), str(scratch / "sources")]
        port = stack.enter_context(started(origin, {"PYTHONPATH": str(HERE)}))
        cold = Cold(args, scratch, f"http://127.0.0.1:{port}")
        with contextlib.ExitStack() as services:
            floors = [] if args.no_floors else [_floor(mode) for mode in FLOORS]
            everybody = [
                services.enter_context(cold.serving(peer)) for peer in [*_services(args.checkouts), *floors]
            ]
            for name in args.jobs:
                cold.timed(name, everybody)
        for name in [] if args.only_time else args.jobs:
            cold.counted(name, args.checkouts)


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "checkouts", type=Path, nargs="*", default=[HERE.parent], help="work trees with a .venv"
    )
    parser.add_argument("--jobs", nargs="+", choices=list(JOBS), default=["jpeg-webp", "chart-webp"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=40, help="pictures of each turn")
    parser.add_argument("--counted", type=int, default=20, help="pictures of the rounds that count calls")
    parser.add_argument("--processes", type=int, default=2, help="render processes")
    parser.add_argument("--photos", type=Path, help="folder of JPEGs (default: a package's, or generated)")
    parser.add_argument("--photos-used", type=int, default=8, help="at most so many photos")
    parser.add_argument("--folder", type=Path, help="where stores are put (default: the temporary folder)")
    parser.add_argument("--only-time", action="store_true", help="do not count calls")
    parser.add_argument("--no-floors", action="store_true", help="leave the floors out")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
