"""`imgmirror store`: counting, verifying, sweeping and purging, beside a running service too."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import invoke, markdown
from keeping import files_below, keep
from pictures import photo, saved
from scripted_origin import ScriptedOrigin, run_in_thread
from service import Service, write_config

from cache.durable_tier import Originals

ONE, TWO = saved(photo(64, 48), "PNG"), saved(photo(48, 64), "PNG")
WARMED = 2 * (3 + 1)
"""What `warm` renders of two bodies: a preset in three formats, and the description with its colour."""


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGMIRROR_LOG", "info")


@pytest.fixture
def origin() -> Iterator[ScriptedOrigin]:
    with run_in_thread() as origin:
        origin.serve("/one.png", ONE)
        origin.serve("/same.png", ONE)
        origin.serve("/two.png", TWO)
        yield origin


@pytest.fixture
def config(tmp_path: Path, origin: ScriptedOrigin, capsys: pytest.CaptureFixture[str]) -> Path:
    """The configuration of a store that holds three sources with two bodies."""
    config = write_config(tmp_path)
    article = tmp_path / "a.md"
    article.write_text(markdown(*(origin.url(f"/{name}.png") for name in ("one", "same", "two"))))
    assert invoke("warm", article, config=config) == 0
    capsys.readouterr()
    return config


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def bodies(config: Path) -> list[Path]:
    return [path for path in (config.parent / "store" / "bodies").rglob("*") if path.is_file()]


def test_stat_counts_what_is_kept(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke("store", "stat", "--json", config=config) == 0
    figures = told(capsys)
    assert (figures["originals"], figures["bodies"], figures["articles"]) == (3, 2, 1)
    assert figures["bodies_bytes"] == len(ONE) + len(TWO)
    assert figures["shared_bytes"] == len(ONE)
    assert figures["variants"] == WARMED


def test_verify_finds_nothing_wrong_with_a_good_store(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke("store", "verify", config=config) == 0
    assert "wrong: 0" in capsys.readouterr().out


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_verify_exits_1_when_a_body_has_changed(
    config: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    victim = bodies(config)[0]
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    assert invoke("store", "verify", *words, config=config) == 1
    out = capsys.readouterr().out
    assert "body_damaged" in out
    assert victim.name in out


def test_dry_run_deletes_nothing(
    config: Path, origin: ScriptedOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke("store", "purge", "--origin", origin.url("/"), "--dry-run", "--json", config=config) == 0
    assert len(told(capsys)["purged"]) == 3
    assert invoke("store", "sweep", "--dry-run", config=config) == 0
    assert len(bodies(config)) == 2


def test_purge_of_a_source_keeps_bytes_that_another_source_has(
    config: Path, origin: ScriptedOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke("store", "purge", "--source", origin.url("/one.png"), "--json", config=config) == 0
    assert told(capsys)["purged"] == [origin.url("/one.png")]
    assert len(bodies(config)) == 2
    assert invoke("store", "purge", "--source", origin.url("/same.png"), config=config) == 0
    assert len(bodies(config)) == 1
    assert invoke("store", "verify", config=config) == 0


def test_purge_of_an_unknown_article_exits_1(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke("store", "purge", "--article", "nosuch.md", config=config) == 1
    assert capsys.readouterr().err == "imgmirror: no such article is known: nosuch.md\n"
    assert len(bodies(config)) == 2


def test_purge_of_a_known_article_deletes_its_pictures(config: Path) -> None:
    assert invoke("store", "purge", "--article", config.parent / "a.md", config=config) == 0
    assert bodies(config) == []


def test_rewriting_an_article_records_what_it_uses(
    config: Path, origin: ScriptedOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sources of an article are known before it is warmed, so a purge by another article spares them."""
    article = config.parent / "b.md"
    article.write_text(markdown(origin.url("/two.png")))
    assert invoke("rewrite", article, "--base-url", "http://m.example", config=config) == 0
    assert invoke("store", "purge", "--article", article, config=config) == 1
    assert invoke("rewrite", article, "--base-url", "http://m.example", "--write", config=config) == 0
    capsys.readouterr()
    assert invoke("store", "purge", "--article", config.parent / "a.md", "--json", config=config) == 0
    assert told(capsys)["shared"] == [origin.url("/two.png")]
    assert [path.read_bytes() for path in bodies(config)] == [TWO]


