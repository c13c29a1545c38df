"""The page of one picture, and what its forms do, through a real service with two workers."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from desk import TOKEN, DeskVisitor, signed_in
from http_client import Client
from pictures import chart_png, cut, exif, photo, photo_jpeg, saved
from scripted_origin import ScriptedOrigin
from scripted_wayback import ScriptedWayback
from service import Service, write_config

OLD, NEW, MINE = chart_png(60, 40), chart_png(90, 70), photo_jpeg(80, 60)
PAYLOAD = "<script>window.hit=1</script><img src=x onerror=window.hit=1>"


@pytest.fixture(scope="module")
def settings(archive: ScriptedWayback) -> dict[str, Any]:
    return {
        "server": {"admin_token": TOKEN},
        "fetch": {"wayback": archive.url(""), "max_bytes": "1 MiB"},
        "sources": {"keys": ["a signing key of the owner"]},
    }


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, Any]) -> Iterator[Service]:
    with Service(write_config(tmp_path_factory.mktemp("desk"), settings), workers=2) as found:
        yield found
        assert "Traceback" not in found.log(), found.log()


@pytest.fixture
async def owner(http: aiohttp.ClientSession, service: Service) -> DeskVisitor:
    return await signed_in(http, service.base)


@pytest.fixture
def dead(request: pytest.FixtureRequest) -> str:
    """A picture of this test that nobody has, because nothing listens on port 1."""
    return f"http://127.0.0.1:1/{quote(request.node.name, safe='')}.png"


def page_of(source: str) -> str:
    return f"/desk/picture?source={quote(source, safe='')}"


async def done(owner: DeskVisitor, action: str, source: str, **fields: str) -> str:
    """Open the page of a picture, send one of its forms, and return the page that follows."""
    await owner.open(page_of(source))
    answer = await owner.send(f"/desk/picture/{action}", {"source": source, **fields})
    return (await owner.followed(answer)).body.decode()


async def test_picture_is_fetched_and_shown_with_its_entry(
    owner: DeskVisitor, origin: ScriptedOrigin
) -> None:
    origin.serve("/new.png", OLD)
    source = origin.url("/new.png")
    page = (await owner.open(page_of(source))).body.decode()
    assert "Nothing is kept of this source" in page
    page = await done(owner, "refetch", source)
    assert "The picture is kept now." in page
    assert "60 × 40" in page
    assert ",sig=" in page, "a service with keys shows pictures to the owner by signed addresses"


async def test_versions_stand_side_by_side_and_the_older_one_can_be_shown_again(
    owner: DeskVisitor, origin: ScriptedOrigin
) -> None:
    source = origin.url("/changed.png")
    origin.serve("/changed.png", OLD)
    await done(owner, "refetch", source)
    origin.serve("/changed.png", NEW)
    page = await done(owner, "refetch", source)
    assert "The origin sent different bytes." in page
    assert page.count("<article") == 2
    assert page.index("90 × 70") < page.index("60 × 40")
    page = await done(owner, "accept", source, sha256=hashlib.sha256(OLD).hexdigest())
    assert page.index("60 × 40") < page.index("90 × 70")
    answer = await owner.send("/desk/picture/accept", {"source": source, "sha256": "0" * 64})
    assert answer.status == 404


async def test_purge_is_confirmed_on_a_page_and_then_done(owner: DeskVisitor, origin: ScriptedOrigin) -> None:
    source = origin.url("/purged.png")
    origin.serve("/purged.png", OLD)
    await done(owner, "refetch", source)
    page = (
        await owner.open(f"/desk/picture/confirm?action=purge&source={quote(source, safe='')}")
    ).body.decode()
    assert "This cannot be undone" in page
    assert "60 × 40" in (await owner.open(page_of(source))).body.decode(), "looking deletes nothing"
    page = await done(owner, "purge", source)
    assert "The picture was deleted." in page
    assert "Nothing is kept of this source" in page


async def test_source_is_refused_and_allowed_again(owner: DeskVisitor, origin: ScriptedOrigin) -> None:
    source = origin.url("/blocked.png")
    origin.serve("/blocked.png", OLD)
    page = await done(owner, "block", source)
    assert "Blocked" in page
    page = await done(owner, "unblock", source)
    assert "Blocked" not in page


async def test_capture_is_looked_at_before_it_is_taken(
    owner: DeskVisitor, wayback: ScriptedWayback, dead: str
) -> None:
    wayback.capture(dead, "20200102030405", OLD)
    page = (await owner.open(f"/desk/picture/archive?source={quote(dead, safe='')}")).body.decode()
    assert "2020-01-02 03:04" in page
    assert "Nothing is kept of this source" in (await owner.open(page_of(dead))).body.decode()
    page = await done(owner, "recover", dead, timestamp="20200102030405")
    assert "The capture from the archive is kept." in page
    assert "wayback" in page


async def test_archive_is_asked_for_nobody_but_the_owner(
    tmp_path: Path, http: aiohttp.ClientSession, wayback: ScriptedWayback, dead: str
) -> None:
    """Without a token the desk is only looked at: no page in a browser on this machine makes it ask another host."""
    wayback.capture(dead, "20200102030405", OLD)
    with Service(write_config(tmp_path, {"fetch": {"wayback": wayback.url("")}})) as service:
        answer = await DeskVisitor(Client(http, service.base)).open(f"/desk/picture/archive?source={dead}")
    assert answer.status == 401
    assert wayback.requests == []


@pytest.mark.parametrize("timestamp", ["", "2020", "20200102030405/../x", "٢٠٢٠٠١٠٢٠٣٠٤٠٥"])
async def test_moment_that_is_none_takes_nothing(owner: DeskVisitor, dead: str, timestamp: str) -> None:
    await owner.open(page_of(dead))
    answer = await owner.send("/desk/picture/recover", {"source": dead, "timestamp": timestamp})
    assert answer.status == 404


async def test_upload_replaces_a_dead_picture_by_hand(owner: DeskVisitor, dead: str) -> None:
    await owner.open(page_of(dead))
    fields = {"source": dead, "serve": "1", "note": "my own copy"}
    answer = await owner.send_file("/desk/picture/upload", fields, MINE)
    page = (await owner.followed(answer)).body.decode()
    assert "Visitors get the upload now." in page
    assert "by hand" in page
    assert "my own copy" in page


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"", 422), (b"<html>no picture", 422), (cut(MINE, 0.3), 422), (b"\xff" * 2_000_000, 413)],
    ids=["empty", "html", "damaged", "large"],
)
async def test_upload_that_is_no_good_picture_is_refused_with_a_page(
    owner: DeskVisitor, dead: str, data: bytes, status: int
) -> None:
    await owner.open(page_of(dead))
    answer = await owner.send_file("/desk/picture/upload", {"source": dead}, data)
    assert answer.status == status
    assert "Nothing is kept of this source" in (await owner.open(page_of(dead))).body.decode()


async def test_upload_of_another_site_is_refused_before_its_file_is_read(
    owner: DeskVisitor, dead: str
) -> None:
    await owner.open(page_of(dead))
    owner.form_token = "0" * 64
    answer = await owner.send_file("/desk/picture/upload", {"source": dead}, MINE)
    assert answer.status == 400


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\n"),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c--\r\n--b--",
        ),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: \xff\r\n\r\nx\r\n--b--\r\n"),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\n@@@\r\n--b--\r\n",
        ),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Encoding: gzip\r\n\r\nxx\r\n--b--\r\n"),
        ("multipart/form-data; boundary=" + "b" * 300, b"--b--"),
        ("application/x-www-form-urlencoded; charset=nonsense", b"form_token=%FF&source=a"),
        ("application/json", b"{}"),
        ("text/plain", b"x"),
    ],
)
async def test_form_that_cannot_be_read_is_refused_plainly(
    owner: DeskVisitor, content_type: str, body: bytes
) -> None:
    for target in ("/desk/picture/upload", "/desk/picture/refetch"):
        cookie = "; ".join(f"{name}={value}" for name, value in owner.cookies.items())
        headers = {"Content-Type": content_type, "Cookie": cookie, "Accept": "text/html"}
        answer = await owner.client.get(target, method="POST", headers=headers, data=body)
        assert answer.status == 400, (target, answer.status)


@pytest.mark.parametrize("source", ["", "x", "ftp://host/a.png", "http://", "http://[", "/desk"])
async def test_text_that_is_no_source_is_refused_plainly(owner: DeskVisitor, source: str) -> None:
    await owner.open("/desk/picture")
    for action in ("refetch", "purge", "block", "accept", "recover", "give-up", "try-again"):
        assert (await owner.send(f"/desk/picture/{action}", {"source": source})).status == 400
    assert (await owner.open(page_of(source))).status == (400 if source else 303)


ACTIONS = ("refetch", "accept", "purge", "block", "unblock", "recover", "upload")


@pytest.mark.parametrize("action", ACTIONS)
async def test_action_without_a_session_does_nothing(
    service: Service, http: aiohttp.ClientSession, action: str
) -> None:
    stranger = DeskVisitor(Client(http, service.base))
    await stranger.open("/desk/sign-in")
    answer = await stranger.send(f"/desk/picture/{action}", {"source": "http://host.example/a.png"})
    assert answer.status == 401


@pytest.mark.parametrize("action", ACTIONS)
async def test_action_by_a_link_does_nothing(owner: DeskVisitor, action: str) -> None:
    """A GET changes nothing: no picture in another page and no link can act for the owner."""
    answer = await owner.open(
        f"/desk/picture/{action}?source=http://host.example/a.png&form_token={owner.form_token}"
    )
    assert answer.status == 405


async def test_markup_of_articles_origins_and_pictures_stays_text(
    tmp_path: Path, settings: dict[str, Any], http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """XSS: names of articles, texts of origins, addresses, notes, SVG titles and EXIF texts are escaped."""
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><title>{PAYLOAD}</title></svg>'
    origin.serve(
        "/a.jpg",
        saved(photo(90, 60), "JPEG", exif=exif(Artist=PAYLOAD, Copyright=PAYLOAD)),
        content_type="image/jpeg",
        headers={"Content-Language": PAYLOAD, "ETag": f'"{PAYLOAD}"'},
    )
    origin.serve("/b.svg", svg.encode(), content_type="image/svg+xml")
    origin.serve("/c.png", PAYLOAD.encode(), content_type=f"text/html; {PAYLOAD}", status=500)
    sources = [origin.url(path) for path in ("/a.jpg", "/b.svg", "/c.png")]
    posts = tmp_path / "posts"
    posts.mkdir()
    article = posts / f"{PAYLOAD.replace('/', '_')}.md"
    article.write_text("".join(f"![]({source})\n" for source in sources))
    config = write_config(tmp_path, settings)
    command = [sys.executable, "-m", "proxy", "warm", str(posts), "--all-images", "--config", str(config)]
    warming = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert await warming.wait() == 1, "one of the pictures is dead"
    with Service(config) as service:
        owner = DeskVisitor(Client(http, service.base))
        await owner.sign_in()
        pages = [await done(owner, "refetch", source) for source in sources]
        await owner.open(page_of(sources[2]))
        upload = await owner.send_file(
            "/desk/picture/upload",
            {"source": sources[2], "serve": "1", "note": PAYLOAD},
            MINE,
            name=f"{PAYLOAD}.png",
        )
        pages.append((await owner.followed(upload)).body.decode())
        for path in ("playground", "presets", "sign-in", "picture", PAYLOAD):
            pages.append(
                (
                    await owner.open(
                        f"/desk/{quote(path)}?source={quote(PAYLOAD)}&width={quote(PAYLOAD)}&next={quote(PAYLOAD)}&done={quote(PAYLOAD)}&preset={quote(PAYLOAD)}"
                    )
                ).body.decode()
            )
        for page in pages:
            assert "<script>window" not in page
            assert "<img src=x" not in page
    assert "&lt;script&gt;window.hit=1&lt;_script" in pages[0], "the name of the article is shown, as text"
    assert "&lt;script&gt;window.hit=1&lt;/script" in pages[3], "the note is shown, as text"
