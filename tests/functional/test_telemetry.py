"""A running service and a collector: spans with their parents, metrics with the values of `/metrics`, and no secret."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from http_client import Client
from pictures import chart_png, photo_jpeg
from scripted_origin import Request, ScriptedOrigin
from service import Service, wait_until, write_config

if "CI" not in os.environ:
    pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

from otlp_receiver import OtlpReceiver

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVER, CLIENT = 2, 3
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "200")
        yield receiver


def traced(folder: Path, **sections: dict[str, Any]) -> Path:
    """Write the configuration of a service that sends traces and metrics."""
    telemetry = {"otlp": True, **sections.pop("telemetry", {})}
    return write_config(folder, {"telemetry": telemetry, **sections})


async def test_cold_picture_has_a_span_for_each_step_and_a_hit_has_none(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin, receiver: OtlpReceiver
) -> None:
    """The steps lie within the request, `queue` and `work` within `render`, and all are one trace of one process."""
    origin.serve("/a.jpg", photo_jpeg(300, 200), content_type="image/jpeg")
    target = "/image/width=100/" + origin.url("/a.jpg")
    with Service(traced(tmp_path)) as service:
        client = Client(http, service.base)
        cold, hit = await client.get(target), await client.get(target)
        traces = [
            receiver.span("GET variant", imgmirror__request_id=answer.headers["X-Request-Id"])
            for answer in (cold, hit)
        ]
        receiver.span("store")
    cold_span, hit_span = traces
    steps = receiver.children(cold_span)
    assert steps.keys() == {"download", "judge", "render", "keep", "store"}
    assert receiver.children(steps["render"]).keys() == {"queue", "work"}
    assert not receiver.children(hit_span)
    assert {span.trace_id for span in (*steps.values(),)} == {cold_span.trace_id}
    assert cold_span.trace_id != hit_span.trace_id
    assert cold_span.kind == hit_span.kind == SERVER
    assert all(cold_span.begun <= span.begun <= span.ended for span in steps.values())
    parts = receiver.children(steps["render"])
    assert steps["render"].begun <= parts["queue"].ended <= parts["work"].begun <= parts["work"].ended
    assert steps["download"].kind == CLIENT
    assert steps["download"].attributes == {
        "http.request.method": "GET",
        "url.full": origin.url("/a.jpg"),
        "server.address": "127.0.0.1",
        "server.port": origin.port,
        "http.response.status_code": 200,
        "http.response.body.size": len(photo_jpeg(300, 200)),
        "imgmirror.redirects": 0,
    }
    assert cold_span.attributes == {
        "http.request.method": "GET",
        "http.route": "variant",
        "url.scheme": "http",
        "url.path": target,
        "url.query": "",
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": service.port,
        "http.response.status_code": 200,
        "imgmirror.request_id": cold.headers["X-Request-Id"],
        "imgmirror.cache_status": cold.headers["Cache-Status"],
    }
    assert cold_span.resource["service.name"] == "imgmirror"
    assert re.fullmatch(r"imgmirror-[0-9a-f]{16}", cold_span.resource["service.instance.id"])


async def test_failure_is_named_by_its_code(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin, receiver: OtlpReceiver
) -> None:
    """A status of the origin is no error of ours; an origin that cannot be reached is none of the client."""
    with Service(traced(tmp_path)) as service:
        client = Client(http, service.base)
        await client.get("/?" + origin.url("/gone.png"))
        await client.get("/?http://127.0.0.1:1/dead.png")
        gone = receiver.span("GET original", http__response__status_code=404)
        dead = receiver.span("GET original", http__response__status_code=502)
    assert (gone.attributes["error.type"], gone.is_error) == ("source_not_found", False)
    assert (dead.attributes["error.type"], dead.is_error) == ("source_unreachable", True)
    download = receiver.children(dead)["download"]
    assert (download.attributes["error.type"], download.is_error) == ("source_unreachable", True)


async def test_trace_of_a_proxy_in_front_is_continued_and_passed_on_where_wanted(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin, receiver: OtlpReceiver
) -> None:
    origin.serve("/t.png", chart_png(30, 20))
    with Service(traced(tmp_path, telemetry={"to_origins": True})) as service:
        client = Client(http, service.base)
        target = "/image/width=10/" + origin.url("/t.png")
        await client.get(target, headers={"traceparent": TRACEPARENT})
        await client.get("/healthz", headers={"traceparent": TRACEPARENT})
        span = receiver.span("GET variant")
        download = receiver.span("download")
    assert (span.trace_id, span.parent_id) == (TRACE, CALLER)
    assert asked_with(origin.requests) == [f"00-{TRACE}-{download.span_id}-01"]
    assert not [span for span in receiver.spans if "healthz" in span.name]


async def test_trace_is_not_passed_on_unless_wanted(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin, receiver: OtlpReceiver
) -> None:
    origin.serve("/t.png", chart_png(30, 20))
    with Service(traced(tmp_path)) as service:
        await Client(http, service.base).get(
            "/?" + origin.url("/t.png"), headers={"traceparent": TRACEPARENT}
        )
        receiver.span("download")
    assert asked_with(origin.requests) == [None]


def asked_with(requests: list[Request]) -> list[str | None]:
    return [request.header("traceparent") for request in requests]


async def test_request_that_waits_for_anothers_fetch_links_to_it(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin, receiver: OtlpReceiver
) -> None:
    """Only the first has the download below it; the others name the first."""
    body = chart_png(40, 30)
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Request, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await go_on.wait()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)

    origin.script("/s.png", slow)
    with Service(traced(tmp_path)) as service:
        client = Client(http, service.base)
        first = asyncio.create_task(client.get("/image/width=10/" + origin.url("/s.png")))
        await asked.wait()
        others = [
            asyncio.create_task(client.get(f"/image/width={width}/" + origin.url("/s.png")))
            for width in (10, 20)
        ]
        for _ in others:
            await client.get("/healthz")
        go_on.set()
        ids = [answer.headers["X-Request-Id"] for answer in await asyncio.gather(first, *others)]
        leader, *joined = [receiver.span("GET variant", imgmirror__request_id=one) for one in ids]
        receiver.span("download")
    assert "download" in receiver.children(leader)
    assert [span.links for span in joined] == [[leader.span_id]] * 2
    assert not any("download" in receiver.children(span) for span in joined)


@pytest.mark.parametrize("workers", [1, 2])
async def test_metrics_have_the_values_of_the_metrics_page(
    tmp_path: Path,
    http: aiohttp.ClientSession,
    origin: ScriptedOrigin,
    receiver: OtlpReceiver,
    workers: int,
) -> None:
    """The first worker sends the sum of all; each worker sends its own spans under a name of its own."""
    origin.serve("/m.png", chart_png(30, 20))
    targets = ["/image/width=10/" + origin.url("/m.png"), "/?" + origin.url("/m.png"), "/nothing"]
    with Service(traced(tmp_path), workers=workers) as service:
        for target in targets * 8:
            # A connection of its own, so that both workers answer some.
            async with aiohttp.ClientSession() as session:
                await Client(session, service.base).get(target)

        receiver.wait_until(lambda: sum(span.kind == SERVER for span in receiver.spans) == len(targets) * 8)
        wait_until(lambda: steady(service.metrics()).items() <= steady(receiver.samples()).items())
        assert steady(receiver.samples()).keys() == steady(service.metrics()).keys()
    assert receiver.last_samples()['imgmirror_requests_total{route="other",status="404"}'] == 8
    spans = [span for span in receiver.spans if span.kind == SERVER]
    senders = {span.resource["service.instance.id"] for span in spans}
    (sender,) = {resource["service.instance.id"] for resource in receiver.metric_resources()}
    assert senders <= ({sender} if workers == 1 else {f"{sender}-0", f"{sender}-1"})
    assert len({span.resource["process.pid"] for span in spans}) == len(senders)


def steady(samples: Mapping[str, float]) -> dict[str, float]:
    """Return the samples that do not change by being asked for."""
    moving = ("process_", "imgmirror_free_bytes", "imgmirror_sent_bytes", "/metrics", "_created", "/healthz")
    return {name: value for name, value in samples.items() if not any(part in name for part in moving)}


async def test_no_secret_is_in_anything_that_is_sent(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin, receiver: OtlpReceiver
) -> None:
    """Signatures, tokens, passwords, the keys of the configuration, the client's address and its browser."""
    sections: dict[str, dict[str, Any]] = {
        "sources": {"keys": ["a signing key of the owner"], "allow": ["127.0.0.1"]},
        "server": {"admin_token": "the-token-of-the-owner", "trusted_proxies": ["127.0.0.0/8"]},
    }
    headers = {
        "Authorization": "Bearer hush-hush-hush",
        "Cookie": "id=hush-hush-hush",
        "Referer": "https://blog.example/?token=hush-hush-hush",
        "User-Agent": "a browser called hush-hush",
        "X-Forwarded-For": "192.0.2.77",
        "tracestate": "vendor=tell-tale",
    }
    with Service(traced(tmp_path, **sections)) as service:
        client = Client(http, service.base)
        for target in (
            f"/?{origin.url('/x.png')}?access_token=hush-hush-hush&X-Amz-Signature=hush-hush-hush",
            f"/image/width=3,sig=hush-hush-hush/{origin.url('/y.png')}",
            "/image/width=3/http://user:hush-hush-hush@h.example/z.png",
            "/imgproxy/hush-hush-hush-HUSH/rs:fit:3:3/plain/http://h.example/z.png",
            "/the-token-of-the-owner",
        ):
            await client.get(target, headers=headers)
        receiver.wait_until(lambda: sum(span.kind == SERVER for span in receiver.spans) == 5)
        receiver.wait_until(lambda: bool(receiver.figures))
    sent = b"".join(receiver.bodies)
    assert b"x.png" in sent
    assert b"y.png" in sent
    for secret in (
        b"hush",
        b"HUSH",
        b"of the owner",
        b"the-token-of",
        b"192.0.2.77",
        b"tell-tale",
        b"blog.example",
    ):
        assert secret not in sent, secret


