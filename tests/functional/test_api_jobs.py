"""Jobs through the API: started, watched live, stopped, and told of after their process has ended; in two workers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from commands import invoke, markdown
from http_client import Answer, Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin, head, stall
from service import Service, write_config

from cache.durable_tier import Originals
from proxy.rewrite.ondisk.files import ArticleFile
from proxy.services.jobs import lines
from proxy.web.connections.job_streams import HEARTBEAT_SECONDS

TOKEN = "a token of the owner"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PICTURE = chart_png(60, 40)
OVER = {"done", "failed", "stopped", "lost"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration by which a fetch waits for as long as a test wants it to."""
    changes = {"server": {"admin_token": TOKEN, "shutdown_timeout": "2s"}, "fetch": {"timeout": "100s"}}
    return write_config(tmp_path, changes)


@pytest.fixture
def service(config: Path) -> Iterator[Service]:
    """A service with a token and two workers, whose store is the test's own."""
    with Service(config, workers=2) as found:
        yield found
        assert "Traceback" not in found.log(), found.log()


@pytest.fixture
def client(http: aiohttp.ClientSession, service: Service) -> Client:
    return Client(http, service.base)


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for requests that start nothing."""
    changes = {"server": {"admin_token": TOKEN}}
    with Service(write_config(tmp_path_factory.mktemp("idle"), changes), workers=2) as found:
        yield found


@pytest.fixture
def refusing(http: aiohttp.ClientSession, idle: Service) -> Client:
    return Client(http, idle.base)


@pytest.fixture
async def held(origin: ScriptedOrigin, tmp_path: Path) -> AsyncIterator[asyncio.Event]:
    """An article with a picture whose origin answers only when the event is set."""
    release = asyncio.Event()
    whole = head(200, {"Content-Type": "image/png", "Content-Length": str(len(PICTURE))}) + PICTURE
    origin.script("/slow.png", stall(release, after=whole))
    origin.serve("/quick.png", PICTURE)
    (tmp_path / "post.md").write_text(markdown(origin.url("/slow.png"), origin.url("/quick.png")))
    yield release
    release.set()


async def start(client: Client, **body: Any) -> Answer:
    headers = {**BEARER, "Content-Type": "application/json"}
    return await client.get("/api/v1/jobs", method="POST", headers=headers, data=json.dumps(body))


async def jobs_of(client: Client) -> list[dict[str, Any]]:
    return list(json.loads((await client.get("/api/v1/jobs", headers=BEARER)).body)["jobs"])


async def events(
    client: Client, http: aiohttp.ClientSession, path: str, **headers: str
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the states that a stream sends, each with its `event_id`."""
    async with http.get(client.base + path, headers={**BEARER, **headers}) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream"
        seen = 0
        async for line in answer.content:
            if line.startswith(b"id: "):
                seen = int(line[4:])
            if line.startswith(b"data: "):
                yield {**json.loads(line[6:]), "event_id": seen}


async def until(client: Client, http: aiohttp.ClientSession, job: str, states: set[str]) -> dict[str, Any]:
    """Return the first state of a job among `states`, as its stream tells it."""
    async with contextlib.aclosing(events(client, http, f"/api/v1/jobs/{job}/events")) as told:
        async for state in told:
            if state["state"] in states:
                return state
    raise AssertionError("the stream ended before")


async def warming(config: Path) -> asyncio.subprocess.Process:
    """Begin `warm` of the article, in a process of its own."""
    article = str(config.parent / "post.md")
    words = ("-m", "proxy", "warm", "--config", str(config), article)
    quiet = asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(sys.executable, *words, stdout=quiet, stderr=quiet)


async def known_article(config: Path, origin: ScriptedOrigin, release: asyncio.Event) -> str:
    """Warm the article once, so that its pictures are known, and forget the slow picture again. Return its name."""
    release.set()
    await (await warming(config)).wait()
    await asyncio.to_thread(invoke, "store", "purge", "--source", origin.url("/slow.png"), config=config)
    release.clear()
    (record,) = (config.parent / "store" / "articles").glob("*/*.json")
    return str(json.loads(record.read_text())["article"])


