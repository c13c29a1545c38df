"""`imgmirror store pack` and `unpack`: everything out and in again, other archives' pictures, hostile archives."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import invoke
from keeping import NOW, files_below, keep, make_entry
from pictures import chart_png, photo_jpeg
from service import write_config
from warcio.archiveiterator import ArchiveIterator
from warcs import DATE, MOMENT, chunked, packed, record, response, sha1

from cache.base.entry import Entry, Former
from cache.base.layout import prepare
from cache.durable_tier import Originals
from cache.originals.articles import KeptArticle
from cache.originals.landing import Landing
from proxy.archives.items import BadArchive, Skipped
from proxy.archives.warcreading import WarcReader

PNG, OTHER = chart_png(40, 30, seed=1), chart_png(30, 40, seed=2)
JPEG = photo_jpeg(64, 48)
URL = "http://h.example/a.png"
KINDS = ["pack.warc.gz", "pack.warc", "folder"]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGMIRROR_LOG", "info")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The configuration of an empty store."""
    (tmp_path / "here").mkdir()
    return write_config(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Path:
    (tmp_path / "there").mkdir()
    return write_config(tmp_path / "there")


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def kept_in(config: Path) -> dict[str, bytes]:
    """Everything a store promises, by name: entries, bodies, articles and blocks."""
    store = config.parent / "store"
    rooms = ("entries", "bodies", "articles", "blocked")
    return {
        str(path.relative_to(store)): path.read_bytes()
        for room in rooms
        for path in files_below(store / room)
    }


def entries_in(config: Path) -> dict[str, Entry]:
    files = files_below(config.parent / "store" / "entries")
    entries = [Entry.from_json(path.read_bytes()) for path in files]
    return {entry.source: entry for entry in entries}


def unpacked(config: Path, capsys: pytest.CaptureFixture[str], *paths: Path, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert invoke("store", "unpack", "--json", *paths, config=config) == code
    return told(capsys)


def of(url: str, *, date: str = DATE, **fields: str) -> dict[str, str]:
    """Return the fields of a record."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return {"WARC-Target-URI": url, "WARC-Date": date, **named}


def archive(tmp_path: Path, *records: bytes, name: str = "other.warc") -> Path:
    path = tmp_path / name
    path.write_bytes(packed(records) if name.endswith(".gz") else b"".join(records))
    return path


async def fill(store: Originals) -> None:
    """A store with everything in it that an entry can say."""
    await keep(store, URL, PNG)
    await keep(store, "http://h.example/same.png", PNG)
    await keep(store, "http://h.example/changed.png", OTHER)
    for number, body in enumerate((PNG, JPEG)):
        async with store.receive() as incoming:
            await incoming.write(body)
            await incoming.finish()
            entry = dataclasses.replace(
                make_entry("http://h.example/changed.png", sha256=incoming.sha256, size=incoming.size),
                media_type="image/jpeg" if body is JPEG else "image/png",
                headers=(("content-type", "image/x"), ("etag", '"\udce9\udcff"'), ("last-modified", "never")),
                final_url="http://cdn.example/%CD%BC.png",
                request_time=NOW - 0.25,
                fetched_at=NOW + number + 0.123456,
                validated_at=NOW + 99.5,
                damaged=True,
                picture={"format": "jpeg", "width": 64, "height": 48, "frames": 1},
            )
            await store.commit(entry, incoming)
    async with store.receive() as incoming:
        await incoming.write(chart_png(9, 9))
        await incoming.finish()
        former = Former(incoming.sha256, incoming.size, "image/png", NOW + 5, note="placeholder")
        await store.history.set_aside(URL, former, incoming, stamp=store.generations.stamp(URL))
    sources = [URL, "http://h.example/dead.png"]
    await store.articles.record(
        "posts/图.md", sources, date=NOW - 86400.5, lines={URL: [3, 41], sources[1]: [7]}
    )
    await store.articles.record("bad \udcff name.md", [])
    await store.block("http://h.example/blocked.png", "asked for")


async def opened_once(config: Path) -> None:
    await (await Originals.open(config.parent / "store")).close()


def filled(config: Path) -> Path:
    async def work() -> None:
        store = await Originals.open(config.parent / "store")
        await fill(store)
        await store.close()

    asyncio.run(work())
    return config


@pytest.mark.parametrize("kind", KINDS)
def test_unpacking_what_was_packed_gives_the_same_store(
    here: Path, there: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The law of moving: entries, bodies, headers, times, history, articles and blocks, byte for byte."""
    filled(here)
    assert invoke("store", "pack", tmp_path / kind, "--json", config=here) == 0
    report = told(capsys)
    assert (report["entries"], report["versions"], report["articles"], report["blocked"]) == (3, 3, 2, 1)
    assert report["bodies"] == 4
    report = unpacked(there, capsys, tmp_path / kind)
    assert (report["new"], report["refused"], report["broken"]) == (3, {}, {})
    before, after = kept_in(here), kept_in(there)
    # When a block was set is not packed.
    assert {name for name in before if not name.startswith("blocked")} == {
        name for name in after if not name.startswith("blocked")
    }
    for name in before:
        if not name.startswith("blocked"):
            assert after[name] == before[name], name
    assert invoke("store", "verify", config=there) == 0
    again = unpacked(there, capsys, tmp_path / kind)
    assert (again["new"], again["changed"], again["same"]) == (0, 0, 3)
    assert kept_in(there) == after


def test_warc_is_an_ordinary_archive_to_others(here: Path, tmp_path: Path) -> None:
    """One capture for each version of each picture, equal bytes as revisits, digests right by the library's reading."""
    filled(here)
    assert invoke("store", "pack", tmp_path / "pack.warc.gz", config=here) == 0
    seen = []
    with (tmp_path / "pack.warc.gz").open("rb") as stream:
        for item in ArchiveIterator(stream, check_digests=True):
            body = item.content_stream().read()
            assert item.digest_checker.passed is not False
            if item.rec_type == "metadata":
                # Filed under the picture's address, it would be the latest capture of it to pywb.
                assert item.rec_headers.get_header("WARC-Target-URI").startswith("urn:imgmirror:")
            if item.rec_type in {"response", "revisit"}:
                seen.append((item.rec_type, item.rec_headers.get_header("WARC-Target-URI"), len(body)))
    assert len([one for one in seen if one[0] == "response"]) == 4
    assert len([one for one in seen if one[0] == "revisit"]) == 2
    assert {size for kind, _, size in seen if kind == "revisit"} == {0}


def test_pack_of_an_origin_or_article_holds_that_alone(
    here: Path, there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(here)
    words = ("pack", tmp_path / "a.warc", "--article", "posts/图.md")
    assert invoke("store", *words, config=here) == 0
    assert invoke("store", "pack", tmp_path / "b.warc", "--origin", "http://x", config=here) == 0
    report = unpacked(there, capsys, tmp_path / "a.warc", tmp_path / "b.warc")
    assert (report["new"], report["articles"], report["blocked"]) == (1, 1, 0)
    assert set(entries_in(there)) == {URL}


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_left_out_of_a_pack_and_said(
    here: Path, there: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(here)
    for path in files_below(here.parent / "store" / "bodies"):
        if path.read_bytes() == PNG:
            path.write_bytes(PNG[:-1] + b"?")
    assert invoke("store", "pack", tmp_path / kind, "--json", config=here) == 1
    report = told(capsys)
    assert sorted(report["damaged"]) == [URL, "http://h.example/same.png"]
    assert report["versions_left_out"] == 1
    assert unpacked(there, capsys, tmp_path / kind)["new"] == 1
    assert invoke("store", "verify", config=there) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_pack_never_takes_the_place_of_something(
    here: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(here)
    target = tmp_path / kind
    if kind == "folder":
        target.mkdir()
        (target / "mine").write_text("mine")
    else:
        target.write_text("mine")
    assert invoke("store", "pack", target, config=here) == 2
    assert "exists already" in capsys.readouterr().err
    assert [path.read_text() for path in files_below(tmp_path) if path.name in {"mine", kind}] == ["mine"]
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]


def test_pack_onto_a_full_disk_leaves_nothing(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(here)

    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    for kind in KINDS:
        with monkeypatch.context() as patched:
            module = "folders" if kind == "folder" else "warcwriting"
            patched.setattr(f"proxy.archives.{module}.sync_descriptor", refuse)
            assert invoke("store", "pack", tmp_path / kind, config=here) == 2
        assert sorted(path.name for path in tmp_path.iterdir()) == ["here"]


def test_newer_pack_displaces_what_is_kept_and_an_older_one_becomes_history(
    here: Path, there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def keep_at(config: Path, body: bytes, moment: float) -> None:
        store = await Originals.open(config.parent / "store")
        async with store.receive() as incoming:
            await incoming.write(body)
            await incoming.finish()
            entry = make_entry(URL, sha256=incoming.sha256, size=incoming.size)
            await store.commit(dataclasses.replace(entry, fetched_at=moment, validated_at=moment), incoming)
        await store.close()

    asyncio.run(keep_at(here, PNG, NOW + 10))
    asyncio.run(keep_at(there, OTHER, NOW))
    for number, config in enumerate((here, there)):
        assert invoke("store", "pack", tmp_path / f"{number}.warc", config=config) == 0
    assert unpacked(there, capsys, tmp_path / "0.warc")["changed"] == 1
    assert unpacked(here, capsys, tmp_path / "1.warc")["changed"] == 1
    assert entries_in(here)[URL] == entries_in(there)[URL]
    assert len(entries_in(here)[URL].history) == 1


# Others' archives


CAPTURE = {
    "from": "wayback",
    "url": f"http://archive.example/web/20120601000000id_/{URL}",
    "captured_at": 1338508800.0,
}


async def keep_with(config: Path, body: bytes, **facts: Any) -> None:
    store = await Originals.open(config.parent / "store")
    async with store.receive() as incoming:
        await incoming.write(body)
        await incoming.finish()
        entry = make_entry(URL, sha256=incoming.sha256, size=incoming.size)
        await store.commit(dataclasses.replace(entry, **facts), incoming)
    await store.close()


@pytest.mark.parametrize("kind", KINDS)
def test_recovered_picture_is_packed_with_its_provenance(
    here: Path, there: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(keep_with(here, PNG, recovered=CAPTURE))
    assert invoke("store", "pack", tmp_path / kind, config=here) == 0
    assert unpacked(there, capsys, tmp_path / kind)["new"] == 1
    assert entries_in(there) == entries_in(here)
    assert entries_in(there)[URL].recovered == CAPTURE
    assert invoke("store", "show", "--source", URL, config=there) == 0
    assert f"recovered from wayback, captured 2012-06-01 00:00: {CAPTURE['url']}" in capsys.readouterr().out


def test_recovered_picture_is_a_capture_of_its_day_to_other_archives(here: Path, tmp_path: Path) -> None:
    """The record has the form in which pywb writes a capture from another archive."""
    asyncio.run(keep_with(here, PNG, recovered=CAPTURE))
    assert invoke("store", "pack", tmp_path / "pack.warc", config=here) == 0
    with (tmp_path / "pack.warc").open("rb") as stream:
        (found,) = [item.rec_headers for item in ArchiveIterator(stream) if item.rec_type == "response"]
    assert found.get_header("WARC-Date") == "2012-06-01T00:00:00.000000Z"
    assert found.get_header("WARC-Source-URI") == CAPTURE["url"]
    assert found.get_header("WARC-Creation-Date") == "2023-11-14T22:13:20.000000Z"


@pytest.mark.parametrize("origin_was_there", [True, False], ids=["the origin's first", "the copy first"])
def test_recovered_picture_in_a_pack_never_displaces_what_the_origin_gave(
    here: Path, there: Path, tmp_path: Path, origin_was_there: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """This holds whichever was confirmed last: the copy is history and is labelled as a copy."""
    own, copy = (there, here) if origin_was_there else (here, there)
    asyncio.run(keep_with(own, OTHER))
    asyncio.run(keep_with(copy, PNG, recovered=CAPTURE, validated_at=NOW + 1000))
    assert invoke("store", "pack", tmp_path / "pack.warc", config=here) == 0
    assert unpacked(there, capsys, tmp_path / "pack.warc")["changed"] == 1
    entry = entries_in(there)[URL]
    assert (entry.body_size, entry.recovered) == (len(OTHER), None)
    assert [item.recovered for item in entry.history] == [CAPTURE]


async def article_in(config: Path, *, new: bool = False) -> KeptArticle | None:
    """Return an article of a store; record it before, with `new`."""
    store = await Originals.open(config.parent / "store")
    if new:
        await store.articles.record("a.md", [URL], path="/blog/a.md", lines={URL: [3]})
    found = await store.articles.get("a.md")
    await store.close()
    return found


def test_file_and_lines_of_an_article_outlive_a_pack_that_does_not_know_them(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "by-hand").mkdir()
    (tmp_path / "by-hand" / "manifest.jsonl").write_text(
        json.dumps({"article": "a.md", "sources": [URL]}) + "\n"
    )
    before = asyncio.run(article_in(here, new=True))
    assert unpacked(here, capsys, tmp_path / "by-hand")["articles"] == 1
    assert asyncio.run(article_in(here)) == before


@pytest.mark.parametrize(
    "lines",
    [
        [3], {URL: 3}, {URL: []}, {URL: [0]}, {URL: [-1]}, {URL: [True]}, {URL: ["3"]}, {URL: [1.5]},
        {URL: [1 << 31]}, {URL: list(range(1, 22))}, {URL: [3], "é": [1]}, "3", None,
    ],
    ids=str,
)  # fmt: skip
def test_article_with_broken_lines_is_unpacked_without_them_and_said(
    here: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    lines: object,
) -> None:
    """What is recorded here stays. The exit code is 0, because nothing that a purge needs is lost."""
    (tmp_path / "by-hand").mkdir()
    known = {"article": "a.md", "sources": [URL], "lines": lines}
    (tmp_path / "by-hand" / "manifest.jsonl").write_text(json.dumps(known) + "\n")
    report = unpacked(here, capsys, tmp_path / "by-hand")
    assert (report["articles"], report["skipped"], report["refused"]) == (1, {"unreadable_lines": 1}, {})
    assert "the lines of the article 'a.md' cannot be read" in caplog.text
    [record] = files_below(here.parent / "store" / "articles")
    found = json.loads(record.read_text())
    assert (found["sources"], found.get("lines")) == ([URL], None)


def test_lines_of_a_pack_are_added_to_those_that_are_known_here(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = "http://h.example/other.png"

    asyncio.run(article_in(here, new=True))
    lines = {URL: [99], other: [5, 6], "http://h.example/not-shown.png": [1]}
    (tmp_path / "by-hand").mkdir()
    (tmp_path / "by-hand" / "manifest.jsonl").write_text(
        json.dumps({"article": "a.md", "sources": [URL, other], "lines": lines}) + "\n"
    )
    assert unpacked(here, capsys, tmp_path / "by-hand")["skipped"] == {}
    found = asyncio.run(article_in(here))
    assert found is not None
    assert (found.path, found.lines) == ("/blog/a.md", {URL: (3,), other: (5, 6)})


def test_dates_of_articles_outlive_a_pack_that_does_not_know_them(
    here: Path, there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def dated(config: Path, date: float | None) -> float | None:
        store = await Originals.open(config.parent / "store")
        if date is not None:
            await store.articles.record("a.md", [URL], date=date)
        found = await store.articles.date_of(URL)
        await store.close()
        return found

    (tmp_path / "by-hand").mkdir()
    (tmp_path / "by-hand" / "manifest.jsonl").write_text(
        json.dumps({"article": "a.md", "sources": [URL]}) + "\n"
    )
    asyncio.run(dated(here, NOW))
    assert unpacked(here, capsys, tmp_path / "by-hand")["articles"] == 1
    assert asyncio.run(dated(here, None)) == NOW
    assert invoke("store", "pack", tmp_path / "pack.warc", config=here) == 0
    assert unpacked(there, capsys, tmp_path / "pack.warc")["articles"] == 1
    assert asyncio.run(dated(there, None)) == NOW


def test_pictures_of_another_archive_come_in_and_the_rest_is_counted(
    there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = archive(
        tmp_path,
        record("warcinfo", b"software: x\r\n", {"WARC-Date": DATE}),
        response(URL, PNG, 'ETag: "x"', "Set-Cookie: no=1", WARC_Payload_Digest=sha1(PNG)),
        record("request", b"GET / HTTP/1.1\r\n\r\n", {"WARC-Target-URI": URL, "WARC-Date": DATE}),
        response("https://h.example/page", b"<html>x</html>", "Content-Type: text/html"),
        response("http://h.example/gone.png", b"gone", status="404 Not Found"),
        record("response", b"1.2.3.4", {"WARC-Target-URI": "dns:h.example", "WARC-Date": DATE}),
        record("resource", JPEG, of("https://h.example/r.jpg", Content_Type="image/jpeg")),
        name="other.warc.gz",
    )  # fmt: skip
    report = unpacked(there, capsys, path)
    assert (report["new"], report["refused"]) == (2, {})
    assert report["skipped"] == {"record_request": 1, "not_admitted": 1, "not_200": 1, "not_http": 1}
    entry = entries_in(there)[URL]
    assert entry.headers == (("content-type", "image/png"), ("etag", '"x"'))
    assert entry.picture is not None
    assert (entry.fetched_at, entry.picture["width"]) == (MOMENT, 40)
    assert entries_in(there)["https://h.example/r.jpg"].media_type == "image/jpeg"
    assert invoke("store", "verify", config=there) == 0


CODED = {
    "chunked": (chunked(PNG), ["Transfer-Encoding: chunked"]),
    "no longer chunked": (PNG, ["Transfer-Encoding: chunked"]),
    "gzip": (gzip.compress(PNG), ["Content-Encoding: gzip"]),
    "no longer gzip": (PNG, ["Content-Encoding: gzip"]),
    "no longer br": (PNG, ["Content-Encoding: br"]),
    "both": (chunked(gzip.compress(PNG)), ["Content-Encoding: x-gzip", "Transfer-Encoding: chunked"]),
}


def test_stored_codings_are_taken_off(
    there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether the archive left them on or not, and whichever payload it has digested."""
    records = []
    for name, (body, headers) in CODED.items():
        for reading, digest in {"stored": sha1(body), "decoded": sha1(PNG), "none": "md99:x"}.items():
            url = f"http://h.example/{name}/{reading}".replace(" ", "-")
            records.append(response(url, body, *headers, content_length=None, WARC_Payload_Digest=digest))
    assert unpacked(there, capsys, archive(tmp_path, *records))["new"] == len(records)
    assert [path.read_bytes() for path in files_below(there.parent / "store" / "bodies")] == [PNG]


def test_arc_file_is_read(there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    block = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n" + PNG
    head = f"{URL} 1.2.3.4 20200203040506 image/png {len(block)}\n".encode()
    version = b"1 0 x\nURL IP-address Archive-date Content-type Archive-length\n"
    first = b"filedesc://x.arc 0.0.0.0 20200203040506 text/plain %d\n" % len(version)
    path = archive(tmp_path, first + version + b"\n", head + block + b"\n", name="old.arc")
    assert unpacked(there, capsys, path)["new"] == 1
    assert entries_in(there)[URL].fetched_at == MOMENT


def test_revisits_have_the_bytes_of_what_they_name_before_and_after_it(
    there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def revisit(url: str, digest: str, **fields: str) -> bytes:
        return record(
            "revisit", b"", of(url, date="2021-01-01T00:00:00Z", WARC_Payload_Digest=digest, **fields)
        )

    path = archive(
        tmp_path,
        revisit("http://h.example/early.png", sha1(PNG), WARC_Refers_To_Target_URI=URL),
        response(URL, PNG, WARC_Payload_Digest=sha1(PNG)),
        revisit("http://h.example/late.png", sha1(PNG).lower().replace("sha1", "SHA1")),
        revisit(URL, sha1(PNG)),
        revisit("http://h.example/unknown.png", sha1(b"nobody knows")),
    )
    report = unpacked(there, capsys, path, code=1)
    assert report["refused"] == {"unresolved_revisit": 1}
    entries = entries_in(there)
    assert set(entries) == {URL, "http://h.example/early.png", "http://h.example/late.png"}
    assert len({entry.body_sha256 for entry in entries.values()}) == 1
    assert entries[URL].validated_at > entries[URL].fetched_at == MOMENT
    assert entries["http://h.example/late.png"].picture == entries[URL].picture
    assert invoke("store", "verify", config=there) == 0


def test_captures_of_one_picture_are_its_versions_and_never_displace_what_is_kept(
    there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = archive(tmp_path, response(URL, PNG, date="2019-01-01T00:00:00Z"), name="1.warc")
    second = archive(tmp_path, response(URL, OTHER, date="2022-01-01T00:00:00Z"), name="2.warc")
    assert unpacked(there, capsys, first)["new"] == 1
    assert unpacked(there, capsys, second)["changed"] == 1
    assert unpacked(there, capsys, first, second)["same"] == 2
    entry = entries_in(there)[URL]
    assert entry.body_size == len(PNG)
    assert [item.body_size for item in entry.history] == [len(OTHER)]


def test_blocked_source_does_not_come_in(
    there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = archive(tmp_path, response(URL, PNG))
    unpacked(there, capsys, path)
    assert invoke("store", "purge", "--source", URL, "--block", config=there) == 0
    assert unpacked(there, capsys, path)["skipped"] == {"blocked": 1}
    assert entries_in(there) == {}


# Hostile ones


def ours(kind: str, text: bytes, url: str) -> bytes:
    return record(
        "metadata", text, {"WARC-Target-URI": url, "Content-Type": f"application/vnd.imgmirror.{kind}+json"}
    )


def gz(body: bytes) -> tuple[bytes, str]:
    return gzip.compress(body), "Content-Encoding: gzip"


CHUNKS = "Transfer-Encoding: chunked"
HOSTILE: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "payload": ("digest", lambda url: response(url, PNG, WARC_Payload_Digest=sha1(b"x"))),
    "block": ("digest", lambda url: response(url, PNG, WARC_Block_Digest=sha1(b"x"))),
    "short": ("cut_short", lambda url: response(url, PNG[:-20], content_length=len(PNG))),
    "mark": ("cut_short", lambda url: response(url, PNG, WARC_Truncated="length")),
    "no-end": ("cut_short", lambda url: response(url, PNG[:-20], content_length=None)),
    "chunk": ("cut_short", lambda url: response(url, chunked(PNG)[:-40], CHUNKS, content_length=None)),
    "lies": ("cut_short", lambda url: response(url, b"ffffffff\r\n" + PNG, CHUNKS, content_length=None)),
    "cut-gzip": ("coding", lambda url: response(url, gz(PNG)[0][:-30], gz(PNG)[1], content_length=None)),
    "bomb": ("too_large", lambda url: response(url, *gz(b"\0" * 9_000_000))),
    "br": ("coding", lambda url: response(url, b"\x0b\x02\x80" * 9, "Content-Encoding: br")),
    "large": ("too_large", lambda url: response(url, PNG + b"\0" * 2_000_000)),
    "date": ("unreadable", lambda url: response(url, PNG, date="some day")),
    "empty": ("empty", lambda url: response(url, b"")),
    "status": ("unreadable", lambda url: response(url, PNG, status="fine")),
    "no-entry": ("unreadable", lambda url: ours("entry", b"{}", url)),
    "other-entry": ("unreadable", lambda url: ours("entry", make_entry(URL).to_json(), url)),
    "no-block": ("unreadable", lambda url: ours("block", b'{"source": 5}', url)),
    "no-article": ("unreadable", lambda url: ours("article", b"[" * 100_000, url)),
}


def test_bad_records_are_refused_each_for_its_reason_and_good_ones_between_them_come_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, {"fetch": {"max_bytes": "1 MiB"}})
    records, good = [], set()
    for name, (_, make) in HOSTILE.items():
        good.add(f"http://h.example/good/{name}")
        records += [make(f"http://h.example/{name}"), response(f"http://h.example/good/{name}", OTHER)]
    lone = make_entry("http://h.example/lone.png", sha256="1" * 64, size=5)
    records.append(ours("entry", lone.to_json(), f"urn:imgmirror:entry:{lone.key}"))
    records.append(response("http://user@h.example/a.png", PNG))
    report = unpacked(config, capsys, archive(tmp_path, *records, name="x.warc.gz"), code=1)
    wanted = {f"http://h.example/{name}": reason for name, (reason, _) in HOSTILE.items()}
    wanted |= {lone.source: "incomplete", "http://user@h.example/a.png": "unreadable"}
    assert report["refused_sources"] == wanted
    assert set(entries_in(config)) == good
    assert invoke("store", "verify", config=config) == 0
    assert files_below(tmp_path / "store" / "incoming") == []


def test_damaged_picture_that_is_complete_is_kept_as_such(
    there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = PNG[:60] + bytes(20) + PNG[80:]
    assert unpacked(there, capsys, archive(tmp_path, response(URL, damaged)))["new"] == 1
    assert entries_in(there)[URL].damaged


BROKEN = {
    "no-archive.warc": b"hello\n" * 100,
    "cut.warc.gz": packed([response(URL, PNG), response("http://h.example/b.png", PNG)])[:-40],
    "garbage.warc.gz": gzip.compress(response(URL, PNG))[:200] + b"\xff" * 300,
    "endless-head.warc": b"WARC/1.0\r\n" + b"X: y\r\n" * 300_000,
    "endless-line.warc.gz": gzip.compress(b"WARC/1.0\r\nX: " + b"y" * 50_000_000),
    "lying.warc": response(URL, PNG, length=10**9),
    "negative.warc": response(URL, PNG, length=-5),
    "one-member.warc.gz": gzip.compress(response(URL, PNG) + response("http://h.example/b.png", PNG)),
}


def test_broken_archives_are_said_and_leave_a_sound_store(
    there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, data in BROKEN.items():
        (tmp_path / name).write_bytes(data)
    report = unpacked(there, capsys, *(tmp_path / name for name in BROKEN), code=1)
    assert {Path(name).name for name in report["broken"]} >= {
        "no-archive.warc", "endless-head.warc", "endless-line.warc.gz", "one-member.warc.gz"
    }  # fmt: skip
    assert set(report["refused"]) <= {"cut_short", "too_large", "unreadable"}
    assert invoke("store", "verify", config=there) == 0


def test_pack_of_ours_that_was_tampered_with_is_refused(
    here: Path, there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """HTML in the place of a picture, and headers that would be sent to an origin."""
    filled(here)
    assert invoke("store", "pack", tmp_path / "folder", "--source", URL, config=here) == 0
    manifest = tmp_path / "folder" / "manifest.jsonl"
    known = json.loads(manifest.read_text())
    known["entry"]["headers"] = [["etag", 'x"\r\nCookie: y']]
    manifest.write_text(json.dumps(known))
    assert unpacked(there, capsys, tmp_path / "folder", code=1)["refused"] == {"unreadable": 1}
    html = b"<!doctype html><script>alert(1)</script>"
    page = tmp_path / "folder" / "x.html"
    page.write_bytes(html)

    async def digest() -> str:
        store = await Originals.open(tmp_path / "scratch")
        entry = await keep(store, URL, html)
        await store.close()
        return entry.body_sha256

    sha256 = asyncio.run(digest())
    entry = json.loads(make_entry(URL, sha256=sha256, size=len(html)).to_json())
    manifest.write_text(json.dumps({"entry": entry, "files": {sha256: "x.html"}}))
    assert unpacked(there, capsys, tmp_path / "folder", code=1)["refused"] == {"type": 1}
    assert entries_in(there) == {}


# Folders by hand


def test_folder_made_by_hand_comes_in(
    there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mine"
    (folder / "pictures").mkdir(parents=True)
    (folder / "pictures" / "a b.png").write_bytes(PNG)
    (folder / "cut.jpg").write_bytes(JPEG[:-200])
    (tmp_path / "outside.png").write_bytes(OTHER)
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    (folder / "up").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.png")
    bad = [
        "../outside.png",
        "/etc/passwd",
        "link.png",
        "up/outside.png",
        "pipe.png",
        "none.png",
        "",
        5,
        "a\0b",
        ".",
    ]
    lines = [
        {"source": URL, "file": "pictures/a b.png", "date": "2020-02-03T04:05:06+00:00"},
        *({"source": f"http://h.example/{n}.png", "file": name} for n, name in enumerate(bad)),
        {"source": "http://h.example/cut.jpg", "file": "cut.jpg"},
        [],
    ]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "{\n")
    report = unpacked(there, capsys, folder, code=1)
    assert report["new"] == 1
    assert report["refused"] == {"bad_name": 6, "no_file": 4, "cut_short": 1, "unreadable": 2}
    assert entries_in(there)[URL].fetched_at == MOMENT


@pytest.mark.parametrize(
    "words",
    [
        ("pack",),
        ("pack", "a.warc", "b.warc"),
        ("pack", "a.arc"),
        ("pack", "no/such/folder/a.warc"),
        ("pack", "a.warc", "--source", URL, "--origin", "http://h"),
        ("unpack",),
        ("unpack", "nothing.warc"),
        ("unpack", "."),
        ("stat", "--repair"),
    ],
)
def test_wrong_use_exits_2(
    here: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(opened_once(here))
    monkeypatch.chdir(here.parent)
    try:
        code = invoke("store", *words, config=here)
    except SystemExit as ended:  # argparse's own
        code = int(ended.code or 0)
    assert code == 2
    assert "imgmirror" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url",
    [
        "http://192.168.1.7/cam.png",
        "http://[fe80::1]/a.png",
        "http://0x7f000001/a.png",
        "http://[::ffff:10.0.0.1]/a.png",
        "http://localhost/a.png",
        "https://cors.zfour.workers.dev/?http://169.254.169.254/a.png",
    ],
)
def test_capture_of_an_inner_address_is_refused(
    there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    """A picture that may not be fetched may not be imported either, even behind a wrapper. The rest of the file is
    imported."""
    config = write_config(there.parent, {"fetch": {"allow_networks": []}})
    path = archive(tmp_path, response(url, PNG), response(URL, OTHER))
    assert invoke("store", "unpack", str(path), "--json", config=config) == 1
    report = told(capsys)
    assert (report["new"], report["refused"]) == (1, {"prohibited_address": 1})
    assert entries_in(config).keys() == {URL}


def test_capture_of_an_allowed_network_comes_in(
    there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`fetch.allow_networks` opens an intranet for archives as it does for fetching."""
    config = write_config(there.parent, {"fetch": {"allow_networks": ["192.168.0.0/16"]}})
    assert unpacked(config, capsys, archive(tmp_path, response("http://192.168.1.7/a.png", PNG)))["new"] == 1


@pytest.mark.parametrize(
    "wrapper",
    [
        "https://cors.zfour.workers.dev/?{}",
        "https://wsrv.nl/?url={}",
        "https://images.weserv.nl/?url={}",
        "https://i0.wp.com/h.example/a.png",
    ],
)
def test_capture_of_a_wrapper_is_kept_under_its_source(
    there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrapper: str
) -> None:
    """The picture is found by the address that requests use; the entry says that a proxy gave it."""
    url = wrapper.format(URL)
    assert unpacked(there, capsys, archive(tmp_path, response(url, PNG)))["new"] == 1
    ((source, entry),) = entries_in(there).items()
    assert source.partition("://")[2] == URL.partition("://")[2]
    assert entry.recovered is not None
    assert (entry.recovered["from"], entry.recovered["url"]) == ("wrapper", url)


def arc_of(*bodies: bytes) -> list[bytes]:
    """Return the records of an ARC file, its own first."""
    version = b"1 0 x\nURL IP-address Archive-date Content-type Archive-length\n"
    records = [b"filedesc://x.arc 0.0.0.0 20200203040506 text/plain %d\n" % len(version) + version + b"\n"]
    for number, body in enumerate(bodies):
        block = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n" + body
        head = f"http://h.example/{number}.png 1.2.3.4 20200203040506 image/png {len(block)}\n".encode()
        records.append(head + block + b"\n")
    return records


def is_said_to_be_cut(reader: WarcReader) -> bool:
    """Whether a record, or the whole file, is refused."""
    refused = False
    try:
        for item in reader.items():
            refused |= isinstance(item, Skipped) and item.refused
            item.close()
    except BadArchive:
        return True
    return refused


@pytest.mark.parametrize("name", ["x.arc", "x.arc.gz", "x.warc", "x.warc.gz"])
def test_file_that_is_cut_anywhere_but_between_records_is_said_to_be(tmp_path: Path, name: str) -> None:
    """At every byte: a lost head, body or end mark of gzip; only the empty lines behind a record carry nothing."""
    is_arc, is_packed = ".arc" in name, name.endswith(".gz")
    records = arc_of(PNG, OTHER) if is_arc else [response(URL, PNG), response(f"{URL}?2", OTHER)]
    parts = [gzip.compress(item) if is_packed else item for item in records]
    ends = {sum(map(len, parts[: number + 1])) for number in range(len(parts))}
    lines = 0 if is_packed else 1 if is_arc else 4
    whole, layout = b"".join(parts), prepare(tmp_path / "store")
    for cut in range(1, len(whole)):
        if any(end - lines <= cut <= end for end in ends):
            continue
        (tmp_path / name).write_bytes(whole[:cut])
        assert is_said_to_be_cut(WarcReader(tmp_path / name, lambda: Landing(layout), max_bytes=1 << 20)), cut


def test_cut_arc_file_ends_with_one(there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Records before the cut are kept, and the report names the file."""
    first, second, third = arc_of(PNG, OTHER)
    path = archive(tmp_path, first, second, third[:40], name="cut.arc")
    assert invoke("store", "unpack", str(path), "--json", config=there) == 1
    report = told(capsys)
    assert (report["new"], list(report["broken"])) == (1, [str(path)])