@pytest.mark.parametrize("fault", ["refuses", "swallows", "answers 500"])
async def test_collector_that_fails_disturbs_no_request_and_fills_no_log(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin, receiver: OtlpReceiver,
    monkeypatch: pytest.MonkeyPatch, fault: str,
) -> None:  # fmt: skip
    """Nobody listens, somebody accepts and never answers, or the collector is broken: pictures come in any case."""
    origin.serve("/d.png", chart_png(30, 20))
    receiver.status = 500
    with socket.create_server(("127.0.0.1", 0)) as mute:
        ports = {"refuses": 1, "swallows": mute.getsockname()[1], "answers 500": receiver.port}
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{ports[fault]}")
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "16")
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")
        with Service(traced(tmp_path)) as service:
            client = Client(http, service.base)
            answers = [await client.get("/image/width=10/" + origin.url("/d.png")) for _ in range(100)]
            if fault == "answers 500":
                receiver.wait_until(lambda: receiver.requests > 2)
            begun = time.monotonic()
            assert service.stop() == 0
            assert time.monotonic() - begun < 8
            log = service.log()
    assert {answer.status for answer in answers} == {200}
    assert log.count("OpenTelemetry: ") <= 4, log
    assert "Traceback" not in log
    if fault != "swallows":
        assert "OpenTelemetry: " in log


