"""`make bench-images`: cold thumbnails of large photos, ourselves beside every peer that is on this machine.

The workload is the one of imgproxy's public benchmark: photos of 2040 px, fit into 512x512, JPEG q80, PNG, WebP q75,
AVIF q65, two clients, origin on loopback. Nothing is ever cached: each request is a source never seen before.
Peers take turns within one run, because only ratios say something on a shared machine.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from peers import ROOT, Ask, Missing, Peer, Running, report, running, servers
from peers.asking import Answers, ask, in_whole_passes, wrong_sizes
from peers.install import install
from peers.process_tree import PeakMemory, cpu_seconds
from peers.quality import Judge, bytes_at
from peers.report import Measured
from peers.sources import make, photos
from service import machine, started

QUALITY: dict[str, int | None] = {"jpeg": 80, "png": None, "webp": 75, "avif": 65}
HERE = Path(__file__).parent
SIDE_PX = 512
CLIENTS = 2
STEPS = (-12, -6, 6, 12)
"""Qualities beside the nominal one, for the comparison at equal looks."""
WIDTHS = (320, 640, 960, 1280)
MODERN = ("avif", "webp", "jpeg")
_tickets = itertools.count(1)


class Bench:
    """One run over one set of sources. Order: warm-up and bytes, turns, curves, widths."""

    def __init__(
        self, args: argparse.Namespace, sources: dict[str, list[Path]], base: str, scratch: Path
    ) -> None:
        self.args = args
        self.sources = sources
        self.base = base
        self.scratch = scratch
        self.judge = Judge(args.peers)
        self.problems: list[str] = []

    def path(self, peer: Peer, name: str, number: int, *, quality: int | None, size: int = SIDE_PX) -> str:
        """Return the address at which `peer` makes a thumbnail of a source never asked for before."""
        file = self.sources[name][number % len(self.sources[name])].name
        source = f"{self.base}/{name}/{file}?{next(_tickets)}"
        return peer.address(Ask(source, name, quality, size, size))

    def one_pass(self, at: Running, name: str, *, quality: int | None) -> dict[int, bytes]:
        """Return the answer for each photo once."""
        photos_ = len(self.sources[name])

        def question(number: int) -> str | None:
            return self.path(at.peer, name, number, quality=quality) if number < photos_ else None

        answers = ask(at, clients=CLIENTS, questions=question, keep=True)
        self.note(at, name, answers)
        return answers.bodies

    def note(self, at: Running, name: str, answers: Answers) -> None:
        """Keep the first of some failures for the end of the run."""
        if answers.failures:
            count = len(answers.failures)
            self.problems.append(f"{at.peer.name}, {name}: {count} not answered, first {answers.failures[0]}")

    def turn(self, at: Running, name: str, measured: Measured) -> None:
        """Let one peer work through the photos for a while."""

        def path(number: int) -> str:
            return self.path(at.peer, name, number, quality=QUALITY[name])

        questions = in_whole_passes(path, pictures=len(self.sources[name]), seconds=self.args.seconds)
        before = cpu_seconds(at.pid)
        with PeakMemory(at.pid) as memory:
            answers = ask(at, clients=CLIENTS, questions=questions)
        self.note(at, name, answers)
        measured.answered += len(answers.latencies)
        measured.asked += answers.asked
        measured.cpu_seconds += cpu_seconds(at.pid) - before
        measured.peak_bytes = max(measured.peak_bytes, memory.peak_bytes)
        measured.rates.append(len(answers.latencies) / answers.seconds)
        measured.latencies += answers.latencies

    def format(self, name: str, everybody: list[Running]) -> list[Measured]:
        """Return what was measured of each peer that knows the format."""
        able = [at for at in everybody if name in at.peer.formats]
        rows = []
        for at in able:
            bodies = self.one_pass(at, name, quality=QUALITY[name])
            for fault in wrong_sizes(list(bodies.values()), output_format=name, side=SIDE_PX):
                self.problems.append(f"{at.peer.name}, {name}: {fault}")
            rows.append(Measured(at.peer.name, mean_bytes=_mean(bodies)))
            self.keep(name, at, QUALITY[name], bodies)
        for round_ in range(self.args.rounds):
            pairs = list(zip(able, rows, strict=True))
            # Nobody always follows the same neighbour.
            for at, row in pairs[round_ % len(pairs) :] + pairs[: round_ % len(pairs)]:
                self.turn(at, name, row)
        nominal = QUALITY[name]
        if nominal and not self.args.no_curves:
            for at, step in itertools.product(able, STEPS):
                self.keep(name, at, nominal + step, self.one_pass(at, name, quality=nominal + step))
        self.score(name, able, rows)
        return rows

    def keep(self, name: str, at: Running, quality: int | None, bodies: dict[int, bytes]) -> None:
        """Write answers out for the judge."""
        folder = self.scratch / "results" / name / at.peer.name / str(quality)
        folder.mkdir(parents=True)
        for number, body in bodies.items():
            (folder / f"{number}").write_bytes(body)

    def score(self, name: str, able: list[Running], rows: list[Measured]) -> None:
        """Fill in scores, and our bytes at each peer's score."""
        for at, row in zip(able, rows, strict=True):
            for folder in sorted((self.scratch / "results" / name / at.peer.name).iterdir()):
                results = sorted(folder.iterdir())
                if not results:
                    continue
                scores = self.judge.scores([(self.sources[name][int(one.name)], one) for one in results])
                point = (statistics.mean(scores), statistics.mean(one.stat().st_size for one in results))
                row.curve.append(point)
                if folder.name == str(QUALITY[name]):
                    row.score = point[0]
        for row in rows:
            ours = bytes_at(row.score, rows[0].curve) if QUALITY[name] else None
            row.ours_at_equal_score = ours / row.mean_bytes if ours and row.mean_bytes else None

    def together(self, everybody: list[Running]) -> list[tuple[str, list[float]]]:
        """Return variants per second when four widths in three formats of one picture are asked for together."""
        able = [at for at in everybody if at.peer.converts and set(MODERN) <= at.peer.formats]
        rates: dict[str, list[float]] = {at.peer.name: [] for at in able}
        for number, file in enumerate(self.sources["jpeg"][: self.args.together]):
            for at in able[number % len(able) :] + able[: number % len(able)]:
                source = f"{self.base}/jpeg/{file.name}?{next(_tickets)}"
                paths = [
                    at.peer.address(Ask(source, name, QUALITY[name], width, width))
                    for width, name in itertools.product(reversed(WIDTHS), MODERN)
                ]
                answers = ask(
                    at, clients=len(paths), questions=lambda n, p=paths: p[n] if n < len(p) else None
                )
                self.note(at, "together", answers)
                rates[at.peer.name].append(len(answers.latencies) / answers.seconds)
        return list(rates.items())


