"""One picture through the API: what is known of it, and everything that the owner may do to it, in two workers."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from commands import invoke
from http_client import Answer, Client
from pictures import chart_png, cut, photo_jpeg
from scripted_origin import ScriptedOrigin
from scripted_wayback import ScriptedWayback
from service import Service, write_config

TOKEN = "a token of the owner"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
OLD, NEW, MINE = chart_png(60, 40), chart_png(90, 70), photo_jpeg(80, 60)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, archive: ScriptedWayback) -> Iterator[Service]:
    """A service with a token, an archive and two workers."""
    changes: dict[str, Any] = {
        "server": {"admin_token": TOKEN},
        "fetch": {"wayback": archive.url(""), "max_bytes": "1 MiB"},
    }
    with Service(write_config(tmp_path_factory.mktemp("api"), changes), workers=2) as found:
        yield found
        assert "Traceback" not in found.log(), found.log()


@pytest.fixture
def client(http: aiohttp.ClientSession, service: Service) -> Client:
    return Client(http, service.base)


@pytest.fixture
def dead(request: pytest.FixtureRequest) -> str:
    """A picture of this test that nobody has, because nothing listens on port 1."""
    return f"http://127.0.0.1:1/{quote(request.node.name, safe='')}.png"


async def read(client: Client, path: str, source: str, more: str = "") -> Any:
    answer = await client.get(f"/api/v1{path}?source={quote(source, safe='')}{more}", headers=BEARER)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


async def post(client: Client, path: str, **body: Any) -> Answer:
    headers = {**BEARER, "Content-Type": "application/json"}
    return await client.get(f"/api/v1{path}", method="POST", headers=headers, data=json.dumps(body))


async def upload(client: Client, source: str, data: bytes, more: str = "") -> Answer:
    path = f"/api/v1/picture/upload?source={quote(source, safe='')}{more}"
    headers = {**BEARER, "Content-Type": "application/octet-stream"}
    return await client.get(path, method="POST", headers=headers, data=data)


async def test_picture_that_was_never_asked_for_is_absent(client: Client, dead: str) -> None:
    """Nothing is known of it, no origin is asked, and a wrapper around it is removed."""
    found = await read(client, "/picture", "https://cors.zfour.workers.dev/?" + dead)
    assert (found["source"], found["state"], found["versions"], found["entry"]) == (dead, "absent", [], None)
    assert found["last_failure"] is None


async def test_kept_picture_shows_its_versions_and_their_addresses(
    client: Client, origin: ScriptedOrigin
) -> None:
    """The current bytes come first, each version is served at its address, and every worker says the same."""
    origin.serve("/a.png", OLD, headers={"Cache-Control": "max-age=60"})
    source = origin.url("/a.png")
    await client.get("/?" + source)
    origin.serve("/a.png", NEW)
    assert json.loads((await post(client, "/picture/refetch", source=source)).body)["outcome"] == "changed"
    for _ in range(4):
        found = await read(client, "/picture", source)
        assert [item["sha256"] for item in found["versions"]] == [digest(NEW), digest(OLD)]
    assert [item["current"] for item in found["versions"]] == [True, False]
    assert (found["versions"][0]["width"], found["versions"][0]["height"]) == (90, 70)
    assert (await client.get(found["versions"][1]["address"])).body == OLD
    assert ["content-type", "image/png"] in found["entry"]["headers"]


async def test_variants_are_listed_by_their_options_with_bytes(
    client: Client, origin: ScriptedOrigin
) -> None:
    """A rendered variant is listed under its preset with the size that a visitor gets."""
    origin.serve("/v.jpg", photo_jpeg(900, 600), content_type="image/jpeg")
    source = origin.url("/v.jpg")
    card = await client.get("/image/thumbnail/" + source, headers={"Accept": "image/webp,*/*"})
    await client.get("/image/width=333,format=jpeg/" + source)
    found = (await read(client, "/picture/variants", source))["variants"]
    sizes = {(item["options"], item["format"]): item["bytes"] for item in found}
    assert sizes[("thumbnail", "webp")] == len(card.body)
    assert len([item for item in found if not item["options"]]) == 1


async def test_explanation_is_the_one_of_explain(client: Client, dead: str) -> None:
    """`/picture/explain` says what `/explain` says of the same address."""
    found = await read(client, "/picture/explain", dead, "&options=thumbnail&accept=image/webp")
    explained = await client.get(
        f"/explain/image/thumbnail/{dead}", headers={**BEARER, "Accept": "image/webp"}
    )
    assert found == json.loads(explained.body)


async def test_asking_again_reaches_an_origin_that_has_come_back(
    client: Client, origin: ScriptedOrigin
) -> None:
    """A remembered failure does not keep the owner from asking, and a fresh picture is asked for with validators."""
    source = origin.url("/back.png")
    for _ in range(3):
        await client.get("/?" + source)
    assert (await read(client, "/picture", source))["last_failure"]["code"] == "source_not_found"
    origin.serve("/back.png", OLD, etag='"1"')
    first = json.loads((await post(client, "/picture/refetch", source=source)).body)
    assert (first["outcome"], first["picture"]["state"]) == ("new", "kept")
    again = json.loads((await post(client, "/picture/refetch", source=source)).body)
    assert again["outcome"] == "unchanged"
    assert origin.requests[-1].header("If-None-Match") == '"1"'


async def test_asking_again_in_vain_takes_nothing_away(client: Client, origin: ScriptedOrigin) -> None:
    """When the origin fails, the answer says why and the kept picture stays."""
    origin.serve("/dies.png", OLD)
    source = origin.url("/dies.png")
    await client.get("/?" + source)
    origin.serve("/dies.png", b"", status=410)
    failed = json.loads((await post(client, "/picture/refetch", source=source)).body)
    assert (failed["outcome"], failed["error"]["code"]) == ("failed", "source_not_found")
    assert (await client.get("/?" + source)).body == OLD


async def test_older_version_is_served_again_on_request(client: Client, origin: ScriptedOrigin) -> None:
    """Accepting a version makes it current in every worker; a digest that is not kept is not found."""
    origin.serve("/two.png", OLD)
    source = origin.url("/two.png")
    await client.get("/?" + source)
    origin.serve("/two.png", NEW)
    await post(client, "/picture/refetch", source=source)
    accepted = await post(client, "/picture/accept", source=source, sha256=digest(OLD))
    assert json.loads(accepted.body)["versions"][1]["set_aside"] == "rolled_back"
    assert {(await client.get("/?" + source)).body for _ in range(4)} == {OLD}
    missing = await post(client, "/picture/accept", source=source, sha256="0" * 64)
    assert (missing.status, missing.code) == (404, "not_found")


async def test_purge_deletes_after_a_dry_run_that_deletes_nothing(
    client: Client, origin: ScriptedOrigin
) -> None:
    """The API purges as `/purge` does, and `dry_run` lists the same sources without deleting them."""
    origin.serve("/gone.png", OLD)
    source = origin.url("/gone.png")
    await client.get("/?" + source)
    dry = json.loads((await post(client, "/purge", source=source, dry_run=True)).body)
    assert (dry["purged"], dry["dry_run"]) == ([source], True)
    assert (await read(client, "/picture", source))["state"] == "kept"
    assert json.loads((await post(client, "/purge", source=source)).body)["purged"] == [source]
    assert (await read(client, "/picture", source))["state"] == "absent"


async def test_purge_of_an_unknown_article_is_not_found(client: Client) -> None:
    """A name that is not known deletes nothing and is an error, as it is for the command."""
    answer = await post(client, "/purge", article="nobody/wrote/this.md")
    assert (answer.status, answer.code) == (404, "not_found")
    assert (await post(client, "/purge")).status == 400


async def test_block_refuses_a_source_until_it_is_lifted(client: Client, origin: ScriptedOrigin) -> None:
    """A blocked source is 403 for visitors in every worker, what is kept stays, and lifting the block shows it
    again."""
    origin.serve("/blocked.png", OLD)
    source = origin.url("/blocked.png")
    await client.get("/?" + source)
    assert json.loads((await post(client, "/picture/block", source=source)).body)["blocked"] is True
    assert {(await client.get("/?" + source)).status for _ in range(4)} == {403}
    assert (await upload(client, source, MINE)).status == 403
    lifted = json.loads((await post(client, "/picture/unblock", source=source)).body)
    assert (lifted["blocked"], lifted["state"]) == (False, "kept")
    assert (await client.get("/?" + source)).body == OLD


async def test_archive_shows_its_captures_before_one_is_taken(
    client: Client, wayback: ScriptedWayback, dead: str
) -> None:
    """Looking keeps nothing; taking keeps the chosen capture with its provenance."""
    wayback.capture(dead, "20150101000000", OLD)
    wayback.capture(dead, "20190101000000", NEW)
    seen = await read(client, "/picture/archive", dead)
    assert [item["timestamp"] for item in seen["captures"]] == ["20190101000000", "20150101000000"]
    assert (await read(client, "/picture", dead))["state"] == "absent"
    taken = json.loads((await post(client, "/picture/recover", source=dead, timestamp="20150101000000")).body)
    assert taken["versions"][0]["sha256"] == digest(OLD)
    assert taken["versions"][0]["provenance"]["place"] == "wayback"
    assert taken["versions"][0]["provenance"]["captured_at"] == "2015-01-01T00:00:00Z"
    assert (await client.get("/?" + dead)).body == OLD


async def test_capture_replaces_no_picture_that_is_kept(
    client: Client, wayback: ScriptedWayback, dead: str
) -> None:
    """Taking a capture beside a kept picture is refused instead of doing nothing; after a purge it is taken."""
    wayback.capture(dead, "20150101000000", OLD)
    await upload(client, dead, MINE)
    refused = await post(client, "/picture/recover", source=dead, timestamp="20150101000000")
    assert (refused.status, refused.code) == (400, "invalid_request")
    await post(client, "/purge", source=dead)
    assert (await post(client, "/picture/recover", source=dead, timestamp="20150101000000")).status == 200
    assert (await client.get("/?" + dead)).body == OLD


async def test_archive_that_does_not_answer_is_an_error(
    client: Client, wayback: ScriptedWayback, dead: str
) -> None:
    """An archive that is out of order is told apart from one that has nothing."""
    assert (await read(client, "/picture/archive", dead))["captures"] == []
    wayback.always = b"<html>we are offline"
    answer = await client.get(f"/api/v1/picture/archive?source={quote(dead, safe='')}", headers=BEARER)
    assert (answer.status, answer.code) == (502, "source_unreachable")


async def test_upload_replaces_a_dead_picture(client: Client, dead: str) -> None:
    """The upload is served in place of a picture that was never kept, and says that it came by hand."""
    await client.get("/?" + dead)
    answer = json.loads((await upload(client, dead, MINE, "&note=from%20my%20disk")).body)
    assert (answer["current"], answer["sha256"]) == (True, digest(MINE))
    version = answer["picture"]["versions"][0]
    assert (version["provenance"]["place"], version["provenance"]["note"]) == ("by hand", "from my disk")
    assert version["media_type"] == "image/jpeg"
    assert {(await client.get("/?" + dead)).body for _ in range(4)} == {MINE}
    card = await client.get("/image/thumbnail/" + dead, headers={"Accept": "image/webp"})
    assert (card.status, card.headers["Content-Type"]) == (200, "image/webp")


async def test_upload_beside_a_kept_picture_is_history_until_it_is_wanted(
    client: Client, origin: ScriptedOrigin
) -> None:
    """A kept original stays what visitors get, unless the owner asks for the upload to be served."""
    origin.serve("/kept.png", OLD)
    source = origin.url("/kept.png")
    await client.get("/?" + source)
    answer = json.loads((await upload(client, source, MINE)).body)
    assert answer["current"] is False
    assert [item["sha256"] for item in answer["picture"]["versions"]] == [digest(OLD), digest(MINE)]
    assert (await client.get("/?" + source)).body == OLD
    served = json.loads((await upload(client, source, MINE, "&serve=true")).body)
    assert served["current"] is True
    assert {(await client.get("/?" + source)).body for _ in range(4)} == {MINE}


async def test_store_tells_of_an_upload_as_the_command_shows_it(
    client: Client, service: Service, dead: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`store show` prints the provenance, and `store verify` finds nothing wrong."""
    await upload(client, dead, MINE)
    config = service.config
    await asyncio.to_thread(invoke, "store", "show", "--source", dead, config=config)
    assert "recovered from by hand" in capsys.readouterr().out
    assert await asyncio.to_thread(invoke, "store", "verify", config=config) == 0


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 422, "not_an_image"),
        (b"<html>no picture", 422, "not_an_image"),
        (cut(MINE), 422, "decode_failed"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 64, 422, "decode_failed"),
    ],
    ids=["empty", "page", "cut short", "only a signature"],
)  # fmt: skip
async def test_upload_that_is_no_whole_picture_is_refused(
    client: Client, dead: str, data: bytes, status: int, code: str
) -> None:
    """Nothing is kept of it, and the answer says what is wrong."""
    answer = await upload(client, dead, data)
    assert (answer.status, answer.code) == (status, code), answer.body
    assert (await read(client, "/picture", dead))["state"] == "absent"


