"""Ways around the admission of a mount, tried on a real service: hosts, `/explain`, HEAD, odd targets, redirects.

`tests/unit/test_served_admission.py` tries the rules themselves, each at each mount.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
from collections.abc import Iterator

import aiohttp
import pytest
from http_client import Client
from peers import BY_NAME, MOUNTS, Mount
from pictures import chart_png
from scripted_origin import ScriptedOrigin, run_in_thread
from service import Service, wait_until, write_config

VECTOR_KEYS = {
    "imgproxy": ["736563726574:68656C6C6F"],
    "thumbor": ["MY_SECURE_KEY"],
    "imagor": ["mysecret", "sha256:40:mysecret"],
    "imageproxy": ["secretkey"],
    "camo": ["test"],
    "miniflux": [],
}
GOPHER = "500x500/top/raw.githubusercontent.com/cshum/imagor/master/testdata/gopher.png"
CURIOSITY = "rs:fill:300:400:0/g:sm/aHR0cDovL2V4YW1w/bGUuY29tL2ltYWdl/cy9jdXJpb3NpdHku/anBn.png"
CODERCAT = "https://octodex.github.com/images/codercat.jpg"
FRONTPAGE = "http://golang.org/doc/gopher/frontpage.png"
VECTORS = [
    (
        f"/imgproxy/oKfUtW34Dvo2BGQehJFR4Nr0_rIjOtdtzJ3QFsUcXH8/{CURIOSITY}",
        "http://example.com/images/curiosity.jpg",
    ),
    (
        "/thumbor/sXNmdDGKqf_KA8ILvmdxUViKUD4=/300x200/smart/mp.ofweek.com/data/images/x.png",
        "http://mp.ofweek.com/data/images/x.png",
    ),
    (f"/imagor/cST4Ko5_FqwT3BDn-Wf4gO3RFSk=/{GOPHER}", f"https://{GOPHER.removeprefix('500x500/top/')}"),
    (
        f"/imagor/IGEn3TxngivD0jy4uuiZim2bdUCvhcnVi1Nm0xGy/{GOPHER}",
        f"https://{GOPHER.removeprefix('500x500/top/')}",
    ),
    (f"/imageproxy/400x400,q40,s0sR2kjyfiF1RQRj4Jm2fFa3_6SDFqdAaDEmy1oD2U-4=/{CODERCAT}", CODERCAT),
    (f"/imageproxy/q40,400,s0sR2kjyfiF1RQRj4Jm2fFa3_6SDFqdAaDEmy1oD2U-4/{CODERCAT}", CODERCAT),
    (f"/imageproxy/scw34eyalj8YvpLpETxSIxv2k8QkLel2UAR5Cku2FzGM=/{CODERCAT}", CODERCAT),
    (f"/camo/0f6def1cb147b0e84f39cbddc5ea10c80253a6f3/{FRONTPAGE.encode().hex()}", FRONTPAGE),
    (f"/camo/0f6def1cb147b0e84f39cbddc5ea10c80253a6f3?url={FRONTPAGE}", FRONTPAGE),
    (
        f"/camo/D23vHLFHsOhPOcvdxeoQyAJTpvM/{base64.urlsafe_b64encode(FRONTPAGE.encode()).decode().rstrip('=')}",
        FRONTPAGE,
    ),
]
"""The checked vectors of the peers' documents, and what they lead to."""

each = pytest.mark.parametrize("mount", MOUNTS, ids=lambda mount: mount.name)
with_keys = pytest.mark.parametrize(
    "mount", [mount for mount in MOUNTS if mount.has_keys], ids=lambda m: m.name
)


@pytest.fixture(scope="module")
def far() -> Iterator[ScriptedOrigin]:
    with run_in_thread() as origin:
        origin.serve("/a.png", chart_png(120, 60))
        origin.serve("/denied/a.png", chart_png(120, 60))
        origin.redirect("/moved.png", "/denied/a.png")
        yield origin


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, far: ScriptedOrigin) -> Iterator[Service]:
    """A service with keys of every dialect, a host for each, and a denied folder."""
    keys = {
        mount.name: {"keys": [mount.key, mount.other_key, *VECTOR_KEYS[mount.name]]}
        for mount in MOUNTS
        if mount.has_keys
    }
    config = write_config(
        tmp_path_factory.mktemp("keyed"),
        {
            "sources": {"deny": [f"http://127.0.0.1:{far.port}/denied/"]},
            "hosts": {f"{mount.name}.example": mount.name for mount in MOUNTS},
            "dialects": keys,
        },
    )
    text = config.read_text().splitlines()
    config.write_text("\n".join(quoted(line) for line in text) + "\n")
    with Service(config) as service:
        yield service
        log = service.log()
        assert "Traceback" not in log, log
        assert "internal" not in log, log


def quoted(line: str) -> str:
    """Return a line of TOML with a key that holds dots in quotes."""
    name, mark, value = line.partition(" = ")
    return f'"{name}"{mark}{value}' if name.endswith(".example") else line


