"""Pictures through a real service from a scripted origin: bytes, sizes, formats, headers, conditions, ranges."""

from __future__ import annotations

import asyncio
import hashlib
from io import BytesIO

import pytest
from http_client import Client
from pictures import chart_png, disc_png, opened, photo_jpeg
from PIL import Image
from scripted_origin import ScriptedOrigin, cut_short
from service import Service

AVIF = {"Accept": "image/avif,image/webp,*/*;q=0.8"}
WEBP = {"Accept": "image/webp,*/*;q=0.8"}
ANY = {"Accept": "*/*"}


async def test_worker_address_gives_the_exact_bytes_with_cors(client: Client, origin: ScriptedOrigin) -> None:
    """`/?http://…` is what the public worker answered, and the second request does not touch the origin."""
    body = chart_png(300, 200)
    origin.serve("/data/a.png", body, etag='"v1"', last_modified="Mon, 26 Jul 2021 11:54:00 GMT")
    target = "/?" + origin.url("/data/a.png")
    first, second = await client.get(target), await client.get(target)
    assert first.status == second.status == 200
    assert first.body == second.body == body
    assert first.headers["Content-Type"] == "image/png"
    assert first.headers["Access-Control-Allow-Origin"] == "*"
    assert first.headers["ETag"] == '"v1"'
    assert first.headers["Last-Modified"] == "Mon, 26 Jul 2021 11:54:00 GMT"
    assert first.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in first.headers["Content-Security-Policy"]
    assert "sandbox" in first.headers["Content-Security-Policy"]
    assert first.cache_status == "imgmirror; fwd=uri-miss; fwd-status=200; stored"
    assert second.cache_status.startswith("imgmirror; hit; ttl=")
    assert origin.count() == 1


async def test_headimg_preset_gives_1200_by_630(client: Client, origin: ScriptedOrigin) -> None:
    origin.serve("/big.jpg", photo_jpeg(1600, 1000), content_type="image/jpeg")
    answer = await client.get("/image/headimg/" + origin.url("/big.jpg"), headers=ANY)
    assert answer.status == 200
    assert opened(answer.body).size == (1200, 630)
    assert answer.headers["Vary"] == "Accept"


@pytest.mark.parametrize(
    ("headers", "media_type", "name"),
    [
        (AVIF, "image/avif", "AVIF"),
        (WEBP, "image/webp", "WEBP"),
        (ANY, "image/jpeg", "JPEG"),
        ({}, "image/jpeg", "JPEG"),
    ],
)
async def test_accept_header_decides_the_format(
    client: Client,
    origin: ScriptedOrigin,
    shared_service: Service,
    headers: dict[str, str],
    media_type: str,
    name: str,
) -> None:
    """One width in every format; the second request of each neither fetches nor renders."""
    origin.serve("/photo.jpg", photo_jpeg(800, 500), content_type="image/jpeg")
    target = "/image/width=400/" + origin.url("/photo.jpg")
    first = await client.get(target, headers=headers)
    renders = shared_service.renders()
    second = await client.get(target, headers=headers)
    assert first.headers["Content-Type"] == media_type
    image = opened(first.body)
    assert image.format == name
    assert image.size == (400, 250)
    assert second.body == first.body
    assert "detail=memory" in second.cache_status
    assert origin.count() == 1
    assert shared_service.renders() == renders


async def test_transparent_picture_without_modern_formats_is_png(
    client: Client, origin: ScriptedOrigin
) -> None:
    origin.serve("/alpha.png", disc_png(200, 100))
    answer = await client.get("/image/width=100/" + origin.url("/alpha.png"), headers=ANY)
    assert answer.headers["Content-Type"] == "image/png"


async def test_variant_etag_revalidates_without_body(client: Client, origin: ScriptedOrigin) -> None:
    origin.serve("/c.png", chart_png(100, 100))
    target = "/image/width=50/" + origin.url("/c.png")
    first = await client.get(target)
    for value in (first.headers["ETag"], "W/" + first.headers["ETag"], f'"x", {first.headers["ETag"]}', "*"):
        answer = await client.get(target, headers={"If-None-Match": value})
        assert answer.status == 304, value
        assert answer.body == b""
        assert answer.headers["ETag"] == first.headers["ETag"]
        assert answer.headers["Vary"] == "Accept"
    assert (await client.get(target, headers={"If-None-Match": '"other"'})).status == 200


