"""The pages of docs/ as a site: `make site` builds it, and a broken link or heading fails the build."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli import build_parser

ROOT = Path(__file__).parents[2]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
COMMANDS = [
    (page.name, line.partition(".venv/bin/imgmirror ")[2])
    for page in TUTORIALS
    for line in page.read_text(encoding="utf-8").splitlines()
    if line.startswith("    ") and ".venv/bin/imgmirror " in line
]


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    mkdocs = Path(sys.executable).with_name("mkdocs")
    return subprocess.run(
        [mkdocs, "build", "-f", root / "mkdocs.yml", "-d", site],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "", "PYTHONDEVMODE": "", "NO_MKDOCS_2_WARNING": "1"},
        timeout=110,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_site_has_every_page_and_finds_it(site: Path) -> None:
    """Each page of docs/ is there and in the index of the search."""
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix("").as_posix()
        place = "" if name == "index" else f"{name}/"
        assert (site / place / "index.html").exists()
        assert place in found


@pytest.mark.slow
def test_site_shows_the_files_that_pages_link_to(site: Path) -> None:
    """The text of the file itself, which is not kept a second time."""
    page = (site / "files" / "deploy-nginx.conf" / "index.html").read_text(encoding="utf-8")
    assert "proxy_cache_lock" in page
    assert "files/deploy-nginx.conf/" in (site / "operations" / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_site_loads_nothing_from_other_hosts(site: Path) -> None:
    """No font, script or style sheet."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]* src=\"?([^\" >]+)", text)
        loaded += re.findall(r"<link[^>]* rel=\"?stylesheet\"?[^>]* href=\"?([^\" >]+)", text)
        assert not [address for address in loaded if address.startswith(("http:", "https:", "//"))], page


@pytest.mark.slow
@pytest.mark.parametrize("link", ["gone.md", "api.md#gone", "../deploy/gone.conf"])
def test_broken_link_fails_the_build(tmp_path: Path, link: str) -> None:
    """A page, a heading, a file outside docs/."""
    root = tmp_path / "checkout"
    (root / "docs").mkdir(parents=True)
    (root / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "pages.py", root / ".ci")
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[0]
    (root / "mkdocs.yml").write_text(text, encoding="utf-8")
    (root / "docs" / "api.md").write_text("# Addresses\n", encoding="utf-8")
    (root / "docs" / "index.md").write_text("# Start\n\n[a](api.md#addresses)\n", encoding="utf-8")
    assert build(root, tmp_path / "good").returncode == 0
    (root / "docs" / "index.md").write_text(f"# Start\n\n[a]({link})\n", encoding="utf-8")
    done = build(root, tmp_path / "bad")
    assert done.returncode != 0
    assert "gone" in done.stderr


@pytest.mark.parametrize(("page", "words"), COMMANDS)
def test_command_of_a_tutorial_is_one_that_the_parser_takes(page: str, words: str) -> None:
    """Options that were renamed would stop a beginner."""
    assert page
    build_parser().parse_args(shlex.split(words, comments=True))
