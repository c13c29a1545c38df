"""A running service from an operator's view: metrics that change, log lines that name the picture, and no secret."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from http_client import Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, wait_until, write_config

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
KEY = "a signing key of the owner"
TOKEN = "the token of the owner"


def documented_metrics() -> set[str]:
    table = PAGE.read_text(encoding="utf-8").split("<!-- metrics -->", 1)[1].split("<!-- /metrics -->", 1)[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    return {name for cell in cells for name in re.findall(r"`([a-z_]+)`", cell)}


def exposed_metrics(figures: dict[str, float]) -> set[str]:
    names = {name.partition("{")[0] for name in figures}
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names if not name.endswith("_created")}


@pytest.mark.parametrize("workers", [1, 2])
async def test_every_documented_metric_is_exposed_and_no_other(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin, workers: int
) -> None:
    """Visits, failures and a purge change the right metrics, whichever worker is asked."""
    origin.serve("/m.png", chart_png(30, 20))
    answers = {
        'imgmirror_requests_total{route="variant",status="200"}': 3,
        'imgmirror_requests_total{route="original",status="404"}': 3,
        'imgmirror_requests_total{route="/purge",status="200"}': 1,
        "imgmirror_memory_hit_seconds_count": 2,
    }
    with Service(write_config(tmp_path), workers=workers) as service:
        client = Client(http, service.base)
        for _ in range(3):
            assert (await client.get("/image/width=10/" + origin.url("/m.png"))).status == 200
        await client.get("/explain/image/width=10/" + origin.url("/m.png"))
        for _ in range(3):
            assert (await client.get("/?" + origin.url("/gone.png"))).status == 404
        await client.get("/purge", method="POST", data=json.dumps({"source": origin.url("/m.png")}))
        # Each worker writes its counts a moment after its answers, so one may still hold some when the other is done.
        wait_until(lambda: answers.items() <= service.metrics().items())
        figures = service.metrics()
    assert exposed_metrics(figures) == documented_metrics()
    assert figures["imgmirror_hits_total"] == 2
    assert figures["imgmirror_lookups_total"] == 3
    assert figures["imgmirror_purges_total"] == 1
    assert figures["imgmirror_remembered_failures"] >= 1
    assert figures["imgmirror_sent_bytes_total"] > 1000
    assert figures["process_resident_memory_bytes"] > workers * 2**24
    assert figures["process_cpu_seconds_total"] > 0


async def test_failed_request_names_picture_page_and_client_and_no_signature(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """An owner finds the broken article from one line; the signature and the key are in none."""
    changes: dict[str, dict[str, Any]] = {
        "sources": {"keys": [KEY], "allow": ["127.0.0.1"]},
        "server": {"admin_token": TOKEN},
    }
    with Service(write_config(tmp_path, changes)) as service:
        client = Client(http, service.base)
        source = origin.url("/gone.png") + "?access_token=hush-hush-hush"
        page = {"Referer": "https://blog.example/post/?token=hush-hush-hush", "Cookie": "id=hush-hush-hush"}
        await client.get("/?" + source, headers=page)
        await client.get(f"/image/width=3,sig=hush-hush-hush/{source}", headers=page)
        await client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}x"})
        await client.get("/a%0Ab%00", headers=page)
        log = service.log()
    lines = [line for line in log.splitlines() if "request failed" in line]
    assert len(lines) == 4, log
    for line, code, status in zip(
        lines, ("source_not_found", "signature_mismatch"), (404, 403), strict=False
    ):
        assert f"status={status} code={code}" in line
        assert "/gone.png" in line.partition("address=")[2].partition("source=")[0]
        assert "/gone.png" in line.partition("source=")[2].partition("client=")[0]
        assert "client=127.0.0.1" in line
        assert "https://blog.example/post/" in line.partition("referer=")[2]
    assert "hush" not in log
    assert TOKEN not in log
    assert KEY not in log


async def test_log_settings_change_with_a_reload(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    """The access log, the form and the level take effect without a restart."""
    with Service(write_config(tmp_path)) as service:
        client = Client(http, service.base)
        await client.get("/healthz?before")
        write_config(tmp_path, {"log": {"access": "combined", "format": "json"}})
        assert service.process is not None
        os.kill(service.process.pid, signal.SIGHUP)
        wait_until(lambda: "configuration was reloaded" in service.log())
        await client.get("/healthz?after", headers={"User-Agent": 'a"b'})
        await client.get("/nothing")
        lines = service.log().splitlines()
    access = [line for line in lines if '"GET /' in line]
    assert [("before" in line, "after" in line) for line in access[:1]] == [(False, True)]
    assert re.fullmatch(
        r'127\.0\.0\.1 - - \[[^]]+\] "GET /healthz\?after HTTP/1\.1" 200 \d+ "-" "a\\x22b"', access[0]
    )
    failed = [json.loads(line) for line in lines if line.startswith("{") and "request failed" in line]
    assert [(line["code"], line["status"], line["address"]) for line in failed] == [
        ("not_found", 404, "/nothing")
    ]


async def test_answers_do_not_name_our_libraries(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """Pictures, streamed originals, errors, preflights and what the parser refuses carry no `Server`."""
    origin.serve("/big.png", chart_png(40, 30) + bytes(2 * 2**20))
    origin.serve("/s.png", chart_png(30, 20))
    with Service(write_config(tmp_path)) as service:
        client = Client(http, service.base)
        answers = [
            await client.get("/?" + origin.url("/s.png")),
            await client.get("/?" + origin.url("/big.png")),
            await client.get("/?" + origin.url("/big.png")),
            await client.get("/nothing"),
            await client.get("/", method="OPTIONS"),
            await client.get("/", headers={"Bad": "x" * 20_000}),
        ]
    assert [answer.status for answer in answers] == [200, 200, 200, 404, 204, 400]
    assert not [answer for answer in answers if "Server" in answer.headers]
