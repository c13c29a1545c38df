"""Real site generators for tests: pinned npm packages, programs, and small sites with the sample article."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from proxy.cli.story.article import sample_text

ROOT = Path(__file__).parents[2]
INTEGRATIONS = ROOT / "integrations"
PINNED = ROOT / "tests" / "integrations" / "npm"
INSTALLED = ROOT / "var" / "integrations"
PUBLIC = "https://img.example.org"
TOKEN = "a-token-for-tests"
WORKER = "https://cors.zfour.workers.dev/?"
SAMPLE_HOST = "http://mp.ofweek.com"

SERVICE = {"server": {"public_url": PUBLIC, "admin_token": TOKEN}}
"""Settings of a service that generators use: pages point at its public address, and requests carry a token."""


def require(*programs: str) -> None:
    """Skip the test when a program is absent; fail it in CI."""
    missing = [program for program in programs if not shutil.which(program)]
    if missing and "CI" in os.environ:
        pytest.fail(f"{', '.join(missing)} must be installed in CI")
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


def npm_packages(name: str) -> Path:
    """Return the folder with `node_modules` of a pinned set; `npm ci` compares each package with the lock's SHA-512."""
    require("node", "npm")
    INSTALLED.mkdir(parents=True, exist_ok=True)
    # Test processes run in parallel and need the same packages.
    with (INSTALLED / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _installed(PINNED / name, INSTALLED / name)


def _installed(pinned: Path, folder: Path) -> Path:
    lock, done = (pinned / "package-lock.json").read_bytes(), folder / "done"
    if not (done.exists() and done.read_bytes() == lock):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file in ("package.json", "package-lock.json"):
            shutil.copy(pinned / file, folder / file)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=folder, check=True)
        done.write_bytes(lock)
    return folder


def run(
    *command: str | Path, cwd: Path, environment: Mapping[str, str] | None = None, code: int | None = 0
) -> str:
    """Run a program; return its output on both streams. `code` is the expected exit code, None for any."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**os.environ, "PYTHONDEVMODE": "", "NO_COLOR": "1", "FORCE_COLOR": "0", **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
        timeout=110,
    )
    assert code is None or done.returncode == code, f"exit code {done.returncode}\n{done.stdout}"
    return done.stdout


def article(*, dated: str = "") -> str:
    """Return the sample article without the blank line before its front matter, as generators need it.

    `dated` replaces its date, which only Hexo and Jekyll can read.
    """
    text = sample_text().decode("utf-8").lstrip()
    return re.sub(r"^date: .*$", f"date: {dated}", text, flags=re.MULTILINE) if dated else text


def wrapped_sources(text: str) -> list[str]:
    """Return the sources that a text shows through the sample's worker, in order and with repetitions."""
    return re.findall(re.escape(WORKER) + r"([^\s'\"<>)|,]+)", text)


def write_tree(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files by their paths below `folder`; return it."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def texts(folder: Path, suffixes: Iterable[str] = (".html", ".xml", ".css", ".json")) -> str:
    """Return all text of a built site."""
    found = sorted(path for path in folder.rglob("*") if path.suffix in suffixes and path.is_file())
    return "\n".join(path.read_text(encoding="utf-8") for path in found)
