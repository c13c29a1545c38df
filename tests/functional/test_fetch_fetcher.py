"""Fetches from well-behaved origins: results, requests, redirects, conditions, politeness, reloads."""

import asyncio
import gzip
import itertools
import ssl
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trustme
from fetching import INSTANCE, MemorySink, body_of, fetch_config, fetched, fetching
from scripted_origin import ScriptedOrigin, as_chunks, head, raw, stall
from stub_resolver import StubResolver

from proxy.errors import SourceNotAllowed, SourceTimeout, SourceUnreachable
from proxy.fetch.fetcher import Fetched, Fetcher, NotModified, Validators
from proxy.source import Source

DATA = bytes(range(256)) * 2000
DATE = "Sat, 01 Jan 2022 00:00:00 GMT"


@pytest.fixture
async def origin() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as server:
        yield server


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    async with fetching() as found:
        yield found


async def test_fetched_tells_everything_about_the_answer(origin: ScriptedOrigin) -> None:
    """Status, headers in lower case, address, size, framing and the times around the request."""
    origin.serve("/a?b", DATA, etag='"x"', headers={"X-Odd": "é"})
    ticks = itertools.count(100)
    async with fetching(clock=lambda: float(next(ticks))) as fetcher:
        answer, body = await fetched(fetcher, origin.url("/a?b"))
    assert body == DATA
    assert answer == Fetched(
        status=200,
        headers=(
            ("content-type", "image/png"),
            ("etag", '"x"'),
            ("x-odd", "é".encode().decode("latin-1")),
            ("content-length", str(len(DATA))),
        ),
        final_url=origin.url("/a?b"),
        size=len(DATA),
        framing="length",
        request_time=100.0,
        response_time=101.0,
        redirects=0,
    )


@pytest.mark.parametrize(
    ("keys", "framing"), [({}, "length"), ({"chunked": True}, "chunked"), ({"until_close": True}, "close")]
)
@pytest.mark.parametrize("body", [b"", b"x", DATA])
async def test_body_in_any_framing_arrives_whole(
    fetcher: Fetcher, origin: ScriptedOrigin, keys: Any, framing: str, body: bytes
) -> None:
    """An empty body is an answer too. The caller decides what it is worth."""
    origin.serve("/a", body, **keys)
    answer, got = await fetched(fetcher, origin.url("/a"))
    assert isinstance(answer, Fetched)
    assert (got, answer.size, answer.framing) == (body, len(body), framing)


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(DATA)),
        ("X-GZIP", gzip.compress(DATA)),
        ("deflate", zlib.compress(DATA)),
        ("deflate, gzip", gzip.compress(zlib.compress(DATA))),
        ("identity", DATA),
        ("aws-chunked", DATA),
        ("", DATA),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
async def test_coded_body_is_decoded_though_not_asked_for(
    fetcher: Fetcher, origin: ScriptedOrigin, coding: str, packed: bytes, *, chunked: bool
) -> None:
    """The original is what the coding carries; its size is counted after decoding."""
    origin.serve("/a", packed, headers={"Content-Encoding": coding}, chunked=chunked)
    answer, body = await fetched(fetcher, origin.url("/a"))
    assert isinstance(answer, Fetched)
    assert body == DATA
    assert answer.size == len(DATA)


async def test_body_of_exactly_the_limit_is_taken(origin: ScriptedOrigin) -> None:
    """`fetch.max_bytes` is the largest size that is fine."""
    origin.serve("/a", b"x" * 1000)
    async with fetching(fetch_config(max_bytes=1000)) as fetcher:
        assert len(await body_of(fetcher, origin.url("/a"))) == 1000


async def test_request_has_our_headers_and_nothing_else(fetcher: Fetcher, origin: ScriptedOrigin) -> None:
    """No cookie, no referer, no forwarding header, nothing a library adds."""
    origin.serve("/a")
    await fetched(fetcher, origin.url("/a"))
    sent = {name.lower(): value for name, value in origin.requests[0].headers}
    assert sent.keys() == {"host", "user-agent", "accept", "accept-encoding", "via", "cdn-loop"}
    assert sent["via"] == f"1.1 {INSTANCE}"
    assert origin.requests[0].method == "GET"


