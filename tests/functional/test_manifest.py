"""`--manifest F` of `rewrite` and `warm`: the file that a service takes as `sources.manifest`."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from commands import WRAPPER, invoke
from http_client import Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin, run_in_thread
from service import Service, write_config

from proxy.policy import load_manifest

FORMER = "https://old.example"
BASE = "https://img.example.org"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    changes: dict[str, dict[str, Any]] = {
        "server": {"public_url": BASE},
        "rewrite": {"former_urls": [FORMER], "ignore": ["vendor/**"]},
    }
    return write_config(tmp_path, changes)


def site(folder: Path, host: str = "http://h.example") -> set[str]:
    """Write a small site; return the sources that it shows through us."""
    files = {
        "posts/a.md": f"---\nheadimg: {WRAPPER}{host}/head.png\n---\n![]({WRAPPER}{host}/a(1).png)\n"
        f"[b]({WRAPPER}{host}/link.jpg)\n![](http://other.example/direct.png)\n`{WRAPPER}{host}/code.png`\n",
        "posts/b.html": f'<img src="{BASE}/image/content/{host}/ours.png?a=1&amp;b=%23"><object data='
        f'"{BASE}/image/original/{host}/object.svg"></object>'
        f'<img src="https://wsrv.nl/?url={host}/c%2523.png&amp;w=300">',
        "posts/c.md": f"![]({FORMER}/image/width=300/{host}/former.png)\n![](//cors.io/?{host}/a%20b.png)\n",
        "data/links.yml": f"avatar: {WRAPPER}{host}/avatar.gif\n",
        "feed.xml": f'<rss><item><enclosure url="{WRAPPER}{host}/feed.png"/></item></rss>\n',
        "app.js": f'const logo = "{BASE}/image/original/{host}/script.png"\n',
        "vendor/x.md": f"![]({WRAPPER}{host}/not-ours.png) ![]({BASE}/image/content/{host}/vendor.png)\n",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    names = (
        "head.png", "a(1).png", "link.jpg", "ours.png?a=1&b=%23", "object.svg", "c%23.png", "former.png", "a%20b.png",
        "avatar.gif", "feed.png", "script.png", "vendor.png",
    )  # fmt: skip
    return {f"{host}/{name}" for name in names}


@pytest.mark.parametrize("words", [("--write",), ("--check",), ("--diff",), ()], ids=" ".join)
def test_manifest_names_what_is_shown_through_us_and_nothing_else(
    tmp_path: Path, config: Path, words: tuple[str, ...]
) -> None:
    """Wrapped, ours and formerly ours, in articles and other text: sorted, one a line; the same in every mode."""
    wanted = site(tmp_path / "site")
    manifest = tmp_path / "manifest.txt"
    code = invoke("rewrite", tmp_path / "site", "--manifest", manifest, *words, config=config)
    assert code == (1 if words == ("--check",) else 0)
    lines = manifest.read_text("ascii").splitlines()
    assert lines == sorted(wanted)
    assert load_manifest(manifest) == wanted


def test_manifest_is_the_same_after_the_articles_are_written(tmp_path: Path, config: Path) -> None:
    site(tmp_path / "site")
    manifest = tmp_path / "site" / "manifest.txt"
    assert invoke("rewrite", tmp_path / "site", "--write", "--manifest", manifest, config=config) == 0
    before = manifest.read_bytes()
    assert invoke("rewrite", tmp_path / "site", "--check", "--manifest", manifest, config=config) == 0
    assert manifest.read_bytes() == before
    # The manifest itself, below PATH, is no text of the site.
    assert b"manifest" not in before


def test_warm_writes_the_manifest_that_rewrite_writes(tmp_path: Path, config: Path) -> None:
    with run_in_thread() as origin:
        for name in "abc":
            origin.serve(f"/{name}.png", chart_png(20, 20))
        for name, text in (
            ("posts/a.md", f"![]({WRAPPER}{origin.url('/a.png')}) ![]({origin.url('/direct.png')})"),
            ("feed.xml", f'<rss><enclosure url="{WRAPPER}{origin.url("/b.png")}"/></rss>'),
            ("vendor/x.md", f"![]({BASE}/image/content/{origin.url('/c.png')})"),
        ):
            path = tmp_path / "site" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for command in ("rewrite", "warm"):
            manifest = tmp_path / f"{command}.txt"
            assert invoke(command, tmp_path / "site", "--manifest", manifest, config=config) == 0
            assert manifest.read_text().split() == [origin.url(f"/{name}.png") for name in "abc"]


async def test_service_with_the_manifest_answers_what_rewrite_wrote_and_refuses_another(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    for path in ("/a.png", "/b(1).png", "/ours.png?x=1&y=2", "/c.png", "/out.png"):
        origin.serve(path, chart_png(20, 20))
    manifest = tmp_path / "manifest.txt"
    manifest.touch()
    articles = tmp_path / "site"
    articles.mkdir()
    with Service(write_config(tmp_path, {"sources": {"manifest": str(manifest)}})) as service:
        (articles / "a.md").write_text(
            f"---\ncover: {WRAPPER}{origin.url('/a.png')}\n---\n![]({WRAPPER}{origin.url('/b(1).png')})\n"
            f'<img src="https://wsrv.nl/?url={origin.url("/c.png")}&amp;w=320">\n'
            f'<img src="{service.base}/image/content/{WRAPPER}{origin.url("/ours.png?x=1&amp;y=2")}">\n'
        )
        words = ("--base-url", service.base, "--write", "--manifest", manifest)
        # Not on this loop: the command has one of its own.
        assert await asyncio.to_thread(invoke, "rewrite", articles, *words, config=service.config) == 0
    written = re.findall(rf"{BASE_OF_SERVICE}([^\s\"]+?)(?=\)?[\s\"])", (articles / "a.md").read_text())
    assert len(written) == 4
    with Service(service.config) as service:
        client = Client(http, service.base)
        for path in written:
            assert (await client.get(path.replace("&amp;", "&"))).status == 200, path
        refused = await client.get("/image/content/" + origin.url("/out.png"))
        assert refused.code == "source_not_allowed"


BASE_OF_SERVICE = r"http://127\.0\.0\.1:\d+(?=/image/)"


@pytest.mark.parametrize("command", ["rewrite", "warm"])
@pytest.mark.parametrize("what", ["broken link to a folder", "UTF-16", "too many blocks"])
def test_manifest_is_not_written_when_something_could_not_be_read(
    tmp_path: Path, config: Path, command: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A manifest that lacks a source would refuse visitors a picture: the former one stays."""
    folder, manifest = tmp_path / "site", tmp_path / "manifest.txt"
    folder.mkdir()
    manifest.write_text("http://h.example/before.png\n")
    if what == "broken link to a folder":
        (folder / "a.md").symlink_to(folder / "loop.md")
        (folder / "loop.md").symlink_to(folder / "a.md")
    elif what == "UTF-16":
        (folder / "a.md").write_bytes("![](http://h.example/a.png)".encode("utf-16"))
    else:
        (folder / "a.md").write_text(f"![]({WRAPPER}http://h.example/a.png)\n" + "a\n" * 500_001)
    assert invoke(command, folder, "--manifest", manifest, config=config) == 1
    assert manifest.read_text() == "http://h.example/before.png\n"
    assert f"{manifest} was not written" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["rewrite", "warm"])