async def test_upload_beyond_the_limit_is_refused_before_it_is_read(client: Client, dead: str) -> None:
    """`fetch.max_bytes` bounds an upload as it bounds a download, whether the length is announced or not."""
    big = MINE + b"\0" * (1 << 20)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(big), 1 << 16):
            yield big[start : start + (1 << 16)]

    path = f"/api/v1/picture/upload?source={quote(dead, safe='')}"
    announced = {**BEARER, "Expect": "100-continue"}
    answer = await client.get(path, method="POST", headers=announced, data=io.BytesIO(big))
    assert (answer.status, answer.code) == (413, "request_too_large")
    try:
        answer = await client.get(path, method="POST", headers=BEARER, data=pieces())
    except (aiohttp.ClientConnectionError, ConnectionError):
        return  # the connection was closed while the rest was being sent
    assert (answer.status, answer.code) == (413, "request_too_large")


@pytest.mark.parametrize(
    "path", ["/picture/refetch", "/picture/accept", "/picture/block", "/picture/recover"]
)
@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "JSON"), (b"[]", "JSON"), (b"null", "JSON"), (b'{"source": 5}', "source"), (b"{}", "source"),
        (b'{"source": "x", "source": "y"}', "JSON"), (b'{"source": ""}', "source"), (b'{"sorce": "x"}', "source"),
        (b"\xff\xfe{}", "JSON"), (b'{"source": NaN}', "JSON"), (b"[" * 60_000, "JSON"),
        (b'{"source": "http://h/a.png", "more": 1}', "more"), (b'{"source": "' + b"x" * 17_000 + b'"}', "source"),
    ],
    ids=["nothing", "list", "null", "number", "empty", "twice", "empty text", "typo", "utf-16", "nan", "deep", "more",
         "long"],
)  # fmt: skip
async def test_body_is_read_strictly(client: Client, path: str, data: bytes, named: str) -> None:
    """A body that is no JSON object of the declared shape is refused, and the message names what is wrong."""
    headers = {**BEARER, "Content-Type": "application/json"}
    answer = await client.get(f"/api/v1{path}", method="POST", headers=headers, data=data)
    assert (answer.status, answer.code) == (400, "invalid_request"), answer.body
    assert named in json.loads(answer.body)["message"]


