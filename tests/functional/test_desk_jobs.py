"""The jobs on the desk: started and stopped by forms, shown whoever started them, and sent live as markup."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from commands import invoke, markdown
from desk import HTML, TOKEN, DeskVisitor, signed_in
from http_client import Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin, head, stall
from service import Service, write_config

PICTURE = chart_png(60, 40)
SETTINGS: dict[str, dict[str, Any]] = {"server": {"admin_token": TOKEN}}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path, SETTINGS)


@pytest.fixture
def service(config: Path) -> Iterator[Service]:
    with Service(config) as found:
        yield found
        assert "Traceback" not in found.log(), found.log()


@pytest.fixture
async def owner(http: aiohttp.ClientSession, service: Service) -> DeskVisitor:
    visitor = await signed_in(http, service.base)
    await visitor.open("/desk/jobs")
    return visitor


@pytest.fixture
async def held(origin: ScriptedOrigin) -> AsyncIterator[asyncio.Event]:
    """Let the origin answer `/slow.png` only when the event is set."""
    release = asyncio.Event()
    whole = head(200, {"Content-Type": "image/png", "Content-Length": str(len(PICTURE))}) + PICTURE
    origin.script("/slow.png", stall(release, after=whole))
    yield release
    release.set()


async def shown(owner: DeskVisitor, word: str) -> str:
    """Open the page of jobs until it shows a word."""
    for _ in range(400):
        page = (await owner.open("/desk/jobs")).body.decode()
        if word in page:
            return page
        await asyncio.sleep(0.05)
    raise AssertionError(f"{word!r} did not appear: {page}")


async def test_job_is_started_by_a_form_and_shown_until_its_end(owner: DeskVisitor) -> None:
    answer = await owner.send("/desk/jobs/start", {"kind": "verify"})
    assert (answer.status, answer.headers["Location"]) == (303, "/desk/jobs")
    page = await shown(owner, "Done")
    assert "Verify" in page
    assert "by the desk or the API" in page


async def test_warm_of_the_command_line_is_seen_and_is_live(
    owner: DeskVisitor, held: asyncio.Event, config: Path, tmp_path: Path, origin: ScriptedOrigin
) -> None:
    """Each event carries the job as markup, escaped like the page; the last one says that it is done."""
    (tmp_path / "post.md").write_text(markdown(origin.url("/slow.png")))
    command = [sys.executable, "-m", "proxy", "warm", str(tmp_path / "post.md"), "--config", str(config)]
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)
    try:
        page = await shown(owner, "Running")
        assert "by a command" in page
        cookie = "; ".join(f"{name}={value}" for name, value in owner.cookies.items())
        async with (
            aiohttp.ClientSession() as session,
            session.get(
                owner.client.base + "/desk/jobs/events", headers={**HTML, "Cookie": cookie}
            ) as stream,
        ):
            assert stream.headers["Content-Type"] == "text/event-stream"
            states = []
            async for line in stream.content:
                if not line.startswith(b"data: "):
                    continue
                event = json.loads(line[6:])
                assert f'id="{event["id"]}"' in event["html"]
                states += re.findall(r"status (\w+)\"", event["html"])
                held.set()
                if "Done" in event["html"]:
                    break
        assert states[0] == "note"
        assert states[-1] == "good"
    finally:
        held.set()
        assert await process.wait() == 0


async def test_job_of_the_desk_is_stopped_by_a_form(
    service: Service,
    owner: DeskVisitor,
    held: asyncio.Event,
    config: Path,
    tmp_path: Path,
    origin: ScriptedOrigin,
) -> None:
    (tmp_path / "post.md").write_text(markdown(origin.url("/slow.png")))
    assert await asyncio.to_thread(
        invoke, "rewrite", tmp_path / "post.md", "--base-url", "http://img.example", "--write", config=config
    ) in {0, 1}
    await owner.send("/desk/jobs/start", {"kind": "warm"})
    page = await shown(owner, "Running")
    [name] = re.findall(r'name="id" value="([^"]+)"', page)
    assert (await owner.send("/desk/jobs/stop", {"id": name})).status == 303
    await shown(owner, "Stopped")


@pytest.mark.parametrize("fields", [{"kind": "nonsense"}, {"kind": ""}, {}])
async def test_kind_that_is_none_starts_nothing(owner: DeskVisitor, fields: dict[str, str]) -> None:
    assert (await owner.send("/desk/jobs/start", fields)).status == 404
    assert (await owner.send("/desk/jobs/stop", {"id": "../../etc/passwd"})).status == 404


async def test_stream_ends_with_the_session(owner: DeskVisitor) -> None:
    """Who has signed out in one tab sees nothing more in another; nor does a thief of the cookie."""
    cookie = "; ".join(f"{name}={value}" for name, value in owner.cookies.items())
    async with (
        aiohttp.ClientSession() as session,
        session.get(owner.client.base + "/desk/jobs/events", headers={**HTML, "Cookie": cookie}) as stream,
    ):
        assert stream.status == 200
        await owner.send("/desk/sign-out")
        with contextlib.suppress(aiohttp.ClientError):
            async for _ in stream.content:
                pass


async def test_stranger_sees_no_jobs_and_starts_none(service: Service, http: aiohttp.ClientSession) -> None:
    stranger = DeskVisitor(Client(http, service.base))
    assert (await stranger.open("/desk/jobs/events")).status == 303
    assert (await stranger.send("/desk/jobs/start", {"kind": "sweep"})).status == 401