def test_file_that_is_no_manifest_is_not_overwritten(
    tmp_path: Path, config: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An article named by mistake is not lost."""
    site(tmp_path / "site")
    article = tmp_path / "site" / "posts" / "a.md"
    before = article.read_bytes()
    assert invoke(command, tmp_path / "site", "--manifest", article, config=config) == 2
    assert article.read_bytes() == before
    assert "is not a manifest" in capsys.readouterr().err
    for path in (tmp_path, tmp_path / "nowhere" / "manifest.txt"):
        assert invoke(command, tmp_path / "site", "--manifest", path, config=config) == 2


def test_manifest_with_undo_is_wrong_use(tmp_path: Path, config: Path) -> None:
    site(tmp_path / "site")
    words = ("--undo", "--manifest", tmp_path / "m.txt")
    assert invoke("rewrite", tmp_path / "site", *words, config=config) == 2


def test_manifest_is_replaced_behind_its_link_and_keeps_its_mode(tmp_path: Path, config: Path) -> None:
    """A service reads it by its own user: rights that were given stay, and a link stays a link."""
    site(tmp_path / "site")
    target, link = tmp_path / "real.txt", tmp_path / "link.txt"
    target.touch(0o640)
    target.chmod(0o640)
    link.symlink_to(target)
    inode = target.stat().st_ino
    assert invoke("rewrite", tmp_path / "site", "--manifest", link, config=config) == 0
    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640
    assert target.stat().st_ino != inode
    assert not list(tmp_path.glob("*.tmp"))
