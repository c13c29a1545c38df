"""Run the public HTTP cache test suite (http-cache-tests) against a service of our own, and print its groups.

    make cache-tests                                   the version that package-lock.json pins
    make cache-tests ARGS="--suite FOLDER"             a checkout of the suite, which has newer tests
    make cache-tests ARGS="--only freshness-max-age"   one test, with everything that went over the wire

Exit 1 when fewer tests pass than `--floor REQUIRED,OPTIMAL` says, or when a required one fails that docs/caching.md
does not explain. The suite waits for real seconds: on a machine with no time at all a test may fail by chance, which
`--tries` is for. Needs node 18 or newer and npm.

Counted is as in the figures of other caches: each test for itself. The last line counts only the tests whose
dependencies pass too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from service import Service, write_config
from shim import Shim

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
INSTALLED = ROOT / "var" / "cache-tests"
EXPLANATIONS = "## Required tests that do not pass"
SUITE_SECONDS = 600

CONFIG: dict[str, dict[str, Any]] = {
    "server": {"min_max_age": 0},
    "fetch": {"min_fresh": 0, "types": ["*/*"], "stale_if_error": 0, "per_origin": 64, "timeout": "20s"},
}
"""RFC 9111 to the letter. The suite asks its origin about a hundred things at once: `per_origin` lets it."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite on the disk; its programs moved into a folder of their own in 2024."""

    folder: Path

    def program(self, name: str) -> Path:
        inner = self.folder / "test-engine"
        return (inner if inner.is_dir() else self.folder) / name

    def groups(self) -> list[dict[str, Any]]:
        command = ["node", "--no-warnings", str(HERE / "groups.mjs"), str(self.folder)]
        return list(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


@dataclass(frozen=True, slots=True)
class Score:
    """What the suite found, by test; `True` or the kind and words of a failure."""

    groups: list[dict[str, Any]]
    results: dict[str, Any]

    def passed(self, test: dict[str, Any]) -> bool:
        return self.results.get(test["id"]) is True

    def stands(self, test: dict[str, Any]) -> bool:
        """Whether a test passes, and those that it depends on."""
        by_id = {found["id"]: found for group in self.groups for found in group["tests"]}
        return self.passed(test) and all(
            self.stands(by_id[other]) for other in test["depends_on"] if other in by_id
        )

    def of(
        self, kind: str, groups: list[dict[str, Any]] | None = None, *, standing: bool = False
    ) -> tuple[int, int]:
        """Return how many tests of a kind pass, and how many there are; those for browsers do not run."""
        tests = [test for group in groups or self.groups for test in group["tests"] if test["kind"] == kind]
        return sum(map(self.stands if standing else self.passed, tests)), len(tests)

    def lines(self) -> Iterator[str]:
        yield f"{'group':40} required  optimal"
        for group in self.groups:
            required, optimal = self.of("required", [group]), self.of("optimal", [group])
            yield f"{group['name'][:39]:40} {_of(required):>8} {_of(optimal):>8}"
        yield f"{'all':40} {_of(self.of('required')):>8} {_of(self.of('optimal')):>8}"
        standing = [_of(self.of(kind, standing=True)) for kind in ("required", "optimal")]
        yield f"{'with what they depend on':40} {standing[0]:>8} {standing[1]:>8}"
        for kind in ("required", "optimal"):
            yield f"\n{kind} tests that do not pass:"
            yield from (f"  {test:48} {_why(self.results.get(test))}" for test in self.failed(kind))

    def failed(self, kind: str) -> Iterator[str]:
        """Yield the ids of the tests that do not pass; those for browsers do not run."""
        for group in self.groups:
            for test in group["tests"]:
                if test["kind"] == kind and not test["browser_only"] and not self.passed(test):
                    yield test["id"]

    def problems(self, floor: tuple[int, int]) -> list[str]:
        """Return what is wrong: fewer tests pass than before, or one fails that docs/caching.md does not explain."""
        required, optimal = self.of("required")[0], self.of("optimal")[0]
        found = [
            f"{test} is required and does not pass, and docs/caching.md does not say why"
            for test in self.failed("required")
            if not any(fnmatch(test, pattern) for pattern in explained())
        ]
        if required < floor[0] or optimal < floor[1]:
            found.append(
                f"{required} required and {optimal} optimal pass; before it were {floor[0]} and {floor[1]}"
            )
        return found


def explained() -> list[str]:
    """Return the patterns of the tests whose failure docs/caching.md explains."""
    text = (ROOT / "docs" / "caching.md").read_text(encoding="utf-8").partition(EXPLANATIONS)[2]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    return [pattern for row in rows for pattern in re.findall(r"`([^`]+)`", row.split("|")[1])]


def main() -> int:
    """Install, run, print; return the exit code."""
    options = _options()
    suite = Suite((options.suite or _installed()).resolve())
    if options.only:
        print(_results(suite, only=options.only))
        return 0
    for _ in range(options.tries):
        score = Score(suite.groups(), json.loads(_results(suite)))
        problems = score.problems(options.floor)
        if not problems:
            break
    print("\n".join([*score.lines(), "", *problems]))
    if options.json:
        options.json.write_text(json.dumps(score.results, indent=2), encoding="utf-8")
    return 1 if problems else 0


def _results(suite: Suite, *, only: str = "") -> str:
    with tempfile.TemporaryDirectory(prefix="cache-tests-") as folder:
        return asyncio.run(_run(suite, Path(folder), only=only))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--suite", type=Path, help="folder of a checkout instead of the pinned package")
    parser.add_argument("--only", default="", help="one test, by its id")
    parser.add_argument("--json", type=Path, help="write the results of the suite to this file")
    parser.add_argument("--floor", type=_floor, default=(0, 0), metavar="REQUIRED,OPTIMAL")
    parser.add_argument("--tries", type=int, default=1, help="how often to run before a problem counts")
    return parser.parse_args()


def _floor(text: str) -> tuple[int, int]:
    required, _, optimal = text.partition(",")
    return int(required), int(optimal)


def _installed() -> Path:
    """Return the folder of the pinned suite; `npm ci` compares what comes with the lock's SHA-512."""
    suite = INSTALLED / "node_modules" / "http-cache-tests"
    lock = (HERE / "package-lock.json").read_bytes()
    stamp = INSTALLED / "package-lock.json"
    if not (suite.is_dir() and stamp.exists() and stamp.read_bytes() == lock):
        shutil.rmtree(INSTALLED, ignore_errors=True)
        INSTALLED.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, INSTALLED / name)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=INSTALLED, check=True)
    return suite


