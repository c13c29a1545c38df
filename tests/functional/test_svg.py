"""SVG through a running service: recognised, kept, answered unchanged or drawn."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import aiohttp
import pytest
from http_client import Client
from pictures import chart_png, opened
from scripted_origin import ScriptedOrigin
from service import Service

from proxy.config import Config, SourcesConfig
from proxy.images.svg import DRAW
from proxy.services.articles.article_use import RewriteSettings
from proxy.services.serving.untouched import CODERS

NS = 'xmlns="http://www.w3.org/2000/svg"'
SVG = f'<svg {NS} width="40" height="20"><rect width="40" height="20" fill="#dc1e1e"/></svg>'
LONG = "<!-- " + "licence " * 20_000 + "-->"

PROLOGS = {
    "comment of 160 kB": (LONG + SVG).encode(),
    "declaration and style sheet": f'<?xml version="1.0"?><?xml-stylesheet href="a.css"?>\n{SVG}'.encode(),
    "document type with entities": f'<!DOCTYPE svg [<!ENTITY a "b"><!ENTITY c "]>">]>{SVG}'.encode(),
    "UTF-16 with a mark": SVG.encode("utf-16"),
    "UTF-16 big-endian without a mark": SVG.encode("utf-16-be"),
    "UTF-16 behind a long comment": (LONG + SVG).encode("utf-16"),
    "GB2312": f'<?xml version="1.0" encoding="GB2312"?><!-- 图 -->{SVG}'.encode("gbk"),
    "white space": f"\ufeff\n\n  {SVG}".encode(),
    "prefix": SVG.replace("<", "<s:").replace("<s:/", "</s:").replace("xmlns", "xmlns:s").encode(),
}


@pytest.mark.parametrize("claimed", ["image/svg+xml", "text/xml", "text/plain"])
@pytest.mark.parametrize("name", PROLOGS)
async def test_svg_behind_any_prolog_is_kept_and_served(
    client: Client, origin: ScriptedOrigin, name: str, claimed: str
) -> None:
    """Its bytes are returned as an SVG, and nothing says that it is damaged."""
    origin.serve("/a.svg", PROLOGS[name], content_type=claimed)
    for _ in range(2):
        kept = await client.get("/image/original/" + origin.url("/a.svg"))
        assert (kept.status, kept.body) == (200, PROLOGS[name])
        assert kept.headers["Content-Type"] == "image/svg+xml"
    drawn = await client.get("/image/format=png/" + origin.url("/a.svg"))
    # Nobody here can tell what a style sheet elsewhere would do to it.
    assert drawn.status == (422 if "style sheet" in name else 200)
    assert drawn.code == ("unsupported_format" if "style sheet" in name else "")
    assert origin.count() == 1


@pytest.mark.parametrize(
    "body",
    [
        f"<!DOCTYPE html><html><body>{SVG}</body></html>",
        f"{LONG}<html>{SVG}</html>",
        f"An icon: {SVG}",
        f"<!-- {SVG}",
        f"<!DOCTYPE svg><html>{SVG}</html>",
    ],
)
async def test_page_or_text_with_an_svg_inside_is_no_picture(
    client: Client, origin: ScriptedOrigin, body: str
) -> None:
    origin.serve("/a.svg", body.encode(), content_type="image/svg+xml")
    assert (await client.get("/image/original/" + origin.url("/a.svg"))).status == 422


# In the place of a variant

CHROME = {"Accept": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"}
UNPACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress}
if "br" in CODERS:
    import brotli

    UNPACKERS["br"] = brotli.decompress
PLAIN = {"Accept-Encoding": "identity"}
ADMITTING: tuple[dict[str, str], ...] = (
    {},
    {"Accept": "*/*"},
    {"Accept": "image/*"},
    {"Accept": "image/webp,image/svg+xml;q=0.1"},
    CHROME,
)
DRAWN = {
    "image/avif": "image/avif",
    "image/webp,image/avif;q=0.5": "image/webp",
    "image/png": "image/png",
    "image/svg+xml;q=0,*/*": "image/png",
    "image/*;q=0,image/webp": "image/webp",
}


@pytest.mark.parametrize(
    "options", ["headimg", "thumbnail", "content", "w=9", "w=900,h=2,fit=pad", "dpr=3,q=20"]
)
@pytest.mark.parametrize("headers", ADMITTING, ids=str)
async def test_svg_is_answered_as_it_is_whatever_size_is_asked_for(
    client: Client, origin: ScriptedOrigin, options: str, headers: dict[str, str]
) -> None:
    """The first time and from memory: the origin's bytes, under the policy that lets them do nothing."""
    origin.serve("/a.svg", SVG.encode(), content_type="image/svg+xml", etag='"v1"')
    for _ in range(2):
        answer = await client.get(f"/image/{options}/{origin.url('/a.svg')}", headers={**headers, **PLAIN})
        assert (answer.status, answer.body) == (200, SVG.encode())
        assert answer.headers["Content-Type"] == "image/svg+xml"
        assert answer.headers["ETag"] == '"v1"'
        assert answer.headers["Vary"] == "Accept, Accept-Encoding"
        assert "Content-Encoding" not in answer.headers
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.cache_status.endswith("detail=memory")
    assert origin.count() == 1