async def test_verify_runs_to_its_end_and_says_what_it_found(
    client: Client, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """A job started in one worker is watched in any, and its figures are those of `store verify`."""
    origin.serve("/a.png", PICTURE)
    await client.get("/?" + origin.url("/a.png"))
    begun = await start(client, kind="verify")
    assert begun.status == 202
    job = json.loads(begun.body)
    assert (job["state"], job["started_by"], job["may_stop"]) == ("running", "api", True)
    end = await until(client, http, job["id"], OVER)
    assert (end["state"], end["result"]["entries"], end["result"]["wrong"]) == ("done", 1, 0)
    for _ in range(4):
        assert [item["id"] for item in await jobs_of(client)] == [job["id"]]


async def test_sweep_and_pack_do_what_the_commands_do(
    client: Client, http: aiohttp.ClientSession, origin: ScriptedOrigin, config: Path
) -> None:
    """A pack is a WARC file beside the store's folders that another store can unpack."""
    origin.serve("/a.png", PICTURE)
    await client.get("/?" + origin.url("/a.png"))
    swept = json.loads((await start(client, kind="sweep")).body)
    assert (await until(client, http, swept["id"], OVER))["result"]["dry_run"] is False
    packed = json.loads((await start(client, kind="pack")).body)
    end = await until(client, http, packed["id"], OVER)
    assert (end["state"], end["result"]["entries"]) == ("done", 1)
    target = config.parent / "store" / end["result"]["file"]
    other = config.parent / "other"
    other.mkdir()
    assert await asyncio.to_thread(invoke, "store", "unpack", target, config=write_config(other)) == 0


async def test_pack_that_would_fill_the_disk_is_not_begun(
    http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """A pack may take as much room as the originals, and `store.min_free` must be left."""
    changes: dict[str, Any] = {"server": {"admin_token": TOKEN}, "store": {"min_free": 1 << 60}}
    with Service(write_config(tmp_path, changes)) as service:
        client = Client(http, service.base)
        job = json.loads((await start(client, kind="pack")).body)
        end = await until(client, http, job["id"], OVER)
    assert (end["state"], end["message"]) == (
        "failed",
        "The disk has no room for a pack beside store.min_free.",
    )
    assert not (tmp_path / "store" / "packs").exists()


async def test_one_job_of_a_kind_runs_at_a_time_and_can_be_stopped_in_any_worker(
    client: Client, http: aiohttp.ClientSession, origin: ScriptedOrigin, config: Path, held: asyncio.Event
) -> None:
    """While a warm waits for an origin, a second one is refused, and stopping ends the first."""
    name = await known_article(config, origin, held)
    begun = json.loads((await start(client, kind="warm", presets=["thumbnail"])).body)
    assert begun["detail"] == ""
    for _ in range(4):
        again = await start(client, kind="warm", article=name)
        assert (again.status, again.code) == (503, "queue_full")
        assert again.headers["Retry-After"]
    verified = json.loads((await start(client, kind="verify")).body)
    assert (await until(client, http, verified["id"], OVER))["state"] == "done"
    path = f"/api/v1/jobs/{begun['id']}/stop"
    assert (await client.get(path, method="POST", headers=BEARER)).status == 202
    end = await until(client, http, begun["id"], OVER)
    assert (end["state"], end["message"]) == ("stopped", "It was stopped on request.")
    assert (await client.get(path, method="POST", headers=BEARER)).status == 202
    held.set()
    rest = json.loads((await start(client, kind="warm", article=name)).body)
    end = await until(client, http, rest["id"], OVER)
    assert (end["state"], end["result"]["kept"], end["result"]["dead"]) == ("done", 2, 0)


async def test_command_is_watched_live_and_not_stopped_from_elsewhere(
    client: Client, http: aiohttp.ClientSession, origin: ScriptedOrigin, config: Path, held: asyncio.Event
) -> None:
    """A warm of the command line is in the stream of all jobs while it runs, and at its end with its figures."""
    async with contextlib.aclosing(events(client, http, "/api/v1/jobs/events")) as told:
        running = await warming(config)
        first = await anext(told)
        assert (first["kind"], first["started_by"], first["state"]) == ("warm", "command", "running")
        path = f"/api/v1/jobs/{first['id']}/stop"
        refused = await client.get(path, method="POST", headers=BEARER)
        assert (refused.status, refused.code) == (400, "invalid_request")
        held.set()
        async for state in told:
            if state["state"] in OVER:
                break
    assert await running.wait() == 0
    assert (state["state"], state["done"], state["total"], state["result"]["kept"]) == ("done", 2, 2, 2)


async def test_service_that_ends_stops_its_jobs_and_streams_and_says_so(
    client: Client,
    http: aiohttp.ClientSession,
    origin: ScriptedOrigin,
    config: Path,
    service: Service,
    held: asyncio.Event,
) -> None:
    """A stream ends with its service, the job with both, and the next service tells why."""
    await known_article(config, origin, held)
    job = json.loads((await start(client, kind="warm")).body)
    async with contextlib.aclosing(events(client, http, "/api/v1/jobs/events")) as told:
        await anext(told)
        stopping = asyncio.create_task(asyncio.to_thread(service.stop))
        # A stream that was cut would raise.
        assert [state async for state in told if state["state"] == "lost"] == []
    assert await stopping == 0
    with Service(config) as later:
        found = (await jobs_of(Client(http, later.base)))[0]
    assert (found["id"], found["state"], found["message"]) == (
        job["id"],
        "stopped",
        "The service was stopped.",
    )


async def test_job_of_a_service_that_was_killed_ended_without_a_word(
    client: Client,
    http: aiohttp.ClientSession,
    origin: ScriptedOrigin,
    config: Path,
    service: Service,
    held: asyncio.Event,
) -> None:
    """After kill -9 the record still says that it runs, and the next service knows better."""
    await known_article(config, origin, held)
    job = json.loads((await start(client, kind="warm")).body)
    service.kill()
    with Service(config) as later:
        client = Client(http, later.base)
        found = (await jobs_of(client))[0]
        assert (found["id"], found["state"]) == (job["id"], "lost")
        assert found["message"] == "Its process ended without a word."
        held.set()
        again = json.loads((await start(client, kind="warm")).body)
        assert (await until(client, http, again["id"], OVER))["state"] == "done"


async def test_client_that_comes_back_hears_only_what_is_new(
    client: Client, http: aiohttp.ClientSession
) -> None:
    """`Last-Event-ID` works in every worker, and a stream whose job is over does not begin again."""
    first = json.loads((await start(client, kind="verify")).body)
    end = await until(client, http, first["id"], OVER)
    path = f"/api/v1/jobs/{first['id']}/events"
    for _ in range(4):
        answer = await client.get(path, headers={**BEARER, "Last-Event-ID": str(end["event_id"])})
        assert answer.status == 204
    nonsense = await client.get(path, headers={**BEARER, "Last-Event-ID": "x" * 500})
    assert nonsense.status == 200
    second = json.loads((await start(client, kind="sweep")).body)
    last = str(end["event_id"] + 1)
    told = events(client, http, "/api/v1/jobs/events", **{"Last-Event-ID": last})
    async with contextlib.aclosing(told):
        assert (await anext(told))["id"] == second["id"]


async def test_streams_of_a_worker_are_bounded(http: aiohttp.ClientSession, config: Path) -> None:
    """The thirty-third stream of a worker is refused, and there is room again as soon as a client has left."""
    with Service(config) as service:
        base = service.base + "/api/v1/jobs/events"
        async with contextlib.AsyncExitStack() as held:
            for _ in range(31):
                answer = await held.enter_async_context(http.get(base, headers=BEARER))
                assert answer.status == 200
            last = await http.get(base, headers=BEARER)
            assert last.status == 200
            refused = await http.get(base, headers=BEARER)
            assert refused.status == 429
            assert json.loads(await refused.read())["code"] == "rate_limited"
            head_only = await http.head(base, headers=BEARER)
            assert head_only.status == 429
            last.close()
            async with asyncio.timeout(HEARTBEAT_SECONDS / 2):
                while (again := await http.get(base, headers=BEARER)).status == 429:
                    again.release()
            again.close()


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"kind": "purge"}, "kind"), ({}, "kind"), ({"kind": "verify", "article": "a"}, "article"),
        ({"kind": "warm", "presets": ["nothing"]}, "nothing"), ({"kind": "warm", "presets": "content"}, "presets"),
        ({"kind": "warm", "presets": [1]}, "presets"), ({"kind": "warm", "path": "/etc"}, "path"),
    ],
)  # fmt: skip
async def test_job_that_cannot_be_started_is_refused_by_name(
    refusing: Client, body: dict[str, Any], named: str
) -> None:
    """Only the four kinds exist, and no job takes a path of the machine."""
    answer = await start(refusing, **body)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert named in json.loads(answer.body)["message"]


