"""Addresses of other proxies are answered with the picture that those proxies would answer with, of the same size."""

from __future__ import annotations

import io
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from http_client import Answer, Client
from peers import b64u
from pictures import chart_png
from PIL import Image
from scripted_origin import ScriptedOrigin, run_in_thread

WIDE, SMALL = (600, 300), (300, 100)
CHROME = "image/avif,image/webp,image/apng,image/*,*/*;q=0.8"

# Where the source stands: {host} is host and port, {url} the address, {esc} the address escaped, {b64} in base64url.
SIZES = [
    # imgproxy: nothing is enlarged unless `el` says so (processing/prepare.go).
    ("/imgproxy/_/plain/{url}", WIDE, (600, 300)),
    ("/imgproxy/_/w:300/plain/{url}", WIDE, (300, 150)),
    ("/imgproxy/_/w:900/plain/{url}", WIDE, (600, 300)),
    ("/imgproxy/_/w:900/el:1/plain/{url}", WIDE, (900, 450)),
    ("/imgproxy/_/rs:fit:200:200/plain/{url}", WIDE, (200, 100)),
    ("/imgproxy/_/rs:fit:1200:1200:1/plain/{url}", WIDE, (1200, 600)),
    ("/imgproxy/_/rs:fill:300:200/{b64}.png", WIDE, (300, 200)),
    ("/imgproxy/_/rs:fill:200:200/plain/{url}", SMALL, (200, 100)),
    ("/imgproxy/_/rs:fill:200:200:1/plain/{url}", SMALL, (200, 200)),
    ("/imgproxy/_/rs:fill-down:200:200/plain/{url}", SMALL, (100, 100)),
    ("/imgproxy/_/rs:force:200:200/plain/{url}", SMALL, (100, 100)),
    ("/imgproxy/_/rs:force:200:50/plain/{url}", SMALL, (200, 50)),
    ("/imgproxy/_/rs:fit:200:200:0:1/plain/{url}", SMALL, (200, 200)),
    ("/imgproxy/_/rs:auto:300:200/plain/{url}", WIDE, (300, 200)),
    ("/imgproxy/_/rs:auto:200:300/plain/{url}", WIDE, (200, 100)),
    ("/imgproxy/_/rs:auto:400:200/plain/{url}", SMALL, (300, 100)),
    ("/imgproxy/_/rs:auto:400:200:1/plain/{url}", SMALL, (400, 200)),
    ("/imgproxy/_/s:300:200/rot:90/plain/{url}", WIDE, (100, 200)),
    ("/imgproxy/_/w:100/dpr:2/plain/{url}", WIDE, (200, 100)),
    ("/imgproxy/_/pr:thumbnail/plain/{url}", WIDE, (400, 300)),
    ("/imgproxy/_/pr:thumbnail/w:200/plain/{url}", WIDE, (200, 300)),
    ("/imgproxy/_/w%3A300/plain/{url}", WIDE, (300, 150)),
    # thumbor: two sides are cut and enlarged, fit-in never enlarges, filters turn what was resized.
    ("/thumbor/unsafe/{esc}", WIDE, (600, 300)),
    ("/thumbor/unsafe/300x200/{esc}", WIDE, (300, 200)),
    ("/thumbor/unsafe/300x200/{host}/wide.png", WIDE, (300, 200)),
    ("/thumbor/unsafe/400x400/{url}", SMALL, (400, 400)),
    ("/thumbor/unsafe/600x0/{url}", SMALL, (600, 200)),
    ("/thumbor/unsafe/fit-in/200x200/{url}", WIDE, (200, 100)),
    ("/thumbor/unsafe/fit-in/900x900/{url}", SMALL, (300, 100)),
    ("/thumbor/unsafe/fit-in/900x900/filters:upscale()/{url}", SMALL, (900, 300)),
    ("/thumbor/unsafe/200x200/filters:no_upscale()/{url}", SMALL, (200, 100)),
    ("/thumbor/unsafe/fit-in/200x200/filters:fill(red)/{url}", SMALL, (200, 200)),
    ("/thumbor/unsafe/stretch/200x200/{url}", SMALL, (200, 200)),
    ("/thumbor/unsafe/300x200/filters:rotate(90)/{url}", WIDE, (200, 300)),
    ("/thumbor/unsafe/-300x-200/left/top/{url}", WIDE, (300, 200)),
    ("/thumbor/unsafe/300x200/smart/filters:quality(70):format(webp)/{url}", WIDE, (300, 200)),
    ("/imagor/unsafe/fit-in/200x200/filters:fill(white)/b64:{b64}", SMALL, (200, 200)),
    ("/imagor/unsafe/300x200/top/{url}", WIDE, (300, 200)),
    # weserv enlarges unless `we` is said.
    ("/wsrv/?url={esc}", WIDE, (600, 300)),
    ("/?url={esc}&w=300", WIDE, (300, 150)),
    ("/?w=300&url={host}/wide.png", WIDE, (300, 150)),
    ("/wsrv/?url={esc}&w=900", WIDE, (900, 450)),
    ("/wsrv/?url={esc}&w=900&we", WIDE, (600, 300)),
    ("/wsrv/?url={esc}&w=200&h=200", SMALL, (200, 67)),
    ("/wsrv/?url={esc}&w=600&h=600", SMALL, (600, 200)),
    ("/wsrv/?url={esc}&w=200&h=200&fit=cover", SMALL, (200, 200)),
    ("/wsrv/?url={esc}&w=200&h=200&fit=cover&we=1", SMALL, (200, 100)),
    ("/wsrv/?url={esc}&w=200&h=200&t=squaredown", SMALL, (200, 100)),
    ("/wsrv/?url={esc}&w=200&h=200&fit=fill&we", SMALL, (200, 100)),
    ("/wsrv/?url={esc}&w=200&h=200&fit=contain", SMALL, (200, 200)),
    ("/wsrv/?url={esc}&w=100&dpr=2", WIDE, (200, 100)),
    # Cloudflare's options are ours.
    ("/cdn-cgi/image/width=300/{url}", WIDE, (300, 150)),
    ("/cdn-cgi/image/w=200,h=200,fit=aspect-crop/{url}", SMALL, (100, 100)),
    ("/cdn-cgi/image/w=200,h=200,fit=crop/{esc}", SMALL, (200, 200)),
    ("/cdn-cgi/image/format=auto/{url}", WIDE, (600, 300)),
    # imageproxy cuts to what there is, turns what was resized.
    ("/imageproxy/{url}", WIDE, (600, 300)),
    ("/imageproxy/300x200/{url}", WIDE, (300, 200)),
    ("/imageproxy/300/{url}", WIDE, (300, 300)),
    ("/imageproxy/200x200/{url}", SMALL, (200, 100)),
    ("/imageproxy/200x200,scaleUp/{url}", SMALL, (200, 200)),
    ("/imageproxy/200x200,fit/{esc}", WIDE, (200, 100)),
    ("/imageproxy/900x/{b64}", WIDE, (600, 300)),
    ("/imageproxy/900x,scaleUp/{url}", WIDE, (900, 450)),
    ("/imageproxy/300x200,r90/{url}", WIDE, (200, 300)),
    # Photon enlarges only what `resize` cuts.
    ("/photon/{host}/wide.png", WIDE, (600, 300)),
    ("/photon/{host}/wide.png?w=300", WIDE, (300, 150)),
    ("/photon/{host}/wide.png?w=900", WIDE, (600, 300)),
    ("/photon/{host}/wide.png?fit=200%2C200", WIDE, (200, 100)),
    ("/photon/{host}/small.png?resize=200,200", SMALL, (200, 200)),
    ("/photon/{host}/wide.png?w=100&zoom=2", WIDE, (200, 100)),
    ("/photon/{host}/small.png?lb=200,200", SMALL, (200, 200)),
    # Next.js never enlarges.
    ("/_next/image?url={esc}&w=256&q=75", WIDE, (256, 128)),
    ("/_next/image?url={esc}&w=1920&q=75", WIDE, (600, 300)),
    # ipx: the area gets no larger than the picture, in its own shape, unless `enlarge` is said.
    ("/_ipx/_/{url}", WIDE, (600, 300)),
    ("/_ipx/w_300/{url}", WIDE, (300, 150)),
    ("/_ipx/w_900/{url}", WIDE, (600, 300)),
    ("/_ipx/enlarge,w_900/{url}", WIDE, (900, 450)),
    ("/_ipx/s_300x200/{esc}", WIDE, (300, 200)),
    ("/_ipx/s_200x200/{url}", SMALL, (100, 100)),
    ("/_ipx/s_200x200,enlarge/{url}", SMALL, (200, 200)),
    ("/_ipx/s_200x200,fit_inside/{url}", WIDE, (200, 100)),
    ("/_ipx/s_200x200,fit_contain/{url}", SMALL, (100, 100)),
    ("/_ipx/s_200x200,fit_fill/{url}", SMALL, (100, 100)),
    ("/_ipx/w_300,h_100/{url}", WIDE, (300, 150)),
    ("/_ipx/f_webp&w:300/{url}", WIDE, (300, 150)),
    # The others only carry.
    ("/camo/0f6def1cb147b0e84f39cbddc5ea10c80253a6f3/{hex}", WIDE, (600, 300)),
    ("/camo/0f6def1cb147b0e84f39cbddc5ea10c80253a6f3?url={esc}", WIDE, (600, 300)),
    ("/camo/D23vHLFHsOhPOcvdxeoQyAJTpvM/{b64}", WIDE, (600, 300)),
    ("/miniflux/proxy/AAAA/{b64}", WIDE, (600, 300)),
    ("/miniflux/{b64}", WIDE, (600, 300)),
    ("/cors/{url}", WIDE, (600, 300)),
    ("/cors/{host}/wide.png", WIDE, (600, 300)),
    ("/cors//{host}/wide.png", WIDE, (600, 300)),
    ("/cors///{host}/wide.png", WIDE, (600, 300)),
    ("/cors/http:/{host}/wide.png", WIDE, (600, 300)),
]
"""Address, size of the original, size of the answer."""