def _mean(bodies: dict[int, bytes]) -> float:
    return statistics.mean(map(len, bodies.values())) if bodies else 0.0


def found_peers(args: argparse.Namespace) -> Iterator[Peer | str]:
    """Yield ourselves and every peer on this machine, or why one is left out."""
    yield servers.ourselves()
    known = {
        "thumbor": lambda: servers.thumbor(args.peers),
        "ipx": lambda: servers.ipx(args.peers),
        "nginx": lambda: servers.nginx(args.peers),
        "imgproxy": lambda: servers.imgproxy(_named(args.imgproxy, "--imgproxy")),
        "imagor": lambda: servers.imagor(_named(args.imagor, "--imagor")),
    }
    for name, find in known.items():
        if name not in args.only:
            continue
        try:
            yield find()
        except Missing as reason:
            yield f"{name}: left out, {reason}"


def _named(path: Path | None, option: str) -> Path:
    if path is None:
        raise Missing(f"no executable named ({option})")
    return path


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    bodies, origin_of_photos = photos(args.photos, at_most=args.pictures)
    title = f"imgmirror, pictures, {datetime.now(UTC):%Y-%m-%d}"
    print(f"{title}, {machine()}")
    print(f"photos: {origin_of_photos}, {len(bodies)} pictures, longest side at most 2040 px")
    with tempfile.TemporaryDirectory(prefix="bench-images-") as folder, contextlib.ExitStack() as stack:
        scratch = Path(folder)
        (scratch / "sources").mkdir()
        wanted = list(dict.fromkeys([*args.formats, "jpeg"] if args.together else args.formats))
        sources = make(bodies, wanted, scratch / "sources")
        origin = [sys.executable, str(HERE / "peers" / "origin.py"), str(scratch / "sources")]
        port = stack.enter_context(started(origin, {"PYTHONPATH": str(HERE)}))
        bench = Bench(args, sources, f"http://127.0.0.1:{port}", scratch)
        everybody: list[Running] = []
        for found in found_peers(args):
            if isinstance(found, str):
                print(found)
                continue
            try:
                everybody.append(
                    stack.enter_context(running(found, origin_port=port, cpus=os.cpu_count() or 1))
                )
                print(f"{found.name}: {found.version}")
            except Missing as reason:
                print(f"{found.name}: left out, {reason}")
        if not everybody or everybody[0].peer.name != "imgmirror":
            raise SystemExit("imgmirror itself does not start")
        tables = {}
        for name in args.formats:
            tables[name] = bench.format(name, everybody)
            print(report.table(name, QUALITY[name], tables[name], metric=bench.judge.name), flush=True)
        if args.together:
            print(report.together(bench.together(everybody), widths=WIDTHS, formats=MODERN))
        for problem in bench.problems:
            print(f"problem: {problem}")
    results = report.as_json(tables, title=title, machine=machine(), metric=bench.judge.name)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "bench-images.json").write_text(results, encoding="utf-8")
    print(_plotted(args, results))


