"""The rules of docs/caching.md through a real service from a scripted origin; requests at the origin are counted."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from http_client import Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, wait_until, write_config

from cache.base.keys import source_key
from cache.http.httpdate import format_http_date

PICTURE = chart_png(60, 40)
LETTER: dict[str, dict[str, Any]] = {
    "server": {"min_max_age": 0},
    "fetch": {"min_fresh": 0, "stale_if_error": 0, "types": ["*/*"]},
}
"""RFC 9111 to the letter."""


@pytest.fixture(scope="module")
def letter_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(write_config(tmp_path_factory.mktemp("letter"), LETTER)) as service:
        yield service
        assert "Traceback" not in service.log(), service.log()


@pytest.fixture
def letter(letter_service: Service, http: aiohttp.ClientSession) -> Client:
    return Client(http, letter_service.base)


def entry_of(service: Service, url: str) -> dict[str, Any]:
    key = source_key(url)
    path = service.config.parent / "store" / "entries" / key[:2] / f"{key}.json"
    return dict(json.loads(path.read_text(encoding="utf-8")))


def in_seconds(seconds: float) -> str:
    return format_http_date(time.time() + seconds)


@pytest.mark.parametrize(
    ("headers", "asked"),
    [
        ([("Cache-Control", "max-age=1000")], 1),
        ([("Cache-Control", "max-age=0, s-maxage=1000")], 1),
        ([("Cache-Control", "max-age=1000, s-maxage=0")], 2),
        ([("Cache-Control", "max-age=1000, no-cache")], 2),
        ([("Cache-Control", "max-age=1000, no-store")], 2),
        ([("Cache-Control", "max-age=1000, private")], 2),
        ([("Cache-Control", "max-age=1000, no-store, must-understand")], 1),
        ([("Cache-Control", "max-age=1000"), ("Age", "1000")], 2),
        ([("Cache-Control", "max-age=1000"), ("Date", in_seconds(-2000))], 2),
        ([("Cache-Control", "max-age=1000"), ("Vary", "*")], 2),
        ([("Cache-Control", "max-age=1000"), ("Vary", "Cookie")], 1),
        ([("Cache-Control", "no-store"), ("CDN-Cache-Control", "max-age=1000")], 1),
        ([("Cache-Control", "max-age=1000"), ("CDN-Cache-Control", "no-store")], 2),
        ([("Expires", in_seconds(1000))], 1),
        ([("Expires", "0")], 2),
        ([("Last-Modified", in_seconds(-100_000))], 1),
        ([("Pragma", "no-cache"), ("Expires", in_seconds(1000))], 2),
        ([], 2),
    ],
    ids=lambda value: (
        "; ".join(f"{name}={'a date' if text.endswith('GMT') else text}" for name, text in value)
        if isinstance(value, list)
        else None
    ),
)
async def test_origin_is_asked_again_as_its_freshness_says(
    letter: Client, origin: ScriptedOrigin, headers: list[tuple[str, str]], asked: int
) -> None:
    """Two requests, one after the other: the second is a hit where the origin allows it, and only there."""
    origin.serve("/a.png", PICTURE, headers=headers)
    target = "/?" + origin.url("/a.png")
    answers = [await letter.get(target), await letter.get(target)]
    assert [answer.body for answer in answers] == [PICTURE, PICTURE]
    assert origin.count("/a.png") == asked
    assert ("imgmirror; hit; ttl=" in answers[1].cache_status) is (asked == 1)


@pytest.mark.parametrize("wish", ["no-store", "private"])
async def test_answer_kept_against_its_origins_wish_says_so(
    letter: Client, origin: ScriptedOrigin, wish: str
) -> None:
    """Keeping pictures is the purpose of a mirror."""
    origin.serve("/a.png", PICTURE, headers={"Cache-Control": wish})
    answer = await letter.get("/?" + origin.url("/a.png"))
    assert (
        answer.cache_status == f"imgmirror; fwd=uri-miss; fwd-status=200; stored; detail=kept_despite_{wish}"
    )


@pytest.mark.parametrize("tag", ['"strong"', 'W/"weak"'])
async def test_stale_original_is_validated_with_its_entity_tag(
    letter: Client, origin: ScriptedOrigin, tag: str
) -> None:
    """RFC 9111 §4.3.1: also a weak one; 304 keeps the bytes, and nothing is sent twice."""
    origin.serve("/a.png", PICTURE, etag=tag, headers={"Cache-Control": "max-age=0"})
    target = "/?" + origin.url("/a.png")
    await letter.get(target)
    answer = await letter.get(target)
    assert answer.cache_status == "imgmirror; fwd=stale; fwd-status=304"
    assert answer.headers["Proxy-Status"] == "imgmirror; received-status=304"
    assert (answer.body, origin.requests[1].header("If-None-Match")) == (PICTURE, tag)


async def test_stale_original_is_validated_with_its_date(letter: Client, origin: ScriptedOrigin) -> None:
    """RFC 9110 §13.1.3: the Last-Modified of the origin, as it wrote it."""
    date = "Mon, 26 Jul 2021 11:54:00 GMT"
    origin.serve("/a.png", PICTURE, last_modified=date, headers={"Cache-Control": "max-age=0"})
    target = "/?" + origin.url("/a.png")
    await letter.get(target)
    assert (await letter.get(target)).cache_status == "imgmirror; fwd=stale; fwd-status=304"
    assert origin.requests[1].header("If-Modified-Since") == date


async def test_304_brings_the_entry_up_to_date(
    letter: Client, letter_service: Service, origin: ScriptedOrigin
) -> None:
    """RFC 9111 §4.3.4: its fields, and with them the freshness, replace the stored ones. Fields that it omits stay."""
    origin.serve(
        "/a.png", PICTURE, etag='"v1"', headers=[("Cache-Control", "max-age=0"), ("X-A", "1"), ("X-B", "1")]
    )
    target, url = "/?" + origin.url("/a.png"), origin.url("/a.png")
    await letter.get(target)
    origin.serve("/a.png", PICTURE, etag='"v1"', headers=[("Cache-Control", "max-age=1000"), ("X-A", "2")])
    await letter.get(target)
    assert (await letter.get(target)).cache_status.startswith("imgmirror; hit")
    assert origin.count("/a.png") == 2
    headers = entry_of(letter_service, url)["headers"]
    assert {"x-a": "2", "x-b": "1", "cache-control": "max-age=1000"}.items() <= dict(headers).items()


async def test_entry_keeps_what_the_origin_said_and_passes_none_of_it_down(
    letter: Client, letter_service: Service, origin: ScriptedOrigin
) -> None:
    """RFC 9111 §3.1: all end-to-end fields are stored; nothing of a connection, no cookie."""
    said = {"X-Powered-By": "patience", "Link": "</a>; rel=preload", "Refresh": "1", "Content-MD5": "abc"}
    never = {"Set-Cookie": "a=b", "Connection": "keep-alive, x-hop", "X-Hop": "1", "Keep-Alive": "timeout=5"}
    origin.serve("/a.png", PICTURE, headers=[*said.items(), *never.items()])
    answer = await letter.get("/?" + origin.url("/a.png"))
    kept = {name for name, _ in entry_of(letter_service, origin.url("/a.png"))["headers"]}
    assert {name.lower() for name in said} <= kept
    assert not {name.lower() for name in never} & kept
    assert not {name.lower() for name in (*said, *never)} & {name.lower() for name in answer.headers} - {
        "connection"
    }


async def test_stale_answer_comes_at_once_where_the_origin_allows_it(
    letter: Client, origin: ScriptedOrigin
) -> None:
    """RFC 5861 §3: a hit with a negative time to live (RFC 9211 §2.3). The refresh continues in the background."""
    control = "max-age=0, stale-while-revalidate=1000"
    origin.serve("/a.png", PICTURE, etag='"v1"', headers={"Cache-Control": control})
    target = "/?" + origin.url("/a.png")
    await letter.get(target)
    answer = await letter.get(target)
    assert answer.cache_status.startswith("imgmirror; hit; ttl=-")
    assert answer.cache_status.endswith("detail=refreshing")
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    # The origin answers in this loop.
    await asyncio.to_thread(wait_until, lambda: origin.count("/a.png") == 2)


async def test_stale_answer_waits_where_the_origin_forbids_it(letter: Client, origin: ScriptedOrigin) -> None:
    """RFC 9111 §5.2.2.2: must-revalidate."""
    control = "max-age=0, stale-while-revalidate=1000, must-revalidate"
    origin.serve("/a.png", PICTURE, etag='"v1"', headers={"Cache-Control": control})
    target = "/?" + origin.url("/a.png")
    await letter.get(target)
    assert (await letter.get(target)).cache_status == "imgmirror; fwd=stale; fwd-status=304"


async def test_error_of_the_origin_is_ours_where_nothing_stale_may_be_answered(
    letter: Client, origin: ScriptedOrigin
) -> None:
    """`fetch.stale_if_error = 0`; Cache-Status and Proxy-Status say what the origin answered."""
    origin.serve("/a.png", PICTURE, headers={"Cache-Control": "max-age=0"})
    target = "/?" + origin.url("/a.png")
    await letter.get(target)
    origin.serve("/a.png", b"", status=503)
    answer = await letter.get(target)
    assert (answer.status, answer.code) == (502, "source_failed")
    assert answer.cache_status == "imgmirror; fwd=stale; fwd-status=503; detail=source_failed"
    assert answer.headers["Proxy-Status"] == 'imgmirror; received-status=503; details="source_failed"'


async def test_kept_original_wins_over_must_revalidate(
    http: aiohttp.ClientSession, tmp_path: Path, origin: ScriptedOrigin
) -> None:
    """The contract above RFC 9111 §5.2.2.2: with `stale_if_error = "forever"` nothing takes a kept original away."""
    origin.serve("/a.png", PICTURE, headers={"Cache-Control": "max-age=0, must-revalidate"})
    with Service(write_config(tmp_path, {"fetch": {"min_fresh": 0}})) as service:
        own = Client(http, service.base)
        await own.get("/?" + origin.url("/a.png"))
        origin.serve("/a.png", b"", status=500)
        answer = await own.get("/?" + origin.url("/a.png"))
    assert (answer.status, answer.body) == (200, PICTURE)
    assert answer.cache_status == "imgmirror; fwd=stale; fwd-status=500; detail=source_failed"
    assert answer.headers["Proxy-Status"] == "imgmirror; received-status=500"


async def test_fresh_error_answer_is_not_asked_for_again(letter: Client, origin: ScriptedOrigin) -> None:
    """RFC 9111 §3 makes no difference between a picture and a 404 with max-age."""
    origin.serve("/gone.png", b"no", status=404, headers={"Cache-Control": "max-age=1000"})
    target = "/?" + origin.url("/gone.png")
    answers = [await letter.get(target), await letter.get(target)]
    assert [answer.status for answer in answers] == [404, 404]
    assert [answer.cache_status for answer in answers] == [
        "imgmirror; fwd=uri-miss; fwd-status=404; detail=source_not_found",
        "imgmirror; hit; detail=source_not_found",
    ]
    assert answers[1].headers["Proxy-Status"] == 'imgmirror; received-status=404; details="source_not_found"'
    assert origin.count("/gone.png") == 1


async def test_error_answer_without_freshness_is_asked_for_again(
    letter: Client, origin: ScriptedOrigin
) -> None:
    origin.serve("/gone.png", b"no", status=404)
    target = "/?" + origin.url("/gone.png")
    await letter.get(target)
    await letter.get(target)
    assert origin.count("/gone.png") == 2


async def test_every_answer_has_both_status_fields(letter: Client, origin: ScriptedOrigin) -> None:
    """RFC 9211 and RFC 9209, on pictures, errors of the origin and errors of the request."""
    origin.serve("/a.png", PICTURE, etag='"v1"', headers={"Cache-Control": "max-age=1000"})
    source = origin.url("/a.png")
    condition = {"If-None-Match": '"v1"'}
    answers = [
        await letter.get("/?" + source),
        await letter.get("/?" + source, headers=condition),
        await letter.get("/?" + source, method="HEAD"),
        await letter.get("/?" + source, headers={"Range": "bytes=0-0"}),
        await letter.get("/?" + source, headers={"Range": "bytes=999999-"}),
        await letter.get("/image/width=20/" + source),
        await letter.get("/image/width=0/" + source),
        await letter.get("/?" + origin.url("/none.png")),
        await letter.get("/?http://127.0.0.1:1/x.png"),
        await letter.get("/?" + source, method="DELETE"),
    ]
    assert [answer.status for answer in answers] == [200, 304, 200, 206, 416, 200, 400, 404, 502, 405]
    for answer in answers:
        assert answer.cache_status.startswith("imgmirror; "), answer
        assert answer.headers["Proxy-Status"].startswith("imgmirror"), answer
    assert answers[8].headers["Proxy-Status"] == (
        'imgmirror; error=destination_unavailable; details="source_unreachable"'
    )


async def test_weak_tag_from_the_time_before_us_is_not_modified(
    letter: Client, origin: ScriptedOrigin
) -> None:
    """RFC 9110 §13.1.2 compares weakly. Our own tag is strong; a browser may have the origin's from the worker."""
    origin.serve("/a.png", PICTURE, etag='W/"v1"', headers={"Cache-Control": "max-age=1000"})
    target = "/?" + origin.url("/a.png")
    first = await letter.get(target)
    assert not first.headers["ETag"].startswith("W/")
    for tag, status in (('W/"v1"', 304), ('"v1"', 304), (first.headers["ETag"], 304), ('W/"v2"', 200)):
        assert (await letter.get(target, headers={"If-None-Match": tag})).status == status, tag