async def _run(suite: Suite, folder: Path, *, only: str) -> str:
    with _origin(suite, folder) as origin_port, Service(write_config(folder, CONFIG)) as mirror:
        async with Shim(mirror_port=mirror.port, origin_port=origin_port, store=folder / "store") as shim:
            base = f"http://127.0.0.1:{shim.port}/?http://127.0.0.1:{shim.port}"
            client = await asyncio.create_subprocess_exec(
                "node",
                "--no-warnings",
                str(suite.program("cli.mjs")),
                cwd=suite.folder,
                env=_environment(base=base, id=only),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            try:
                output, _ = await asyncio.wait_for(client.communicate(), SUITE_SECONDS)
            finally:
                if client.returncode is None:
                    client.kill()
        return output.decode()


@contextmanager
def _origin(suite: Suite, folder: Path) -> Iterator[int]:
    port = _free_port()
    environment = _environment(protocol="http", port=str(port), pidfile=str(folder / "origin.pid"))
    command = ["node", "--no-warnings", str(suite.program("server/server.mjs"))]
    with (
        (folder / "origin.log").open("wb") as log,
        subprocess.Popen(
            command, cwd=suite.folder, env=environment, stdout=subprocess.PIPE, stderr=log
        ) as origin,
    ):
        assert origin.stdout is not None
        try:
            if b"Listening" not in origin.stdout.readline():
                raise RuntimeError(f"the suite's origin did not start: {(folder / 'origin.log').read_text()}")
            yield port
        finally:
            if origin.poll() is not None:
                print(f"the suite's origin has died: {(folder / 'origin.log').read_text()}", file=sys.stderr)
            origin.kill()


def _environment(**config: str) -> dict[str, str]:
    # As npm hands on what `npm run --base=…` was given; the suite reads both forms.
    given = {
        f"npm_{where}_{name}": value
        for name, value in config.items()
        for where in ("config", "package_config")
    }
    return {**os.environ, **given}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _of(count: tuple[int, int]) -> str:
    return f"{count[0]}/{count[1]}" if count[1] else "-"


def _why(result: Any) -> str:
    return ": ".join(result) if result else "did not run"


if __name__ == "__main__":
    sys.exit(main())
