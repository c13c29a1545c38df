"""Caches in front are notified of purges, by HTTP and by the command. A failing hook delays nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from commands import invoke
from http_client import Client
from pictures import chart_png
from scripted_origin import Request, ScriptedOrigin, head, running_in_thread
from service import Service, write_config

from proxy.config import ServerConfig
from proxy.fetch.hooks import BATCH, MAX_AT_ONCE, tell


class Hooks:
    """A scripted hook server, and the notifications that it got, by path."""

    def __init__(self, origin: ScriptedOrigin) -> None:
        self.origin = origin
        self.told: dict[str, list[dict[str, Any]]] = {}

    def hang(self, path: str) -> tuple[str, list[str]]:
        """Return the address of a hook that never answers, and its path for each connection that has ended."""
        ended: list[str] = []

        async def handler(
            _request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            try:
                await reader.read()
            finally:
                ended.append(path)
                writer.close()

        self.origin.script(path, handler)
        return self.origin.url(path), ended

    def add(self, path: str, *statuses: int) -> str:
        """Return the address of a hook that answers with `statuses`, the last one for ever."""
        told = self.told[path] = []
        left = list(statuses)

        async def handler(
            request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            told.append(json.loads(await reader.readexactly(int(request.header("content-length") or 0))))
            status = left.pop(0) if len(left) > 1 else left[0]
            extra = (("Location", self.origin.url("/elsewhere")),) if status == 302 else ()
            writer.write(head(status, (("Content-Length", "0"), *extra)))

        self.origin.script(path, handler)
        return self.origin.url(path)


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    async with ScriptedOrigin() as server:
        yield Hooks(server)


async def test_purge_by_http_tells_each_hook_once_what_is_gone(
    tmp_path: Path, origin: ScriptedOrigin, hooks: Hooks
) -> None:
    """A dry run and a purge of nothing send no notification."""
    origin.serve("/a.png", chart_png(20, 20))
    source = origin.url("/a.png")
    addresses = [hooks.add("/varnish?token=secret", 204), hooks.add("/cdn", 200)]
    config = write_config(tmp_path, {"server": {"purge_hooks": addresses}})
    with Service(config) as service:
        async with aiohttp.ClientSession() as session:
            client = Client(session, service.base)
            await client.get("/?" + source)
            for body in ({"source": source, "dry_run": True}, {"source": origin.url("/never.png")}):
                await client.get("/purge", method="POST", data=json.dumps(body).encode())
            assert hooks.origin.count() == 0
            data = json.dumps({"source": source, "block": True}).encode()
            assert (await client.get("/purge", method="POST", data=data)).status == 200
        told = [{"purged": [source], "blocked": [source]}]
        assert hooks.told == {"/varnish?token=secret": told, "/cdn": told}
        assert service.metrics()['imgmirror_purge_hooks_total{outcome="ok"}'] == 2.0
        assert "secret" not in service.log()


@pytest.mark.parametrize(("statuses", "asked", "outcome"), [((500, 200), 2, "ok"), ((302,), 2, "failed")])
async def test_hook_that_does_not_answer_well_is_tried_twice_and_the_purge_stands(
    statuses: tuple[int, ...], asked: int, outcome: str, tmp_path: Path, origin: ScriptedOrigin, hooks: Hooks
) -> None:
    origin.serve("/a.png", chart_png(20, 20))
    source, hook = origin.url("/a.png"), hooks.add("/hook", *statuses)
    with Service(write_config(tmp_path, {"server": {"purge_hooks": [hook]}})) as service:
        async with aiohttp.ClientSession() as session:
            client = Client(session, service.base)
            await client.get("/?" + source)
            answer = await client.get("/purge", method="POST", data=json.dumps({"source": source}).encode())
        assert json.loads(answer.body)["purged"] == [source]
        assert len(hooks.told["/hook"]) == asked
        assert hooks.origin.count("/elsewhere") == 0
        assert service.metrics()[f'imgmirror_purge_hooks_total{{outcome="{outcome}"}}'] == 1.0


@pytest.mark.parametrize(("status", "code"), [(204, 0), (503, 1)])
def test_purge_by_command_tells_the_hooks_too(
    status: int, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It exits 1 if one could not be notified, and the picture is purged all the same."""
    with running_in_thread(ScriptedOrigin()) as origin:
        origin.serve("/a.png", chart_png(20, 20))
        hooks = Hooks(origin)
        config = write_config(tmp_path, {"server": {"purge_hooks": [hooks.add("/hook", status)]}})
        (tmp_path / "a.md").write_text(f"![](https://cors.zfour.workers.dev/?{origin.url('/a.png')})\n")
        assert invoke("warm", tmp_path / "a.md", config=config) == 0
        assert invoke("store", "purge", "--source", origin.url("/a.png"), "--dry-run", config=config) == 0
        assert hooks.told["/hook"] == []
        assert invoke("store", "purge", "--source", origin.url("/a.png"), config=config) == code
        assert hooks.told["/hook"][0] == {"purged": [origin.url("/a.png")], "blocked": []}
    assert ("purge hooks were not told" in capsys.readouterr().err) is bool(code)


