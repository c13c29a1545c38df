"""Sets the peers up: thumbor, ipx and the metrics in a folder of their own, nginx from the distribution.

It installs nothing into the project's environment. It names the peers that cannot be installed; the run omits them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from peers.sources import PACKAGES

DEBIAN = ("nginx", "libnginx-mod-http-image-filter")
_TIMEOUT_SECONDS = 900


def install(folder: Path, *, with_photos: bool) -> Iterator[str]:
    """Install every peer below `folder`; yield a line about each."""
    folder.mkdir(parents=True, exist_ok=True)
    yield _told("thumbor", lambda: _environment(folder / "thumbor", "thumbor", "pillow-avif-plugin"))
    yield _told(
        "ssimulacra2, matplotlib", lambda: _environment(folder / "measure", "ssimulacra2", "matplotlib")
    )
    yield _told("nginx", lambda: _debian(*DEBIAN))
    yield _told("ipx", lambda: _ipx(folder / "ipx"))
    if with_photos:
        yield _told(PACKAGES[0], lambda: _debian(PACKAGES[0]))


def _told(name: str, step: Callable[[], None]) -> str:
    try:
        step()
    except FileNotFoundError as error:
        return f"{name}: left out, {error.filename} is not on this machine"
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()
        return f"{name}: left out, {said[-1] if said else 'no reason given'}"
    return f"{name}: installed"


def _run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    subprocess.run(
        [str(part) for part in command],
        check=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=_TIMEOUT_SECONDS,
        cwd=cwd,
        env={**os.environ, **(env or {})},
    )


def _environment(folder: Path, *packages: str) -> None:
    _run(sys.executable, "-m", "venv", folder)
    _run(folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", *packages)


def _debian(*packages: str) -> None:
    with contextlib.suppress(subprocess.CalledProcessError):
        _run("dpkg", "-s", *packages)
        return
    _run("apt-get", "update", "-qq")
    _run("apt-get", "install", "-y", "-qq", *packages, env={"DEBIAN_FRONTEND": "noninteractive"})


def _ipx(folder: Path) -> None:
    if shutil.which("npm") is None:
        _debian("nodejs", "npm")
    folder.mkdir(exist_ok=True)
    (folder / "package.json").write_text('{"name": "bench-ipx", "private": true}\n', encoding="utf-8")
    _run("npm", "install", "--no-fund", "--no-audit", "ipx", cwd=folder)