async def test_head_has_the_headers_of_get_and_no_body(client: Client, origin: ScriptedOrigin) -> None:
    origin.serve("/h.png", chart_png(100, 80))
    for target in ("/?" + origin.url("/h.png"), "/image/width=50/" + origin.url("/h.png")):
        got = await client.get(target)
        head = await client.get(target, method="HEAD")
        assert head.status == 200
        assert head.body == b""
        assert head.headers["Content-Length"] == str(len(got.body))
        assert head.headers["ETag"] == got.headers["ETag"]


@pytest.mark.parametrize("size", [(200, 150), (1500, 1200)])
async def test_range_gives_the_part_asked_for(
    client: Client, origin: ScriptedOrigin, size: tuple[int, int]
) -> None:
    """Small originals are answered from memory, large ones from their file; both by the same rules."""
    body = chart_png(*size)
    origin.serve("/r.png", body)
    target = "/image/original/" + origin.url("/r.png")
    whole = await client.get(target)
    assert whole.headers["Accept-Ranges"] == "bytes"
    for text, start, stop in [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=-5", len(body) - 5, len(body)),
    ]:
        answer = await client.get(target, headers={"Range": text})
        assert answer.status == 206
        assert answer.body == body[start:stop]
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(body)}"
    beyond = await client.get(target, headers={"Range": f"bytes={len(body)}-"})
    assert (beyond.status, beyond.code) == (416, "range_not_satisfiable")
    assert beyond.headers["Content-Range"] == f"bytes */{len(body)}"
    for ignored in ("bytes=5-1", "items=0-1", "bytes=0-1,4-5"):
        assert (await client.get(target, headers={"Range": ignored})).status == 200
    stale = await client.get(target, headers={"Range": "bytes=0-0", "If-Range": '"other"'})
    assert stale.status == 200


async def test_large_original_is_streamed_whole(client: Client, origin: ScriptedOrigin) -> None:
    """More than a memory answer holds: from the file, in pieces, the same bytes twice."""
    noise = Image.effect_noise((1400, 1300), 90)
    buffer = BytesIO()
    noise.save(buffer, "PNG")
    body = buffer.getvalue()
    assert len(body) > 1024 * 1024
    origin.serve("/large.png", body)
    target = "/?" + origin.url("/large.png")
    for _ in range(2):
        answer = await client.get(target)
        assert hashlib.sha256(answer.body).digest() == hashlib.sha256(body).digest()
        assert answer.headers["Content-Length"] == str(len(body))
    head = await client.get(target, method="HEAD")
    assert head.headers["Content-Length"] == str(len(body))
    part = await client.get(target, headers={"Range": "bytes=1048570-1048585"})
    assert part.body == body[1048570:1048586]


async def test_preflight_is_answered_as_the_fetch_standard_says(client: Client) -> None:
    answer = await client.get(
        "/?http://h.example/a.png",
        method="OPTIONS",
        headers={"Origin": "https://blog.example", "Access-Control-Request-Method": "GET"},
    )
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "GET" in answer.headers["Access-Control-Allow-Methods"]


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/image/", 400, "invalid_transform"),
        ("/image/http://h.example/a.png", 400, "invalid_transform"),
        ("/image/width=400", 400, "invalid_source"),
        ("/image/width=400/h.example/a.png", 400, "invalid_source"),
        ("/image/widht=400/http://h.example/a.png", 400, "invalid_transform"),
        ("/image/width=0/http://h.example/a.png", 400, "invalid_transform"),
        ("/image/width=4,width=5/http://h.example/a.png", 400, "invalid_transform"),
        ("/image/width=4,w=5/http://h.example/a.png", 400, "invalid_transform"),
        ("/image/nosuch/http://h.example/a.png", 400, "invalid_transform"),
        ("/image/width=99999/http://h.example/a.png", 400, "invalid_transform"),
        ("/?h.example/a.png", 400, "invalid_source"),
        ("/?http://user@h.example/a.png", 400, "invalid_source"),
        ("/?http://h.example:99999/a.png", 400, "invalid_source"),
        ("/image/original/ftp://h.example/a.png", 403, "source_not_allowed"),
        ("/nothing/here", 404, "not_found"),
    ],
)
async def test_address_that_cannot_be_read_names_what_is_wrong(
    client: Client, target: str, status: int, code: str
) -> None:
    answer = await client.get(target)
    assert (answer.status, answer.code) == (status, code), answer.body
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Vary"] == "Accept"


