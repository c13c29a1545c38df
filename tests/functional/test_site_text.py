"""The commands on a whole site: articles, then its other text; what Git ignores; files that are not rewritten."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from http_client import Client
from rewriting import BASE, SOURCE, WORKER, WRAPPED, ours

from proxy.cli import build_parser, main
from proxy.cli.rewrite import run
from proxy.config import Config, RewriteConfig

FILES = {
    "source/_posts/a.md": f"---\nheadimg: {WRAPPED}\n---\n![x]({WORKER}http://h.example/without-a-name)\n",
    "source/_posts/b.mdx": f"![x]({WRAPPED})\n",
    "source/_data/links.yml": f"- name: x\n  avatar: {WRAPPED}\n  photo: {WORKER}http://h.example/without-a-name\n",
    "public.xml": f'<rss><item><enclosure url="{WRAPPED}"/></item></rss>\n',
    "theme/main.css": f"a{{background:url({WRAPPED})}}\n",
    "theme/Card.vue": f"<template><img :src=\"'{WRAPPED}'\"></template>\n",
}
OTHERS = {
    "build.py": 'PREFIX = "https://wsrv.nl/?url="\n',
    "node_modules/x/y.css": f"a{{background:url({WRAPPED})}}\n",
    ".gitignore": "/public/\n",
    "public/index.html": f"<img src='{WRAPPED}'>\n",
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A generator's site, with its source and its output."""
    for name, content in {**FILES, **OTHERS}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\0\0" + WRAPPED.encode())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str, config: Config | None = None) -> int:
    args = build_parser("rewrite").parse_args(["rewrite", *arguments, "--base-url", BASE])
    return run(args, config or Config())


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".imgmirror" not in path.parts
    }


def test_site_is_checked_written_checked_and_undone(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A picture without a name is one because an article shows it; what Git ignores is said in one line."""
    before = digest(site)
    assert call(".", "--check") == 1
    assert "skipped 1 folders that .gitignore names: public" in capsys.readouterr().err
    assert call(".", "--write") == 0
    assert call(".", "--check") == 0
    changed = {name for name, value in digest(site).items() if before[name] != value}
    assert changed == set(FILES)
    links = (site / "source/_data/links.yml").read_text()
    assert ours(preset="original") in links
    assert ours("http://h.example/without-a-name", "original") in links
    assert call(".", "--undo") == 0
    assert digest(site) == before


def test_folder_that_git_ignores_is_looked_at_when_it_is_named(site: Path) -> None:
    assert call("public", "--check") == 1


def test_deeper_gitignore_overrides_the_one_above(site: Path) -> None:
    (site / "source" / ".gitignore").write_text("_posts/\n")
    (site / ".gitignore").write_text("!/source/_posts/\n/public/\n")
    (site / ".git").mkdir()
    assert call("source", "--write") == 0
    assert WRAPPED in (site / "source/_posts/a.md").read_text()


@pytest.mark.parametrize(
    ("name", "code"), [("tool.py", 1), ("Makefile", 1), ("x.txt", 1), ("data.bin", 0), ("config.toml", 0)]
)
def test_wrapper_in_any_text_fails_the_check(site: Path, name: str, code: int) -> None:
    """Text of any kind fails the check, except binary files and our own configuration."""
    assert call(".", "--write") == 0
    content = f'a = "{WRAPPED}"\n'.encode()
    (site / name).write_bytes(b"\0" + content if name == "data.bin" else content)
    assert call(".", "--check") == code


@pytest.mark.parametrize("ignore", ["*.py", "/tools/", "tools/**", WORKER + SOURCE])
def test_what_the_configuration_ignores_is_listed_and_fails_nothing(
    site: Path, ignore: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(".", "--write") == 0
    (site / "tools").mkdir()
    (site / "tools/a.py").write_text(f'a = "{WRAPPED}"\n')
    (site / "tools/b.py").write_text("nothing\n")
    capsys.readouterr()
    assert call(".", "--check", config=Config(rewrite=RewriteConfig(ignore=(ignore,)))) == 0


def test_check_of_a_folder_without_text_exits_2(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\0")
    assert call(str(tmp_path), "--check") == 2


def test_warm_keeps_what_data_and_feeds_show(site: Path) -> None:
    """Their addresses become ours, so visitors will request them."""
    command = [sys.executable, "-m", "proxy", "warm", ".", "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert SOURCE in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("media_type", "query", "before", "after"),
    [
        ("text/css", "", f"a{{b:url({WRAPPED})}}", "/image/content/"),
        ("application/json", "", json.dumps({"cover": WRAPPED}), "/image/headimg/"),
        ("text/yaml", "", f"a: {WRAPPED}\n", "/image/original/"),
        ("application/toml", "", f'a = "{WRAPPED}"\n', "/image/original/"),
        ("application/rss+xml", "", f"<a><enclosure url='{WRAPPED}'/></a>", "/image/original/"),
        ("image/svg+xml", "", f"<svg><image href='{WRAPPED}'/></svg>", "/image/content/"),
        ("text/plain", "?name=a.vue", f'<img src="{WRAPPED}">', "/image/content/"),
        ("text/plain", "?name=a.md&all_images=1", f"![]({SOURCE})", "/image/content/"),
        ("text/markdown", "?all_images=1", f"![]({SOURCE})", "/image/content/"),
    ],
)
async def test_service_rewrites_what_the_command_rewrites(
    client: Client, media_type: str, query: str, before: str, after: str
) -> None:
    answer = await client.get(
        "/rewrite" + query, method="POST", data=before.encode(), headers={"Content-Type": media_type}
    )
    assert answer.status == 200
    assert after + SOURCE in answer.body.decode()
    assert answer.headers["X-Imgmirror-Replaced"] == "1"


@pytest.mark.parametrize(
    ("media_type", "query", "code"),
    [
        ("text/plain", "?name=a.unknown", "unsupported_media_type"),
        ("text/plain", "", "unsupported_media_type"),
        ("text/css", "?nonsense=1", "invalid_request"),
        ("text/css", "?all_images=perhaps", "invalid_request"),
    ],
)
async def test_service_refuses_what_it_cannot_rewrite(
    client: Client, media_type: str, query: str, code: str
) -> None:
    answer = await client.get(
        "/rewrite" + query, method="POST", data=b"x", headers={"Content-Type": media_type}
    )
    assert answer.code == code


def test_named_file_that_is_no_text_is_passed_over(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rewrite", "picture.png", "--base-url", BASE]) == 0
    assert "picture.png: not a text file, skipped" in capsys.readouterr().err
