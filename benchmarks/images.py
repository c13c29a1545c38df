"""`make bench-images`: cold thumbnails by imgmirror and by every peer that is on this machine.

The first jobs are those of imgproxy's public benchmark: photos of 2040 px, fit into 512x512, JPEG q80, PNG, WebP q75,
AVIF q65, two clients, origin on loopback. The others are common on pages: JPEG to WebP and AVIF, photos of 4 to 16
million pixels, charts of 700x400 as PNG, twelve variants of one picture together. Nothing is ever cached, because each
request has a new source. Peers take turns within one run, because only ratios are meaningful on a shared machine. The
last row of each table is the floor: the same codecs in a loop, without any service (`peers/codec_loop.py`).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from peers import ROOT, Missing, Peer, Running, report, running, servers
from peers.bench import MODERN, WIDTHS, Bench
from peers.install import install
from peers.jobs import JOBS
from peers.sources import make_sources, photos
from service import machine, started

HERE = Path(__file__).parent
PEERS = ("thumbor", "ipx", "nginx", "imgproxy", "imagor", "oximg")
ONE_SESSION = (str(HERE / "peers" / "one_session.py"),)


def found_peers(args: argparse.Namespace) -> Iterator[Peer | str]:
    """Yield imgmirror and every peer on this machine, or the reason why a peer is left out."""
    yield servers.ourselves(program=ONE_SESSION)
    known = {
        "thumbor": lambda: servers.thumbor(args.peers),
        "ipx": lambda: servers.ipx(args.peers),
        "nginx": lambda: servers.nginx(args.peers),
        "imgproxy": lambda: servers.imgproxy(_named(args.imgproxy, "--imgproxy")),
        "imagor": lambda: servers.imagor(_named(args.imagor, "--imagor")),
        "oximg": lambda: servers.oximg(_named(args.oximg, "--oximg")),
    }
    for name in args.only:
        try:
            yield known[name]()
        except Missing as reason:
            yield f"{name}: left out, {reason}"


def _named(path: Path | None, option: str) -> Path:
    if path is None:
        raise Missing(f"no executable named ({option})")
    return path.absolute()


def _started(args: argparse.Namespace, stack: contextlib.ExitStack, *, origin_port: int) -> list[Running]:
    """Start every peer; print which have started, and why others have not.

    Raises:
        SystemExit: imgmirror itself does not start.
    """
    everybody: list[Running] = []
    for found in found_peers(args):
        if isinstance(found, str):
            print(found)
            continue
        try:
            everybody.append(stack.enter_context(running(found, origin_port=origin_port, cpus=args.cpus)))
            print(f"{found.name}: {found.version}")
        except Missing as reason:
            print(f"{found.name}: left out, {reason}")
    if not everybody or everybody[0].peer.name != "imgmirror":
        raise SystemExit("imgmirror itself does not start")
    return everybody


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    bodies, origin_of_photos = photos(args.photos, at_most=args.pictures)
    title = f"imgmirror, pictures, {datetime.now(UTC):%Y-%m-%d}"
    print(f"{title}, {machine()}")
    print(f"photos: {origin_of_photos}, {len(bodies)} pictures; {args.rounds} rounds, ratios: median (range)")
    with tempfile.TemporaryDirectory(prefix="bench-images-") as folder, contextlib.ExitStack() as stack:
        scratch = Path(folder)
        (scratch / "sources").mkdir()
        wanted = [*args.formats, "jpeg"] if args.together else args.formats
        sources = make_sources(bodies, wanted, scratch / "sources")
        origin = [sys.executable, str(HERE / "peers" / "origin.py"), str(scratch / "sources")]
        port = stack.enter_context(started(origin, {"PYTHONPATH": str(HERE)}))
        bench = Bench(args, sources, f"http://127.0.0.1:{port}", scratch)
        everybody = _started(args, stack, origin_port=port)
        tables = {}
        for name in args.formats:
            tables[name] = bench.measure(JOBS[name], everybody)
            print(report.table(JOBS[name], tables[name], metrics=bench.judge.names), flush=True)
        if args.together:
            print(report.together(bench.together(everybody), widths=WIDTHS, formats=MODERN))
        for problem in bench.problems:
            print(f"problem: {problem}")
    about = {"title": title, "machine": machine(), "metric": bench.judge.names[0]}
    results = report.as_json(tables, **about)
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--install", action="store_true", help="set the peers up first")
    parser.add_argument("--peers", type=Path, default=ROOT / "build" / "peers", help="folder of the peers")
    parser.add_argument("--only", nargs="*", choices=PEERS, default=PEERS, help="peers to look for")
    for name in ("imgproxy", "imagor", "oximg"):
        parser.add_argument(f"--{name}", type=Path, help=f"executable of {name}")
    parser.add_argument("--photos", type=Path, help="folder of JPEGs (default: a package's, or generated)")
    parser.add_argument("--pictures", type=int, help="at most so many photos")
    parser.add_argument(
        "--jobs",
        "--formats",
        dest="formats",
        nargs="+",
        choices=list(JOBS),
        default=list(JOBS),
        help="tables",
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each peer in each job")
    parser.add_argument("--seconds", type=float, default=2.0, help="shortest time of a turn")
    parser.add_argument("--together", type=int, default=8, help="pictures asked for in 12 variants at once")
    parser.add_argument("--no-curves", action="store_true", help="leave out the comparison at equal quality")
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="folder of the plot and the figures")
    args = parser.parse_args()
    args.peers, args.cpus = args.peers.absolute(), os.cpu_count() or 1
    if args.install:
        for line in install(args.peers, with_photos=args.photos is None):
            print(line, flush=True)
    run(args)


if __name__ == "__main__":
    main()