@pytest.fixture
def asker(http: aiohttp.ClientSession, keyed: Service) -> Client:
    return Client(http, keyed.base)


def good(mount: Mount, source: str) -> str:
    return mount.any_signed(source) if mount.has_keys else mount.any(source)


@pytest.mark.parametrize(("address", "source"), VECTORS, ids=[row[0][:40] for row in VECTORS])
async def test_checked_vector_is_admitted_and_no_other(asker: Client, address: str, source: str) -> None:
    """Through the service; `/explain` says so without a fetch."""
    said = json.loads((await asker.get(f"/explain{address}")).body)
    assert (said["source"], said["policy"]["admitted"]) == (source, True), said
    at = address.index("/", 2) + 3
    changed = address[:at] + ("A" if address[at] != "A" else "B") + address[at + 1 :]
    if address.startswith("/imageproxy"):
        changed = (
            address.replace("=/", "/")
            .replace("/http", "A/http")
            .replace("s0sR", "s0sS")
            .replace("scw", "scv")
        )
    assert (await asker.get(changed)).code in ("signature_mismatch", "invalid_source")
    said = json.loads((await asker.get(f"/explain{changed}")).body)
    assert not said.get("policy", {}).get("admitted", False)


@each
async def test_mount_host_and_explain_say_the_same(asker: Client, far: ScriptedOrigin, mount: Mount) -> None:
    """GET and HEAD, at the mount and at the root of the host."""
    source = f"http://127.0.0.1:{far.port}/a.png"
    bad = mount.any(source) if mount.has_keys else mount.any(source.replace("/a.png", "/denied/a.png"))
    for address, statuses in ((good(mount, source), {200}), (bad, {403})):
        host = {"Host": f"{mount.name.upper()}.example.:99"}
        answers = [
            await asker.get(address),
            await asker.get(address, method="HEAD"),
            await asker.get(mount.at_root(address), headers=host),
            await asker.get(mount.at_root(address), method="HEAD", headers=host),
        ]
        assert {answer.status for answer in answers} == statuses, [answer.body[:200] for answer in answers]
        said = json.loads((await asker.get(f"/explain{address}")).body)
        assert said["policy"]["admitted"] is (statuses == {200})
        assert said["dialect"] == mount.name
        at_host = await asker.get(f"/explain/https://{mount.name}.example{mount.at_root(address)}")
        assert json.loads(at_host.body) | {"target": ""} == said | {"target": ""}


@each
async def test_host_of_a_dialect_closes_everything_else(
    asker: Client, far: ScriptedOrigin, mount: Mount
) -> None:
    host = {"Host": f"{mount.name}.example"}
    source = f"http://127.0.0.1:{far.port}/a.png"
    closed = (
        "/metrics", "/static/home.js", "/explain/?http://h/a", "/purge", "/rewrite", f"/image/original/{source}",
        f"/image/width=40/{source}", "/cors/",
    )  # fmt: skip
    for path in closed:
        assert (await asker.get(path, headers=host)).code == "not_found", path
    for path in ("/healthz", "/readyz"):
        assert (await asker.get(path, headers=host)).status == 200
    front = await asker.get("/", headers=host)
    assert front.status == (200 if mount.name == "cors-anywhere" else 404)
    assert b"<html" not in front.body


@each
async def test_worker_form_is_no_way_in_at_a_host(asker: Client, far: ScriptedOrigin, mount: Mount) -> None:
    host = {"Host": f"{mount.name}.example"}
    answer = await asker.get(f"/?http://127.0.0.1:{far.port}/a.png", headers=host)
    assert answer.status in (400, 403, 404), answer.body


@each
@pytest.mark.parametrize(
    "path",
    ["/denied/a.png", "/x/../denied/a.png", "/%64enied/a.png", "/x/%2e%2e/denied/a.png", "//denied/a.png",
     "/moved.png", "/denied/%2e/a.png"],
)  # fmt: skip
async def test_denied_sources_answer_as_natively(
    asker: Client, far: ScriptedOrigin, mount: Mount, path: str
) -> None:
    """This holds for every spelling, and behind a redirect."""
    source = f"http://127.0.0.1:{far.port}{path}"
    if mount.name in ("thumbor", "imagor", "ipx", "weserv", "next") and "%" in path:
        source = source.replace("%", "%25") if mount.name == "ipx" else source
    native = await asker.get(f"/?{source}")
    answer = await asker.get(good(mount, source))
    assert (answer.status, answer.code) == (native.status, native.code)
    assert answer.status != 200


@each
@pytest.mark.parametrize(
    "host",
    ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "[::ffff:10.0.0.1]", "10.1:8080", "169.254.169.254"],
)
async def test_prohibited_addresses_are_unreachable_at_every_mount(
    asker: Client, mount: Mount, host: str
) -> None:
    answer = await asker.get(good(mount, f"http://{host}/a.png"))
    assert (answer.status, answer.code) == (502, "source_unreachable"), answer.body