async def test_error_is_one_line_of_text_where_json_is_not_accepted(client: Client) -> None:
    answer = await client.get("/nothing", headers={"Accept": "text/html"})
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.body.startswith(b"not_found: ")
    assert answer.body.count(b"\n") == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_other_methods_are_refused(client: Client, method: str) -> None:
    answer = await client.get("/?http://h.example/a.png", method=method)
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    ("status", "answered", "code"),
    [
        (404, 404, "source_not_found"),
        (410, 410, "source_not_found"),
        (403, 502, "source_refused"),
        (429, 502, "source_refused"),
        (500, 502, "source_failed"),
        (503, 502, "source_failed"),
    ],
)
async def test_origin_that_refuses_gives_its_error(
    client: Client, origin: ScriptedOrigin, status: int, answered: int, code: str
) -> None:
    origin.serve("/x.png", b"no", status=status)
    answer = await client.get("/image/headimg/" + origin.url("/x.png"))
    assert (answer.status, answer.code) == (answered, code)
    expected = "public, max-age=60" if answered in {404, 410} else "no-store"
    assert answer.headers["Cache-Control"] == expected


async def test_bytes_decide_what_is_a_picture(client: Client, origin: ScriptedOrigin) -> None:
    """A PNG said to be text is served as PNG; HTML said to be PNG is not served at all."""
    origin.serve("/liar.png", b"<!doctype html><title>Hotlinking forbidden</title>")
    origin.serve("/modest", chart_png(30, 30), content_type="text/plain")
    origin.serve("/empty.png", b"")
    liar = await client.get("/?" + origin.url("/liar.png"))
    assert (liar.status, liar.code) == (422, "not_an_image")
    modest = await client.get("/?" + origin.url("/modest"))
    assert (modest.status, modest.headers["Content-Type"]) == (200, "image/png")
    empty = await client.get("/image/headimg/" + origin.url("/empty.png"))
    assert (empty.status, empty.code) == (422, "not_an_image")


