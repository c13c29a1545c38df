"""Signing in to the desk of a real service: the cookie, its end, and attacks on it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from desk import HTML, TOKEN, DeskVisitor
from http_client import Client
from service import Service, wait_until, write_config

from proxy.services.desk.sessions import form_token

WITH_TOKEN = {"server": {"admin_token": TOKEN}}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a token."""
    with Service(write_config(tmp_path_factory.mktemp("desk"), WITH_TOKEN)) as service:
        yield service


@pytest.fixture(autouse=True)
def no_guesses(request: pytest.FixtureRequest) -> None:
    """Forget wrong tokens of other tests, which come from the same address."""
    if "guarded" in request.fixturenames:
        service: Service = request.getfixturevalue("guarded")
        (service.config.parent / "store" / "desk" / "guesses").unlink(missing_ok=True)


@pytest.fixture
def visitor(guarded: Service, http: aiohttp.ClientSession) -> DeskVisitor:
    return DeskVisitor(Client(http, guarded.base))


async def test_stranger_is_led_to_the_form_and_then_to_the_asked_page(visitor: DeskVisitor) -> None:
    answer = await visitor.open("/desk/presets")
    assert answer.status == 303
    form = await visitor.open(answer.headers["Location"])
    assert form.status == 200
    assert b'name="next" value="/desk/presets"' in form.body
    answer = await visitor.send("/desk/sign-in", {"token": TOKEN, "next": "/desk/presets"})
    assert (answer.status, answer.headers["Location"]) == (303, "/desk/presets")
    assert (await visitor.open("/desk/presets")).status == 200


async def test_program_without_a_session_gets_the_error_of_the_contract(visitor: DeskVisitor) -> None:
    answer = await visitor.client.get("/desk", headers={"Accept": "application/json"})
    assert (answer.status, answer.code) == (401, "unauthorized")


@pytest.mark.parametrize(
    "target", ["/desk", "/desk/nowhere", "/desk/static/nowhere", "/desk/article?name=x", "/desk/../x"]
)
async def test_error_for_a_program_is_kept_by_nobody_and_read_by_no_other_site(
    visitor: DeskVisitor, target: str
) -> None:
    """Unlike the errors of pictures, which every site may read and caches keep for a minute."""
    await visitor.sign_in()
    for cookie in ("", *visitor.cookies.values()):
        headers = {
            "Accept": "*/*",
            "Cookie": f"imgmirror-desk={cookie}",
            "Origin": "https://elsewhere.example",
        }
        answer = await visitor.open(target, headers)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


async def test_cookie_is_an_opaque_id_that_no_script_and_no_other_site_gets(visitor: DeskVisitor) -> None:
    answer = await visitor.sign_in()
    [cookie] = answer.headers.getall("Set-Cookie")
    assert cookie.startswith("imgmirror-desk=")
    for word in ("HttpOnly", "SameSite=Strict", "Path=/desk", "Max-Age=43200"):
        assert word in cookie
    assert TOKEN not in cookie
    assert "Domain" not in cookie
    assert len(visitor.cookies["imgmirror-desk"]) >= 43


@pytest.mark.parametrize(
    "changes", [{"public_url": "https://img.example.org"}, {"trusted_proxies": ["127.0.0.0/8"]}]
)
async def test_cookie_over_https_has_the_host_prefix_and_is_secure(
    tmp_path: Path, http: aiohttp.ClientSession, changes: dict[str, object]
) -> None:
    """https is known from the public address, or from a trusted proxy that says so."""
    proto = {"X-Forwarded-Proto": "https"}
    with Service(write_config(tmp_path, {"server": {"admin_token": TOKEN, **changes}})) as service:
        visitor = DeskVisitor(Client(http, service.base))
        answer = await visitor.sign_in(headers=proto)
        [cookie] = answer.headers.getall("Set-Cookie")
        assert cookie.startswith("__Host-imgmirror=")
        assert "Secure" in cookie
        assert "Path=/;" in cookie + ";"
        assert (await visitor.open("/desk", headers=proto)).status == 200
        plain = {"imgmirror-desk": visitor.cookies.pop("__Host-imgmirror")}
        visitor.cookies = plain
        assert (await visitor.open("/desk", headers=proto)).status == 303, (
            "the plain name counts over http only"
        )