async def test_many_sources_are_told_in_parts(hooks: Hooks) -> None:
    sources = [f"http://h.example/{number}.png" for number in range(BATCH * 2 + 1)]
    assert await tell([hooks.add("/hook", 200)], purged=sources, blocked=sources[:3]) == [True]
    told = hooks.told["/hook"]
    assert [len(one["purged"]) for one in told] == [BATCH, BATCH, 1]
    assert [source for one in told for source in one["purged"]] == sources
    assert [len(one["blocked"]) for one in told] == [3, 0, 0]


async def test_hook_where_nobody_listens_is_a_failure_and_no_error() -> None:
    assert await tell(["http://127.0.0.1:1/", "http://[::1]:1/x"], purged=["http://h/a"]) == [False, False]


async def test_hook_that_hangs_is_tried_twice_and_holds_up_no_other(hooks: Hooks) -> None:
    hook, _ = hooks.hang("/hung")
    addresses = [hook, hooks.add("/hook", 204)]
    assert await tell(addresses, purged=["http://h/a"], timeout_seconds=0.5) == [False, True]
    assert hooks.origin.count("/hung") == 2


async def test_hook_that_hangs_longer_than_all_may_take_is_hung_up_on(
    hooks: Hooks, caplog: pytest.LogCaptureFixture
) -> None:
    """The limit holds however long one attempt may take and however many batches and hooks there are. The number is
    logged."""
    hook, ended = hooks.hang("/hung")
    sources = [f"http://h.example/{number}.png" for number in range(BATCH + 1)]
    many = [hook] * (MAX_AT_ONCE + 1)  # the last one waits for its turn within the same time
    told = await tell(many, purged=sources, timeout_seconds=3600, longest_seconds=0.5)
    assert told == [False] * len(many)
    assert [message.rsplit(": ", 1)[1] for message in caplog.messages] == ["it took too long"] * len(many)
    while len(ended) < hooks.origin.count("/hung"):  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0)


async def test_hook_that_fails_is_told_no_further_parts(hooks: Hooks) -> None:
    """A hook that is gone holds up a purge of many pictures no longer than one of few."""
    sources = [f"http://h.example/{number}.png" for number in range(BATCH * 5)]
    assert await tell([hooks.add("/hook", 500)], purged=sources) == [False]
    assert len(hooks.told["/hook"]) == 2


@pytest.mark.parametrize(
    "hook",
    [
        "",
        "varnish:6081",
        "ftp://h/",
        "http://",
        "http://h/\n",
        "http://h:99999/",
        "http://h:x/",
        "http://%zz/",
    ],
)
def test_hook_that_is_no_web_address_is_refused(hook: str) -> None:
    with pytest.raises(ValueError, match="http"):
        ServerConfig(purge_hooks=(hook,))