async def test_body_of_a_form_or_without_end_is_refused(client: Client) -> None:
    """A web page's form cannot send JSON, and a body has at most 256 KiB."""
    body = b'{"source": "http://h.example/a.png"}'
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        headers = {**BEARER, "Content-Type": media_type}
        answer = await client.get("/api/v1/picture/block", method="POST", headers=headers, data=body)
        assert (answer.status, answer.code) == (415, "unsupported_media_type"), media_type
    headers = {**BEARER, "Content-Type": "application/json"}
    answer = await client.get("/api/v1/picture/block", method="POST", headers=headers, data=b" " * 300_000)
    assert (answer.status, answer.code) == (413, "request_too_large")


@pytest.mark.parametrize(
    "source", ["ftp://h/a.png", "a.png", "http://", "http://us\x01er@h/", "//h/a", "http://[::"]
)
async def test_source_that_cannot_be_one_is_refused(client: Client, source: str) -> None:
    """The message names the parameter."""
    answer = await client.get(f"/api/v1/picture?source={quote(source, safe='')}", headers=BEARER)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert "source" in json.loads(answer.body)["message"]


async def test_prohibited_address_is_told_like_an_unreachable_one(client: Client) -> None:
    """The API is no oracle of the inner network."""
    inside = json.loads((await post(client, "/picture/refetch", source="http://10.0.0.1/a.png")).body)
    outside = json.loads((await post(client, "/picture/refetch", source="http://nowhere.invalid/a.png")).body)
    assert inside["error"] == outside["error"]
    assert inside["error"]["code"] == "source_unreachable"