@pytest.mark.parametrize(
    "target",
    [
        "/%CD%BC.png",
        "/a%2Fb%2C",
        "/~%7E%7C%7c[]'",
        "/a?",
        "/a?b=c%2Fd+e&f?g",
        "//a//b",
        "/;@:,",
        "/?",
        "/%zz",
    ],
)
async def test_request_line_has_the_target_to_the_byte(
    fetcher: Fetcher, origin: ScriptedOrigin, target: str
) -> None:
    """Another escape is another picture."""
    origin.serve(target, b"x")
    assert await body_of(fetcher, origin.url(target)) == b"x"
    assert origin.requests[0].target == target


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_followed_by_hand(fetcher: Fetcher, origin: ScriptedOrigin, status: int) -> None:
    """Relative and absolute; the answer names the last address and counts the hops."""
    origin.redirect("/1", "2", status=status)
    origin.redirect("/2", origin.url("/3#top"), status=status)
    origin.serve("/3", b"x")
    answer, body = await fetched(fetcher, origin.url("/1"))
    assert isinstance(answer, Fetched)
    assert (body, answer.final_url, answer.redirects) == (b"x", origin.url("/3"), 2)


async def test_redirect_to_bytes_in_gbk_asks_for_those_bytes(
    fetcher: Fetcher, origin: ScriptedOrigin
) -> None:
    """A Location that is not UTF-8 is escaped byte by byte, not dropped."""
    origin.redirect("/r", b"/\xcd\xbc \xc6\xac.png?\xa1=1")
    origin.serve("/%CD%BC%20%C6%AC.png?%A1=1", b"gbk")
    assert await body_of(fetcher, origin.url("/r")) == b"gbk"


async def test_redirect_with_a_body_is_followed(fetcher: Fetcher, origin: ScriptedOrigin) -> None:
    """The fetch does not wait for the page that says "moved", however long it is."""
    origin.script("/r", raw(head(302, [("Location", "/a"), ("Content-Length", "1000000")]) + b"<html>"))
    origin.serve("/a", b"x")
    assert await body_of(fetcher, origin.url("/r")) == b"x"


async def test_redirect_against_the_policy_is_not_allowed(origin: ScriptedOrigin) -> None:
    """The hop is not asked; the first address is the policy's business before the fetch."""
    seen: list[str] = []

    def check_hop(hop: Source) -> None:
        seen.append(hop.url)
        raise SourceNotAllowed

    origin.redirect("/r", "/a")
    origin.serve("/a")
    async with fetching(check_hop=check_hop) as fetcher:
        with pytest.raises(SourceNotAllowed):
            await fetched(fetcher, origin.url("/r"))
    assert seen == [origin.url("/a")]
    assert origin.count("/a") == 0


async def test_referer_of_each_hop_is_its_own(origin: ScriptedOrigin) -> None:
    """A profile is chosen for the hop, not for the source."""
    profiles = {
        "a": {"hosts": ["a.example"], "referer": "own"},
        "b": {"hosts": ["b.example"], "referer": "https://blog.example/", "headers": {"X-Token": "1"}},
    }
    names = StubResolver({"a.example": [["127.0.0.1"]], "b.example": [["127.0.0.1"]]})
    origin.redirect("/r", origin.url("/a", host="b.example"))
    origin.serve("/a")
    async with fetching(fetch_config(profiles=profiles), resolver=names) as fetcher:
        await fetched(fetcher, origin.url("/r", host="a.example"))
    first, second = origin.requests
    assert (first.header("Referer"), first.header("X-Token")) == (f"http://a.example:{origin.port}/", None)
    assert (second.header("Referer"), second.header("X-Token")) == ("https://blog.example/", "1")


@pytest.mark.parametrize(
    ("validators", "modified"),
    [
        (Validators(etag='"x"'), False),
        (Validators(last_modified=DATE), False),
        (Validators(etag='"x"', last_modified=DATE), False),
        (Validators(etag='"old"', last_modified=DATE), True),
        (Validators(), True),
        (None, True),
    ],
)
async def test_condition_that_holds_is_not_modified(
    fetcher: Fetcher, origin: ScriptedOrigin, validators: Validators | None, *, modified: bool
) -> None:
    """304 is a value with its headers; the sink stays empty."""
    origin.serve("/a", DATA, etag='"x"', last_modified=DATE)
    answer, body = await fetched(fetcher, origin.url("/a"), validators=validators)
    assert isinstance(answer, Fetched if modified else NotModified)
    assert dict(answer.headers)["etag"] == '"x"'
    assert body == (DATA if modified else b"")


async def test_condition_is_sent_only_to_the_address_that_gave_the_validators(
    fetcher: Fetcher, origin: ScriptedOrigin
) -> None:
    """If the redirect now leads elsewhere, the same entity tag refers to another picture."""
    origin.redirect("/r", "/new")
    origin.serve("/old", b"old", etag='"1"')
    origin.serve("/new", b"new", etag='"1"')
    for url in (origin.url("/old"), None):
        answer, body = await fetched(fetcher, origin.url("/r"), validators=Validators('"1"', None, url))
        assert isinstance(answer, Fetched)
        assert body == b"new"
    answer, _ = await fetched(
        fetcher, origin.url("/r"), validators=Validators('"1"', None, origin.url("/new"))
    )
    assert isinstance(answer, NotModified)


