"""Recovery of dead pictures from a Wayback Machine on loopback: which copies are accepted, and how they are
reported."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from commands import invoke, markdown
from http_client import Client
from pictures import chart_png, saved
from PIL import Image
from scripted_origin import ScriptedOrigin, head, raw
from scripted_wayback import ScriptedWayback
from service import Service, write_config

OLD, NEW = chart_png(60, 40), chart_png(90, 70)
HTML = b"<!doctype html><html><title>parked</title></html>"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, archive: ScriptedWayback) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("recovery")
    with Service(write_config(folder, {"fetch": {"wayback": archive.url("")}})) as found:
        yield found


@pytest.fixture
def client(http: aiohttp.ClientSession, service: Service) -> Client:
    return Client(http, service.base)


@pytest.fixture
def dead(request: pytest.FixtureRequest) -> str:
    """A picture of this test that nobody has, because nothing listens on port 1."""
    return f"http://127.0.0.1:1/{quote(request.node.name, safe='')}.png"


async def explained(client: Client, url: str) -> dict[str, Any]:
    return dict(json.loads((await client.get("/explain/?" + url)).body)["original"])


async def test_dead_picture_is_recovered_kept_and_says_where_it_came_from(
    client: Client, wayback: ScriptedWayback, dead: str
) -> None:
    wayback.capture(dead, "20150101000000", OLD)
    first = await client.get("/?" + dead)
    assert (first.status, first.body) == (200, OLD)
    assert "fwd=uri-miss; fwd-status=200; stored; detail=recovered" in first.cache_status
    assert first.headers["Last-Modified"] == "Wed, 01 Jan 2014 00:00:00 GMT"
    assert first.headers["ETag"] != '"of-the-archive"'
    asked = wayback.count()
    assert (await client.get("/?" + dead)).body == OLD
    assert (await client.get("/image/width=30,format=png/" + dead)).status == 200
    assert wayback.count() == asked, "it is kept now"
    assert (await explained(client, dead))["recovered"] == {
        "from": "wayback",
        "url": wayback.url(f"/web/20150101000000id_/{dead}"),
        "captured_at": 1420070400.0,
    }


async def test_variant_of_a_dead_picture_comes_from_the_recovered_one(
    client: Client, wayback: ScriptedWayback, dead: str
) -> None:
    wayback.capture(dead, "20150101000000", OLD)
    assert (await client.get("/image/width=30,format=png/" + dead)).status == 200


async def test_without_a_date_the_newest_good_capture_is_taken(
    client: Client, wayback: ScriptedWayback, dead: str
) -> None:
    wayback.has_availability = False
    wayback.capture(dead, "20120101000000", OLD)
    wayback.capture(dead, "20180101000000", NEW)
    wayback.capture(dead, "20200101000000", b"gone", status=404, mimetype="text/html")
    assert (await client.get("/?" + dead)).body == NEW


BAD: dict[str, dict[str, Any]] = {
    "error page of status 200": {"body": HTML},
    "error page that the index calls a page": {"body": HTML, "mimetype": "text/html"},
    "captured 404": {"body": b"no", "status": 404, "mimetype": "text/html"},
    "captured 503": {"body": b"no", "status": 503},
    "cut picture": {"body": OLD[:-40]},
    "single pixel": {"body": saved(Image.new("RGB", (1, 1)), "PNG")},
    "nothing at all": {"body": b""},
    "redirect out of the archive": {"body": b"", "status": 302, "location": "http://127.0.0.1:1/x.png"},
    "redirect to changed playback": {
        "body": b"",
        "status": 302,
        "location": "/web/20150101000000/http://h/x.png",
    },
    "redirect to an inner address": {"body": b"", "status": 302, "location": "http://169.254.169.254/latest"},
}


@pytest.mark.parametrize("name", BAD)
async def test_capture_that_is_no_picture_is_not_kept_and_the_next_one_is_tried(
    client: Client, wayback: ScriptedWayback, name: str, dead: str
) -> None:
    words = dict(BAD[name])
    wayback.capture(dead, "20200101000000", words.pop("body"), **words)
    assert (await client.get("/?" + dead)).code == "source_unreachable"
    assert (await explained(client, dead))["state"] == "absent"
    wayback.capture(dead, "20100101000000", OLD)
    assert (await client.get("/?" + dead)).body == OLD


async def test_redirects_among_captures_are_followed(
    client: Client, wayback: ScriptedWayback, dead: str
) -> None:
    """The index knows a capture that is gone; and a site that had moved its pictures when it was captured."""
    moved = "http://127.0.0.1:1/new/place.png"
    wayback.capture(dead, "20150101000000", b"", status=302, location=f"/web/20150101000000id_/{moved}")
    wayback.capture(moved, "20150102000000", OLD)
    # The index lists a redirect as such; the availability answer may name it all the same.
    wayback.names_anything = True
    assert (await client.get("/?" + dead)).body == OLD
    assert (await explained(client, dead))["recovered"]["url"] == wayback.url(
        f"/web/20150102000000id_/{moved}"
    )
    assert (await explained(client, dead))["recovered"]["captured_at"] == 1420156800.0


async def test_revisit_plays_back_what_it_repeats(
    client: Client, wayback: ScriptedWayback, dead: str
) -> None:
    wayback.has_availability = False
    wayback.capture(dead, "20150101000000", OLD, revisit=True)
    assert (await client.get("/?" + dead)).body == OLD


async def test_archive_that_is_busy_is_left_alone_and_the_failure_is_the_origins(
    tmp_path: Path, http: aiohttp.ClientSession, wayback: ScriptedWayback, dead: str
) -> None:
    wayback.busy_seconds = 600
    wayback.capture(dead, "20150101000000", OLD)
    with Service(write_config(tmp_path, {"fetch": {"wayback": wayback.url("")}})) as service:
        for number in range(3):
            answer = await Client(http, service.base).get(f"/?{dead}?{number}")
            assert answer.code == "source_unreachable"
    assert wayback.count() == 1


@pytest.mark.parametrize(
    "answer", [b"<html>maintenance", b"[", b"[[]]", b"{}", b"[1,2]", b'[["timestamp"],["x"]]', b"null"]
)
async def test_archive_that_talks_nonsense_is_as_none(
    client: Client, wayback: ScriptedWayback, answer: bytes, dead: str
) -> None:
    wayback.always = head(200, {"Content-Length": str(len(answer))}) + answer
    assert (await client.get("/?" + dead)).code == "source_unreachable"


@pytest.mark.parametrize(
    ("status", "looked_up"), [(404, True), (410, True), (403, True), (503, False), (429, False)]
)
async def test_only_dead_sources_are_looked_up(
    client: Client, wayback: ScriptedWayback, origin: ScriptedOrigin, status: int, looked_up: bool
) -> None:
    """An origin that is busy or out of order for a moment still has its picture."""
    url = origin.url("/x.png")
    origin.script("/x.png", raw(head(status, [("Content-Length", "0")])))
    wayback.capture(url, "20150101000000", OLD)
    assert ((await client.get("/?" + url)).status == 200) is looked_up
    assert bool(wayback.count()) is looked_up


async def test_parked_domain_is_dead(
    client: Client, wayback: ScriptedWayback, origin: ScriptedOrigin
) -> None:
    url = origin.url("/x.png")
    origin.serve("/x.png", HTML, content_type="text/html")
    wayback.capture(url, "20150101000000", OLD)
    assert (await client.get("/?" + url)).body == OLD


async def test_kept_original_is_never_replaced_by_a_copy(
    tmp_path: Path, http: aiohttp.ClientSession, wayback: ScriptedWayback, origin: ScriptedOrigin
) -> None:
    url = origin.url("/x.png")
    origin.serve("/x.png", NEW)
    wayback.capture(url, "20150101000000", OLD)
    config = write_config(tmp_path, {"fetch": {"wayback": wayback.url(""), "min_fresh": 0}})
    with Service(config) as service:
        client = Client(http, service.base)
        assert (await client.get("/?" + url)).body == NEW
        origin.forget("/x.png")
        assert (await client.get("/?" + url)).body == NEW
    assert wayback.count() == 0


async def test_origin_that_comes_back_takes_the_place_of_the_copy(
    tmp_path: Path, http: aiohttp.ClientSession, wayback: ScriptedWayback, origin: ScriptedOrigin
) -> None:
    url = origin.url("/x.png")
    wayback.capture(url, "20150101000000", OLD)
    config = write_config(tmp_path, {"fetch": {"wayback": wayback.url(""), "min_fresh": "1ms"}})
    with Service(config) as service:
        client = Client(http, service.base)
        assert (await client.get("/?" + url)).body == OLD
        origin.serve("/x.png", NEW, etag='"of-the-archive"')
        assert (await client.get("/?" + url)).body == NEW
        assert (await explained(client, url))["recovered"] is None


async def test_nothing_is_looked_up_unless_configured(
    tmp_path: Path, http: aiohttp.ClientSession, wayback: ScriptedWayback, dead: str
) -> None:
    wayback.capture(dead, "20150101000000", OLD)
    with Service(write_config(tmp_path)) as service:
        assert (await Client(http, service.base).get("/?" + dead)).code == "source_unreachable"
    assert wayback.count() == 0


async def test_caches_of_other_wrappers_are_asked_after_the_archive_when_configured(
    tmp_path: Path, http: aiohttp.ClientSession, wayback: ScriptedWayback, origin: ScriptedOrigin, dead: str
) -> None:
    origin.serve("/plain/" + dead, HTML, content_type="text/html")
    origin.serve("/?url=" + quote(dead, safe=""), OLD)
    prefixes = [origin.url("/plain/"), origin.url("/?url=")]
    keys = {"wayback": wayback.url(""), "recover_wrappers": prefixes}
    with Service(write_config(tmp_path, {"fetch": keys})) as service:
        client = Client(http, service.base)
        assert (await client.get("/?" + dead)).body == OLD
        recovered = (await explained(client, dead))["recovered"]
    assert recovered == {"from": "wrapper", "url": prefixes[1] + quote(dead, safe=""), "captured_at": None}
    assert wayback.asked("/cdx/")


# A whole blog


def test_warm_recovers_a_blog_near_the_dates_of_its_articles_and_reports(
    tmp_path: Path, wayback: ScriptedWayback, capsys: pytest.CaptureFixture[str], dead: str
) -> None:
    lost = "http://127.0.0.1:1/images/lost.png"
    articles = tmp_path / "posts"
    articles.mkdir()
    (articles / "old.md").write_text("---\ndate: Mon, 07 May 2012 11:54:00 GMT\n---\n" + markdown(dead, lost))
    (articles / "new.md").write_text("---\ndate: 2019-01-02\n---\n" + markdown(dead))
    wayback.capture(dead, "20120601000000", OLD)
    wayback.capture(dead, "20190101000000", NEW)
    config = write_config(tmp_path, {"fetch": {"wayback": wayback.url("")}})
    assert invoke("warm", articles, config=config) == 1
    assert wayback.count() == 0, "a plain warm says what is dead"
    report = tmp_path / "report.json"
    assert invoke("warm", articles, "--recover", "--report", report, config=config) == 1
    told = json.loads(report.read_text())
    url = wayback.url(f"/web/20120601000000id_/{dead}")
    assert [(one["source"], one["url"]) for one in told["recovered"]] == [(dead, url)]
    assert [one["source"] for one in told["dead"]] == [lost]
    assert told["summary"]["recovered"] == 1
    out = capsys.readouterr().out
    assert f"recovered: {dead} from {url}" in out
    assert invoke("warm", articles, "--recover", "--report", tmp_path / "r.html", config=config) == 1
    assert url in (tmp_path / "r.html").read_text()
    assert invoke("store", "stat", "--json", config=config) == 0
    assert json.loads(capsys.readouterr().out.partition("{")[2].join(["{", ""]))["recovered"] == 1


def test_service_recovers_near_the_date_that_warm_recorded(
    tmp_path: Path, wayback: ScriptedWayback, dead: str
) -> None:
    article = tmp_path / "2012-05-07-old.md"
    article.write_text(markdown(dead))
    wayback.capture(dead, "20120601000000", OLD)
    wayback.capture(dead, "20190101000000", NEW)
    config = write_config(tmp_path, {"fetch": {"wayback": wayback.url("")}})
    assert invoke("warm", article, config=config) == 1

    async def ask(base: str) -> bytes:
        async with aiohttp.ClientSession() as session:
            return (await Client(session, base).get("/?" + dead)).body

    with Service(config) as service:
        assert asyncio.run(ask(service.base)) == OLD


@pytest.mark.parametrize("words", [["--recover"], ["--recover", "--via", "http://127.0.0.1:1"]])
def test_recover_without_an_archive_of_its_own_is_wrong_use(
    tmp_path: Path, words: list[str], dead: str
) -> None:
    article = tmp_path / "a.md"
    article.write_text(markdown(dead))
    assert invoke("warm", article, *words, config=write_config(tmp_path)) == 2