async def test_stranger_that_claims_https_gets_no_secure_cookie(visitor: DeskVisitor) -> None:
    """Only a trusted proxy is believed: over http a browser would refuse a secure cookie, and the form would fail."""
    answer = await visitor.sign_in(headers={"X-Forwarded-Proto": "https"})
    assert "Secure" not in answer.headers["Set-Cookie"]


async def test_file_of_sessions_holds_no_id_and_is_private(guarded: Service, visitor: DeskVisitor) -> None:
    await visitor.sign_in()
    folder = guarded.config.parent / "store" / "desk"
    text = (folder / "sessions").read_text()
    assert visitor.cookies["imgmirror-desk"] not in text
    assert TOKEN not in text
    assert len(json.loads(text)) >= 1
    assert stat.S_IMODE((folder / "sessions").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_sign_out_ends_the_session_for_a_thief_too(visitor: DeskVisitor) -> None:
    await visitor.sign_in()
    await visitor.open("/desk")
    stolen = dict(visitor.cookies)
    answer = await visitor.send("/desk/sign-out")
    assert (answer.status, visitor.cookies) == (303, {})
    visitor.cookies = stolen
    assert (await visitor.open("/desk")).status == 303


async def test_session_id_that_an_attacker_planted_is_worth_nothing_after_the_sign_in(
    guarded: Service, http: aiohttp.ClientSession, visitor: DeskVisitor
) -> None:
    """Session fixation: the sign-in makes a new id, and the planted one never stands for a session."""
    attacker = DeskVisitor(Client(http, guarded.base))
    await attacker.open("/desk/sign-in")
    planted = attacker.cookies["imgmirror-desk"]
    visitor.cookies["imgmirror-desk"] = planted
    await visitor.sign_in()
    assert visitor.cookies["imgmirror-desk"] != planted
    assert (await visitor.open("/desk")).status == 200
    assert (await attacker.open("/desk")).status == 303


async def test_signing_in_again_ends_the_session_before(visitor: DeskVisitor) -> None:
    await visitor.sign_in()
    before = dict(visitor.cookies)
    await visitor.open("/desk")
    answer = await visitor.send("/desk/sign-in", {"token": TOKEN})
    assert answer.status == 303
    assert visitor.cookies != before
    visitor.cookies = before
    assert (await visitor.open("/desk")).status == 303


async def test_session_counts_in_every_worker_and_ends_with_the_token(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    config = write_config(tmp_path, WITH_TOKEN)
    with Service(config, workers=2) as service:
        visitor = DeskVisitor(Client(http, service.base))
        await visitor.sign_in()
        answers = [await visitor.open("/desk", headers={"Connection": "close"}) for _ in range(8)]
        assert {answer.status for answer in answers} == {200}
        write_config(tmp_path, {"server": {"admin_token": "another token"}})
        assert service.process is not None
        os.kill(service.process.pid, signal.SIGHUP)
        wait_until(lambda: service.log().count("the configuration was reloaded") >= 2)
        assert (await visitor.open("/desk")).status == 303


async def test_sixth_wrong_token_of_a_client_within_a_minute_is_not_compared(visitor: DeskVisitor) -> None:
    """Even the right token is refused then, so guessing faster finds nothing."""
    answers = [await visitor.sign_in(f"guess {number}") for number in range(5)]
    assert [answer.status for answer in answers] == [401] * 5
    answer = await visitor.sign_in(TOKEN)
    assert answer.status == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert b"Too many wrong tokens" in answer.body


async def test_wrong_tokens_of_many_clients_together_are_bounded(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """Fifty failures a minute are the most for all clients, in both workers together."""
    config = write_config(tmp_path, {"server": {"admin_token": TOKEN, "trusted_proxies": ["127.0.0.0/8"]}})
    with Service(config, workers=2) as service:
        visitor = DeskVisitor(Client(http, service.base))
        await visitor.open("/desk/sign-in")
        statuses = []
        for number in range(51):
            headers = {"X-Forwarded-For": f"203.0.113.{number}", "Connection": "close"}
            answer = await visitor.send("/desk/sign-in", {"token": "guess"}, headers)
            statuses.append(answer.status)
    assert statuses == [401] * 50 + [429]


async def test_guesses_at_the_same_moment_are_counted_one_by_one(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """Sixty connections at once find out no more than one after the other, in both workers together."""
    with Service(write_config(tmp_path, WITH_TOKEN), workers=2) as service:
        visitor = DeskVisitor(Client(http, service.base))
        await visitor.open("/desk/sign-in")
        guesses = [
            visitor.send("/desk/sign-in", {"token": f"guess {number}"}, {"Connection": "close"})
            for number in range(60)
        ]
        statuses = sorted(answer.status for answer in await asyncio.gather(*guesses))
    assert statuses == [401] * 5 + [429] * 55


async def test_form_of_a_stranger_is_read_up_to_its_bound_whatever_it_announces(
    visitor: DeskVisitor,
) -> None:
    """The form for the token is the only body that is read of anybody. A chunked one announces no length."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"token=" + b"%41" * 8192

    headers = {"Content-Type": "application/x-www-form-urlencoded", **HTML}
    answer = await visitor.client.get("/desk/sign-in", method="POST", headers=headers, data=endless())
    assert answer.status == 413


async def test_form_with_very_many_fields_is_refused(visitor: DeskVisitor) -> None:
    await visitor.open("/desk/sign-in")
    answer = await visitor.send("/desk/sign-in", {f"field{number}": "" for number in range(100)})
    assert answer.status == 400


FOREIGN = [
    ({"Origin": "https://evil.example"}, {}),
    ({"Origin": "null"}, {}),
    ({"Sec-Fetch-Site": "cross-site"}, {}),
    ({"Sec-Fetch-Site": "same-site"}, {}),
    ({}, {"form_token": ""}),
    ({}, {"form_token": "0" * 64}),
]


@pytest.mark.parametrize(("headers", "fields"), FOREIGN)
async def test_form_of_another_site_signs_nobody_out(
    visitor: DeskVisitor, headers: dict[str, str], fields: dict[str, str]
) -> None:
    """CSRF: the page's site, Fetch Metadata and the form token must all be right."""
    await visitor.sign_in()
    await visitor.open("/desk")
    answer = await visitor.send("/desk/sign-out", fields, headers)
    assert answer.status == 400
    assert (await visitor.open("/desk")).status == 200


@pytest.mark.parametrize(("headers", "fields"), FOREIGN)
async def test_form_of_another_site_signs_nobody_in(
    visitor: DeskVisitor, headers: dict[str, str], fields: dict[str, str]
) -> None:
    """Otherwise an attacker could sign a victim in to a service of the attacker's choice."""
    await visitor.open("/desk/sign-in")
    answer = await visitor.send("/desk/sign-in", {"token": TOKEN, **fields}, headers)
    assert answer.status == 400


async def test_form_token_of_another_session_is_refused(
    guarded: Service, http: aiohttp.ClientSession, visitor: DeskVisitor
) -> None:
    other = DeskVisitor(Client(http, guarded.base))
    await other.sign_in()
    await other.open("/desk")
    await visitor.sign_in()
    answer = await visitor.send("/desk/sign-out", {"form_token": other.form_token})
    assert answer.status == 400


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/",
        "//evil.example/desk",
        "/desk/../evil",
        "/\\evil.example",
        "/image/original/http://a/",
        "",
    ],
)
async def test_sign_in_leads_nowhere_but_to_the_desk(visitor: DeskVisitor, address: str) -> None:
    await visitor.open("/desk/sign-in")
    answer = await visitor.send("/desk/sign-in", {"token": TOKEN, "next": address})
    assert answer.headers["Location"] == "/desk"


async def test_page_has_the_policy_of_the_desk_with_a_nonce_of_its_own(visitor: DeskVisitor) -> None:
    """Clickjacking and mirrored scripts: no frame shows the page, and `'self'` admits no script and no style."""
    await visitor.sign_in()
    nonces = set()
    for _ in range(2):
        answer = await visitor.open("/desk")
        policy = dict(
            part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";")
        )
        nonce = policy["script-src"].removeprefix("'nonce-").removesuffix("'")
        nonces.add(nonce)
        assert policy == {
            "default-src": "'none'",
            "script-src": f"'nonce-{nonce}'",
            "style-src": f"'nonce-{nonce}'",
            "img-src": "'self'",
            "connect-src": "'self'",
            "form-action": "'self'",
            "frame-ancestors": "'none'",
            "base-uri": "'none'",
        }
        assert answer.body.count(f'nonce="{nonce}"'.encode()) == 2
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert len(nonces) == 2


async def test_service_without_a_token_shows_the_desk_to_this_machine_read_only(client: Client) -> None:
    """As at the other administrative addresses: no proxy in between, no web page, no foreign name."""
    visitor = DeskVisitor(client)
    page = await visitor.open("/desk")
    assert page.status == 200
    assert b"Read-only" in page.body
    assert (await visitor.send("/desk/sign-out")).status == 401
    for headers in ({"X-Forwarded-For": "203.0.113.1"}, {"Host": "evil.example"}):
        answer = await DeskVisitor(client).open("/desk", headers=headers)
        assert answer.status == 303


async def test_service_without_a_token_lets_nobody_sign_in(client: Client) -> None:
    visitor = DeskVisitor(client)
    page = await visitor.open("/desk/sign-in")
    assert b"server.admin_token" in page.body
    visitor.form_token = form_token(visitor.cookies["imgmirror-desk"])
    assert (await visitor.send("/desk/sign-in", {"token": ""})).status == 401


async def test_host_of_another_dialect_has_no_desk(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    with Service(write_config(tmp_path, {"hosts": {'"img.example.org"': "imgproxy"}})) as service:
        client = Client(http, service.base)
        for target in ("/desk", "/desk/sign-in", "/desk/static/desk.css"):
            answer = await client.get(target, headers={"Host": "img.example.org", **HTML})
            assert answer.status == 404, target


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "POST"])
async def test_method_that_a_page_does_not_take_is_refused(visitor: DeskVisitor, method: str) -> None:
    await visitor.sign_in()
    answer = await visitor.client.get("/desk/presets", method=method, headers=HTML)
    assert answer.status == 405


