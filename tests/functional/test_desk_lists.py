"""The lists of the desk and of the API on one store with two workers: searched, paged, exported, and while the
catalogue is missing."""

from __future__ import annotations

import asyncio
import csv
import dataclasses
import hashlib
import html
import io
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import pytest
from desk import TOKEN, DeskVisitor, signed_in
from http_client import Client
from keeping import NOW, keep
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, write_config

from cache.durable_tier import Originals

BEARER = {"Authorization": f"Bearer {TOKEN}"}
SETTINGS: dict[str, dict[str, Any]] = {
    "server": {"admin_token": TOKEN},
    "sources": {"keys": ["a signing key of the owner"]},
}
BIG, OLD, FAILED = "http://a.example/big.png", "http://a.example/old%25.png", "http://b.example/failed.png"
FORMER = hashlib.sha256(b"former").hexdigest()
REFUSED = "http://b.example:8080/refused.png"
DEAD = "http://127.0.0.1:1"
PAYLOAD = "<script>window.hit=1</script>\"'><img src=x onerror=window.hit=1>"
TITLE = re.compile(r'<a class="break"[^>]* title="([^"]+)"')


async def filled(folder: Path) -> None:
    """Keep four pictures, one of them with an older version, and record two articles."""
    kept = await Originals.open(folder, min_free_bytes=0, max_bytes=None)
    await keep(kept, BIG, b"b" * 5000)
    await keep(kept, OLD, b"former")
    entry = await keep(kept, OLD, b"present")
    await kept.commit(dataclasses.replace(entry, fetched_at=NOW - 86_400 * 30, damaged=True), None)
    await keep(kept, FAILED, b"f" * 10)
    await keep(kept, REFUSED, b"r" * 20)
    await kept.block(REFUSED, PAYLOAD)
    lines = {f"{DEAD}/a.png": [3, 9]}
    await kept.articles.record("posts/one.md", [BIG, f"{DEAD}/a.png", f"{DEAD}/b.png"], lines=lines)
    await kept.articles.record(PAYLOAD, [f"{DEAD}/a.png", f"{DEAD}/refused.png"])
    await kept.block(f"{DEAD}/refused.png", PAYLOAD)
    await kept.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("lists")
    config = write_config(folder, SETTINGS)
    asyncio.run(filled(folder / "store"))
    with Service(config, workers=2) as found:
        yield found
        assert "Traceback" not in found.log(), found.log()
        assert "internal" not in found.log()


@pytest.fixture
async def owner(http: aiohttp.ClientSession, service: Service) -> DeskVisitor:
    return await signed_in_to_a_whole_catalogue(http, service)