async def test_this_machine_purges_without_a_token_and_changes_nothing_else(
    http: aiohttp.ClientSession, tmp_path: Path, origin: ScriptedOrigin
) -> None:
    """Without a token, `/purge` keeps the rights that it has, and every other change is refused."""
    origin.serve("/a.png", OLD)
    source = origin.url("/a.png")
    with Service(write_config(tmp_path)) as service:
        client = Client(http, service.base)
        await client.get("/?" + source)
        for path in ("refetch", "accept", "block", "unblock", "recover"):
            answer = await post_plain(client, f"/picture/{path}", source=source, timestamp="20200101000000")
            assert (answer.status, answer.code) == (401, "unauthorized"), path
        answer = await client.get(f"/api/v1/picture/upload?source={source}", method="POST", data=MINE)
        assert (answer.status, answer.code) == (401, "unauthorized")
        from_page = await post_plain(client, "/purge", {"Origin": "https://evil.example"}, source=source)
        assert (from_page.status, from_page.code) == (401, "unauthorized")
        purged = await post_plain(client, "/purge", source=source)
        assert json.loads(purged.body)["purged"] == [source]


async def post_plain(client: Client, path: str, headers: dict[str, str] | None = None, **body: Any) -> Answer:
    given = {"Content-Type": "application/json", **(headers or {})}
    return await client.get(f"/api/v1{path}", method="POST", headers=given, data=json.dumps(body))