async def test_connection_is_kept_and_used_again(fetcher: Fetcher, origin: ScriptedOrigin) -> None:
    """One connection for many pictures, redirects and 304s; a broken-off body costs it."""
    origin.serve("/a", DATA, etag='"x"')
    origin.redirect("/r", "/a")
    for path in ("/a", "/r", "/a"):
        await fetched(fetcher, origin.url(path))
    await fetched(fetcher, origin.url("/a"), validators=Validators('"x"'))
    assert origin.connections == 1


async def test_origin_that_died_and_came_back_is_reached_again(
    fetcher: Fetcher, origin: ScriptedOrigin
) -> None:
    """An idle connection that broke meanwhile causes no error."""
    origin.serve("/a", b"x")
    assert await body_of(fetcher, origin.url("/a")) == b"x"
    await origin.stop()
    with pytest.raises(SourceUnreachable):
        await fetched(fetcher, origin.url("/a"))
    await origin.start()
    assert await body_of(fetcher, origin.url("/a")) == b"x"


async def test_name_of_this_machine_is_resolved_by_the_real_resolver(
    fetcher: Fetcher, origin: ScriptedOrigin
) -> None:
    """Names work without a stub; a name that cannot exist is unreachable (RFC 6761)."""
    origin.serve("/a", b"x")
    assert await body_of(fetcher, origin.url("/a", host="localhost")) == b"x"


class Busy:
    """An origin whose answers wait for `release`; counts how many wait at once."""

    def __init__(self, origin: ScriptedOrigin) -> None:
        self.release = asyncio.Event()
        self.now = 0
        self.most = 0
        self.full = asyncio.Event()
        origin.script("/busy", self.answer)

    async def answer(self, _request: Any, _reader: Any, writer: asyncio.StreamWriter) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        if self.now == 2:
            self.full.set()
        await self.release.wait()
        self.now -= 1
        writer.write(head(200, [("Transfer-Encoding", "chunked")]) + as_chunks(b"x"))


async def test_origin_gets_no_more_requests_than_its_limit(origin: ScriptedOrigin) -> None:
    """`fetch.per_origin` at once, the others in turn; another origin is not held up."""
    busy = Busy(origin)
    async with ScriptedOrigin() as other, fetching(fetch_config(per_origin=2)) as fetcher:
        other.serve("/a", b"other")
        tasks = [asyncio.create_task(body_of(fetcher, origin.url(f"/busy?{number}"))) for number in range(8)]
        await busy.full.wait()
        assert await body_of(fetcher, other.url("/a")) == b"other"
        assert origin.count("/busy") == 2
        busy.release.set()
        assert await asyncio.gather(*tasks) == [b"x"] * 8
    assert busy.most == 2


async def test_all_origins_together_get_no_more_connections_than_the_limit(origin: ScriptedOrigin) -> None:
    """`fetch.max_connections` counts every origin."""
    busy = Busy(origin)
    hosts = [f"h{number}.example" for number in range(6)]
    resolver = StubResolver({host: [["127.0.0.1"]] for host in hosts})
    async with fetching(fetch_config(max_connections=2), resolver=resolver) as fetcher:
        tasks = [asyncio.create_task(body_of(fetcher, origin.url("/busy", host=host))) for host in hosts]
        await busy.full.wait()
        busy.release.set()
        assert await asyncio.gather(*tasks) == [b"x"] * 6
    assert busy.most == 2


async def test_cancelled_fetch_gives_its_turn_back(origin: ScriptedOrigin) -> None:
    """A visitor who leaves delays nobody."""
    origin.script("/stall", stall(asyncio.Event()))
    origin.serve("/a", b"x")
    async with fetching(fetch_config(per_origin=1)) as fetcher:
        task = asyncio.create_task(body_of(fetcher, origin.url("/stall")))
        while not origin.count("/stall"):  # noqa: ASYNC110 - one turn of the loop each, no time passes
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await body_of(fetcher, origin.url("/a")) == b"x"


