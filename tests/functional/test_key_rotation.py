"""Switching signatures on, rotating keys and dropping the old one, with the real commands on real articles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import WRAPPER, invoke
from pictures import photo, saved
from scripted_origin import ScriptedOrigin, run_in_thread
from service import Service, write_config

from proxy.dialects.native import build
from proxy.signing import Signer
from proxy.source import Source

OLD, NEW = "the key of last year", "the key of this year"
BASE = "https://img.example.org"
PHOTO = saved(photo(320, 200), "JPEG")


@pytest.fixture
def origin() -> Iterator[ScriptedOrigin]:
    with run_in_thread() as origin:
        origin.serve("/a.jpg", PHOTO, content_type="image/jpeg")
        yield origin


@pytest.fixture
def article(tmp_path: Path, origin: ScriptedOrigin) -> Path:
    path = tmp_path / "posts" / "a.md"
    path.parent.mkdir()
    wrapped = WRAPPER + origin.url("/a.jpg")
    path.write_text(f"---\nheadimg: {wrapped}\n---\n![]({wrapped})\n\n<img src='{wrapped}'>\n")
    return path


def config(folder: Path, *keys: str) -> Path:
    sources = {"keys": list(keys)} if keys else {}
    return write_config(folder, {"sources": sources, "server": {"public_url": BASE}})


def codes_of_dead(report: Path) -> list[str]:
    return [item["code"] for item in json.loads(report.read_text())["dead"]]


def test_articles_follow_the_keys_and_every_tool_says_when_they_do_not(tmp_path: Path, article: Path) -> None:
    """Without keys, with the first one, through a rotation and back to the original bytes."""
    before, report = article.read_bytes(), tmp_path / "report.json"

    def check(*keys: str) -> tuple[int, list[str]]:
        code = invoke("rewrite", article.parent, "--check", config=config(tmp_path, *keys))
        warmed = invoke("warm", article.parent, "--report", report, config=config(tmp_path, *keys))
        dead = codes_of_dead(report)
        assert warmed == bool(dead)
        return code, dead

    assert invoke("rewrite", article.parent, "--write", config=config(tmp_path)) == 0
    assert check() == (0, [])
    assert check(OLD) == (1, ["signature_missing"])
    assert invoke("rewrite", article.parent, "--write", config=config(tmp_path, OLD)) == 0
    assert check(OLD) == (0, [])
    assert check(NEW, OLD) == (1, [])
    assert check(NEW) == (1, ["signature_mismatch"])
    assert invoke("rewrite", article.parent, "--write", config=config(tmp_path, NEW, OLD)) == 0
    assert check(NEW) == (0, [])
    written = article.read_bytes()
    assert invoke("rewrite", article.parent, "--write", config=config(tmp_path, NEW)) == 0
    assert article.read_bytes() == written
    assert invoke("rewrite", article.parent, "--undo", config=config(tmp_path, NEW)) == 0
    assert article.read_bytes() == before


@pytest.mark.parametrize(
    ("key", "exp", "code"),
    [
        (OLD, None, "signature_mismatch"),
        ("", None, "signature_missing"),
        (NEW, 1_000_000_000, "signature_expired"),
    ],
)
def test_warm_reports_what_visitors_are_refused_with_and_keeps_the_original(
    tmp_path: Path,
    origin: ScriptedOrigin,
    key: str,
    exp: int | None,
    code: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In its own process and over HTTP, the picture is reported as dead with its code, and its original is kept."""
    source = Source.parse(origin.url("/a.jpg"))
    sig = Signer((key,)).sign("content", source.url, exp=exp) if key else None
    (tmp_path / "a.md").write_text(f"![]({build(BASE, 'content', source, sig=sig, exp=exp)})\n")
    settings, report = config(tmp_path, NEW), tmp_path / "report.json"
    with Service(settings) as service:
        for where in ((), ("--via", service.base)):
            words = (tmp_path / "a.md", *where, "--report", report, "--json")
            assert invoke("warm", *words, config=settings) == 1
            assert codes_of_dead(report) == [code]
            assert f"dead: {code}: {source.url}" in (printed := capsys.readouterr()).err
            assert json.loads(printed.out)["kept"] == source.url
    assert origin.count("/a.jpg") == 1