@pytest.mark.skipif(DRAW is None, reason="resvg-py is not installed")
@pytest.mark.parametrize("accept", DRAWN)
async def test_svg_is_drawn_for_a_client_that_does_not_take_it(
    client: Client, origin: ScriptedOrigin, accept: str
) -> None:
    origin.serve("/a.svg", SVG.encode(), content_type="image/svg+xml")
    target = "/image/w=480,h=240,fit=cover/" + origin.url("/a.svg")
    await client.get(target, headers=CHROME)
    answer = await client.get(target, headers={"Accept": accept})
    assert (answer.status, answer.headers["Content-Type"]) == (200, DRAWN[accept])
    assert opened(answer.body).size == (480, 240)
    assert answer.headers["Vary"] == "Accept"


@pytest.mark.skipif(DRAW is None, reason="resvg-py is not installed")
@pytest.mark.parametrize(
    "options", ["format=png", "f=webp,w=20", "rotate=90", "blur=3", "background=white,w=20"]
)
async def test_svg_is_drawn_where_more_than_its_size_is_asked_for(
    client: Client, origin: ScriptedOrigin, options: str
) -> None:
    """A format that is named, and changes of the picture that the original does not show."""
    origin.serve("/a.svg", SVG.encode(), content_type="image/svg+xml")
    answer = await client.get(f"/image/{options}/{origin.url('/a.svg')}", headers=CHROME)
    assert answer.status == 200
    assert answer.headers["Content-Type"] != "image/svg+xml"


@pytest.mark.parametrize("coding", CODERS)
async def test_svg_is_compressed_for_a_client_that_takes_it(
    client: Client, origin: ScriptedOrigin, coding: str
) -> None:
    """Under an entity tag of its own, by which a second request is answered 304."""
    origin.serve("/a.svg", SVG.encode() + b"<!--" + b"x" * 2000 + b"-->", content_type="image/svg+xml")
    target = "/image/content/" + origin.url("/a.svg")
    plain = await client.get(target, headers=PLAIN)
    for _ in range(2):
        answer = await client.get(target, headers={"Accept-Encoding": coding})
        assert answer.headers["Content-Encoding"] == coding
        assert int(answer.headers["Content-Length"]) < len(plain.body) // 4
        assert answer.headers["ETag"] == plain.headers["ETag"][:-1] + f'-{coding}"'
        assert answer.headers["Vary"] == "Accept, Accept-Encoding"
        assert UNPACKERS[coding](answer.body) == plain.body
    seen = {"Accept-Encoding": coding, "If-None-Match": answer.headers["ETag"]}
    again = await client.get(target, headers=seen)
    assert (again.status, again.headers["ETag"]) == (304, answer.headers["ETag"])
    assert again.headers["Vary"] == "Accept, Accept-Encoding"
    assert (await client.get(target, headers={**seen, **PLAIN})).status == 200
    head = await client.get(target, method="HEAD", headers={"Accept-Encoding": coding})
    assert (head.body, head.headers["Content-Length"]) == (b"", answer.headers["Content-Length"])


async def test_part_of_an_svg_is_answered(client: Client, origin: ScriptedOrigin) -> None:
    origin.serve("/a.svg", SVG.encode(), content_type="image/svg+xml")
    target = "/image/content/" + origin.url("/a.svg")
    answer = await client.get(target, headers={**PLAIN, "Range": "bytes=1-3"})
    assert (answer.status, answer.body) == (206, b"svg")
    assert answer.headers["Content-Range"] == f"bytes 1-3/{len(SVG)}"


