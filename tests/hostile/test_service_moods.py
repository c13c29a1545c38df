"""Origins whose mood changes with every request, many visitors, purges in between. A picture that was kept and not
purged is answered 200 with bytes that its origin once sent as a good picture, and nothing is left behind.

A seed sets the moods and their order, but not which visitor meets which mood.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
import scripted_origin as so
from commands import invoke
from http_client import Answer, Client
from pictures import chart_png, disc_png
from scripted_origin import Handler, Request, ScriptedOrigin, head
from service import Service, write_config

SOURCES = 12
VISITORS = 8
QUESTIONS = 120
"""The number of requests of each visitor."""
PLACEHOLDER = disc_png(60, 60)
BAD: dict[str, Handler] = {
    "not found": so.raw(head(404, [("Content-Length", "0")])),
    "gone": so.raw(head(410, [("Content-Length", "0")])),
    "forbidden": so.raw(head(403, [("Content-Length", "0")])),
    "busy": so.raw(head(429, [("Content-Length", "0"), ("Retry-After", "1")])),
    "out of order": so.raw(head(503, [("Content-Length", "0")])),
    "not asked for": so.raw(head(304)),
    "nothing": so.raw(head(204)),
    "empty": so.raw(head(200, [("Content-Length", "0")])),
    "a page": so.raw(head(200, [("Content-Type", "text/html")]) + b"<!doctype html><p>parked"),
    "a placeholder": so.raw(head(200, [("Content-Length", str(len(PLACEHOLDER)))]) + PLACEHOLDER),
    "elsewhere": so.raw(head(302, [("Content-Length", "0"), ("Location", "http://10.1.2.3/x.png")])),
    "cut": so.cut_short(chart_png(20, 20)[:60], declared=900),
    "broken chunks": so.broken_chunks(),
    "no HTTP": so.raw(b"\x00\xff hello\r\n\r\n"),
    "hung up": so.raw(b""),
    "reset": so.reset(),
}


class Moody:
    """An origin of `SOURCES` pictures. `given`: the good bytes of each picture that it ever sent."""

    def __init__(self, origin: ScriptedOrigin, rng: random.Random) -> None:
        self.given: dict[str, set[bytes]] = {}
        self.moods: Counter[str] = Counter()
        self._origin, self._rng = origin, rng
        self._versions: dict[str, int] = {}
        for number in range(SOURCES):
            path = f"/{number}.png"
            self.given[path], self._versions[path] = set(), number
            origin.script(path, self._answer)

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        mood = self._rng.choice([*BAD, *["good"] * 8, "changed"])
        self.moods[mood] += 1
        if mood in BAD:
            await BAD[mood](request, reader, writer)
            return
        if mood == "changed":
            self._versions[request.target] += 100
        version = self._versions[request.target]
        # Of one size: a picture of another size would be taken for a placeholder.
        body = chart_png(40, 30) + b"%d" % version
        tag, wish = f'"{version}"', self._rng.choice(["max-age=0", "no-cache", "private", "no-store"])
        fields = [("ETag", tag), ("Cache-Control", wish), ("Set-Cookie", "a=b"), ("Refresh", "0")]
        if request.header("If-None-Match") == tag:
            writer.write(head(304, fields))
            return
        self.given[request.target].add(body)
        writer.write(head(200, [*fields, ("Content-Length", str(len(body)))]) + body)


class Visits:
    """The requests of visitors, and the answers that they must not get."""

    def __init__(self, client: Client, moody: Moody, origin: ScriptedOrigin, rng: random.Random) -> None:
        self.client, self.moody, self.origin, self.rng = client, moody, origin, rng
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.purges = dict.fromkeys(moody.given, 0)
        """A counter by path, odd while the path is being purged."""
        self._kept: dict[str, int] = {}

    async def visit(self) -> None:
        for _ in range(QUESTIONS):
            path = self.rng.choice([*self.purges])
            width = self.rng.choice(["", "", "width=20,format=webp", "width=30,format=png"])
            begun, known = self.purges[path], self._kept.get(path)
            target = f"/image/{width}/" if width else self.rng.choice(["/?", "/image/original/"])
            answer = await self.client.get(target + self.origin.url(path))
            self._judge(path, answer, is_original=not width)
            if begun % 2 or begun != self.purges[path]:
                continue  # purged meanwhile: both answers are right
            if answer.status == 200:
                self._kept[path] = begun
            elif known == begun:
                self.wrong.append(f"{target} lost {path}: {answer.status} {answer.cache_status}")

    async def purge(self) -> None:
        while True:
            path = self.rng.choice([*self.purges])
            self.purges[path] += 1
            question = {"source": self.origin.url(path)}
            purged = await self.client.get("/purge", method="POST", json=question)
            assert purged.status == 200
            self.purges[path] += 1
            await asyncio.sleep(0.2)

    def _judge(self, path: str, answer: Answer, *, is_original: bool) -> None:
        self.answers[answer.code or str(answer.status)] += 1
        if answer.code == "internal" or (answer.status != 200 and not answer.code):
            self.wrong.append(f"{path}: {answer.status} {answer.body[:200]!r}")
        if {"Set-Cookie", "Refresh"} & set(answer.headers):
            self.wrong.append(f"{path}: {dict(answer.headers)}")
        if is_original and answer.status == 200 and answer.body not in {*self.moody.given[path], PLACEHOLDER}:
            self.wrong.append(f"{path}: {len(answer.body)} bytes that the origin never gave")


@pytest.mark.parametrize("seed", [1, 2])
async def test_kept_pictures_outlast_every_mood_of_their_origin(
    tmp_path: Path,
    http: aiohttp.ClientSession,
    origin: ScriptedOrigin,
    capsys: pytest.CaptureFixture[str],
    seed: int,
) -> None:
    rng = random.Random(seed)  # noqa: S311 - moods, no secrets
    fetching = {"min_fresh": 0, "remember_failures": "300ms", "timeout": "5s"}
    config = write_config(tmp_path, {"fetch": fetching, "sources": {"transforms": "any"}})
    moody = Moody(origin, rng)
    with Service(config, workers=2) as service:
        visits = Visits(Client(http, service.base), moody, origin, rng)
        purging = asyncio.create_task(visits.purge())
        await asyncio.gather(*(visits.visit() for _ in range(VISITORS)))
        purging.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await purging
    assert not visits.wrong
    assert len(moody.moods) > len(BAD) / 2, moody.moods
    assert visits.answers["200"] > VISITORS * QUESTIONS / 4, visits.answers
    assert "Traceback" not in service.log(), service.log()
    assert not list((tmp_path / "store" / "incoming").iterdir())
    capsys.readouterr()
    assert await asyncio.to_thread(invoke, "store", "verify", "--json", config=config) == 0
    assert json.loads(capsys.readouterr().out)["wrong"] == []
