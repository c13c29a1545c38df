"""A service answers every address that `rewrite` wrote with its configuration, sized ones included."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from commands import invoke
from http_client import Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, write_config

KEY = "a-key-of-more-than-sixteen-characters"
PUBLIC = "https://img.example.org"


def article(source: str) -> str:
    """Return a page that shows one picture through wrappers of every kind of size."""
    escaped = quote(source, safe="")
    wrappers = [
        f"https://wsrv.nl/?url={escaped}&w=300",
        f"https://wsrv.nl/?url={escaped}&w=300&h=200&fit=cover&a=top&output=webp&q=70",
        f"https://wsrv.nl/?url={escaped}&w=30000&dpr=2",
        f"https://wsrv.nl/?url={escaped}&h=100",
        f"https://wsrv.nl/?url={escaped}&output=png&mask=star",
        f"https://any.org/cdn-cgi/image/width=9000,height=9000,fit=pad/{source}",
        f"https://any.org/_next/image?url={escaped}&w=1080&q=75",
        f"https://steemitimages.com/0x0/{source}",
        f"https://any.org/unsafe/700x/{escaped}",
    ]
    candidates = ", ".join(
        f"https://wsrv.nl/?url={escaped}&w={width} {width}w" for width in (300, 1024, 2400)
    )
    plain = f"https://cors.io/?{source} 1500w, https://cors.io/?{source} 300w"
    return (
        "".join(f'<img src="{url}">\n' for url in wrappers)
        + f'<img srcset="{candidates}"><img srcset="{plain}">\n'
    )


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"server": {"host": "0.0.0.0"}, "sources": {"allow": ["127.0.0.1"]}},
        {"sources": {"transforms": "presets"}, "rewrite": {"widths": [500, 250]}},
        {"sources": {"transforms": "presets"}, "rewrite": {"widths": []}},
        {"sources": {"keys": [KEY]}},
        {"server": {"host": "0.0.0.0"}, "sources": {"keys": [KEY], "transforms": "presets"}},
        {"render": {"max_output_side": 1500}},
    ],
    ids=["loopback", "public", "widths", "no widths", "keys", "keys and presets", "small"],
)
async def test_every_address_that_was_written_is_answered(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin, tables: dict[str, dict[str, Any]]
) -> None:
    """Whatever the wrappers asked and whatever the configuration admits: 200, and twice is once."""
    origin.serve("/a.png", chart_png(400, 300))
    page = tmp_path / "page.html"
    page.write_text(article(origin.url("/a.png")))
    config = write_config(tmp_path, tables)
    assert invoke("rewrite", str(page), "--base-url", PUBLIC, "--write", config=config) == 0
    written = re.findall(rf'{PUBLIC}(/image/[^" ]+)', page.read_text())
    assert len(written) == 14
    with Service(config) as service:
        client = Client(http, service.base)
        for target in dict.fromkeys(written):
            answer = await client.get(target)
            assert (answer.status, answer.code or "") == (200, ""), target
    assert invoke("rewrite", str(page), "--base-url", PUBLIC, "--check", config=config) == 0


def options_of(tmp_path: Path, page: str, tables: dict[str, dict[str, Any]]) -> list[str]:
    """Return the options of the addresses that are written for a page."""
    path = tmp_path / "page.html"
    path.write_text(page)
    invoke("rewrite", str(path), "--base-url", PUBLIC, "--write", config=write_config(tmp_path, tables))
    return re.findall(rf"{PUBLIC}/image/([^/]+)/", path.read_text())


def test_candidates_keep_their_widths(tmp_path: Path) -> None:
    """The width is the one that the wrapper asked for, or else the descriptor if the preset is narrower."""
    page = article("http://h.org/a.png")
    found = options_of(tmp_path, page, {})
    assert found[-5:] == ["width=300", "width=1024", "width=2400", "width=1500", "content"]
    assert found[:2] == ["width=300", "fit=cover,format=webp,gravity=top,height=200,quality=70,width=300"]
    found = options_of(tmp_path, page, {"sources": {"transforms": "presets"}})
    assert found[-5:] == ["width=320", "width=1280", "width=1920", "width=1600", "content"]
    assert set(found[:-5]) == {"width=320", "width=1920", "content", "width=1280", "width=800"}


def test_what_is_not_admitted_is_counted_by_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line a kind: what a wrapper cannot say here, and what this configuration does not admit."""
    options_of(tmp_path, article("http://h.org/a.png"), {"sources": {"transforms": "presets"}})
    out = capsys.readouterr().out
    assert "dropped 1 times: weserv mask (first at" in out
    assert "dropped 3 times: height: not admitted (first at" in out
    assert out.count("dropped") < 12