async def test_waiting_for_a_turn_counts_unless_patient(origin: ScriptedOrigin) -> None:
    """A visitor's wait is bounded; warming waits for its turn as long as it takes."""
    busy, told = Busy(origin), asyncio.Event()
    origin.serve("/a", b"x")
    # It keeps its turn until the visitor has given up, who came right behind it.
    origin.script("/patient", stall(told, after=head(200, [("Content-Length", "1")]) + b"x"))
    async with fetching(fetch_config(per_origin=1, timeout=0.4)) as fetcher:
        sink = MemorySink()
        first = asyncio.create_task(body_of(fetcher, origin.url("/busy")))
        while not origin.count("/busy"):  # noqa: ASYNC110 - one turn of the loop each, no time passes
            await asyncio.sleep(0)
        patient = asyncio.create_task(fetcher.fetch(Source.parse(origin.url("/patient")), sink, patient=True))
        for _ in range(10):
            await asyncio.sleep(0)
        with pytest.raises(SourceTimeout):
            await fetched(fetcher, origin.url("/a"))
        told.set()
        with pytest.raises(SourceTimeout):
            await first
        await patient
        busy.release.set()
    assert sink.body == b"x"


async def test_reload_leaves_fetches_under_way_alone(origin: ScriptedOrigin) -> None:
    """They end under the rules they began with; the next one goes by the new ones."""
    busy = Busy(origin)
    async with fetching() as fetcher:
        task = asyncio.create_task(body_of(fetcher, origin.url("/busy")))
        while not busy.now:  # noqa: ASYNC110 - one turn of the loop each, no time passes
            await asyncio.sleep(0)
        fetcher.reconfigure(fetch_config(allow_networks=[], user_agent="new"), check_hop=lambda _: None)
        busy.release.set()
        assert await task == b"x"
        fetcher.reconfigure(fetch_config(user_agent="new"), check_hop=lambda _: None)
        await body_of(fetcher, origin.url("/busy"))
    assert [request.header("User-Agent") == "new" for request in origin.requests] == [False, True]


async def test_reload_with_a_bad_pattern_changes_nothing(fetcher: Fetcher, origin: ScriptedOrigin) -> None:
    """After an exception, the old rules stay in force."""
    origin.serve("/a", b"x")
    profiles = {"p": {"hosts": ["a/b"]}}
    with pytest.raises(ValueError, match="a/b"):
        fetcher.reconfigure(fetch_config(profiles=profiles, user_agent="new"), check_hop=lambda _: None)
    await fetched(fetcher, origin.url("/a"))
    assert origin.requests[0].header("User-Agent") != "new"


async def test_fetcher_that_is_closed_reaches_nothing(origin: ScriptedOrigin) -> None:
    """Shutting down raises no stray exception, neither before the start nor for fetches in progress."""
    origin.script("/stall", stall(asyncio.Event()))
    async with fetching() as fetcher:
        task = asyncio.create_task(body_of(fetcher, origin.url("/stall")))
        while not origin.count("/stall"):  # noqa: ASYNC110 - one turn of the loop each, no time passes
            await asyncio.sleep(0)
    with pytest.raises(SourceUnreachable):
        await task
    with pytest.raises(SourceUnreachable):
        await fetched(fetcher, origin.url("/stall"))


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_tls_origin_with_a_good_certificate_is_fetched_from(authority: trustme.CA) -> None:
    """The connection uses the name, and the name is verified."""
    names = StubResolver({"h.example": [["127.0.0.1"]]})
    async with ScriptedOrigin(ssl_context=server_context(authority, "h.example")) as origin:
        origin.serve("/a", DATA)
        async with fetching(resolver=names, make_ssl_context=lambda: trusting(authority)) as fetcher:
            assert await body_of(fetcher, origin.url("/a", host="h.example")) == DATA


@pytest.mark.parametrize("case", ["unknown authority", "other name"])
async def test_tls_certificate_that_is_not_good_is_unreachable(authority: trustme.CA, case: str) -> None:
    """Nothing is fetched past it."""
    trusted = authority if case == "other name" else trustme.CA()
    context = server_context(authority, "x.example" if case == "other name" else "h.example")
    names = StubResolver({"h.example": [["127.0.0.1"]]})
    server = ScriptedOrigin(ssl_context=context)
    async with (
        server as origin,
        fetching(resolver=names, make_ssl_context=lambda: trusting(trusted)) as fetcher,
    ):
        with pytest.raises(SourceUnreachable):
            await fetched(fetcher, origin.url("/a", host="h.example"))
    assert origin.count() == 0


async def test_tls_to_a_port_that_speaks_plainly_is_unreachable(fetcher: Fetcher) -> None:
    """Bytes that are not a TLS record end the handshake."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head(400))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(SourceUnreachable):
            await fetched(fetcher, f"https://127.0.0.1:{port}/a")
