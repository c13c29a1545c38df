"""`imgmirror warm` as a process: signals, resuming, and warming a running service by HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from commands import invoke, markdown
from pictures import photo, png_bomb, saved
from scripted_origin import Handler, Request, ScriptedOrigin, head, run_in_thread
from service import Service, wait_until, write_config

from cache.originals.articles import ArticleIndex
from proxy.fetch.via import ViaAnswer, open_via
from proxy.services.warm.looks import Looks
from proxy.services.warm.warming import PictureToWarm, Warming
from proxy.services.warm.warmvia import ViaWarmer
from proxy.source import Source

PHOTO = saved(photo(320, 200), "JPEG")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGMIRROR_LOG", "info")


@pytest.fixture
def origin() -> Iterator[ScriptedOrigin]:
    with run_in_thread() as origin:
        for number in range(6):
            origin.serve(f"/{number}.jpg", PHOTO + bytes([number]), content_type="image/jpeg")
        yield origin


@pytest.fixture
def article(tmp_path: Path, origin: ScriptedOrigin) -> Path:
    path = tmp_path / "a.md"
    path.write_text(markdown(*(origin.url(f"/{number}.jpg") for number in range(6))))
    return path


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_in_good_order_and_the_next_run_resumes(
    tmp_path: Path, article: Path, origin: ScriptedOrigin, number: signal.Signals, code: int
) -> None:
    """Pictures in progress are finished and announced, nothing new begins, and the summary is printed."""
    config = write_config(tmp_path)
    command = [
        sys.executable,
        "-m",
        "proxy",
        "warm",
        "--json",
        "--concurrency",
        "1",
        "--config",
        str(config),
        str(article),
    ]
    release = asyncio.Event()
    loop_of: list[asyncio.AbstractEventLoop] = []

    async def gated(_request: object, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop_of.append(asyncio.get_running_loop())
        await release.wait()
        body = PHOTO + b"gated"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    origin.script("/2.jpg", gated)
    env = {**os.environ, "PYTHONDEVMODE": "", "PYTHONWARNINGS": "default", "IMGMIRROR_LOG": "error"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            first = [process.stdout.readline(), process.stdout.readline()]
            while not loop_of:
                assert process.poll() is None
            process.send_signal(number)
            assert "finishing" in process.stderr.readline()
            loop_of[0].call_soon_threadsafe(release.set)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    announced = {json.loads(line)["kept"] for line in (*first, *out.splitlines())}
    assert process.returncode == code
    assert announced == {origin.url(f"/{n}.jpg") for n in range(3)}
    assert "interrupted" in err
    assert "not begun: 3" in err
    assert invoke("store", "verify", config=config) == 0
    asked = [origin.count(f"/{n}.jpg") for n in range(6)]
    assert invoke("warm", article, config=config) == 0
    assert [origin.count(f"/{n}.jpg") for n in range(6)] == [*asked[:3], 1, 1, 1]


def test_via_warms_a_running_service(
    tmp_path: Path, article: Path, origin: ScriptedOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    """The service keeps and renders; a later visitor's request is a hit there, and the local folder stays empty."""
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    keys = {"sources": {"keys": ["a key of sixteen characters"]}}
    there, here = write_config(tmp_path / "there", keys), write_config(tmp_path / "here", keys)
    origin.serve("/bomb.png", png_bomb())
    article.write_text(article.read_text() + markdown(origin.url("/none.png"), origin.url("/bomb.png")))
    with Service(there) as service:
        report = tmp_path / "r.json"
        words = (article, "--via", service.base, "--json", "--report", report)
        assert invoke("warm", *words, config=here) == 1
        kept = {
            line["kept"]: line["sha256"] for line in map(json.loads, capsys.readouterr().out.splitlines())
        }
        bodies = {f"/{n}.jpg": PHOTO + bytes([n]) for n in range(6)} | {"/bomb.png": png_bomb()}
        assert kept == {origin.url(path): hashlib.sha256(body).hexdigest() for path, body in bodies.items()}
        rendered, asked = service.renders(), origin.count()
        assert rendered >= 6 * 3
        told = json.loads(report.read_text())
        assert [(one["source"], one["code"]) for one in told["dead"]] == [
            (origin.url("/none.png"), "source_not_found")
        ]
        assert [one["code"] for one in told["variants_redirected"]] == ["too_many_pixels"]
        assert invoke("warm", *words, config=here) == 1
        assert json.loads(report.read_text())["summary"]["already_kept"] == 7
        assert service.renders() == rendered
        assert origin.count("/0.jpg") == 1
        assert origin.count() == asked + 1  # the dead one
    assert not (tmp_path / "here" / "store").exists()