@pytest.fixture
async def several(service: Service) -> AsyncIterator[DeskVisitor]:
    """An owner whose every request is a new connection, so that both workers answer."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield await signed_in_to_a_whole_catalogue(session, service)


async def signed_in_to_a_whole_catalogue(session: aiohttp.ClientSession, service: Service) -> DeskVisitor:
    visitor = await signed_in(session, service.base)
    await visitor.wait_for_catalogue()
    return visitor


async def listed(owner: DeskVisitor, path: str, **query: str) -> list[str]:
    """Return the sources on a page of the desk."""
    answer = await owner.open(f"/desk/{path}?{urlencode(query)}")
    assert answer.status == 200, answer.body
    return TITLE.findall(answer.body.decode())


async def read(owner: DeskVisitor, path: str, **query: Any) -> Any:
    answer = await owner.client.get(f"/api/v1/{path}?{urlencode(query)}", headers=BEARER)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


@pytest.mark.parametrize(
    ("query", "sources"),
    [
        ({"sort": "address"}, [BIG, OLD, FAILED, REFUSED]),
        ({"sort": "size"}, [BIG, REFUSED, FAILED, OLD]),
        ({"text": "BIG"}, [BIG]),
        ({"text": "d%25"}, [OLD]),
        ({"text": "ld%"}, [OLD]),
        ({"text": "_ig"}, []),
        ({"origin": "http://A.example:80/", "sort": "size"}, [BIG, OLD]),
        ({"origin": "http://b.example:8080"}, [REFUSED]),
        ({"article": "posts/one.md"}, [BIG]),
        ({"article": "nobody.md"}, []),
        ({"sha256": FORMER[:9].upper()}, [OLD]),
        ({"sha256": FORMER}, [OLD]),
        ({"before": "2023-11-01"}, [OLD]),
        ({"since": "2023-11-01", "sort": "address"}, [BIG, FAILED, REFUSED]),
        ({"since": "2023-11-01", "before": "2023-11-02"}, []),
        ({"state": "damaged"}, [OLD]),
        ({"state": "versions"}, [OLD]),
        ({"state": "blocked"}, [REFUSED]),
        ({"state": "recovered"}, []),
        ({"state": "unreadable"}, []),
        ({"text": "png", "origin": "http://a.example", "state": "damaged"}, [OLD]),
    ],
    ids=str,
)
async def test_pictures_are_found_by_every_filter(
    owner: DeskVisitor, query: dict[str, str], sources: list[str]
) -> None:
    """The desk and the API find the same, in the same order. Nothing in a text is a wildcard."""
    page = await read(owner, "pictures", **query)
    assert [item["source"] for item in page["items"]] == sources
    assert (page["complete"], page["next"]) == (True, None)
    desk = {("q" if name == "text" else name): value for name, value in query.items()}
    assert await listed(owner, "pictures", **desk) == sources


async def test_picture_of_the_list_says_what_is_known(owner: DeskVisitor) -> None:
    [item] = (await read(owner, "pictures", text="old"))["items"]
    expected = {"bytes": 7, "versions": 1, "damaged": True, "blocked": False, "origin": "http://a.example"}
    assert {name: item[name] for name in expected} == expected
    page = (await owner.open("/desk/pictures?q=old")).body.decode()
    assert "1 older version" in page
    assert 'alt="old%25.png"' in page


async def test_refused_picture_has_no_thumbnail(owner: DeskVisitor) -> None:
    """Nothing is shown that would not be answered."""
    page = (await owner.open("/desk/pictures?state=blocked")).body.decode()
    assert REFUSED in page
    assert "/image/" not in page


async def test_form_keeps_what_was_asked_for(owner: DeskVisitor) -> None:
    """Also when it cannot be answered: the page says what is wrong."""
    query = {
        "q": 'a"<b',
        "origin": "no origin",
        "sha256": "xyz",
        "since": "soon",
        "sort": "size",
        "state": "damaged",
    }
    answer = await owner.open(f"/desk/pictures?{urlencode(query)}")
    page = answer.body.decode()
    assert answer.status == 400
    assert "This search is not possible" in page
    for value in ("a&#34;&lt;b", "no origin", "xyz", "soon"):
        assert f'value="{value}"' in page
    assert '<option value="size" selected>' in page
    assert '<option value="damaged" selected>' in page
    assert "<details open>" in page


async def test_pages_of_pictures_hold_each_picture_once(owner: DeskVisitor) -> None:
    for sorting in ("age", "size", "use", "address"):
        seen, after = [], ""
        while True:
            page = await read(owner, "pictures", limit=1, sort=sorting, **({"after": after} if after else {}))
            seen += [item["source"] for item in page["items"]]
            if page["next"] is None:
                break
            after = page["next"]
            assert after.isascii()
        assert sorted(seen) == sorted([BIG, OLD, FAILED, REFUSED]), sorting


@pytest.mark.parametrize(
    "query",
    [
        "sha256=g", "sha256=" + "a" * 65, "since=yesterday", "before=2024-13-01", "since=" + "9" * 5000, "text=%00",
        "text=%ED%A0%80", "text=" + "a" * 201, "origin=host", "origin=http://h/path", "origin=%00", "after=x",
        "after=%FF", "after=" + "a" * 15_000, "after=WyJwaWN0dXJlcyBieSBhZ2UiLDEuMCw5MjIzMzcyMDM2ODU0Nzc1ODA4XQ",
        "sort=colour", "state=lost", "limit=0", "limit=99999999999999999999", "limit=x", "unknown=1",
        "article=a&article=b",
    ],
)  # fmt: skip
async def test_query_that_cannot_be_read_is_refused_by_the_api(owner: DeskVisitor, query: str) -> None:
    answer = await owner.client.get(f"/api/v1/pictures?{query}", headers=BEARER)
    assert (answer.status, answer.code) == (400, "invalid_request"), answer.body


@pytest.mark.parametrize("path", ["pictures", "missing", "articles", "missing.csv"])
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("q=%00", 200), ("q=%ED%A0%80", 200), ("q=%25%25%25", 200), ("q=%25", None),
        ("q=" + "a" * 201, 400), ("q=" + "%22*" * 60, 200),
        ("after=x", 400), ("after=%FF%00", 400), ("article=%FF%00%ED%A0%80", 200),
        ("after=WyJtaXNzaW5nIiwiXHVkODAwIl0", 400),
    ],
)  # fmt: skip
async def test_any_query_of_the_desk_is_answered_or_refused_in_words(
    owner: DeskVisitor, path: str, query: str, status: int | None
) -> None:
    answer = await owner.open(f"/desk/{path}?{query}")
    if status is None:
        # Only an address is looked for by at least three characters.
        status = 400 if path == "pictures" else 200
    assert answer.status == status
    assert (b"This search is not possible" in answer.body) == (status == 400 and not path.endswith("csv"))


async def test_missing_pictures_stand_in_their_groups_with_lines(owner: DeskVisitor) -> None:
    page = await read(owner, "missing")
    first = page["items"][0]
    assert first["source"] == f"{DEAD}/a.png"
    assert {"name": "posts/one.md", "lines": [3, 9]} in first["articles"]
    assert first["article_count"] == 2
    assert page["groups"]["given_up"] == 1
    [refused] = (await read(owner, "missing", group="given_up"))["items"]
    assert (refused["source"], refused["reason"], refused["block"]) == (
        f"{DEAD}/refused.png",
        "given_up",
        PAYLOAD,
    )
    text = (await owner.open("/desk/missing")).body.decode()
    assert "lines 3, 9" in text
    assert await listed(owner, "missing", group="given_up") == [f"{DEAD}/refused.png"]
    assert await listed(owner, "missing", article="posts/one.md") == [f"{DEAD}/a.png", f"{DEAD}/b.png"]
    assert (await owner.open("/desk/missing?group=lost")).status == 400


async def test_names_and_reasons_of_others_are_never_markup(owner: DeskVisitor) -> None:
    """Articles and blocks carry what others wrote; every page shows it as text."""
    name = quote(PAYLOAD, safe="")
    for path in (
        "missing", "missing?group=given_up", "articles", f"article?name={name}", f"pictures?article={name}",
        f"pictures?q={name[:90]}", f"missing?article={name}", f"picture?source={quote(f'{DEAD}/refused.png', safe='')}",
        f"missing?q={name[:90]}", f"articles?q={name[:90]}", f"pictures?origin={name}", "pictures?state=blocked",
    ):  # fmt: skip
        page = (await owner.open(f"/desk/{path}")).body.decode()
        assert "<script>window" not in page, path
        assert "<img src=x" not in page, path
    assert "&lt;script&gt;window.hit=1" in (await owner.open("/desk/missing?group=given_up")).body.decode()


async def test_picture_that_is_given_up_leaves_its_group_and_comes_back(several: DeskVisitor) -> None:
    """The next page knows what a form has just done, in whichever worker, and the origin is asked again only then."""
    source = f"{DEAD}/b.png"
    await several.open("/desk/missing?q=/b.png")
    answer = await several.send(
        "/desk/picture/give-up", {"source": source, "next": "/desk/missing?group=given_up"}
    )
    assert answer.headers["Location"] == "/desk/missing?group=given_up&done=give-up"
    assert "is given up" in (await several.followed(answer)).body.decode()
    await eventually(several, source, "given_up")
    page = (await several.open(f"/desk/picture?source={quote(source, safe='')}")).body.decode()
    assert "given up" in page
    assert "/desk/picture/try-again" in page
    known = await read(several, "picture", source=source)
    assert (known["blocked"], known["block_reason"]) == (True, "given up")
    refused = await several.client.get(f"/image/original/{source}")
    assert refused.status in {403, 404}
    answer = await several.send("/desk/picture/try-again", {"source": source})
    assert "refetch-failed" in answer.headers["Location"]
    await eventually(several, source, "not_now")


async def eventually(owner: DeskVisitor, source: str, group: str) -> None:
    """Wait until a missing picture is in a group in both workers: one of them is told a little later."""
    deadline = asyncio.get_running_loop().time() + 20
    agreed = 0
    while agreed < 6:
        page = await read(owner, "missing", group=group)
        agreed = agreed + 1 if source in [item["source"] for item in page["items"]] else 0
        assert asyncio.get_running_loop().time() < deadline


async def test_kept_picture_is_not_given_up_by_mistake(owner: DeskVisitor) -> None:
    body = json.dumps({"source": BIG})
    headers = {**BEARER, "Content-Type": "application/json"}
    answer = await owner.client.get("/api/v1/picture/give-up", method="POST", headers=headers, data=body)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert [item["blocked"] for item in (await read(owner, "pictures", text="big"))["items"]] == [False]


async def test_next_page_after_a_form_is_one_of_the_desk(owner: DeskVisitor) -> None:
    """A forged `next` leads nowhere but to the picture."""
    await owner.open("/desk/missing")
    for address in (
        "//evil.example/desk/missing",
        "https://evil.example",
        "/desk/missing\r\nX: y",
        "/desk/missingX",
    ):
        answer = await owner.send("/desk/picture/refetch", {"source": f"{DEAD}/z.png", "next": address})
        assert answer.headers["Location"].startswith("/desk/picture?source="), address


async def test_reader_sees_at_once_what_was_purged(owner: DeskVisitor, origin: ScriptedOrigin) -> None:
    """One connection stays with one worker, which flushes what it has changed before it asks."""
    origin.serve("/once.png", chart_png(60, 40))
    source = origin.url("/once.png")
    await owner.open("/desk/pictures")
    await owner.send("/desk/picture/refetch", {"source": source})
    assert source in await listed(owner, "pictures")
    page = (await owner.open(f"/desk/pictures?q={quote(source, safe='')}")).body.decode()
    [address] = re.findall(r'<img src="(/image/[^"]+)"', page)
    assert ",sig=" in address, "thumbnails are signed for the owner"
    assert (await owner.client.get(address.replace("&amp;", "&"))).status == 200
    await owner.send("/desk/picture/purge", {"source": source})
    assert source not in await listed(owner, "pictures")


async def test_pictures_on_the_desk_are_no_uses(owner: DeskVisitor, origin: ScriptedOrigin) -> None:
    """Also of an address with a query and escapes. A visitor's answer counts, whatever query the picture itself has."""
    origin.serve("/used%25.png", chart_png(60, 40))
    source = origin.url("/used%25.png?desk")
    await owner.open("/desk/pictures")
    await owner.send("/desk/picture/refetch", {"source": source})

    async def uses() -> int:
        [item] = (await read(owner, "pictures", text="used%25.png"))["items"]
        return int(item["uses"])

    shown = []
    for target in (
        f"/desk/pictures?q={quote(source, safe='')}",
        f"/desk/picture?source={quote(source, safe='')}",
    ):
        page = (await owner.open(target)).body.decode()
        shown += [html.unescape(found) for found in re.findall(r'<img src="(/image/[^"]+)"', page)]
    assert len(shown) == 2
    for address in shown * 2:
        answer = await owner.client.get(address)
        assert (answer.status, answer.headers["Content-Type"].partition("/")[0]) == (200, "image")
    assert await uses() == 0
    plain = [address.removesuffix("?desk") for address in shown]
    for address in plain:
        assert (await owner.client.get(address)).status == 200
    deadline = asyncio.get_running_loop().time() + 30
    while (count := await uses()) < len(plain):
        assert asyncio.get_running_loop().time() < deadline, count
        await asyncio.sleep(0.05)
    assert count == len(plain)


