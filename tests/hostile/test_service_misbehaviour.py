"""Origins that misbehave, through a whole service: the answer is the documented one, and kept pictures are served.

docs/failures.md has a table of these; a test below compares it with the cases.
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import itertools
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import scripted_origin as so
import trustme
from http_client import Answer, Client
from pictures import chart_png, disc_png
from scripted_origin import Handler, Request, ScriptedOrigin, head
from service import Service, write_config

ROOT = Path(__file__).parents[2]
GOOD, OTHER = chart_png(80, 60), disc_png(50, 50)
MAX_BYTES = 200_000
LENGTH = str(len(GOOD))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[Service]:
    """A service that trusts the test's authority, so that it refuses an expired certificate only for its date."""
    folder = tmp_path_factory.mktemp("misbehaviour")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    limits = {"timeout": "1500ms", "idle_timeout": "1s", "max_bytes": MAX_BYTES, "min_fresh": "1ms"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
        with Service(write_config(folder, {"fetch": limits})) as found:
            yield found
    assert "Traceback" not in found.log(), found.log()


@pytest.fixture
def client(http: aiohttp.ClientSession, service: Service) -> Client:
    return Client(http, service.base)


@pytest.fixture
async def origin() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as found:
        found.serve("/other.png", OTHER)
        yield found


@dataclass(frozen=True, slots=True)
class Case:
    """`make` returns the misbehaviour; code `""`: the picture is answered all the same. slow: takes `fetch.timeout`."""

    make: Callable[[ScriptedOrigin], Handler]
    status: int
    code: str
    slow: bool = False


def sent(answer: bytes) -> Callable[[ScriptedOrigin], Handler]:
    return lambda _origin: so.raw(answer)


def status(number: int, *lines: tuple[str, str], body: bytes = b"") -> Callable[[ScriptedOrigin], Handler]:
    return sent(head(number, [*lines, ("Content-Length", str(len(body)))]) + body)


def flapping(_origin: ScriptedOrigin) -> Handler:
    """Alternate between a broken answer and a good one."""
    numbers = itertools.count()

    async def handler(_request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        well = next(numbers) % 2
        writer.write(head(200 if well else 503, [("Content-Length", LENGTH if well else "0")]))
        writer.write(GOOD if well else b"")

    return handler


def refusing_head(_origin: ScriptedOrigin) -> Handler:
    async def handler(request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        refused = request.method != "GET"
        writer.write(head(405 if refused else 200, [("Content-Length", "0" if refused else LENGTH)]))
        writer.write(b"" if refused else GOOD)

    return handler


INJECTED = [
    ("Set-Cookie", "a=b"), ("Refresh", "0;url=http://evil.example/"), ("Link", "<http://evil.example/>; rel=preload"),
    ("Content-Security-Policy", "default-src *"), ("Content-Language", "en\tSet-Cookie: a=b"), ("ETag", '"a\tb"'),
    ("Cross-Origin-Resource-Policy", "same-origin"), ("Clear-Site-Data", "*"), ("Location", "http://evil.example/"),
]  # fmt: skip
PAGE = b"<!doctype html><html><title>Sorry</title><p>This picture has moved.</html>"

CASES: dict[str, Case] = {
    "slow drip": Case(lambda _: so.drip(GOOD, interval_seconds=0.05), 504, "source_timeout", slow=True),
    "early close": Case(sent(head(200) + GOOD[:-30]), 502, "source_unreachable"),
    "wrong length": Case(lambda _: so.cut_short(GOOD, declared=len(GOOD) + 9), 502, "source_unreachable"),
    "chunked garbage": Case(lambda _: so.broken_chunks(), 502, "source_unreachable"),
    "gzip bomb": Case(lambda _: so.gzip_bomb(50_000_000), 422, "source_too_large"),
    "redirect loop": Case(status(302, ("Location", "/x.png")), 502, "source_unreachable"),
    "redirect to private": Case(status(302, ("Location", "http://10.0.0.1/")), 502, "source_unreachable"),
    "200 with an error page": Case(
        status(200, ("Content-Type", "image/png"), body=PAGE), 422, "not_an_image"
    ),
    "429": Case(status(429, ("Retry-After", "30")), 502, "source_refused"),
    "flapping": Case(flapping, 502, "source_failed"),
    "huge headers": Case(sent(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000), 502, "source_unreachable"),
    "header injection": Case(
        sent(head(200, [*INJECTED, ("Content-Length", LENGTH)]) + GOOD), 200, ""
    ),
    "header with a bare CR": Case(
        sent(b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"), 422, "not_an_image"
    ),
    "no content type": Case(status(200, body=GOOD), 200, ""),
    "wrong content type": Case(status(200, ("Content-Type", "text/html"), body=GOOD), 200, ""),
    "206 to a plain GET": Case(
        status(206, ("Content-Range", f"bytes 0-99/{LENGTH}"), body=GOOD[:100]), 502, "source_failed"
    ),
    "204": Case(status(204), 502, "source_failed"),
    "HEAD refused": Case(refusing_head, 200, ""),
    "infinite body": Case(lambda _: so.endless(GOOD[:64] + b"x" * 4096), 422, "source_too_large"),
    "keep-alive after close": Case(
        sent(head(200, [("Connection", "keep-alive"), ("Content-Length", LENGTH)]) + GOOD), 200, ""
    ),
    "empty body": Case(status(200, ("Content-Type", "image/png")), 422, "not_an_image"),
    "silence": Case(lambda _: so.stall(asyncio.Event()), 504, "source_timeout", slow=True),
}  # fmt: skip


def entry_of(service: Service, url: str) -> Path:
    key = hashlib.sha256(url.encode()).hexdigest()
    return service.config.parent / "store" / "entries" / key[:2] / f"{key}.json"


def bodies(service: Service) -> set[str]:
    return {path.name for path in (service.config.parent / "store" / "bodies").glob("??/*")}


def as_documented(answer: Answer, case: Case) -> None:
    assert (answer.status, answer.code) == (case.status, case.code)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert not {"Set-Cookie", "Refresh", "Link", "Clear-Site-Data", "Location"} & set(answer.headers)
    if not case.code:
        assert answer.body == GOOD
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert "Content-Language" not in answer.headers


@pytest.mark.parametrize("name", CASES)
async def test_cold_source_gets_its_documented_answer_and_nothing_wrong_is_kept(
    client: Client, service: Service, origin: ScriptedOrigin, name: str
) -> None:
    case, url, before = CASES[name], origin.url("/x.png"), bodies(service)
    origin.script("/x.png", case.make(origin))
    for target in ("/?", "/image/original/"):
        if name == "flapping" and target != "/?":
            case = Case(case.make, 200, "")
        as_documented(await client.get(target + url), case)
    if case.code:
        assert not entry_of(service, url).exists()
        assert bodies(service) == before
        answer = await client.get("/image/width=20,format=png/" + url)
        assert (answer.status, answer.code) == (case.status, case.code)
    else:
        kept = json.loads(entry_of(service, url).read_text())
        assert kept["body_sha256"] == hashlib.sha256(GOOD).hexdigest()
        answer = await client.get("/?" + url, method="HEAD")
        assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", LENGTH)
        assert {request.method for request in origin.requests} == {"GET"}
    assert (await client.get("/?" + origin.url("/other.png"))).body == OTHER, "its neighbours are served"


@pytest.mark.parametrize("name", CASES)
async def test_good_copy_is_served_on(
    client: Client, service: Service, origin: ScriptedOrigin, name: str
) -> None:
    case, url = CASES[name], origin.url("/x.png")
    origin.serve("/x.png", GOOD)
    assert (await client.get("/?" + url)).body == GOOD
    before = json.loads(entry_of(service, url).read_text())
    origin.script("/x.png", case.make(origin))
    for _ in range(2):
        answer = await client.get("/?" + url)
        as_documented(answer, Case(case.make, 200, ""))
        if case.code and name != "flapping":
            assert "fwd=stale" in answer.cache_status
            assert answer.headers["Cache-Control"] == "public, max-age=60"
            assert answer.headers.get("X-Imgmirror-Fallback") == (
                case.code if not case.slow or "refreshing" not in answer.cache_status else None
            )
    after = json.loads(entry_of(service, url).read_text())
    assert after["body_sha256"] == before["body_sha256"]
    assert after["history"] == []
    assert (await client.get("/image/width=20,format=png/" + url)).status == 200


def server_context(authority: trustme.CA, *, days: int) -> ssl.SSLContext:
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    start = end - datetime.timedelta(days=30)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", not_before=start, not_after=end).configure_cert(context)
    return context


async def test_expired_certificate_is_unreachable_and_a_good_copy_is_served_on(
    client: Client, service: Service, authority: trustme.CA
) -> None:
    """The origin is the same before and after its certificate expires."""
    async with ScriptedOrigin(ssl_context=server_context(authority, days=20)) as good:
        good.serve("/x.png", GOOD)
        url = good.url("/x.png")
        assert (await client.get("/?" + url)).body == GOOD
    expired = ScriptedOrigin(ssl_context=server_context(authority, days=-1))
    expired.port = good.port
    async with expired:
        expired.serve("/x.png", OTHER)
        expired.serve("/new.png", OTHER)
        answer = await client.get("/?" + url)
        assert (answer.status, answer.body) == (200, GOOD)
        assert answer.headers["X-Imgmirror-Fallback"] == "source_unreachable"
        new = expired.url("/new.png")
        answer = await client.get("/?" + new)
        assert (answer.status, answer.code) == (502, "source_unreachable")
        assert expired.count() == 0
    assert not entry_of(service, new).exists()


def test_table_in_the_docs_is_that_of_the_cases() -> None:
    text = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")
    table = text.split("<!-- misbehaviours -->\n", 1)[1].split("<!-- /misbehaviours -->", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    documented = {name: answer for name, answer, *_ in rows}
    cases = {
        name: f"{case.status} `{case.code}`" if case.code else "the picture" for name, case in CASES.items()
    }
    assert documented == {**cases, "TLS expired": "502 `source_unreachable`"}
    tests = {match for *_, where in rows for match in re.findall(r"`(test_\w+)`", where)}
    assert tests
    for name in tests:
        assert f"def {name}(" in Path(__file__).read_text(encoding="utf-8")