@with_keys
async def test_signatures_are_written_to_no_log(asker: Client, keyed: Service, mount: Mount) -> None:
    source = "http://127.0.0.1:1/gone.png"
    address = mount.any_signed(source)
    plain = (
        await asker.get(address),
        await asker.get(mount.at_root(address), headers={"Host": f"{mount.name}.example"}),
    )
    assert all(answer.status == 502 for answer in plain)
    signature = address.removeprefix(mount.path).partition("/")[0].removeprefix("s").rstrip("=")
    assert signature not in keyed.log()


async def asked(service: Service, head: str) -> tuple[int, bytes]:
    """Send a request exactly as written; return the status and the whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(head.replace("\n", "\r\n").encode() + b"\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.split(b" ", 2)[1]), answer


async def test_absolute_target_names_the_host_itself(keyed: Service, far: ScriptedOrigin) -> None:
    """RFC 9112 §3.2.2: then `Host` does not count."""
    source = f"http://127.0.0.1:{far.port}/a.png"
    thumbor = BY_NAME["thumbor"]
    address = thumbor.at_root(thumbor.any_signed(source))
    status, _ = await asked(
        keyed, f"GET http://Thumbor.example:80{address} HTTP/1.1\nHost: elsewhere.example"
    )
    assert status == 200
    status, answer = await asked(keyed, "GET http://thumbor.example/metrics HTTP/1.1\nHost: 127.0.0.1")
    assert status == 404, answer
    status, answer = await asked(keyed, "GET http://x@thumbor.example?url=1 HTTP/1.1\nHost: 127.0.0.1")
    assert status == 400, answer


@pytest.mark.parametrize(
    "target", ["/IMGPROXY/_/w:3/plain/http://h/a", "//imgproxy/_/plain/http://h/a", "/%69mgproxy/_/plain/http://h/a",
               "/x/../imgproxy/_/plain/http://h/a", "/imgproxy", "/_next/imagex?url=http://h/a&w=3", "/cors"]
)  # fmt: skip
async def test_spellings_of_a_mount_are_no_mount(asker: Client, target: str) -> None:
    """The raw target decides, as it does for our own addresses."""
    assert (await asker.get(target)).code == "not_found"


async def test_help_and_iscorsneeded_are_cors_anywheres(asker: Client) -> None:
    for base, headers in (("/cors/", {}), ("/", {"Host": "cors-anywhere.example"})):
        page = await asker.get(base, headers=headers)
        assert page.status == 200
        assert b"iscorsneeded" in page.body
        needed = await asker.get(f"{base}iscorsneeded", headers=headers)
        assert (needed.status, needed.body) == (200, b"no")
        assert "Access-Control-Allow-Origin" not in needed.headers


async def test_ignored_options_are_listed_and_changing_ones_refused(
    asker: Client, far: ScriptedOrigin
) -> None:
    source = f"http://127.0.0.1:{far.port}/a.png"
    answer = await asker.get(f"/wsrv/?url={source.replace('/', '%2F')}&w=40&il&maxage=1d&v=3")
    assert answer.headers["X-Imgmirror-Ignored"] == "il, maxage, v"
    assert "X-Imgmirror-Ignored" in answer.headers["Access-Control-Expose-Headers"]
    again = await asker.get(f"/wsrv/?url={source.replace('/', '%2F')}&w=40&il&maxage=1d&v=3")
    assert again.headers["X-Imgmirror-Ignored"] == "il, maxage, v"
    refused = await asker.get(f"/wsrv/?url={source.replace('/', '%2F')}&w=40&mask=circle")
    assert refused.code == "invalid_transform"
    assert b"mask" in refused.body


async def test_reload_takes_new_hosts_and_keys(
    tmp_path_factory: pytest.TempPathFactory, far: ScriptedOrigin
) -> None:
    """SIGHUP: another dialect at a host, and keys that were not there."""
    folder = tmp_path_factory.mktemp("reload")
    config = write_config(folder)
    before = config.read_text()
    config.write_text(before + '[hosts]\n"i.example" = "photon"\n')
    source = f"http://127.0.0.1:{far.port}/a.png"
    async with aiohttp.ClientSession() as session:
        with Service(config) as service:
            client, host = Client(session, service.base), {"Host": "i.example"}
            assert (await client.get(f"/127.0.0.1:{far.port}/a.png?w=40", headers=host)).status == 200
            camo = BY_NAME["camo"]
            assert (await client.get(camo.any(source))).status == 200
            config.write_text(before + '[hosts]\n"i.example" = "ipx"\n[dialects.camo]\nkeys = ["a key"]\n')
            assert service.process is not None
            os.kill(service.process.pid, signal.SIGHUP)
            await asyncio.to_thread(wait_until, lambda: "the configuration was reloaded" in service.log())
            assert (await client.get(f"/w_40/{source}", headers=host)).status == 200
            assert (await client.get(f"/127.0.0.1:{far.port}/a.png?w=40", headers=host)).status == 400
            assert (await client.get(camo.any(source))).code == "signature_mismatch"
            assert (await client.get(camo.any_signed(source, "a key"))).status == 200