async def test_truncated_download_is_never_kept(client: Client, origin: ScriptedOrigin) -> None:
    body = chart_png(200, 200)
    origin.script("/cut.png", cut_short(body[: len(body) // 2], declared=len(body)))
    target = "/?" + origin.url("/cut.png")
    assert (await client.get(target)).code == "source_unreachable"
    origin.serve("/cut.png", body)
    assert (await client.get(target)).body == body


async def test_damaged_original_is_kept_and_its_variants_say_so(
    client: Client, origin: ScriptedOrigin
) -> None:
    """Complete but damaged: the length agrees, the picture does not decode."""
    body = chart_png(200, 200)
    damaged = body[: len(body) // 2]
    origin.serve("/damaged.png", damaged)
    variant = await client.get("/image/width=50/" + origin.url("/damaged.png"))
    assert (variant.status, variant.code) == (422, "decode_failed")
    original = await client.get("/?" + origin.url("/damaged.png"))
    assert (original.status, original.body) == (200, damaged)
    again = await client.get("/image/width=60/" + origin.url("/damaged.png"))
    assert again.code == "decode_failed"
    assert origin.count() == 1


async def test_body_without_length_must_end_as_its_format_ends(
    client: Client, origin: ScriptedOrigin
) -> None:
    body = chart_png(120, 120)
    origin.serve("/whole.png", body, until_close=True)
    origin.serve("/part.png", body[:-20], until_close=True)
    assert (await client.get("/?" + origin.url("/whole.png"))).body == body
    assert (await client.get("/?" + origin.url("/part.png"))).code == "source_unreachable"


async def test_simultaneous_requests_share_one_fetch_and_one_render(
    client: Client, origin: ScriptedOrigin, shared_service: Service
) -> None:
    origin.serve("/crowd.jpg", photo_jpeg(900, 600), content_type="image/jpeg")
    before = shared_service.renders()
    target = "/image/width=300/" + origin.url("/crowd.jpg")
    answers = await asyncio.gather(*(client.get(target, headers=WEBP) for _ in range(60)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert origin.count() == 1
    assert shared_service.renders() == before + 1


async def test_same_picture_by_every_spelling_is_fetched_once(client: Client, origin: ScriptedOrigin) -> None:
    body = chart_png(40, 40)
    origin.serve("/s.png", body)
    url = origin.url("/s.png")
    encoded = url.replace(":", "%3A").replace("/", "%2F")
    for target in (
        f"/?{url}",
        f"/?{url}#part",
        f"/?{encoded}",
        f"/?{url.replace('http', 'HTTP')}",
        f"/image/original/{url}",
        f"/image/original/{encoded}",
        f"/image/original/{url.replace('http://', 'http:/')}",
        f"/?https://cors.zfour.workers.dev/?{url}",
    ):
        assert (await client.get(target)).body == body, target
    assert origin.count() == 1


async def test_query_and_foreign_bytes_reach_the_origin_as_written(
    client: Client, origin: ScriptedOrigin
) -> None:
    """Only what common web servers escape on the way to us is escaped: here the bar."""
    path = "/%CD%BC/a%2Fb.png?x=1&y=%2F,%7C%7Cz~"
    origin.serve(path, chart_png(20, 20))
    answer = await client.get("/?" + origin.url(path.replace("%7C%7C", "%7C|")))
    assert answer.status == 200, answer.body
    assert origin.requests[-1].target == path


async def test_origin_sees_nothing_of_the_client(client: Client, origin: ScriptedOrigin) -> None:
    origin.serve("/private.png", chart_png(20, 20))
    secret = {
        "Cookie": "session=1",
        "Authorization": "Basic x",
        "Referer": "https://blog.example/",
        "Cache-Control": "no-cache",
    }
    await client.get("/?" + origin.url("/private.png"), headers=secret)
    seen = origin.requests[-1]
    for name in ("Cookie", "Authorization", "Referer", "Cache-Control", "X-Forwarded-For"):
        assert seen.header(name) is None
    assert seen.header("CDN-Loop") == "imgmirror"
    assert seen.header("Via")
    assert seen.header("Accept-Encoding") == "identity"


async def test_request_of_a_mirror_is_refused_as_a_loop(client: Client) -> None:
    answer = await client.get("/?http://h.example/a.png", headers={"CDN-Loop": "imgmirror"})
    assert (answer.status, answer.code) == (400, "invalid_source")


async def test_client_cache_control_never_makes_us_fetch(client: Client, origin: ScriptedOrigin) -> None:
    origin.serve("/cc.png", chart_png(20, 20))
    target = "/?" + origin.url("/cc.png")
    for _ in range(2):
        await client.get(target, headers={"Cache-Control": "no-cache", "Pragma": "no-cache"})
    assert origin.count() == 1


@pytest.mark.parametrize("hint", [{"Save-Data": "on"}, {"ECT": "3g"}, {"Downlink": "0.6"}])
async def test_slow_line_gets_its_own_quality(
    client: Client, origin: ScriptedOrigin, hint: dict[str, str]
) -> None:
    """The answer has fewer bytes and is a separate variant in memory and store, and `Vary` tells caches what it depends
    on."""
    origin.serve("/slow.jpg", photo_jpeg(800, 500), content_type="image/jpeg")
    target = "/image/width=400,quality=90,scq=20/" + origin.url("/slow.jpg")
    fast = await client.get(target, headers=WEBP)
    slow = await client.get(target, headers=WEBP | hint)
    assert len(slow.body) < len(fast.body)
    assert opened(slow.body).size == (400, 250)
    assert fast.headers["Vary"] == slow.headers["Vary"] == "Accept, Save-Data, ECT, Downlink"
    assert fast.headers["ETag"] != slow.headers["ETag"]
    assert (await client.get(target, headers=WEBP)).body == fast.body
    again = await client.get(target, headers=WEBP | hint)
    assert (again.body, "detail=memory" in again.cache_status) == (slow.body, True)
    asked_so = await client.get(target.replace("quality=90", "quality=20"), headers=WEBP)
    assert asked_so.body == slow.body


async def test_slow_line_changes_nothing_where_no_quality_is_named_for_it(
    client: Client, origin: ScriptedOrigin
) -> None:
    origin.serve("/same.jpg", photo_jpeg(800, 500), content_type="image/jpeg")
    target = "/image/width=400/" + origin.url("/same.jpg")
    fast, slow = await client.get(target), await client.get(target, headers={"Save-Data": "on"})
    assert (slow.body, slow.headers["Vary"]) == (fast.body, "Accept")


async def test_slow_line_varies_alone_where_the_format_is_fixed(
    client: Client, origin: ScriptedOrigin
) -> None:
    origin.serve("/fixed.jpg", photo_jpeg(200, 100), content_type="image/jpeg")
    answer = await client.get("/image/width=40,format=webp,scq=20/" + origin.url("/fixed.jpg"))
    assert answer.headers["Vary"] == "Save-Data, ECT, Downlink"