def _plotted(args: argparse.Namespace, results: str) -> str:
    python, picture = args.peers / "measure" / "bin" / "python", args.out / "bench-images.png"
    if not python.exists():
        return "no plot: matplotlib is not installed in the peers' folder (try --install)"
    command = [str(python), str(HERE / "peers" / "plot.py"), str(picture)]
    done = subprocess.run(command, input=results, capture_output=True, text=True, check=False)
    return f"no plot: {done.stderr.strip()[-300:]}" if done.returncode else f"plot: {picture}"


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = ["thumbor", "ipx", "nginx", "imgproxy", "imagor"]
    parser.add_argument("--install", action="store_true", help="set the peers up first")
    parser.add_argument("--peers", type=Path, default=ROOT / "build" / "peers", help="folder of the peers")
    parser.add_argument("--only", nargs="*", choices=names, default=names, help="peers to look for")
    parser.add_argument("--imgproxy", type=Path, help="executable of imgproxy")
    parser.add_argument("--imagor", type=Path, help="executable of imagor")
    parser.add_argument("--photos", type=Path, help="folder of JPEGs (default: a package's, or generated)")
    parser.add_argument("--pictures", type=int, help="at most so many photos")
    parser.add_argument("--formats", nargs="+", choices=list(QUALITY), default=list(QUALITY))
    parser.add_argument("--rounds", type=int, default=5, help="turns of each peer in each format")
    parser.add_argument("--seconds", type=float, default=2.0, help="shortest time of a turn")
    parser.add_argument("--together", type=int, default=8, help="pictures asked for in 12 variants at once")
    parser.add_argument("--no-curves", action="store_true", help="leave out the comparison at equal quality")
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="folder of the plot and the figures")
    args = parser.parse_args()
    args.peers = args.peers.absolute()
    if args.install:
        for line in install(args.peers, with_photos=args.photos is None):
            print(line, flush=True)
    run(args)


if __name__ == "__main__":
    main()
