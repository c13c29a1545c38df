"""The requests of the owner to a running service: rewrite, purge, explain, metrics, health; and who may make them."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from http_client import Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, write_config

ARTICLE = Path(__file__).parents[2] / "proxy" / "cli" / "sample" / "article.md"
WRAPPER = "https://cors.zfour.workers.dev/?"
TOKEN = "a token of the owner"
MARKDOWN = {"Content-Type": "text/markdown"}


async def test_rewrite_changes_the_seven_addresses_of_the_article_and_nothing_else(client: Client) -> None:
    data = ARTICLE.read_bytes()
    answer = await client.get("/rewrite", method="POST", data=data, headers=MARKDOWN)
    assert answer.status == 200
    assert answer.headers["X-Imgmirror-Replaced"] == "7"
    mirrored = re.compile(re.escape(client.base.encode()) + rb"/image/(headimg|thumbnail|content)/")
    assert len(mirrored.findall(answer.body)) == 7
    assert mirrored.sub(WRAPPER.encode(), answer.body) == data
    again = await client.get("/rewrite", method="POST", data=answer.body, headers=MARKDOWN)
    assert again.body == answer.body


async def test_rewrite_keeps_encoding_line_ends_and_type(client: Client) -> None:
    """GBK bytes, CRLF and a BOM are none of our business."""
    data = (
        '\ufeff<p>图</p>\r\n<img src="'.encode("gb18030") + WRAPPER.encode() + b'http://h.example/a.png">\r\n'
    )
    headers = {"Content-Type": "text/html; charset=gb18030"}
    answer = await client.get("/rewrite", method="POST", data=data, headers=headers)
    assert answer.headers["Content-Type"] == headers["Content-Type"]
    assert answer.headers["Content-Security-Policy"] == "sandbox"
    assert answer.body == data.replace(WRAPPER.encode(), f"{client.base}/image/content/".encode())


@pytest.mark.parametrize("media_type", ["application/pdf", "text/plain", "image/png", ""])
async def test_rewrite_of_what_is_no_article_is_refused(client: Client, media_type: str) -> None:
    answer = await client.get("/rewrite", method="POST", data=b"x", headers={"Content-Type": media_type})
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/rewrite"), ("POST", "/purge"), ("GET", "/metrics"), ("GET", "/explain/?http://h/")]
)  # fmt: skip
async def test_administration_needs_the_token_when_there_is_one(
    tmp_path: Path, http: aiohttp.ClientSession, method: str, path: str
) -> None:
    with Service(write_config(tmp_path, {"server": {"admin_token": TOKEN}})) as service:
        client = Client(http, service.base)
        for given in (
            {},
            {"Authorization": "Bearer no"},
            {"Authorization": TOKEN},
            {"Authorization": "Bearer"},
        ):
            answer = await client.get(path, method=method, headers=given)
            assert (answer.status, answer.code) == (401, "unauthorized"), given
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        right = {"Authorization": f"bearer {TOKEN}", "X-Forwarded-For": "1.2.3.4", **MARKDOWN}
        assert (await client.get(path, method=method, headers=right)).status in {200, 400}


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "1.2.3.4"}, {"Via": "1.1 x"}, {"Origin": "https://evil.example"}, {"Host": "evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
    ids=["forwarded", "via", "web page", "rebound name", "picture in a page", "frame in a page"],
)  # fmt: skip
async def test_loopback_without_token_is_trusted_only_when_asked_directly(
    client: Client, headers: dict[str, str]
) -> None:
    assert (await client.get("/metrics")).status == 200
    assert (await client.get("/metrics", headers=headers)).code == "unauthorized"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
    ],
    ids=["address bar", "link", "page of ours"],
)
async def test_loopback_without_token_is_trusted_in_the_browser_of_the_owner(
    client: Client, headers: dict[str, str]
) -> None:
    assert (await client.get("/metrics", headers=headers)).status == 200


@pytest.mark.parametrize(
    ("public_url", "status"),
    [
        ("https://img.example.org", 401),
        ("http://192.0.2.7:8080", 401),
        ("http://localhost.example.org", 401),
        ("http://localhost:8080", 200),
        ("http://[::1]:8080/img", 200),
        ("http://127.0.0.9", 200),
    ],
)
async def test_administration_without_token_is_closed_where_the_public_address_is_public(
    tmp_path: Path, http: aiohttp.ClientSession, public_url: str, status: int
) -> None:
    """nginx adds no header by itself and sends the upstream's address as `Host`, so it looks like the owner."""
    with Service(write_config(tmp_path, {"server": {"public_url": public_url}})) as service:
        answer = await Client(http, service.base).get("/metrics")
    assert answer.status == status


