"""A machine for one test: this machine's files below an overlay, namespaces of its own, and systemd as its process 1.

Commands may install packages, users and units: the files they write are in memory and disappear at the end. The network
is the namespace's own loopback, so ports are free; `run(..., online=True)` uses this machine's network, to install.
Needs root, `unshare`, `nsenter` and Debian's systemd. Blocking; Linux.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHECKOUT = "/usr/src/imgmirror"
"""Where commands find a copy of this checkout."""

_SYSTEMD = "/lib/systemd/systemd"
_CGROUPS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
_PATH = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin"
"""Debian's own programs come first: an interpreter below /root is out of reach of a service."""

_BOOT = """
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs {folder}/over
cd {folder}/over
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
cd root
mkdir -p .{inside} old
cp -a {folder}/checkout/. .{inside}
chown -R root:root .{inside}
mount --rbind /dev dev
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for place in run tmp; do mount -t tmpfs tmpfs $place; done
mkdir -p run/imgmirror-units
printf '[Unit]\\nDefaultDependencies=no\\n' >run/imgmirror-units/alone.target
rm -rf etc/imgmirror opt/imgmirror var/lib/imgmirror etc/systemd/system/*.wants lib/systemd/system/*.wants
for unit in {masked}; do ln -sf /dev/null etc/systemd/system/$unit; done
pivot_root . old
umount -l /old
ip link set lo up
export container=imgmirror SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/imgmirror-units:/lib/systemd/system
exec {systemd} --system --unit=alone.target --log-target=null --show-status=no
"""
_MASKED = (
    "systemd-udevd",
    "systemd-sysctl",
    "systemd-modules-load",
    "systemd-timesyncd",
    "systemd-random-seed",
)
"""Services that would change the kernel or the clock, which the machine shares with this one."""

_TOOLS = ("unshare", "nsenter", "pivot_root", "ip", "systemctl")


def why_not() -> str:
    """Return the reason why a machine cannot be made here, or an empty text."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "needs root"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing or not Path(_SYSTEMD).exists() or not Path("/usr/bin/python3").exists():
        return f"needs {', '.join(missing) or 'systemd and python3 of the system'}"
    mount = ["mount", "-t", "cgroup2", "cgroup2", "/mnt"]
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--net", "--cgroup", *mount],
        capture_output=True,
        check=False,
    )
    return "" if tried.returncode == 0 else "may not make namespaces"


class Machine:
    """A running machine. `run` runs commands in it."""

    def __init__(self, leader: int) -> None:
        self._leader = leader

    def run(
        self, command: str, *, online: bool = False, check: bool = True, seconds: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run a line of shell in the checkout as root; return its exit code and what it printed.

        online: with this machine's network.

        Raises:
            AssertionError: the command failed; the message has its output.
        """
        spaces = ["--mount", "--pid", "--uts", "--ipc", "--cgroup", *([] if online else ["--net"])]
        kept = {name: os.environ[name] for name in _OF_THE_NETWORK if name in os.environ}
        done = subprocess.run(
            [
                "nsenter",
                "--target",
                str(self._leader),
                *spaces,
                "sh",
                "-c",
                f"cd {CHECKOUT} && {command}",
            ],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=seconds,
            env={**kept, "PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8"},
        )
        if check and done.returncode:
            raise AssertionError(f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def write(self, path: str, text: str) -> None:
        """Write a file in the machine, and create its folder."""
        quoted = shlex.quote(path)
        self.run(f"mkdir -p $(dirname {quoted}) && printf %s {shlex.quote(text)} >{quoted}")


_OF_THE_NETWORK = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT", "PIP_CONFIG_FILE", "PIP_TRUSTED_HOST", "HTTP_PROXY",
    "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE",
)  # fmt: skip
"""The variables that installing needs where the registry is behind a proxy or a mirror."""


@contextmanager
def machine() -> Iterator[Machine]:
    """Start a machine; end it, and everything in it, at the end."""
    folder = Path(tempfile.mkdtemp(prefix="imgmirror-machine-"))
    (folder / "over").mkdir()
    _copy_checkout(folder / "checkout")
    group = next(path for path in _CGROUPS if (path / "cgroup.procs").exists()) / folder.name
    group.mkdir()
    masked = " ".join(f"{name}.service" for name in _MASKED)
    script = _BOOT.format(folder=shlex.quote(str(folder)), inside=CHECKOUT, systemd=_SYSTEMD, masked=masked)
    spaces = "--mount --pid --fork --uts --ipc --net --cgroup --kill-child"
    join = f"echo $$ >{group}/cgroup.procs && exec unshare {spaces} sh -c {shlex.quote(script)}"
    process = subprocess.Popen(
        ["sh", "-c", join],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Machine(_booted(process))
    finally:
        process.kill()
        process.communicate()
        _remove_group(group)
        shutil.rmtree(folder)


def _copy_checkout(target: Path) -> None:
    """Copy the files that are, or may be, committed: no environment and no caches."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def _booted(process: subprocess.Popen[str]) -> int:
    """Return the number of the machine's process 1 when its systemd answers.

    Raises:
        AssertionError: it ended, or does not answer.
    """
    deadline = time.monotonic() + _BOOT_SECONDS
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError, IndexError):
            leader = int(children.read_text().split()[0])
            probe = Machine(leader).run("systemctl is-system-running", check=False)
            if probe.stdout.strip() in {"running", "degraded"}:
                return leader
        time.sleep(0.1)
    process.kill()
    raise AssertionError(f"the machine did not start: {process.communicate()[1]}")


_BOOT_SECONDS = 60


def _remove_group(group: Path) -> None:
    """Remove a control group and those below it, as soon as the killed processes have left them."""
    deadline = time.monotonic() + _BOOT_SECONDS
    for path in [*sorted(group.rglob("*/"), reverse=True), group]:
        while path.is_dir() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                path.rmdir()
                break
            time.sleep(0.05)
