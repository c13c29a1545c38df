"""`make bench-articles`: how fast a hundred thousand posts are rewritten, beside programs that only read them.

It makes two trees of real posts: one whose posts have wrappers, one whose posts have none. One run measures on both:

cat            reads all bytes (coreutils)
regexp         finds every address in a pass of Python's `re` over each file
ripgrep        does the same, where `rg` is installed
markdown-it    renders each post with the parser that the rewriter uses for blocks (a sample)
imgmirror      `rewrite` and `rewrite --all-images`, which change nothing
before         the same with another checkout, `--before FOLDER` (a sample)

It prints MB/s of text, the ratio to `regexp`, MB for each second of processor time, busy processors, and the peak
memory of the process and its children. Machines differ and are shared, so only ratios within one run are meaningful.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from peers.process_tree import PeakMemory
from service import machine

from proxy.config import RewriteConfig
from proxy.rewrite.quicklook import QuickLook

ROOT = Path(__file__).parents[1]
CORPUS = ROOT.parent / "shared" / "corpus" / "articles" / "posts"
SEEDS = ROOT / "tests" / "golden" / "articles"
BASE = "https://img.example.org"
PER_FOLDER = 500
SAMPLE = 1_000
_WRAPPERS = ("https://cors.zfour.workers.dev/?", "https://wsrv.nl/?url=", "https://i0.wp.com/")
_REGEXP = """
import os, re, sys
address, found = re.compile(rb"https?://[^\\\\s\\"'<>()]+"), 0
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            found += len(address.findall(file.read()))
print(found)
"""
_RENDER = """
import os, sys
from markdown_it import MarkdownIt
parser = MarkdownIt("commonmark").enable("table")
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
            parser.render(file.read())
"""


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder of posts, a smaller one with a sample of them for slow programs, and their bytes."""

    name: str
    folder: Path
    sample: Path
    size: int
    sample_size: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One command on one tree: MB/s, MB per second of processor time, busy processors, and MiB at most (PSS)."""

    rate: float
    rate_of_processor: float
    busy: float
    peak_mib: float


def main() -> None:
    """Make the trees, run everything on them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--posts", type=int, default=100_000, help="in both trees together")
    parser.add_argument("--folder", type=Path, help="where the trees are made (default: a temporary folder)")
    parser.add_argument("--before", type=Path, help="another checkout, to be measured on a sample")
    args = parser.parse_args()
    print(f"{machine()}, {len(os.sched_getaffinity(0))} usable, {args.posts:,} posts")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for tree in _trees(Path(folder), args.posts // 2):
            _table(tree, args.before)
            shutil.rmtree(tree.folder)


def _table(tree: Tree, before: Path | None) -> None:
    print(f"\n{tree.name}: {tree.size / 1e6:,.0f} MB\n")
    print("| | MB/s | to regexp | MB per CPU s | busy processors | peak PSS MiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    base = 0.0
    for name, command, environment, sampled in _commands(tree, before):
        measured = _measured(command, environment, tree.sample_size if sampled else tree.size)
        base = measured.rate if name == "regexp" else base
        ratio = f"{measured.rate / base:.2f}" if base else ""
        label = f"{name} (sample)" if sampled else name
        speeds = f"{measured.rate:,.2f} | {ratio} | {measured.rate_of_processor:,.2f}"
        print(f"| {label} | {speeds} | {measured.busy:.2f} | {measured.peak_mib:,.0f} |", flush=True)


def _commands(tree: Tree, before: Path | None) -> Iterator[tuple[str, list[str], dict[str, str], bool]]:
    """Yield names, commands, additions to their environment, and whether they get the sample."""
    folder, sample = str(tree.folder), str(tree.sample)
    python = [sys.executable, "-P"]
    yield "regexp", [*python, "-c", _REGEXP, folder], {}, False
    yield "cat", ["find", folder, "-type", "f", "-exec", "cat", "{}", "+"], {}, False
    if shutil.which("rg"):
        yield "ripgrep", ["rg", "-c", "https?://", folder], {}, False
    yield "markdown-it", [*python, "-c", _RENDER, sample], {}, True
    ours = [*python, "-m", "proxy", "rewrite", "--base-url", BASE]
    for name, words in (("rewrite", []), ("rewrite --all-images", ["--all-images"])):
        yield f"imgmirror {name}", [*ours, *words, folder], {"PYTHONPATH": str(ROOT)}, False
        if before:
            yield f"before: {name}", [*ours, *words, sample], {"PYTHONPATH": str(before.absolute())}, True
            yield f"imgmirror {name}", [*ours, *words, sample], {"PYTHONPATH": str(ROOT)}, True


def _measured(command: list[str], environment: dict[str, str], size: int) -> Measured:
    begun, used = time.monotonic(), sum(os.times()[2:4])
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **environment}, cwd="/")
    with PeakMemory(process.pid) as memory:
        if process.wait() > 1:
            raise SystemExit(f"{command[:4]} failed")
    seconds = time.monotonic() - begun
    used = sum(os.times()[2:4]) - used
    return Measured(
        size / 1e6 / seconds, size / 1e6 / max(used, 0.01), used / seconds, memory.peak_bytes / 2**20
    )


def _trees(folder: Path, posts: int) -> Iterator[Tree]:
    look = QuickLook(RewriteConfig(), base_url=BASE)
    real = [path.read_bytes() for path in sorted(CORPUS.glob("*.md") if CORPUS.is_dir() else SEEDS.iterdir())]
    plain = [post for post in real if not look.sees(post)] or [_without_wrappers(post) for post in real]
    wrapped = [post for post in real if look.sees(post)]
    for name, known in (("with wrappers", wrapped), ("without wrappers", plain)):
        place = folder / name.partition(" ")[0]
        size = _write(place, known, posts)
        sample = folder / f"{place.name}-sample"
        yield Tree(name, place, sample, size, _write(sample, known, min(posts, SAMPLE)))


def _without_wrappers(post: bytes) -> bytes:
    for wrapper in _WRAPPERS:
        post = post.replace(wrapper.encode(), b"")
    return post


def _write(place: Path, known: list[bytes], posts: int) -> int:
    """Write posts, each slightly different from all others; return their total bytes."""
    size = 0
    for number, post in zip(range(posts), itertools.cycle(known), strict=False):
        folder = place / f"{number // PER_FOLDER:04}"
        if number % PER_FOLDER == 0:
            folder.mkdir(parents=True)
        data = post + f"\nThis is post number {number}.\n".encode()
        (folder / f"post-{number:06}.md").write_bytes(data)
        size += len(data)
    return size


if __name__ == "__main__":
    main()