def test_purge_of_a_source_that_is_not_kept_says_so(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke("store", "purge", "--source", "http://h.example/never.png", config=config) == 0
    assert "not kept: http://h.example/never.png\n" in capsys.readouterr().out


def test_reader_that_has_gone_is_not_taken_for_a_broken_store(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_words: object, **_options: Any) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("proxy.cli.keeping.common.say", gone)
    with pytest.raises(BrokenPipeError):
        invoke("store", "stat", "--json", config=config)


def test_purge_is_true_in_a_running_service_at_once(config: Path, origin: ScriptedOrigin) -> None:
    """The picture is in the service's memory when the command deletes it; with block, it is refused for good."""
    source = origin.url("/two.png")
    with Service(config) as service:

        def status() -> int:
            request = urllib.request.Request(service.url(f"/image/content/{source}"))  # noqa: S310 - loopback
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - loopback
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                with error:
                    return error.code

        assert [status(), status(), origin.count("/two.png")] == [200, 200, 1]
        assert invoke("store", "purge", "--source", source, config=config) == 0
        assert [status(), origin.count("/two.png")] == [200, 2]
        assert invoke("store", "purge", "--source", source, "--block", config=config) == 0
        assert [status(), origin.count("/two.png")] == [403, 2]


def test_sweep_removes_what_a_killed_process_left(config: Path) -> None:
    left = config.parent / "store" / "incoming" / "0123.part"
    left.write_bytes(b"half a picture")
    assert invoke("store", "sweep", config=config) == 0
    assert not left.exists()


def test_dry_run_of_sweep_leaves_what_a_killed_process_left(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = config.parent / "store" / "incoming" / "0123.part"
    left.write_bytes(b"half a picture")
    assert invoke("store", "sweep", "--dry-run", "--json", config=config) == 0
    assert told(capsys)["leftovers"] == 1
    assert left.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("verify",),
        ("show", "--source", "{origin}/one.png"),
        ("sweep", "--dry-run"),
        ("purge", "--origin", "{origin}", "--dry-run"),
        ("purge", "--article", "a.md", "--block", "--dry-run"),
        ("purge", "--before", "2100-01-01", "--dry-run"),
        ("purge", "--history", "--keep", "0", "--dry-run"),
        ("purge", "--orphans", "--dry-run"),
    ],
    ids=" ".join,
)
def test_look_at_a_store_leaves_everything_as_it_is(
    config: Path, origin: ScriptedOrigin, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file and its time, the database of variants too; and what may be absent is not made."""
    monkeypatch.chdir(config.parent)
    store = config.parent / "store"
    (store / "incoming" / "0123.part").write_bytes(b"half a picture")
    value = store / "variants" / "aa" / "bb" / ("0" * 28 + ".val")
    value.parent.mkdir(parents=True)
    value.write_bytes(b"no row names it")
    os.utime(value, (0, 0))
    (store / "generations").unlink()
    (store / "blocked").rmdir()

    def everything() -> dict[Path, tuple[int, bytes]]:
        return {
            path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
            for path in (store, *store.rglob("*"))
        }

    before = everything()
    assert invoke("store", *(word.format(origin=origin.url("")) for word in words), config=config) == 0
    assert everything() == before


def test_look_at_a_store_beside_a_service_counts_what_that_has_just_rendered(
    config: Path, origin: ScriptedOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    with Service(config) as service:
        for width in (11, 12, 13):
            url = service.url(f"/image/width={width},format=png/{origin.url('/one.png')}")
            with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - loopback
                assert answer.status == 200
        assert invoke("store", "stat", "--json", config=config) == 0
        assert told(capsys)["variants"] == WARMED + 3


def test_stat_tells_shares_of_origins_and_articles(
    config: Path, origin: ScriptedOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    (config.parent / "b.md").write_text(markdown(origin.url("/two.png"), origin.url("/dead.png")))
    assert invoke("warm", config.parent / "b.md", config=config) == 1
    capsys.readouterr()
    assert invoke("store", "stat", "--json", config=config) == 0
    figures = told(capsys)
    (share,) = figures["origins"]
    assert (share["name"], share["originals"], share["bytes"]) == (origin.url(""), 3, 2 * len(ONE) + len(TWO))
    articles = {item["name"].rpartition("/")[2]: item for item in figures["by_article"]}
    assert (articles["a.md"]["originals"], articles["a.md"]["missing"]) == (3, 0)
    assert (articles["b.md"]["bytes"], articles["b.md"]["missing"]) == (len(TWO), 1)
    assert figures["freed_by_purge_orphans_bytes"] == 0
    assert invoke("store", "stat", config=config) == 0
    assert "By origin" in capsys.readouterr().out


def test_repair_fetches_what_is_damaged_missing_or_unreadable(
    config: Path, origin: ScriptedOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    """One body changed, one gone, and one entry cut so that only its source can still be read."""
    (same,) = [path for path in bodies(config) if path.read_bytes() == ONE]
    (other,) = [path for path in bodies(config) if path.read_bytes() == TWO]
    same.write_bytes(ONE[:-1] + b"?")
    other.unlink()
    entries = files_below(config.parent / "store" / "entries")
    (two,) = [path for path in entries if b"/two.png" in path.read_bytes()]
    two.write_bytes(two.read_bytes()[:-30])
    assert invoke("store", "verify", "--json", config=config) == 1
    assert sorted(item["kind"] for item in told(capsys)["wrong"]) == ["body_damaged", "entry_unreadable"]
    assert invoke("store", "verify", "--repair", "--json", config=config) == 0
    repair = told(capsys)["repair"]
    assert (len(repair["repaired"]), repair["failed"], repair["left"]) == (3, {}, [])
    assert sorted(path.read_bytes() for path in bodies(config)) == sorted([ONE, TWO])
    assert invoke("store", "verify", config=config) == 0


def test_repair_leaves_and_tells_what_the_origin_does_not_give(
    config: Path, origin: ScriptedOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    (other,) = [path for path in bodies(config) if path.read_bytes() == TWO]
    other.write_bytes(TWO[:-1] + b"?")
    origin.serve("/two.png", b"gone", status=404)
    assert invoke("store", "verify", "--repair", "--json", config=config) == 1
    repair = told(capsys)["repair"]
    assert repair["failed"] == {origin.url("/two.png"): "source_not_found"}
    assert [item["kind"] for item in repair["left"]] == ["body_damaged"]
    assert other.read_bytes() == TWO[:-1] + b"?"


@pytest.mark.parametrize(
    "words",
    [
        ("purge",),
        ("purge", "--source", "http://h/a.png", "--origin", "http://h"),
        ("purge", "--source", "no address"),
        ("purge", "--origin", "ftp://h"),
        ("stat", "--source", "http://h/a.png"),
        ("verify", "--dry-run"),
        ("sweep", "--block"),
        ("purge", "--history"),
        ("purge", "--source", "http://h/a.png", "--keep", "1"),
        ("purge", "--before", "yesterday"),
        ("purge", "--orphans", "--origin", "http://h"),
        ("stat", "--keep", "0"),
        ("show",),
        ("accept", "--source", "http://h/a.png", "--version", "abc"),
    ],
)
def test_wrong_use_exits_2_and_makes_no_store(
    tmp_path: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke("store", *words, config=write_config(tmp_path)) == 2
    assert capsys.readouterr().err.startswith("imgmirror: ")
    assert not (tmp_path / "store").exists()


def test_missing_store_is_said_and_not_made(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(config.parent / "store")
    assert invoke("store", "verify", config=config) == 2
    assert "no store" in capsys.readouterr().err
    assert not (config.parent / "store").exists()


def test_rewriting_an_article_keeps_the_date_that_pictures_are_recovered_near(
    config: Path, origin: ScriptedOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    article = config.parent / "b.md"
    article.write_text("---\ndate: 2012-05-07\n---\n" + markdown(origin.url("/two.png")))
    words = ("rewrite", article, "--base-url", "http://m.example", "--write")

    def dates() -> list[float | None]:
        files = files_below(config.parent / "store" / "articles")
        return [json.loads(path.read_bytes())["date"] for path in files if b"b.md" in path.read_bytes()]

    assert invoke(words[0], *words[1:], config=config) == 0
    assert dates() == [1336348800.0]
    assert invoke("warm", article, config=config) == 0
    assert dates() == [1336348800.0]
    assert invoke(words[0], *words[1:], config=config) == 0
    assert dates() == [1336348800.0]


@pytest.mark.parametrize(
    ("words", "forgotten"),
    [
        (("--origin", "{origin}"), True),
        (("--origin", "{origin}", "--dry-run"), False),
        (("--origin", "http://elsewhere.example"), False),
        (("--source", "{origin}/dead.png"), True),
        (("--before", "2100-01-01"), True),
        (("--before", "2100-01-01", "--dry-run"), False),
        (("--before", "2020-01-01"), False),
        (("--history", "--keep", "0"), False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_purge_forgets_failures_of_sources_that_are_not_kept(
    config: Path,
    origin: ScriptedOrigin,
    words: tuple[str, ...],
    forgotten: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """After the command, the next request to a running service asks the origin again."""
    url = origin.url("/dead.png")
    origin.serve("/dead.png", b"gone", status=410)

    with Service(config) as service:

        def ask() -> int:
            with pytest.raises(urllib.error.HTTPError) as raised:
                urllib.request.urlopen(service.url("/?" + url), timeout=20)  # noqa: S310 - loopback
            with raised.value:
                return origin.count("/dead.png")

        assert [ask() for _ in range(4)] == [1, 2, 2, 2]
        capsys.readouterr()
        assert invoke("store", "stat", "--json", config=config) == 0
        figures = told(capsys)
        assert (figures["failures_remembered"], figures["failures"]) == (1, {"gone": 1})
        chosen = [word.format(origin=origin.url("")) for word in words]
        assert invoke("store", "purge", *chosen, config=config) == 0
        assert ask() == (3 if forgotten else 2)


def test_repair_leaves_an_origin_alone_that_does_not_answer(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its circuit opens as for visitors: there are five requests, not one for each picture."""
    write_config(config.parent, {"fetch": {"timeout": "500ms"}})
    held: list[socket.socket] = []

    def deaf(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                held.append(listener.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        urls = [f"{base}/{number}.png" for number in range(12)]

        async def lose() -> None:
            store = await Originals.open(config.parent / "store")
            for url in urls:
                entry = await keep(store, url, url.encode())
                store.body_path(entry.body_sha256).unlink()
            await store.close()

        asyncio.run(lose())
        thread = threading.Thread(target=deaf, args=(listener,), daemon=True)
        thread.start()
        assert invoke("store", "verify", "--repair", "--json", config=config) == 1
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in held:
        connection.close()
    assert told(capsys)["repair"]["failed"] == dict.fromkeys(urls, "source_timeout")
    assert 0 < len(held) <= 10


def test_shared_picture_goes_with_the_last_article_that_uses_it(
    config: Path, origin: ScriptedOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    other = config.parent / "b.md"
    other.write_text(markdown(origin.url("/two.png")))
    assert invoke("warm", other, config=config) == 0
    words = ("purge", "--article", other, "--json")
    for extra in (("--dry-run",), ("--before", "2020-01-01")):
        capsys.readouterr()
        assert invoke("store", *words, *extra, config=config) == 0
        assert told(capsys)["shared"] == [origin.url("/two.png")]
    assert invoke("store", "purge", "--article", config.parent / "a.md", config=config) == 0
    assert [path.read_bytes() for path in bodies(config)] == [TWO]
    capsys.readouterr()
    assert invoke("store", *words, config=config) == 0
    assert told(capsys)["purged"] == [origin.url("/two.png")]
    assert bodies(config) == []
    assert invoke("store", "stat", "--json", config=config) == 0
    assert told(capsys)["articles"] == 0


def test_rewrite_and_warm_know_an_article_by_the_same_name(
    config: Path, origin: ScriptedOrigin, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is its place in the tree. Otherwise its pictures would count as shared with itself and never be
    purged."""
    posts = config.parent / "posts" / "deep"
    posts.mkdir(parents=True)
    (posts / "c.md").write_text(markdown(origin.url("/dead.png")))
    monkeypatch.chdir(config.parent)
    assert invoke("warm", "posts", config=config) == 1
    assert invoke("rewrite", "posts", "--base-url", "http://m.example", "--write", config=config) == 0
    assert (
        invoke("rewrite", "./posts/deep/c.md", "--base-url", "http://m.example", "--write", config=config)
        == 0
    )
    capsys.readouterr()
    assert invoke("store", "stat", "--json", config=config) == 0
    names = [item["name"] for item in told(capsys)["by_article"]]
    assert sorted(names) == ["a.md", "deep/c.md"]


@pytest.mark.parametrize(
    "words", [("--origin", "{origin}"), ("--since", "2020-01-01"), ("--article", "a.md")]
)
def test_dry_run_of_a_purge_tells_what_the_purge_then_does(
    config: Path,
    origin: ScriptedOrigin,
    words: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two of the three sources share their bytes, which go with the second of them."""
    monkeypatch.chdir(config.parent)
    assert invoke("warm", "a.md", config=config) == 0
    assert invoke("store", "purge", "--article", str(config.parent / "a.md"), config=config) == 0
    assert invoke("warm", "a.md", config=config) == 0
    capsys.readouterr()
    command = ("purge", *(word.format(origin=origin.url("")) for word in words), "--block", "--json")
    assert invoke("store", *command, "--dry-run", config=config) == 0
    dry = told(capsys)
    assert invoke("store", *command, config=config) == 0
    assert told(capsys) == dry | {"dry_run": False}
    assert dry["freed_bytes"] == len(ONE) + len(TWO)
    assert len(dry["blocked"]) == 3


def test_stat_takes_from_the_catalogue_of_a_service_what_it_counts_in_the_files(
    config: Path, origin: ScriptedOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    (config.parent / "b.md").write_text(markdown(origin.url("/two.png"), origin.url("/dead.png")))
    assert invoke("warm", config.parent / "b.md", config=config) == 1
    asyncio.run(_catch_up(config.parent / "store"))
    capsys.readouterr()
    assert invoke("store", "stat", "--json", "--exact", config=config) == 0
    counted = told(capsys)
    # Without a readable entry, only the catalogue can still tell the figures.
    for entry in (config.parent / "store" / "entries").rglob("*.json"):
        entry.write_bytes(b"{")
    assert invoke("store", "stat", "--json", config=config) == 0
    known = told(capsys)
    for changing in ("free_bytes", "freed_by_sweep_files"):
        del counted[changing], known[changing]
    assert known == counted


async def _catch_up(folder: Path) -> None:
    store = await Originals.open(folder)
    await store.catalogue.catch_up()
    await store.close()
