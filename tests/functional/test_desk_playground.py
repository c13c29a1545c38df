"""The overview, the playground and the presets of a real service: what they say is what a visitor gets."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from desk import TOKEN, DeskVisitor, signed_in
from http_client import Client
from pictures import chart_png, photo_jpeg
from scripted_origin import ScriptedOrigin
from service import Service, write_config

from proxy.services.desk.history import FIGURES, FigureHistory, Minute

KEY = "a signing key of the owner"
ACCEPT = {"Accept": "image/avif,image/webp,*/*"}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings: dict[str, dict[str, Any]] = {"server": {"admin_token": TOKEN}, "sources": {"keys": [KEY]}}
    with Service(write_config(tmp_path_factory.mktemp("keyed"), settings)) as service:
        yield service


@pytest.fixture
async def owner(http: aiohttp.ClientSession, keyed: Service) -> DeskVisitor:
    return await signed_in(http, keyed.base)


async def tried(visitor: DeskVisitor, source: str, **options: str) -> str:
    asked = "".join(f"&{name}={quote(value, safe='')}" for name, value in options.items())
    answer = await visitor.open(f"/desk/playground?source={quote(source, safe='')}{asked}")
    assert answer.status == 200
    return html.unescape(answer.body.decode())


async def test_every_address_of_the_playground_answers(owner: DeskVisitor, origin: ScriptedOrigin) -> None:
    """Ours and those in other grammars, the candidates of the markup, and each format: all of them are pictures."""
    origin.serve("/p.jpg", photo_jpeg(900, 600), content_type="image/jpeg")
    page = await tried(owner, origin.url("/p.jpg"), width="300", height="200", fit="cover")
    base = owner.client.base
    found = set(re.findall(rf'{re.escape(base)}/[^\s"<]+', page))
    found |= {base + target for target in re.findall(r'(?:src|href)="(/image/[^"]+)"', page)}
    assert sum(",sig=" in url for url in found) >= 7
    signed = [url for url in found if ",sig=" in url]
    statuses = {url: (await owner.client.get(url[len(base) :], headers=ACCEPT)).status for url in signed}
    assert set(statuses.values()) == {200}, statuses


async def test_addresses_in_other_grammars_answer_the_same_size(
    http: aiohttp.ClientSession, client: Client, origin: ScriptedOrigin
) -> None:
    origin.serve("/d.png", chart_png(600, 400))
    page = await tried(DeskVisitor(client), origin.url("/d.png"), width="200")
    rows = re.findall(r"<dt>([\w-]+)</dt><dd><code[^>]*>(\S+)</code>", page)
    assert len(rows) >= 8
    for name, url in rows:
        answer = await client.get(url[len(client.base) :])
        assert answer.status == 200, (name, url, answer.body[:200])


async def test_bytes_of_formats_are_those_that_visitors_get(client: Client, origin: ScriptedOrigin) -> None:
    origin.serve("/b.jpg", photo_jpeg(800, 500), content_type="image/jpeg")
    page = await tried(DeskVisitor(client), origin.url("/b.jpg"), width="400")
    rows = re.findall(r'scope="row">(\w+)</th>.*?"number">([\d.]+ k?B)<.*?href="([^"]+)"', page, re.DOTALL)
    assert [name for name, _, _ in rows] == ["AVIF", "WebP", "JPEG", "PNG", "GIF"]
    for name, size, target in rows:
        answer = await client.get(target)
        assert answer.status == 200
        number, unit = size.split()
        given = len(answer.body) / (1000 if unit == "kB" else 1)
        assert given == pytest.approx(float(number), rel=0.01), (name, size, len(answer.body))
    assert "400 × 250" in page


async def test_playground_admits_what_the_service_admits_and_no_more(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """Where only presets are admitted, options are refused, and the formats of a preset are found by negotiation."""
    origin.serve("/r.jpg", photo_jpeg(800, 500), content_type="image/jpeg")
    settings = {"sources": {"transforms": "presets"}}
    with Service(write_config(tmp_path, settings)) as service:
        visitor = DeskVisitor(Client(http, service.base))
        page = await tried(visitor, origin.url("/r.jpg"), width="333")
        assert "source_not_allowed" in page
        page = await tried(visitor, origin.url("/r.jpg"), preset="thumbnail")
        assert page.count("by negotiation") >= 3


async def test_service_with_keys_signs_nothing_for_a_visitor_without_a_session(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    origin.serve("/k.png", chart_png(80, 60))
    with Service(write_config(tmp_path, {"sources": {"keys": [KEY]}})) as service:
        visitor = DeskVisitor(Client(http, service.base))
        for path in ("playground", "presets", "picture"):
            answer = await visitor.open(
                f"/desk/{path}?source={quote(origin.url('/k.png'), safe='')}&preset=thumbnail"
            )
            assert answer.status == 200
            assert b"sig=" not in answer.body, path
    assert origin.count("/k.png") == 0


@pytest.mark.parametrize(
    "options",
    [
        {"width": "0"},
        {"fit": "nonsense"},
        {"preset": "nothing"},
        {"gravity": "<b>"},
        {"preset": "a,b"},
        {"width": "1e9"},
    ],
)
async def test_option_that_cannot_be_read_is_named(client: Client, options: dict[str, str]) -> None:
    page = await tried(DeskVisitor(client), "http://host.example/a.png", **options)
    assert 'class="notice bad"' in page


@pytest.mark.parametrize(
    "source", ["x", "ftp://h/a.png", "http://127.0.0.1:1/dead.png", "http://10.0.0.1/a.png"]
)
async def test_source_that_gives_no_picture_is_explained(client: Client, source: str) -> None:
    for path in ("playground", "presets"):
        answer = await DeskVisitor(client).open(f"/desk/{path}?source={quote(source, safe='')}&width=20")
        assert answer.status == 200
        assert b"bad" in answer.body


async def test_overview_names_what_is_wrong_and_what_doctor_would_say(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    with Service(write_config(tmp_path, {"store": {"min_free": "900 TiB"}})) as service:
        page = (await DeskVisitor(Client(http, service.base)).open("/desk")).body.decode()
    assert "The service is degraded" in page
    assert "disk is low: new originals are served but not kept" in page
    assert "store.min_free is" in page


async def test_overview_draws_the_figures_that_the_service_kept(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """The plots are there after a restart: the figures lie in the store."""
    config = write_config(tmp_path)
    with Service(config):
        pass
    last = int(time.time() // 60) - 1
    figures = dict.fromkeys(FIGURES, 0.0) | {"lookups": 40.0, "hits": 30.0, "answers": 50.0}
    history = FigureHistory(tmp_path / "store" / "desk")
    for number in range(last - 100, last + 1):
        history.add(Minute(number, figures))
    with Service(config) as service:
        visitor = DeskVisitor(Client(http, service.base))
        hour = (await visitor.open("/desk")).body.decode()
        day = (await visitor.open("/desk?span=day")).body.decode()
    assert "75.0 %" in hour
    assert hour.count('<rect class="good"') > day.count('<rect class="good"') > 10
    assert "No figures yet" not in hour