async def test_raster_picture_says_nothing_of_codings(client: Client, origin: ScriptedOrigin) -> None:
    origin.serve("/a.png", chart_png(60, 40))
    answer = await client.get("/image/content/" + origin.url("/a.png"), headers=CHROME)
    assert answer.headers["Vary"] == "Accept"
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["Content-Type"] != "image/svg+xml"


async def test_svg_that_is_broken_is_not_answered_in_the_place_of_a_variant(
    client: Client, origin: ScriptedOrigin
) -> None:
    """It is damaged: its preset leads to the original, bare options say so."""
    origin.serve("/a.svg", SVG.encode()[:-9], content_type="image/svg+xml")
    assert (await client.get("/image/w=9/" + origin.url("/a.svg"))).code == "decode_failed"
    assert (await client.get("/image/original/" + origin.url("/a.svg"))).body == SVG.encode()[:-9]


async def test_explanation_names_the_original_as_the_answer(client: Client, origin: ScriptedOrigin) -> None:
    origin.serve("/a.svg", SVG.encode(), content_type="image/svg+xml")
    target = "/image/content/" + origin.url("/a.svg")
    await client.get(target)
    for accept, chosen in (("*/*", "the original"), ("image/webp", "webp")):
        told = json.loads((await client.get("/explain" + target, headers={"Accept": accept})).body)
        assert told["format"]["chosen"] == chosen


@pytest.mark.parametrize(("transforms", "options"), [("any", "content,format=png"), ("presets", "content")])
def test_preview_names_a_format_only_where_it_is_admitted(
    transforms: Literal["any", "presets"], options: str
) -> None:
    config = Config(sources=SourcesConfig(transforms=transforms))
    data = b'<meta property="og:image" content="https://cors.zfour.workers.dev/?http://h.example/a.svg">'
    rewriter = RewriteSettings.of(config, base_url="https://m.example").rewriter()
    result = rewriter.rewrite(data, kind="html")
    assert f"https://m.example/image/{options}/http://h.example/a.svg".encode() in result.data


async def test_svg_of_too_much_work_is_answered_as_the_original_only(
    client: Client, origin: ScriptedOrigin
) -> None:
    """It is not handed to browsers in the place of a variant, and nothing draws it."""
    work = '<filter id="f"><feTurbulence baseFrequency="0.1" numOctaves="1000000"/></filter>'
    body = f'<svg {NS} width="3000" height="3000">{work}<rect width="3000" height="3000" filter="url(#f)"/></svg>'
    origin.serve("/a.svg", body.encode(), content_type="image/svg+xml")
    source = origin.url("/a.svg")
    for accept in ("*/*", "image/webp,application/json"):
        for options in ("w=40", "format=png,w=40", "w=4000,upscale=true,fit=contain"):
            answer = await client.get(f"/image/{options}/{source}", headers={"Accept": accept})
            assert (answer.status, answer.code) == (422, "unsupported_format"), options
    redirect = await client.get(f"/image/content/{source}")
    assert (redirect.status, redirect.headers["Location"]) == (302, f"/image/original/{source}")
    for target in (f"/?{source}", f"/image/original/{source}"):
        assert (await client.get(target)).body == body.encode()


@pytest.mark.parametrize("inside", ["<script>a()</script>", "<style>@import 'a.css';</style>", "<animate/>"])
async def test_svg_that_is_not_drawn_is_still_answered_as_it_is(
    client: Client, origin: ScriptedOrigin, inside: str
) -> None:
    body = SVG.replace("<rect", f"{inside}<rect")
    origin.serve("/a.svg", body.encode(), content_type="image/svg+xml")
    address = origin.url("/a.svg")
    assert (await client.get(f"/image/w=9/{address}", headers=PLAIN)).body == body.encode()
    assert (await client.get(f"/image/w=9,format=png/{address}")).code == "unsupported_format"


async def test_body_of_an_svg_deleted_by_hand_is_fetched_again(
    own_config: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    origin.serve("/a.svg", SVG.encode(), content_type="image/svg+xml")
    address = origin.url("/a.svg")
    with Service(own_config) as service:
        client = Client(http, service.base)
        await client.get(f"/image/original/{address}")
        for body in (own_config.parent / "store" / "bodies").rglob("*"):
            if body.is_file():
                body.unlink()
        answer = await client.get(f"/image/w=9/{address}", headers=PLAIN)
    assert (answer.status, answer.body) == (200, SVG.encode())
    assert origin.count() == 2