async def test_conditions_of_a_client_are_answered_from_what_is_kept(
    letter: Client, origin: ScriptedOrigin
) -> None:
    """RFC 9110 §13.1.2, §13.1.3, §13.2.2: If-None-Match stands above the date; the origin is asked nothing."""
    date, later, sooner = (f"Mon, 26 Jul 2021 1{hour}:00:00 GMT" for hour in (1, 2, 0))
    headers = {"Cache-Control": "max-age=1000"}
    origin.serve("/a.png", PICTURE, etag='"v1"', last_modified=date, headers=headers)
    target = "/?" + origin.url("/a.png")
    await letter.get(target)
    for given, status in (
        ({"If-Modified-Since": date}, 304),
        ({"If-Modified-Since": later}, 304),
        ({"If-Modified-Since": sooner}, 200),
        ({"If-None-Match": '"v2", "v1"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"v2"', "If-Modified-Since": date}, 200),
        ({"Range": "bytes=1-2", "If-Range": '"v1"'}, 206),
        ({"Range": "bytes=1-2", "If-Range": '"v2"'}, 200),
        ({"Range": "bytes=1-2", "If-Range": date}, 206),
    ):
        assert (await letter.get(target, headers=given)).status == status, given
    assert origin.count("/a.png") == 1


@pytest.mark.parametrize(
    ("claimed", "answered"),
    [
        ("text/css; charset=gbk", "text/css; charset=gbk"),
        ('text/css;charset="utf-8"', 'text/css;charset="utf-8"'),
        ("text/css; charset=a b", "text/css"),
        ("text/css; x=y", "text/css"),
        ("image/png; charset=gbk", "text/plain"),
    ],
)
async def test_charset_of_the_origin_is_passed_down_with_its_type(
    letter: Client, origin: ScriptedOrigin, claimed: str, answered: str
) -> None:
    """A style sheet in GBK is unreadable without it. A type that was not believed has none."""
    origin.serve("/a.css", b"a { color: red }", content_type=claimed)
    answer = await letter.get("/?" + origin.url("/a.css"))
    assert (answer.status, answer.headers["Content-Type"]) == (200, answered)


async def test_unchanged_bytes_keep_their_variants(
    letter: Client, letter_service: Service, origin: ScriptedOrigin
) -> None:
    """A 200 with the same bytes is no change, like a 304, so nothing is rendered again."""
    origin.serve("/a.png", PICTURE, headers={"Cache-Control": "max-age=0"})
    target = "/image/width=20,format=png/" + origin.url("/a.png")
    first = await letter.get(target)
    renders = letter_service.renders()
    second = await letter.get(target)
    assert second.cache_status == "imgmirror; fwd=stale; fwd-status=200; stored"
    assert (second.body, second.headers["ETag"]) == (first.body, first.headers["ETag"])
    assert letter_service.renders() == renders
