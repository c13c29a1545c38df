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
from pathlib import Path

import pytest
from commands import invoke, markdown
from pictures import photo, png_bomb, saved
from scripted_origin import ScriptedOrigin, run_in_thread
from service import Service, write_config

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
    """What is under way is finished and announced, nothing new begins, the summary is printed."""
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
    """Not even the second time, when the service answers from its memory."""
    config = write_config(tmp_path, {"store": {"originals_max_bytes": "10 B"}})
    with Service(config) as service:
        for _ in range(2):
            assert invoke("warm", article, "--via", service.base, "--json", config=config) == 1
            assert capsys.readouterr().out == ""
