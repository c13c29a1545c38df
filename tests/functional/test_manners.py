"""Failures with manners, through the fetcher and through a whole service: what an origin notices of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import aiohttp
import psutil
import pytest
from fetching import body_of, fetch_config, fetching
from http_client import Client
from pictures import chart_png
from scripted_origin import Handler, ScriptedOrigin, cut_short, head, raw, reset, stall
from service import Service, wait_until, write_config

from proxy.errors import SourceError, SourceTimeout, SourceUnreachable
from proxy.fetch.politeness.breaker import TRIPS_AFTER


def answer(status: int, *lines: tuple[str, str]) -> Handler:
    return raw(head(status, [("Content-Length", "0"), *lines]))


@pytest.mark.parametrize(
    ("handler", "code", "status"),
    [
        (answer(404), "source_not_found", 404), (answer(410), "source_not_found", 410),
        (answer(403), "source_refused", 502), (answer(503), "source_failed", 502),
        (raw(head(200, [("Content-Type", "text/html")]) + b"<html>parked"), "not_an_image", 422),
        (cut_short(b"x", declared=99), "source_unreachable", 502),
    ],
)  # fmt: skip
async def test_dead_picture_is_asked_for_twice_and_then_left_alone(
    client: Client, origin: ScriptedOrigin, handler: Handler, code: str, status: int
) -> None:
    origin.script("/dead.png", handler)
    answers = [await client.get("/?" + origin.url("/dead.png")) for _ in range(6)]
    assert {(one.status, one.code) for one in answers} == {(status, code)}
    assert {one.headers["Cache-Control"] for one in answers} == {
        "public, max-age=60" if status in {404, 410, 422} else "no-store"
    }
    assert origin.count("/dead.png") == 2


async def test_picture_that_failed_once_is_asked_for_again_at_once(
    client: Client, origin: ScriptedOrigin
) -> None:
    origin.script("/late.png", answer(404))
    assert (await client.get("/?" + origin.url("/late.png"))).code == "source_not_found"
    origin.serve("/late.png", chart_png(20, 20))
    assert (await client.get("/?" + origin.url("/late.png"))).status == 200


async def test_retry_after_is_waited_for(client: Client, origin: ScriptedOrigin) -> None:
    origin.script("/busy.png", answer(429, ("Retry-After", "600")))
    for _ in range(4):
        assert (await client.get("/?" + origin.url("/busy.png"))).code == "source_refused"
    assert origin.count("/busy.png") == 1


async def test_failure_is_known_to_every_worker_and_after_a_restart_and_a_purge_forgets_it(
    tmp_path: Path, origin: ScriptedOrigin
) -> None:
    config = write_config(tmp_path)

    async def ask(times: int) -> None:
        for _ in range(times):
            # A connection of its own each time: the kernel spreads them over the workers.
            async with aiohttp.ClientSession() as session:
                got = await Client(session, service.base).get("/?" + origin.url("/dead.png"))
                assert got.code == "source_not_found"

    with Service(config, workers=2) as service:
        await ask(12)
        assert origin.count("/dead.png") == 2
    with Service(config, workers=2) as service:
        await ask(2)
        assert origin.count("/dead.png") == 2
        async with aiohttp.ClientSession() as session:
            client = Client(session, service.base)
            explained = json.loads((await client.get("/explain/?" + origin.url("/dead.png"))).body)
            assert explained["original"]["last_fetch_failed"]["code"] == "source_not_found"
            wanted = json.dumps({"source": origin.url("/dead.png")})
            await client.get("/purge", method="POST", data=wanted)
        await ask(1)
        assert origin.count("/dead.png") == 3


async def test_fallback_says_so_lives_short_and_asks_once(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    body = chart_png(40, 40)
    origin.serve("/kept.png", body)
    with Service(write_config(tmp_path, {"fetch": {"min_fresh": "1ms"}})) as service:
        client = Client(http, service.base)
        assert "X-Imgmirror-Fallback" not in (await client.get("/?" + origin.url("/kept.png"))).headers
        origin.script("/kept.png", answer(410))
        for target in ("/?", "/?", "/image/width=20,format=png/", "/image/width=20,format=png/"):
            got = await client.get(target + origin.url("/kept.png"))
            assert got.status == 200
            assert got.headers["X-Imgmirror-Fallback"] == "source_not_found"
            assert got.headers["Cache-Control"] == "public, max-age=60"
            assert "fwd=stale; fwd-status=410; detail=source_not_found" in got.cache_status
    assert origin.count("/kept.png") == 2


async def test_origin_that_hangs_does_not_slow_others_and_gets_its_connections_only(
    origin: ScriptedOrigin,
) -> None:
    """More fetches hang than there are connections in all; the other origin is answered meanwhile."""
    release = asyncio.Event()
    async with (
        ScriptedOrigin() as hanging,
        fetching(fetch_config(per_origin=3, max_connections=4)) as fetcher,
    ):
        for number in range(40):
            hanging.script(f"/{number}.png", stall(release))
        origin.serve("/good.png", b"good")
        waiting = [
            asyncio.create_task(body_of(fetcher, hanging.url(f"/{number}.png"))) for number in range(40)
        ]
        while hanging.count() < 3:  # noqa: ASYNC110 - the origin's own pace, no time is told
            await asyncio.sleep(0)
        for _ in range(20):
            assert await body_of(fetcher, origin.url("/good.png")) == b"good"
        assert hanging.connections == 3
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        release.set()
    assert origin.connections == 1, "kept alive"


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


async def test_dead_origin_is_left_alone_then_probed_once_then_used_again(origin: ScriptedOrigin) -> None:
    clock = Clock()
    origin.serve("/a.png", b"good")
    async with fetching(fetch_config(per_origin=50), clock=clock) as fetcher:
        await origin.stop()
        for _ in range(TRIPS_AFTER["connect"]):
            with pytest.raises(SourceUnreachable):
                await body_of(fetcher, origin.url("/a.png"))
        await origin.start()
        with pytest.raises(SourceUnreachable, match="cannot be reached") as caught:
            await body_of(fetcher, origin.url("/a.png"))
        assert caught.value.not_asked
        assert origin.count() == 0
        clock.now += 60
        outcomes = await asyncio.gather(
            *(body_of(fetcher, origin.url("/a.png")) for _ in range(10)), return_exceptions=True
        )
        assert outcomes.count(b"good") == 1, "one tries, the others are spared"
        assert await body_of(fetcher, origin.url("/a.png")) == b"good"


@pytest.mark.parametrize("handler", [reset(), raw(b"")], ids=["reset", "closed"])
async def test_origin_that_hangs_up_on_a_question_is_asked_for_its_other_pictures(
    origin: ScriptedOrigin, handler: Handler
) -> None:
    """So do those refuse that protect some of their pictures (444 of nginx)."""
    origin.script("/protected.png", handler)
    origin.serve("/good.png", b"good")
    async with fetching(fetch_config(), clock=Clock()) as fetcher:
        for _ in range(3 * TRIPS_AFTER["connect"]):
            with pytest.raises(SourceUnreachable):
                await body_of(fetcher, origin.url("/protected.png"))
        assert await body_of(fetcher, origin.url("/good.png")) == b"good"


async def test_timeouts_of_an_origin_open_its_circuit_but_those_who_waited_in_line_do_not_count(
    origin: ScriptedOrigin,
) -> None:
    never = asyncio.Event()
    origin.script("/hang.png", stall(never))
    origin.script("/drip.png", stall(never, before=head(200, [("Content-Length", "10")]) + b"x"))
    async with fetching(fetch_config(per_origin=1, timeout=0.2, idle_timeout=9), clock=Clock()) as fetcher:
        line = [body_of(fetcher, origin.url("/hang.png")) for _ in range(20)]
        outcomes = await asyncio.gather(*line, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {SourceTimeout}
        told = [outcome.failure for outcome in outcomes if isinstance(outcome, SourceError)]
        assert told.count("timeout") == 1
        assert told.count("") == 19
        for _ in range(TRIPS_AFTER["timeout"] + 1):
            # It answers, if slowly: that is this picture's fault.
            with contextlib.suppress(SourceTimeout):
                await body_of(fetcher, origin.url("/drip.png"))
        asked = origin.count()
        for _ in range(TRIPS_AFTER["timeout"] + 2):
            with contextlib.suppress(SourceTimeout):
                await body_of(fetcher, origin.url("/hang.png"))
    assert origin.count() - asked == TRIPS_AFTER["timeout"]


async def test_overloaded_origin_is_left_alone_for_as_long_as_it_asks(origin: ScriptedOrigin) -> None:
    clock = Clock()
    origin.script("/busy", answer(429, ("Retry-After", "300")))
    origin.serve("/a.png", b"good")
    async with fetching(fetch_config(), clock=clock) as fetcher:
        for _ in range(TRIPS_AFTER["busy"]):
            with pytest.raises(SourceError):
                await body_of(fetcher, origin.url("/busy"))
        clock.now += 299
        with pytest.raises(SourceError):
            await body_of(fetcher, origin.url("/a.png"))
        assert origin.count("/a.png") == 0
        clock.now += 2
        assert await body_of(fetcher, origin.url("/a.png")) == b"good"


async def test_visitor_who_leaves_the_probe_does_not_close_the_origin(origin: ScriptedOrigin) -> None:
    clock, never = Clock(), asyncio.Event()
    origin.serve("/a.png", b"good")
    async with fetching(fetch_config(), clock=clock) as fetcher:
        await origin.stop()
        for _ in range(TRIPS_AFTER["connect"]):
            with pytest.raises(SourceUnreachable):
                await body_of(fetcher, origin.url("/a.png"))
        await origin.start()
        origin.script("/hang.png", stall(never))
        clock.now += 60
        probe = asyncio.create_task(body_of(fetcher, origin.url("/hang.png")))
        while not origin.count("/hang.png"):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        assert await body_of(fetcher, origin.url("/a.png")) == b"good"


def service_connections(service: Service) -> int:
    assert service.process is not None
    workers = psutil.Process(service.process.pid).children(recursive=True)
    found = [place for worker in workers for place in worker.net_connections("tcp")]
    return sum(place.laddr[1] == service.port and place.status == "ESTABLISHED" for place in found)


async def test_waiting_workers_learn_of_a_failure_instead_of_waiting_again(
    tmp_path: Path, origin: ScriptedOrigin
) -> None:
    """Two workers, one slow dead picture: the second does not begin where the first has just given up."""
    release = asyncio.Event()
    origin.script("/slow.png", stall(release, after=head(404, [("Content-Length", "0")])))
    with Service(write_config(tmp_path), workers=2) as service:

        async def ask() -> str:
            async with aiohttp.ClientSession() as session:
                return (await Client(session, service.base).get("/?" + origin.url("/slow.png"))).code

        asked = [asyncio.create_task(ask()) for _ in range(12)]
        await asyncio.to_thread(wait_until, lambda: origin.count("/slow.png") == 1)
        await asyncio.to_thread(wait_until, lambda: service_connections(service) >= 12)
        await asyncio.sleep(0.1)  # from the sockets into the lock's queue, which nothing shows
        release.set()
        assert set(await asyncio.gather(*asked)) == {"source_not_found"}
    assert origin.count("/slow.png") == 1
