"""Addresses written by the address builders of other proxies, signed with our keys, get pictures of the right size.

The Python ones are development dependencies. Those for node are pinned in `tests/peers`; they are marked `peers`.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from http_client import Client
from imgproxy import ImgProxy
from libthumbor import CryptoURL
from libthumbor.url import unsafe_url
from pictures import chart_png
from PIL import Image
from scripted_origin import ScriptedOrigin, run_in_thread
from service import Service, write_config

ROOT = Path(__file__).parents[2]
PINNED = ROOT / "tests" / "peers"
INSTALLED = ROOT / "var" / "peers"
KEY, SALT, THUMBOR_KEY = "736563726574", "68656C6C6F", "a thumbor key"

THUMBOR: list[tuple[dict[str, Any], tuple[int, int]]] = [
    ({"width": 300, "height": 200}, (300, 200)),
    ({"width": 300, "height": 200, "smart": True}, (300, 200)),
    ({"width": 300}, (300, 150)),
    ({"height": 100}, (200, 100)),
    ({"fit_in": True, "width": 200, "height": 200}, (200, 100)),
    ({"width": 900, "height": 900}, (900, 900)),
    ({"width": 300, "height": 200, "flip": True, "flop": True}, (300, 200)),
    ({"width": 300, "height": 200, "halign": "left", "valign": "top"}, (300, 200)),
    ({"width": 300, "height": 200, "filters": ["quality(70)", "grayscale()"]}, (300, 200)),
    ({"width": 300, "height": 200, "trim": True}, (300, 200)),
    ({}, (600, 300)),
]
IMGPROXY: list[tuple[dict[str, Any], tuple[int, int]]] = [
    ({"width": 300, "height": 200}, (300, 200)),
    ({"width": 200, "height": 300}, (200, 100)),
    ({"width": 300, "height": 200, "resizing_type": "fill", "gravity": "sm"}, (300, 200)),
    ({"width": 200, "height": 200, "resizing_type": "fit"}, (200, 100)),
    ({"width": 1200, "resizing_type": "fit", "enlarge": True, "extension": "webp"}, (1200, 600)),
    ({"width": 300, "advanced": ["q:70", "dpr:2"]}, (600, 300)),
]


@pytest.fixture(scope="module")
def origin_of_peers() -> Iterator[ScriptedOrigin]:
    with run_in_thread() as origin:
        origin.serve("/a/wide.png", chart_png(600, 300))
        yield origin


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that answers signed addresses of imgproxy and thumbor only."""
    keys = {"imgproxy": {"keys": [f"{KEY}:{SALT}"]}, "thumbor": {"keys": [THUMBOR_KEY]}}
    with Service(write_config(tmp_path_factory.mktemp("peers"), {"dialects": keys})) as service:
        yield service


@pytest.fixture
def asker(http: aiohttp.ClientSession, signed: Service) -> Client:
    return Client(http, signed.base)


async def size_of(client: Client, address: str) -> tuple[int, int]:
    answer = await client.get(address)
    assert answer.status == 200, (address, answer.body)
    with Image.open(io.BytesIO(answer.body)) as picture:
        return picture.size


@pytest.mark.parametrize(("options", "size"), THUMBOR, ids=[str(row[0]) for row in THUMBOR])
async def test_libthumbor_writes_addresses_that_are_answered(
    asker: Client, origin_of_peers: ScriptedOrigin, options: dict[str, Any], size: tuple[int, int]
) -> None:
    """The image with and without its scheme; the unsafe form is refused."""
    source = origin_of_peers.url("/a/wide.png")
    for image in (source, source.removeprefix("http://")):
        address = CryptoURL(key=THUMBOR_KEY).generate(image_url=image, **options)
        if options.get("trim"):
            assert (await asker.get(f"/thumbor{address}")).status == 200
        else:
            assert await size_of(asker, f"/thumbor{address}") == size
    unsafe = unsafe_url(image_url=source, **options)
    assert (await asker.get(f"/thumbor/{unsafe}")).code == "signature_missing"


@pytest.mark.parametrize(("options", "size"), IMGPROXY, ids=[str(row[0]) for row in IMGPROXY])
async def test_imgproxy_for_python_writes_addresses_that_are_answered(
    asker: Client, origin_of_peers: ScriptedOrigin, options: dict[str, Any], size: tuple[int, int]
) -> None:
    """Its resizing type is `auto` by default. Without keys it writes `insecure`."""
    source = origin_of_peers.url("/a/wide.png")
    assert await size_of(asker, f"/imgproxy{ImgProxy(source, key=KEY, salt=SALT, **options)}") == size
    assert (await asker.get(f"/imgproxy{ImgProxy(source, **options)}")).code == "signature_missing"


def installed() -> Path:
    """Return the folder of the pinned builders. `npm ci` compares the packages with the digests of the lock."""
    if not (shutil.which("node") and shutil.which("npm")):
        if "CI" in os.environ:
            pytest.fail("node and npm are missing")
        pytest.skip("node and npm are missing")
    lock = (PINNED / "package-lock.json").read_bytes()
    stamp = INSTALLED / "package-lock.json"
    if not ((INSTALLED / "node_modules").is_dir() and stamp.exists() and stamp.read_bytes() == lock):
        shutil.rmtree(INSTALLED, ignore_errors=True)
        INSTALLED.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PINNED / name, INSTALLED / name)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=INSTALLED, check=True)
    shutil.copy(PINNED / "addresses.mjs", INSTALLED / "addresses.mjs")
    return INSTALLED


def written_by_node(base: str, source: str) -> list[list[Any]]:
    """Return names, addresses, widths and heights."""
    command = ["node", "addresses.mjs", base, source, KEY, SALT, THUMBOR_KEY]
    printed = subprocess.run(command, cwd=installed(), check=True, capture_output=True, timeout=60)
    return list(json.loads(printed.stdout))


@pytest.mark.peers
@pytest.mark.timeout(300)
async def test_builders_for_node_write_addresses_that_are_answered(
    asker: Client, signed: Service, origin_of_peers: ScriptedOrigin
) -> None:
    """imgproxy's own, thumbor's, Photon's, and unpic for weserv, Cloudflare, Next.js and ipx."""
    rows = written_by_node(signed.base, origin_of_peers.url("/a/wide.png"))
    assert len(rows) >= 20
    found = {name: await size_of(asker, address) for name, address, *_ in rows}
    assert found == {name: (width, height) for name, _, width, height in rows}
