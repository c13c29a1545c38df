"""Addresses of ours at other hosts: what a journal wrote is re-pointed, the rest is reported; case 09 and its kin."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import invoke
from rewriting import SOURCE, rewrite

OLD, NEW = "https://old.example.org", "https://new.example.org"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(f'[store]\ndir = "{tmp_path / "store"}"\n')
    return path


def test_base_that_the_journal_wrote_is_re_pointed(tmp_path: Path, config: Path) -> None:
    """This applies in the article of the journal and in others of the tree, and undo restores the first spelling."""
    site = tmp_path / "site"
    site.mkdir()
    first, second = site / "a.md", site / "b.md"
    before = f"![](https://cors.io/?{SOURCE})\n"
    first.write_text(before)
    assert invoke("rewrite", site, "--base-url", OLD, "--write", config=config) == 0
    second.write_text(f"![]({OLD}/image/content/{SOURCE})\n")
    assert invoke("rewrite", site, "--base-url", NEW, "--check", config=config) == 1
    assert invoke("rewrite", site, "--base-url", NEW, "--write", config=config) == 0
    for path in (first, second):
        assert path.read_text() == f"![]({NEW}/image/content/{SOURCE})\n"
    assert invoke("rewrite", site, "--base-url", NEW, "--check", config=config) == 0
    assert invoke("rewrite", site, "--undo", config=config) == 0
    assert first.read_text() == before


def test_journal_that_cannot_be_read_hides_no_other(tmp_path: Path, config: Path) -> None:
    """A damaged journal says nothing about former bases."""
    folder = tmp_path / "site" / ".imgmirror" / "rewrite"
    folder.mkdir(parents=True)
    (folder / "x.md.json").write_bytes(b"\xff{")
    (tmp_path / "site" / "a.md").write_text(f"![](https://cors.io/?{SOURCE})\n")
    assert invoke("rewrite", tmp_path / "site", "--base-url", NEW, "--write", config=config) == 0


@pytest.mark.parametrize(
    "path",
    [
        f"/image/content/{SOURCE}",
        f"/blog/image/headimg,width=800/{SOURCE}",
        "/image/original/https%3A%2F%2Fh%2Fa.png",
        "/image/w=5,f=webp/b64:aHR0cDovL2gvYS5wbmc",
        f"/image/content,sig=ab_-,exp=9/{SOURCE}",
    ],
)
@pytest.mark.parametrize("all_images", [False, True])
def test_our_form_at_another_host_is_reported(path: str, *, all_images: bool) -> None:
    """It is not known whether it is ours, so it is neither replaced nor ignored."""
    result = rewrite(f"![]({OLD}{path})", all_images=all_images)
    assert not result.replaced
    assert [item.on_purpose for item in result.left] == [False]


@pytest.mark.parametrize(
    "path", ["/image/a.png", "/image/", "/images/content/http://h/a.png", "/image/a b/http://h/a"]
)
def test_other_paths_are_not_taken_for_ours(path: str) -> None:
    """A folder that is called `image` holds pictures."""
    assert not rewrite(f"<img src='{OLD}{path}'>", kind="html").left
