"""The nginx configurations of deploy/, in front of a real service."""

from __future__ import annotations

import io
import json
import shutil
import socket
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import aiohttp
import pytest
from http_client import Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, wait_until, write_config

from cache.base.opening import read_regular, regular_status

pytestmark = [
    pytest.mark.nginx,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed; .ci/run installs it"),
]

DEPLOY = Path(__file__).parents[2] / "deploy"
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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def nginx(folder: Path, service_port: int, *, file: str = "nginx.conf") -> Iterator[str]:
    """Run Debian's nginx with a file of deploy/; only ports and folders are the test's."""
    port = free_port()
    text = (DEPLOY / file).read_text(encoding="utf-8")
    text = text.replace("/var/lib/imgmirror/store/", f"{folder / 'store'}/")
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{service_port}")
    text = text.replace("listen 80;", f"listen 127.0.0.1:{port};")
    text = text.replace("/var/cache/imgmirror-nginx", str(folder / "cache"))
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


TOKEN = "t" * 20
ACCEL: dict[str, dict[str, object]] = {
    "server": {"accel": "nginx", "public_url": "https://img.example.org", "admin_token": TOKEN},
    "store": {"mode": "group"},
}
OF_THE_CONNECTION = {"connection", "date", "server", "transfer-encoding", "keep-alive"}
OF_THE_MOMENT = {"cache-control", "cache-status", "x-request-id"}