@pytest.mark.parametrize("job", ["0", "1700000000000-0000abcd", "..%2Ffailures", "1700000000000-0000abcd/"])
async def test_job_that_is_not_known_is_not_found(refusing: Client, job: str) -> None:
    """An id that is none does not reach the disk."""
    for path, method in ((job, "GET"), (f"{job}/events", "GET"), (f"{job}/stop", "POST")):
        answer = await refusing.get(f"/api/v1/jobs/{path}", method=method, headers=BEARER)
        assert (answer.status, answer.code) == (404, "not_found"), path


async def test_this_machine_watches_jobs_without_a_token_and_starts_none(tmp_path: Path) -> None:
    """Watching needs no token where none is configured; starting does."""
    other = tmp_path / "open"
    other.mkdir()
    async with aiohttp.ClientSession() as session:
        with Service(write_config(other)) as service:
            open_client = Client(session, service.base)
            assert (await open_client.get("/api/v1/jobs")).status == 200
            headers = {"Content-Type": "application/json"}
            data = json.dumps({"kind": "verify"})
            answer = await open_client.get("/api/v1/jobs", method="POST", headers=headers, data=data)
            assert (answer.status, answer.code) == (401, "unauthorized")


async def test_warm_records_the_lines_of_articles_as_the_command_does(
    client: Client, http: aiohttp.ClientSession, origin: ScriptedOrigin, config: Path, tmp_path: Path
) -> None:
    """An article that moved or is no file keeps its lines, and its sources stay those that the command has recorded."""
    origin.serve("/quick.png", PICTURE)
    urls = [origin.url(path) for path in ("/quick.png", "/late.png", "/other.png")]
    kept = await Originals.open(config.parent / "store")
    for name in ("post.md", "moved.md", "folder.md", "pipe.md"):
        path = str(tmp_path / name)
        await kept.articles.record(name, urls[:2], path=path, lines={urls[0]: [99], urls[1]: [100]})
    await kept.articles.record("unknown.md", urls[:1], lines={urls[0]: [99]})
    before = await kept.articles.everything()
    text = "title\n\n" + markdown(urls[2], urls[0])
    (tmp_path / "post.md").write_text(text)
    (tmp_path / "folder.md").mkdir()
    os.mkfifo(tmp_path / "pipe.md")
    job = json.loads((await start(client, kind="warm", presets=["thumbnail"])).body)
    end = await until(client, http, job["id"], OVER)
    assert (end["state"], end["result"]["articles_read"], end["result"]["kept"]) == ("done", 1, 1)
    after = await kept.articles.everything()
    await kept.close()
    place = next(number for number, line in enumerate(text.splitlines(), 1) if urls[0] in line)
    assert after.pop("post.md") == replace(before.pop("post.md"), lines={urls[0]: (place,)})
    assert after == before


async def test_folder_that_an_edited_record_names_is_not_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the root of the whole machine."""
    (tmp_path / "below").mkdir()
    (tmp_path / "below/post.md").write_text(markdown("http://a.example/a.png"))
    searched: list[Path] = []

    def search(paths: Iterable[Path]) -> Iterator[ArticleFile]:
        searched.extend(paths)
        return iter(())

    monkeypatch.setattr(lines, "find_articles", search)
    unused: Any = None
    reader = lines.LineReader(unused, unused, unused, max_bytes=1 << 20)
    for name in (str(tmp_path), "", "below/post.md"):
        assert reader._read(name) == (None, b"")
    assert not searched
    reader._read(str(tmp_path / "below/post.md"))
    assert searched == [tmp_path / "below/post.md"]