@pytest.fixture(scope="module")
def peers_origin() -> Iterator[ScriptedOrigin]:
    with run_in_thread() as origin:
        origin.serve("/wide.png", chart_png(*WIDE))
        origin.serve("/small.png", chart_png(*SMALL))
        yield origin


def filled(template: str, origin: ScriptedOrigin, name: str) -> str:
    host = f"127.0.0.1:{origin.port}"
    url = f"http://{host}/{name}"
    host = f"https://{host}" if template.startswith("/imagor") and "{host}" in template else host
    return template.format(host=host, url=url, esc=quote(url, safe=""), b64=b64u(url), hex=url.encode().hex())


def size_of(answer: Answer) -> tuple[int, int]:
    assert answer.status == 200, answer.body
    with Image.open(io.BytesIO(answer.body)) as picture:
        return picture.size


@pytest.mark.parametrize(("template", "natural", "expected"), SIZES, ids=[row[0] for row in SIZES])
async def test_address_of_a_peer_gets_the_picture_of_the_peers_size(
    client: Client,
    peers_origin: ScriptedOrigin,
    template: str,
    natural: tuple[int, int],
    expected: tuple[int, int],
) -> None:
    name = "wide.png" if natural == WIDE else "small.png"
    answer = await client.get(filled(template, peers_origin, name))
    assert size_of(answer) == expected