@pytest.fixture
async def accelerated(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> AsyncIterator[tuple[Service, Client, Client]]:
    """A service that hands files over, a client of nginx in front of it, and one that comes past nginx."""
    origin.serve("/p.png", chart_png(300, 200), etag='"of-the-origin"', headers={"Content-Language": "de"})
    with (
        Service(write_config(tmp_path, ACCEL)) as service,
        nginx(tmp_path, service.port, file="nginx-accel.conf") as base,
    ):
        yield service, Client(http, base), Client(http, service.base)


async def handed_over(past: Client, target: str) -> str:
    """Ask until the file is handed over, which is after it was found once; return where nginx finds it."""
    for _ in range(500):
        answer = await past.get(target)
        assert answer.status == 200
        if "X-Accel-Redirect" in answer.headers:
            assert answer.body == b""
            return str(answer.headers["X-Accel-Redirect"])
    raise AssertionError("it was never handed over")


def targets(origin: ScriptedOrigin) -> tuple[str, str]:
    source = origin.url("/p.png")
    return f"/image/width=250,format=png/{source}", f"/image/original/{source}"


async def test_file_handed_to_nginx_is_answered_like_bytes_of_ours(
    accelerated: tuple[Service, Client, Client], origin: ScriptedOrigin
) -> None:
    """The same body and headers as without nginx, to GET, HEAD, conditions and ranges."""
    _, front, past = accelerated
    for target in targets(origin):
        await past.get(target)
        path = await handed_over(past, target)
        ours = await past.get(target, headers={"X-Imgmirror-Accel": "off"})
        assert "X-Accel-Redirect" not in ours.headers
        theirs = await front.get(target)
        assert (theirs.status, theirs.body) == (200, ours.body)
        assert "X-Accel-Redirect" not in theirs.headers
        skip = OF_THE_CONNECTION | OF_THE_MOMENT
        for name in {name.lower() for name in ours.headers} - skip:
            assert theirs.headers.getall(name) == ours.headers.getall(name), name
        assert theirs.headers["Cache-Control"].startswith("public, max-age=")
        assert theirs.headers["Cache-Status"].startswith("imgmirror; hit")
        assert theirs.headers["X-Request-Id"]
        head = await front.get(target, method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == str(len(ours.body))
        for given in (
            {"If-None-Match": ours.headers["ETag"]},
            {"If-Modified-Since": ours.headers["Last-Modified"]},
        ):
            answer = await front.get(target, headers=given)
            assert (answer.status, answer.headers["ETag"]) == (304, ours.headers["ETag"])
        other = await front.get(target, headers={"If-None-Match": '"another"'})
        assert other.status == 200
        assert (await front.get(path)).status == 404


@pytest.mark.parametrize(
    ("given", "status", "part"),
    [
        ({"Range": "bytes=0-0"}, 206, slice(0, 1)),
        ({"Range": "bytes=10-"}, 206, slice(10, None)),
        ({"Range": "bytes=-7"}, 206, slice(-7, None)),
        ({"Range": "bytes=5-9", "If-Range": '"of-the-origin"'}, 206, slice(5, 10)),
        ({"Range": "bytes=5-9", "If-Range": '"another"'}, 200, slice(None)),
        ({"Range": "bytes=999999-"}, 416, None),
    ],
)
async def test_part_of_an_original_is_cut_by_nginx(
    accelerated: tuple[Service, Client, Client],
    origin: ScriptedOrigin,
    given: dict[str, str],
    status: int,
    part: slice | None,
) -> None:
    """nginx answers ranges as we would. Where it cannot, the answer is ours. A variant is sent completely."""
    _, front, past = accelerated
    variant, original = targets(origin)
    await handed_over(past, original)
    answer = await front.get(original, headers=given)
    assert answer.status == status
    if part is None:
        assert answer.code == "range_not_satisfiable"
        return
    assert answer.body == chart_png(300, 200)[part]
    assert answer.headers["ETag"] == '"of-the-origin"'
    await handed_over(past, variant)
    whole = await front.get(variant, headers=given)
    assert (whole.status, "Accept-Ranges" in whole.headers) == (200, False)


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("GET", {"If-Match": '"of-the-origin"'}),
        ("GET", {"If-Match": '"another"'}),
        ("GET", {"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}),
        ("HEAD", {"Range": "bytes=0-1"}),
        ("HEAD", {"Range": "bytes=999999-"}),
    ],
)
async def test_what_nginx_would_judge_by_the_file_is_answered_by_us(
    accelerated: tuple[Service, Client, Client], origin: ScriptedOrigin, method: str, given: dict[str, str]
) -> None:
    """A file has no entity tag and a time of its own; ranges are for GET only."""
    _, front, past = accelerated
    for target in targets(origin):
        await handed_over(past, target)
        ours = await past.get(target, method=method, headers={**given, "X-Imgmirror-Accel": "off"})
        answer = await front.get(target, method=method, headers=given)
        assert (answer.status, answer.body) == (ours.status, ours.body)
        assert answer.status == 200


async def test_folder_of_the_default_is_handed_over_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """By default, `store.dir` is relative to the folder in which the service was started."""
    origin.serve("/p.png", chart_png(300, 200))
    config = write_config(tmp_path, ACCEL)
    lines = config.read_text(encoding="utf-8").splitlines(keepends=True)
    config.write_text("".join(line for line in lines if not line.startswith("dir = ")), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with Service(config) as service:
        past = Client(http, service.base)
        for target in targets(origin):
            await handed_over(past, target)


async def test_file_that_nginx_does_not_find_is_sent_by_us(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """It was purged or pushed out after it was handed over: nginx asks once more, for the bytes."""
    origin.serve("/p.png", chart_png(300, 200))
    (tmp_path / "front").mkdir()
    with (
        Service(write_config(tmp_path, ACCEL)) as service,
        nginx(tmp_path / "front", service.port, file="nginx-accel.conf") as base,
    ):
        front, past = Client(http, base), Client(http, service.base)
        for target in targets(origin):
            await handed_over(past, target)
            ours = await past.get(target, headers={"X-Imgmirror-Accel": "off"})
            answer = await front.get(target)
            assert (answer.status, answer.body) == (200, ours.body)
            assert answer.headers["ETag"] == ours.headers["ETag"]


async def test_purged_source_is_not_handed_over(
    accelerated: tuple[Service, Client, Client], origin: ScriptedOrigin
) -> None:
    """The next request asks the origin, which has nothing any more."""
    _, front, past = accelerated
    for target in targets(origin):
        await handed_over(past, target)
    purge = json.dumps({"source": origin.url("/p.png")}).encode()
    headers = {"Content-Type": "application/json", "Authorization": "Bearer " + TOKEN}
    assert (await past.get("/purge", method="POST", data=purge, headers=headers)).status == 200
    origin.serve("/p.png", b"gone", status=404)
    for target in targets(origin):
        answer = await front.get(target)
        assert (answer.status, answer.code) == (404, "source_not_found")


async def test_sendfile_names_the_path_of_the_file(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """An absolute path, percent-encoded; the file holds the picture."""
    origin.serve("/p.png", chart_png(300, 200))
    folder = tmp_path / "a folder"
    folder.mkdir()
    changes = {"server": {"accel": "sendfile"}, "store": {"mode": "group"}}
    with Service(write_config(folder, changes)) as service:
        client = Client(http, service.base)
        for target in targets(origin):
            bytes_of_ours = await client.get(target, headers={"X-Imgmirror-Accel": "off"})
            for _ in range(500):
                answer = await client.get(target)
                if "X-Sendfile" in answer.headers:
                    break
            path = Path(unquote(answer.headers["X-Sendfile"]))
            assert "%20" in answer.headers["X-Sendfile"]
            assert path.is_absolute()
            assert read_regular(path) == bytes_of_ours.body
            status = regular_status(path)
            assert status is not None
            assert stat.S_IMODE(status.st_mode) == 0o640
