"""`imgmirror demo --once`: the whole story with the real commands, as a stranger runs it."""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.demo import run
from proxy.cli.story.article import picture_paths, sample_text
from proxy.cli.story.page import Line, article_page
from proxy.config import Config

GOLDEN = Path(__file__).parents[1] / "golden" / "articles" / "ofweek.txt"


def test_sample_article_is_the_one_that_was_found_byte_for_byte() -> None:
    assert hashlib.sha256(sample_text()).digest() == hashlib.sha256(GOLDEN.read_bytes()).digest()
    assert len(picture_paths()) == 5


def test_demo_once_keeps_every_promise_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """It exits 0, prints measurements for each picture, and ends its service and removes its folder."""
    environment = {
        **os.environ, "TMPDIR": str(tmp_path), "PYTHONDEVMODE": "", "PYTHONWARNINGS": "default",
        "PYTHONPATH": str(Path(__file__).parents[2]), "IMGMIRROR_STORE_DIR": str(tmp_path / "not-this-one"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "demo", "--once"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    assert "7 of 7 wrapper addresses replaced" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["picture", "preset", "original", "now", "cold", "warm"] in rows
    for path in picture_paths():
        for preset in ("headimg", "thumbnail", "content"):
            assert [path.rpartition("/")[2][:8], preset] in [row[:2] for row in rows]
    assert list(tmp_path.iterdir()) == []


def test_page_shows_the_rewritten_article() -> None:
    article = sample_text().replace(b"https://cors.zfour.workers.dev/?", b"http://mirror.test/image/content/")
    page = article_page(
        article, lines=[Line("<all>", "1", "2", "3")], service_url="http://mirror.test"
    ).decode()
    assert page.count("http://mirror.test/image/content/http://mp.ofweek.com/") == 7
    assert "2021年中国政府云计算行业市场发展趋势分析" in page
    assert "&lt;all&gt;" in page


def test_demo_whose_reader_has_gone_does_not_complain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`demo --once | head -1`: `main` ends the program as others end; nothing is said."""

    async def gone(**_options: Any) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("proxy.cli.demo._demo", gone)
    with pytest.raises(BrokenPipeError):
        run(argparse.Namespace(once=True), Config())
    assert capsys.readouterr().err == ""
