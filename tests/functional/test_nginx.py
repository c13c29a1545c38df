"""The nginx text of the documentation, in front of a real service."""

from __future__ import annotations

import io
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
from http_client import Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, wait_until, write_config

pytestmark = [
    pytest.mark.nginx,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed; .ci/run installs it"),
]

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
ACCEPTS = (
    "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
    "image/avif,image/webp,*/*",
    "image/webp,image/avif,video/*;q=0.8,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
    "image/webp,image/apng,image/*,*/*;q=0.8",
    "image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "image/webp,*/*",
    "image/wxpic,image/webp,image/sharpp,image/apng,image/tpg,image/*,*/*;q=0.8",
    "image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5",
    "image/png,image/*;q=0.8,*/*;q=0.5",
    "*/*",
    "",
    "image/avif;q=0,image/webp;q=0.0,image/*",
)


def documented(part: str) -> str:
    text = PAGE.split(f"<!-- nginx {part} -->", 1)[1].split(f"<!-- /nginx {part} -->", 1)[0]
    return re.sub(r"```(nginx)?\n", "", text)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def nginx(folder: Path, service_port: int) -> Iterator[str]:
    """Run Debian's nginx with the documented text; only ports and folders are the test's."""
    port = free_port()
    text = documented("http") + documented("server")
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{service_port}")
    text = text.replace("listen 80;", f"listen 127.0.0.1:{port};")
    text = text.replace("/var/cache/nginx/imgmirror", str(folder / "cache"))
    temporary = "".join(
        f"{name}_temp_path {folder / name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"user root;\npid {folder / 'pid'};\nerror_log {folder / 'error.log'};\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{text}}}\n"
    )
    command = ["nginx", "-c", str(config), "-e", str(folder / "error.log")]
    subprocess.run([*command, "-t"], check=True, capture_output=True, timeout=20)
    process = subprocess.Popen([*command, "-g", "daemon off;"])
    try:
        wait_until(lambda: _listens(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_documented_nginx_keeps_three_copies_serves_stale_ones_and_opens_no_administration(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """The Accept headers of thirteen clients make three variants; a dead service leaves the copies."""
    origin.serve("/p.png", chart_png(300, 200))
    changes = {"server": {"public_url": "https://img.example.org"}}
    with Service(write_config(tmp_path, changes)) as service, nginx(tmp_path, service.port) as base:
        client = Client(http, base)
        target = "/image/width=100/" + origin.url("/p.png")
        for accept in ACCEPTS * 2:
            answer = await client.get(target, headers={"Accept": accept})
            assert answer.status == 200
            kind = answer.headers["Content-Type"]
            assert kind != "image/avif" or "image/avif" in accept
            assert kind != "image/webp" or "image/webp" in accept
        assert len([path for path in (tmp_path / "cache").rglob("*") if path.is_file()]) <= 3
        for path in ("/metrics", "/explain/?http://h/"):
            assert (await client.get(path)).status == 401
        assert (await client.get("/purge", method="POST", data=b"{}")).status == 401
        big = await client.get(
            "/rewrite", method="POST", data=io.BytesIO(bytes(2**21)), headers={"Content-Type": "text/html"}
        )
        assert big.status == 401
        service.kill()
        assert {(await client.get(target, headers={"Accept": accept})).status for accept in ACCEPTS} == {200}