async def test_visitor_who_has_not_signed_in_sees_no_signed_address(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """Without a token this machine may look, but signatures are for sessions."""
    config = write_config(tmp_path, {"sources": {"keys": ["a signing key of the owner"]}})
    await filled(tmp_path / "store")
    with Service(config) as service:
        visitor = DeskVisitor(Client(http, service.base))
        await visitor.wait_for_catalogue()
        page = (await visitor.open("/desk/pictures")).body.decode()
        assert BIG in page
        assert "/image/" not in page
        assert "/desk/picture/give-up" not in (await visitor.open("/desk/missing")).body.decode()


async def test_thousand_missing_pictures_are_written_to_the_file(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """The file comes in pieces, has a line for each article, and names those that a page leaves out."""
    sources = [f"{DEAD}/{number:04}.png" for number in range(1000)]
    names = [f"posts/{number:02}.md" for number in range(25)]
    kept = await Originals.open(tmp_path / "store", min_free_bytes=0, max_bytes=None)
    await kept.articles.record('=HYPERLINK("http://evil.example")', sources, lines={sources[0]: [7, 8]})
    for name in names:
        await kept.articles.record(name, sources[-1:])
    await kept.block(sources[1], "@SUM(1)")
    await kept.close()
    with Service(write_config(tmp_path, SETTINGS)) as service:
        owner = await signed_in_to_a_whole_catalogue(http, service)
        answer = await owner.open("/desk/missing.csv")
        assert answer.headers["Transfer-Encoding"] == "chunked"
        table = list(csv.DictReader(io.StringIO(answer.body.decode())))
        only = (await owner.open("/desk/missing.csv?group=given_up")).body.decode()
        found = await read(owner, "missing", text="/0999.png")
    assert [row["source"] for row in table] == [*sources, *sources[-1:] * 25]
    assert (table[0]["lines"], table[0]["group"], table[0]["tries"]) == ("7 8", "never_tried", "0")
    assert [row["article"] for row in table[-25:]] == names
    assert table[0]["article"].startswith("'=")
    assert table[1]["reason"] == "'@SUM(1)"
    assert [line.partition(",")[0] for line in only.splitlines()] == ["source", sources[1]]
    assert (found["items"][0]["article_count"], len(found["items"][0]["articles"])) == (26, 20)


@pytest.mark.parametrize("damage", ["deleted", "overwritten"])
async def test_pages_say_that_the_catalogue_is_being_made(
    tmp_path: Path, http: aiohttp.ClientSession, damage: str
) -> None:
    """While it is deleted or damaged, pages have words and no faults; after the next start it is whole."""
    await filled(tmp_path / "store")
    service = Service(write_config(tmp_path, SETTINGS))
    with service:
        owner = await signed_in_to_a_whole_catalogue(http, service)
        catalogue = tmp_path / "store" / "catalogue"
        if damage == "deleted":
            (catalogue / "current").unlink()
        else:
            with (catalogue / (catalogue / "current").read_text().strip()).open("r+b") as file:
                file.write(b"\xff" * 200_000)
        for path in (
            "pictures",
            "missing",
            "articles",
            "article?name=posts/one.md",
            "picture?source=" + BIG,
            "",
        ):
            answer = await owner.open(f"/desk/{path}")
            assert answer.status in {200, 503}, path
            if path not in {"picture?source=" + BIG}:
                assert b"being made" in answer.body, path
        answer = await owner.client.get("/api/v1/pictures", headers=BEARER)
        assert answer.status in {200, 503}
        if answer.status == 503:
            assert answer.code == "queue_full"
            assert int(answer.headers["Retry-After"]) > 0
        else:
            assert json.loads(answer.body)["complete"] is False
        assert (await read(owner, "overview"))["missing"] is None
        assert (await read(owner, "picture", source=BIG))["articles"][0]["name"] == "posts/one.md"
        assert "internal" not in service.log()
    with service:
        owner = await signed_in_to_a_whole_catalogue(http, service)
        assert len((await read(owner, "pictures"))["items"]) == 4