async def test_explain_tells_what_would_happen_and_asks_no_origin(
    client: Client, origin: ScriptedOrigin
) -> None:
    origin.serve("/e.png", chart_png(30, 20))
    target = f"/image/width=10,format=auto/{WRAPPER}" + origin.url("/e.png")
    cold = json.loads((await client.get("/explain" + target, headers={"Accept": "image/webp"})).body)
    assert origin.count() == 0
    assert cold["source"] == origin.url("/e.png")
    assert cold["unwrapped"] == ["worker cors.zfour.workers.dev"]
    assert cold["transform"]["canonical"] == "width=10"
    assert cold["policy"]["admitted"] is True
    assert cold["original"]["state"] == "absent"
    assert cold["format"]["acceptable"] == ["webp", "fallback"]
    await client.get(target)
    warm = json.loads((await client.get("/explain" + target, headers={"Accept": "image/webp"})).body)
    assert warm["original"]["state"] == "fresh"
    assert warm["format"]["chosen"] == "webp"
    assert warm["original"]["next_revalidation"] > warm["original"]["validated_at"]


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/image/widht=3/http://h/a.png", "invalid_transform"),
        ("/nothing", "not_found"),
        ("/?ftp://h/a.png", "source_not_allowed"),
        ("/?FTP%3A%2F%2Fh%2Fa.png", "source_not_allowed"),
        ("/?data:image/png;base64,AA==", "source_not_allowed"),
        ("/?file:///etc/passwd", "source_not_allowed"),
        ("/?h.example:80/a.png", "invalid_source"),
        ("/?http://user@h/a.png", "invalid_source"),
        ("/?http://[::1/a.png", "invalid_source"),
    ],
)
async def test_explain_of_what_cannot_be_read_says_why(client: Client, target: str, code: str) -> None:
    assert json.loads((await client.get("/explain" + target)).body)["error"]["code"] == code


@pytest.mark.parametrize("target", ["/healthz", "/metrics", "/", "/explain/?http://h/"])
async def test_explain_of_an_address_of_the_service_says_so(client: Client, target: str) -> None:
    assert json.loads((await client.get("/explain" + target)).body)["kind"] == "service"


