"""Debian's nginx, Varnish and Caddy in front of a service, with the files of deploy/. Blocking.

Only ports and folders are the test's. Each front is ended with its test.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service import wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
PROGRAMS = {"nginx": "nginx", "varnish": "varnishd", "caddy": "caddy"}


def installed(front: str) -> bool:
    """Return whether the program of a front is on this machine."""
    return shutil.which(PROGRAMS[front], path=_path()) is not None


def free_port() -> int:
    """Return a port of loopback that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def front(name: str, folder: Path, *, behind: int, port: int) -> Iterator[str]:
    """Run a front on `port` before the service on port `behind`; yield its base address."""
    command = {"nginx": _nginx, "varnish": _varnish, "caddy": _caddy}[name](folder, behind=behind, port=port)
    environment = {**os.environ, "PATH": _path(), "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        wait_until(lambda: process.poll() is not None or _listens(port), seconds=60)
        assert process.poll() is None, (folder / f"{name}.log").read_text(encoding="utf-8")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def purge_hook(name: str, folder: Path, *, port: int, front_port: int) -> Iterator[str]:
    """Run deploy/purge_hook.py for a front; yield its address. Caddy keeps nothing, so it has none."""
    caches = {
        "nginx": ["--nginx", str(folder / "cache")],
        "varnish": ["--varnish", f"http://127.0.0.1:{front_port}"],
    }
    command = [sys.executable, str(DEPLOY / "purge_hook.py"), "--listen", f"127.0.0.1:{port}", *caches[name]]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: _listens(port), seconds=60)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.kill()
        process.wait(30)


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _text(name: str, behind: int) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8").replace("127.0.0.1:8080", f"127.0.0.1:{behind}")


def _nginx(folder: Path, *, behind: int, port: int) -> list[str]:
    text = _text("nginx.conf", behind).replace("listen 80;", f"listen 127.0.0.1:{port};")
    text = text.replace("/var/cache/imgmirror-nginx", str(folder / "cache"))
    temporary = "".join(f"{name}_temp_path {folder / name};\n" for name in _TEMPORARY)
    user = "user root;\n" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(
        f"{user}daemon off;\npid {folder / 'pid'};\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{text}}}\n",
        encoding="utf-8",
    )
    return ["nginx", "-c", str(config), "-e", str(folder / "nginx-errors.log")]


def _varnish(folder: Path, *, behind: int, port: int) -> list[str]:
    config = folder / "varnish.vcl"
    config.write_text(_text("varnish.vcl", behind).replace('.port = "8080"', f'.port = "{behind}"'))
    where = ["-a", f"127.0.0.1:{port}", "-n", str(folder / "varnish")]
    # The jail of Debian's unit needs the users of its package; the configuration is the same without it.
    return ["varnishd", "-F", "-f", str(config), "-s", "malloc,32m", "-j", "none", *where]


def _caddy(folder: Path, *, behind: int, port: int) -> list[str]:
    config = folder / "Caddyfile"
    # A test has no certificate: the site becomes a plain address, and everything in it stays.
    text = re.sub(
        r"^img\.example\.org \{", f"http://:{port} {{", _text("Caddyfile", behind), flags=re.MULTILINE
    )
    config.write_text("{\n\tadmin off\n\tauto_https off\n}\n" + text, encoding="utf-8")
    return ["caddy", "run", "--config", str(config), "--adapter", "caddyfile"]
