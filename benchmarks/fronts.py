"""Web servers in front of the service, with the configuration that deploy/ gives to operators.

They are nginx as a cache, nginx and lighttpd that send the files the service names, and nginx that serves a file by
itself. A server that is not on this machine raises `Missing` with the reason.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from peers import ROOT, Missing, free_port

_START_SECONDS = 10.0


class Accelerated(Protocol):
    """Starts a server in front of port `behind` that sends files of `store`; yields port and process id."""

    def __call__(
        self, behind: int, folder: Path, *, store: Path
    ) -> contextlib.AbstractContextManager[tuple[int, int]]:
        """Start it."""
        ...


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
_NGINX = """
daemon off;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log stderr error;
{user}
events {{}}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {inside}
}}
"""
_STATIC = """
  open_file_cache max=100;
  types {{ image/webp webp; }}
  server {{ listen 127.0.0.1:{port}; root {root}; }}
"""
_LIGHTTPD = """
server.port = {port}
server.bind = "127.0.0.1"
server.document-root = "{folder}"
server.modules = ("mod_proxy")
server.max-keep-alive-requests = 1000000
proxy.server = ("" => (("host" => "127.0.0.1", "port" => {behind},
  "x-sendfile" => "enable", "x-sendfile-docroot" => ("{store}"))))
"""


def _listed(name: str) -> str:
    """Return the file `name` of deploy/.

    Raises:
        Missing: this state of the project has none.
    """
    path = ROOT / "deploy" / name
    if not path.exists():
        raise Missing(f"deploy/ has no {name}")
    return path.read_text(encoding="utf-8")


def _executable(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    if found is None:
        raise Missing(f"no {name} on this machine")
    return found


@contextlib.contextmanager
def _listening(command: list[str], port: int) -> Iterator[int]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + _START_SECONDS
            while process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.05)
            else:
                process.kill()
                assert process.stderr is not None
                raise Missing(
                    f"{Path(command[0]).name} did not start: {process.stderr.read().strip()[-200:]}"
                )
            yield process.pid
        finally:
            process.terminate()


@contextlib.contextmanager
def _nginx(inside: str, folder: Path, *, port: int, workers: int) -> Iterator[tuple[int, int]]:
    folder.mkdir(parents=True)
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(
        _NGINX.format(workers=workers, folder=folder, user=user, inside=inside), encoding="utf-8"
    )
    with _listening([_executable("nginx"), "-c", str(config), "-p", str(folder)], port) as pid:
        yield port, pid


def static(
    body: bytes, folder: Path, *, workers: int = 1
) -> contextlib.AbstractContextManager[tuple[int, int]]:
    """Let nginx serve `body` as /body.webp; yield port and process id."""
    root = folder / "static"
    root.mkdir(parents=True)
    (root / "body.webp").write_bytes(body)
    port = free_port()
    return _nginx(_STATIC.format(port=port, root=root), folder / "nginx-static", port=port, workers=workers)


def cached(
    behind: int, folder: Path, *, workers: int = 1
) -> contextlib.AbstractContextManager[tuple[int, int]]:
    """Let nginx cache the answers of the service at port `behind`."""
    port = free_port()
    text = _listed("nginx.conf").replace("/var/cache/imgmirror-nginx", str(folder / "nginx-cache"))
    inside = _placed(text, port=port, behind=behind)
    return _nginx(inside, folder / "nginx-cached", port=port, workers=workers)


def accelerated(
    behind: int, folder: Path, *, store: Path, workers: int = 1
) -> contextlib.AbstractContextManager[tuple[int, int]]:
    """Let nginx send the files of `store` that the service names (`server.accel = "nginx"`)."""
    port = free_port()
    text = _listed("nginx-accel.conf").replace("/var/lib/imgmirror/store", str(store))
    inside = _placed(text, port=port, behind=behind)
    return _nginx(inside, folder / "nginx-accel", port=port, workers=workers)


def _placed(text: str, *, port: int, behind: int) -> str:
    text = text.replace("server 127.0.0.1:8080;", f"server 127.0.0.1:{behind};")
    return re.sub(r"listen 80;", f"listen 127.0.0.1:{port};", text)


@contextlib.contextmanager
def sendfile(behind: int, folder: Path, *, store: Path) -> Iterator[tuple[int, int]]:
    """Let lighttpd send the files of `store` that the service names (`server.accel = "sendfile"`)."""
    port, config = free_port(), folder / "lighttpd.conf"
    config.write_text(
        _LIGHTTPD.format(port=port, behind=behind, folder=folder, store=store), encoding="utf-8"
    )
    with _listening([_executable("lighttpd"), "-D", "-f", str(config)], port) as pid:
        yield port, pid