async def test_explain_names_the_rule_that_refuses(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    config = write_config(tmp_path, {"sources": {"deny": ["*.evil.example"], "allow": ["h.example"]}})
    with Service(config) as service:
        client = Client(http, service.base)
        denied = json.loads((await client.get("/explain/?http://a.evil.example/x.png")).body)["policy"]
    assert denied["admitted"] is False
    assert denied["error"]["code"] == "source_not_allowed"
    assert any(not rule["passed"] and "evil.example" in rule["reason"] for rule in denied["rules"])


async def test_metrics_have_names_with_units_and_the_figures_of_a_visit(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    origin.serve("/m.png", chart_png(30, 20))
    with Service(write_config(tmp_path)) as service:
        client = Client(http, service.base)
        for _ in range(3):
            await client.get("/image/width=10/" + origin.url("/m.png"))
        # A visitor's answer does not wait for the disk; the explanation does.
        await client.get("/explain/image/width=10/" + origin.url("/m.png"))
        figures = service.metrics()
    assert figures["imgmirror_render_seconds_count"] == 1
    assert figures['imgmirror_fetch_seconds_count{outcome="ok"}'] == 1
    assert figures["imgmirror_hit_ratio"] == pytest.approx(2 / 3)
    assert figures["imgmirror_originals_bytes"] >= len(chart_png(30, 20))
    assert figures["imgmirror_variants_bytes"] > 0
    assert figures["imgmirror_memory_bytes"] > 0
    assert figures["imgmirror_render_queue"] == 0


async def test_health_and_readiness_say_ok_and_are_not_cached(client: Client) -> None:
    for path in ("/healthz", "/readyz"):
        answer = await client.get(path)
        assert answer.status == 200
        assert json.loads(answer.body)["status"] == "ok"
        assert answer.headers["Cache-Control"] == "no-store"


async def test_readiness_is_degraded_when_the_disk_is_low_and_keeps_answering(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    with Service(write_config(tmp_path, {"store": {"min_free": "900000 GiB"}})) as service:
        answer = await Client(http, service.base).get("/readyz")
    assert answer.status == 200
    assert json.loads(answer.body)["status"] == "degraded"
    assert json.loads(answer.body)["free_bytes"] > 0


async def test_purge_by_origin_dry_run_deletes_nothing_and_then_it_does(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    urls = [origin.url(f"/{number}.png") for number in range(3)]
    for number in range(3):
        origin.serve(f"/{number}.png", chart_png(20, 20, seed=number))
    with Service(write_config(tmp_path)) as service:
        client = Client(http, service.base)
        for url in urls:
            await client.get("/?" + url)

        async def purge(**wanted: Any) -> dict[str, Any]:
            answer = await client.get("/purge", method="POST", data=json.dumps(wanted))
            return dict(json.loads(answer.body))

        would = await purge(origin=origin.url(""), dry_run=True)
        assert sorted(would["purged"]) == sorted(urls)
        assert all([(await client.get("/?" + url)).status == 200 for url in urls])
        done = await purge(origin=origin.url(""))
        assert (sorted(done["purged"]), done["freed_bytes"]) == (sorted(urls), would["freed_bytes"])
        await origin.stop()
        assert [(await client.get("/?" + url)).code for url in urls] == ["source_unreachable"] * 3


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"history": True}, "history needs"),
        ({"history": True, "keep": True}, "keep must be a whole number"),
        ({"history": True, "keep": -1}, "keep is a whole number"),
        ({"history": True, "keep": 0, "block": True}, "block"),
        ({"origin": "http://h.example", "keep": 1}, "belong to history"),
        ({"before": "yesterday"}, "before is a date"),
        ({"history": True, "older_than": "long"}, "a time is written like"),
        ({"source": "http://h/a", "article": "b.md"}, "only one"),
    ],
)
async def test_purge_that_cannot_be_meant_is_refused(
    client: Client, asked: dict[str, object], reason: str
) -> None:
    answer = await client.get("/purge", method="POST", data=json.dumps(asked))
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert reason in json.loads(answer.body)["message"]


async def test_rewrite_whose_client_is_gone_frees_its_place(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """Articles that take long, and whose clients hang up, hold up neither the next article nor the service."""
    slow = b"> " * 20 + b"a\n" * 400_000
    with Service(write_config(tmp_path)) as service:
        client = Client(http, service.base)
        head = "POST /rewrite HTTP/1.1\r\nHost: h\r\nContent-Type: text/markdown\r\n"
        head += f"Content-Length: {len(slow)}\r\n\r\n"
        for _ in range(4):
            _, writer = await asyncio.open_connection("127.0.0.1", service.port)
            writer.write(head.encode() + slow)
            await writer.drain()
            writer.transport.abort()
        article = f"![]({WRAPPER}http://h.example/a.png)".encode()
        answer = await client.get(
            "/rewrite", method="POST", data=article, headers={"Content-Type": "text/markdown"}
        )
        assert (answer.status, answer.headers["X-Imgmirror-Replaced"]) == (200, "1")
        assert (await client.get("/readyz")).status == 200