def test_via_never_announces_what_a_full_service_did_not_keep(
    tmp_path: Path, article: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """This includes the second time, when the service answers from its memory."""
    config = write_config(tmp_path, {"store": {"originals_max_bytes": "10 B"}})
    with Service(config) as service:
        for _ in range(2):
            assert invoke("warm", article, "--via", service.base, "--json", config=config) == 1
            assert capsys.readouterr().out == ""


def answering(*answers: bytes) -> Handler:
    """Give these answers, one for each request; the last one stays. An empty one is silence."""
    left = list(answers)

    async def handler(_request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if not answer:
            await reader.read()
        writer.write(answer)

    return handler


def refusal(status: int, **headers: str) -> bytes:
    return head(status, (*headers.items(), ("Content-Length", "0")))


PICTURE = head(200, [("Content-Type", "image/jpeg"), ("Content-Length", str(len(PHOTO)))]) + PHOTO
GIVEN = {
    "/none.jpg": (refusal(404), "gone"),
    "/gone.jpg": (refusal(410), "gone"),
    "/angry.jpg": (refusal(403), "refused"),
    "/busy.jpg": (refusal(429), "not_now"),
    "/broken.jpg": (refusal(503), "not_now"),
    "/silent.jpg": (b"", "not_now"),
}


@pytest.fixture
def moody() -> Iterator[dict[str, ScriptedOrigin]]:
    """An origin for each of `GIVEN`, so that no circuit opens."""
    with ExitStack() as stack:
        origins = {path: stack.enter_context(run_in_thread()) for path in GIVEN}
        for path, (answer, _) in GIVEN.items():
            origins[path].script(path, answering(answer))
        yield origins


def test_via_waits_for_a_busy_origin_and_says_the_same_while_failures_are_remembered(
    tmp_path: Path,
    origin: ScriptedOrigin,
    moody: dict[str, ScriptedOrigin],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A 429 with `Retry-After` loses no picture. The second run, answered from memory, makes the same distinctions."""
    monkeypatch.setattr("proxy.services.warm.warming.MAX_WAIT_SECONDS", 2.0)
    origin.script("/once.jpg", answering(refusal(429, **{"Retry-After": "1"}), PICTURE))
    fates = {moody[path].url(path): fate for path, (_, fate) in GIVEN.items()}
    article, report = tmp_path / "a.md", tmp_path / "r.json"
    article.write_text(markdown(origin.url("/once.jpg"), *fates))
    config = write_config(tmp_path, {"fetch": {"timeout": "1s"}})
    told, asked = [], []
    with Service(config) as service:
        for _ in range(3):
            assert invoke("warm", article, "--via", service.base, "--report", report, config=config) == 1
            told.append(json.loads(report.read_text()))
            asked.append({path: one.count(path) for path, one in moody.items()})
            out = capsys.readouterr().out.splitlines()
            dead = {line.split()[2] for line in out if line.startswith("dead: source")}
            assert dead == {url for url, fate in fates.items() if fate != "not_now"}
    # What is gone or refused is asked for once a run, and the others twice; the second failure is remembered.
    assert asked[2] == asked[1] == dict.fromkeys(GIVEN, 2)
    assert {one["source"]: one["fate"] for one in told[0]["dead"]} == fates
    assert told[0]["dead"] == told[1]["dead"] == told[2]["dead"]
    assert [one["source"] for one in told[0]["kept"]] == [origin.url("/once.jpg")]
    assert origin.count("/once.jpg") == 2


def test_service_says_when_to_ask_again_and_what_the_origin_answered(
    tmp_path: Path, origin: ScriptedOrigin
) -> None:
    """At first hand and from memory; of what cannot be reached nothing is said, the second time as the first."""
    origin.script("/busy.jpg", answering(refusal(429, **{"Retry-After": "900"})))
    origin.script("/endless.jpg", answering(refusal(503, **{"Retry-After": "999999"})))
    origin.script("/gone.jpg", answering(refusal(410)))

    async def visit(base: str) -> dict[str, list[ViaAnswer]]:
        sources = [*map(origin.url, ("/busy.jpg", "/endless.jpg", "/gone.jpg")), "http://10.0.0.1/a.jpg",
                   "http://127.0.0.1:1/a.jpg"]  # fmt: skip
        async with open_via(base) as via:
            return {
                source: [await via.get(f"/image/original/{source}") for _ in range(7)] for source in sources
            }

    with Service(write_config(tmp_path)) as service:
        busy, endless, gone, *unreachable = asyncio.run(visit(service.base)).values()
    waits = [int(answer.headers["retry-after"]) for answer in busy]
    assert waits[0] == 900
    assert waits == sorted(waits, reverse=True)
    assert waits[-1] > 800
    assert {int(answer.headers["retry-after"]) <= 3600 for answer in endless} == {True}
    assert {answer.origin_status for answer in busy} == {429}
    assert {answer.origin_status for answer in endless} == {503}
    assert {"hit", "detail=source_refused"} <= busy[-1].cache_words
    assert not any("retry-after" in answer.headers for answer in (*gone, *unreachable[0], *unreachable[1]))
    assert len({frozenset(answer.headers) for answers in unreachable for answer in answers}) == 1
    assert {answer.origin_status for answers in unreachable for answer in answers} == {0}


def test_via_waits_for_a_service_that_limits_its_clients(
    tmp_path: Path, article: Path, origin: ScriptedOrigin
) -> None:
    """`rate_limited` concerns the client: each picture is kept, and none counts as dead."""
    config = write_config(tmp_path, {"server": {"client_rate": 20, "client_burst": 2}})
    with Service(config) as service:
        assert invoke("warm", article, "--via", service.base, config=config) == 0
    assert [origin.count(f"/{n}.jpg") for n in range(6)] == [1] * 6


@pytest.mark.parametrize(("status", "tries"), [(429, 2), (503, 2), (502, 1), (401, 1)])
async def test_via_tells_what_a_server_before_the_service_says_from_the_picture(
    status: int, tries: int
) -> None:
    """An answer that is not ours makes no picture dead; the busy ones are asked again, two minutes at most."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async with ScriptedOrigin() as front, open_via(front.url("")) as via:
        source = Source.parse("http://h/a.jpg")
        path = f"/image/original/{source.url}"
        front.script(path, answering(refusal(status, **{"Retry-After": "100"})))
        warmer = ViaWarmer(
            via, Looks({}, ()), path=lambda options, at: f"/image/{options}/{at.url}", pause=pause
        )
        outcome = await warmer.warm(PictureToWarm(source, (), ("a.md",)), ask=True)
        assert outcome.not_kept
        assert not outcome.dead
        assert front.count(path) == tries
        assert pauses == [100.0] * (tries - 1)
        pauses.clear()
        await warmer.warm(PictureToWarm(source, (), ("a.md",)), ask=True)
        assert not pauses


async def test_end_does_not_wait_for_a_busy_service() -> None:
    """The picture in progress is reported as not kept at once."""
    waiting = asyncio.Event()

    async def pause(_seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    async with ScriptedOrigin() as front, open_via(front.url("")) as via:
        front.script("/busy", answering(refusal(503, **{"Retry-After": "100"})))
        warmer = ViaWarmer(via, Looks({}, ()), path=lambda _options, _source: "/busy", pause=pause)
        warming = Warming(warmer, per_origin=1, concurrency=1)
        works = [PictureToWarm(Source.parse(f"http://h/{number}.jpg"), (), ("a.md",)) for number in range(2)]
        outcomes = warming.outcomes(works)
        first = asyncio.ensure_future(anext(outcomes))
        await waiting.wait()
        warming.stop()
        assert (await first).not_kept
        assert [one async for one in outcomes] == []


def warm_process(*words: str | Path, config: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "proxy", "warm", "--config", str(config), *map(str, words)]
    env = {**os.environ, "PYTHONDEVMODE": "", "PYTHONWARNINGS": "default", "IMGMIRROR_LOG": "error"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def told_by(process: subprocess.Popen[str], report: Path) -> tuple[str, str, dict[str, Any]]:
    """Wait for the end; return standard output, standard error, and the summary of the report."""
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return out, err, json.loads(report.read_text())["summary"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_while_articles_are_read_ends_at_once_with_a_report(
    tmp_path: Path, article: Path, number: signal.Signals, code: int
) -> None:
    """It reports what was read so far and that nothing was begun, and makes no store. A long article does not delay
    it."""
    slow = tmp_path / "b.md"
    slow.write_bytes(b"![](https://wsrv.nl/?url=http://h.example/a.png)\n\n" + b"> " * 20 + b"a\n" * 400_000)
    config, report = write_config(tmp_path), tmp_path / "r.json"
    with warm_process(article, slow, "--json", "--report", report, config=config) as process:
        # The long one is read in a process of its own, behind the short one.
        wait_until(lambda: max(map(processor_seconds, children_of(process.pid)), default=0) > 0.5, seconds=60)
        process.send_signal(number)
        out, err, summary = told_by(process, report)
    assert process.returncode == code
    assert out == ""
    assert [summary[key] for key in ("interrupted", "stopped", "articles", "pictures", "not_begun", "kept")] == [
        True, "while articles were read", 1, 6, 6, 0,
    ]  # fmt: skip
    assert "stopped: while articles were read; no picture was begun" in err
    assert "not begun: 6" in err
    assert not (tmp_path / "store").exists()


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def processor_seconds(pid: str) -> float:
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(words[11]) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_while_a_service_is_asked_ends_at_once_with_a_report(
    tmp_path: Path, article: Path, origin: ScriptedOrigin, number: signal.Signals, code: int
) -> None:
    """The service accepts the connection and says nothing."""
    origin.script("/healthz", answering(b""))
    config, report = write_config(tmp_path), tmp_path / "r.json"
    with warm_process(article, "--via", origin.url(""), "--report", report, config=config) as process:
        wait_until(lambda: origin.count("/healthz"), seconds=60)
        process.send_signal(number)
        out, _, summary = told_by(process, report)
    assert process.returncode == code
    assert "stopped: while the service was asked; no picture was begun" in out
    assert (summary["interrupted"], summary["not_begun"]) == (True, 6)


def test_signal_while_the_store_is_opened_gives_up_and_tells(
    tmp_path: Path,
    article: Path,
    origin: ScriptedOrigin,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The signal comes after the store and its processes were opened, before the articles are recorded."""
    record = ArticleIndex.record

    async def signalled(self: ArticleIndex, *words: Any, **named: Any) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return await record(self, *words, **named)

    monkeypatch.setattr(ArticleIndex, "record", signalled)
    before = signal.getsignal(signal.SIGTERM)
    assert invoke("warm", article, config=write_config(tmp_path)) == 143
    out = capsys.readouterr().out
    assert "stopped: while the store was opened; no picture was begun" in out
    assert "not begun: 6" in out
    assert origin.count() == 0
    assert signal.getsignal(signal.SIGTERM) is before