async def test_page_that_is_not_there_is_said_to_be_so_in_the_frame_of_the_desk(visitor: DeskVisitor) -> None:
    await visitor.sign_in()
    answer = await visitor.open("/desk/nowhere")
    assert answer.status == 404
    assert b"not_found" in answer.body
    assert "Content-Security-Policy" in answer.headers


async def test_page_for_strangers_stays_as_it_is(client: Client) -> None:
    answer = await client.get("/")
    assert answer.status == 200
    assert b"Try a picture" in answer.body


@pytest.mark.parametrize("target", ["/desktop", "/desk.html", "/desks/"])
async def test_address_that_only_begins_like_the_desk_is_none_of_it(client: Client, target: str) -> None:
    answer = await client.get(target, headers=HTML)
    assert answer.status == 404
    assert "X-Frame-Options" not in answer.headers


@pytest.mark.parametrize(
    "cookie",
    [
        "imgmirror-desk=",
        "imgmirror-desk=\xff",
        "a[]=b; imgmirror-desk=x",
        "=;;",
        "imgmirror-desk=" + "a" * 5000,
    ],
)
async def test_cookie_that_is_none_of_ours_counts_as_no_session(visitor: DeskVisitor, cookie: str) -> None:
    answer = await visitor.open("/desk", headers={"Cookie": cookie})
    assert answer.status == 303