async def test_spans_and_metrics_of_the_last_moment_arrive_before_the_service_ends(
    tmp_path: Path, http: aiohttp.ClientSession, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "60000")
    with Service(traced(tmp_path)) as service:
        await Client(http, service.base).get("/nothing")
        assert not receiver.requests
        assert service.stop() == 0
    assert [span.name for span in receiver.spans] == ["GET other"]
    assert receiver.last_samples()['imgmirror_requests_total{route="other",status="404"}'] == 1


@pytest.mark.parametrize(
    ("name", "value", "spans", "figures"),
    [
        ("OTEL_TRACES_EXPORTER", "none", False, True),
        ("OTEL_METRICS_EXPORTER", "none", True, False),
        ("OTEL_TRACES_SAMPLER", "always_off", False, True),
        ("OTEL_SDK_DISABLED", "true", False, False),
    ],
)
async def test_variables_of_the_environment_decide_what_is_sent(
    tmp_path: Path, http: aiohttp.ClientSession, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch,
    name: str, value: str, spans: bool, figures: bool,
) -> None:  # fmt: skip
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "pictures")
    with Service(traced(tmp_path)) as service:
        await Client(http, service.base).get("/nothing")
        assert service.stop() == 0
    assert (bool(receiver.spans), bool(receiver.figures)) == (spans, figures)
    assert {span.resource["service.name"] for span in receiver.spans} <= {"pictures"}
    assert {resource["service.name"] for resource in receiver.metric_resources()} <= {"pictures"}


async def test_secrets_of_a_reload_are_hidden(
    tmp_path: Path, http: aiohttp.ClientSession, receiver: OtlpReceiver
) -> None:
    with Service(traced(tmp_path)) as service:
        traced(tmp_path, server={"admin_token": "the-new-token"})
        assert service.process is not None
        os.kill(service.process.pid, signal.SIGHUP)
        wait_until(lambda: "configuration was reloaded" in service.log())
        await Client(http, service.base).get("/the-new-token")
        span = receiver.span("GET other")
    assert span.attributes["url.path"] == "/***"


async def test_service_without_telemetry_loads_no_library_and_sends_nothing(
    tmp_path: Path, http: aiohttp.ClientSession, receiver: OtlpReceiver
) -> None:
    with Service(write_config(tmp_path)) as service:
        await Client(http, service.base).get("/nothing")
        assert service.process is not None
        mapped = await asyncio.to_thread(Path(f"/proc/{service.process.pid}/maps").read_text, "ascii")
        assert service.stop() == 0
    assert not receiver.requests
    assert "google/_upb" not in mapped


def test_variable_with_an_impossible_value_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue shorter than a batch: the log says what is wrong, and has no traceback."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "7")
    service = Service(traced(tmp_path))
    with pytest.raises(RuntimeError, match="did not start"):
        service.start()
    assert service.process is not None
    assert service.process.wait(20) == 2
    service.kill()
    assert "a variable OTEL_* cannot be used" in service.log()
    assert "Traceback" not in service.log()
