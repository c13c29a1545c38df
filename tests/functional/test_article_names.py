"""One article has one name in the store, however its path is typed, with the real commands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import WRAPPER, invoke
from pictures import photo, saved
from scripted_origin import ScriptedOrigin, run_in_thread
from service import write_config

PHOTO = saved(photo(64, 48), "JPEG")


@pytest.fixture
def origin() -> Iterator[ScriptedOrigin]:
    with run_in_thread() as origin:
        origin.serve("/a.jpg", PHOTO, content_type="image/jpeg")
        yield origin


@pytest.fixture
def site(tmp_path: Path, origin: ScriptedOrigin) -> Path:
    """A tree with one article, and a link that leads to it."""
    site = tmp_path / "site"
    (site / "posts").mkdir(parents=True)
    (site / "posts" / "a.md").write_text(f"![]({WRAPPER}{origin.url('/a.jpg')})\n")
    (tmp_path / "link").symlink_to("site")
    return site


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path, {"server": {"public_url": "https://img.example.org"}})


def record_of(config: Path) -> Path:
    """Return the file of the only recorded article."""
    (path,) = (config.parent / "store").glob("articles/??/*.json")
    return path


def names(config: Path) -> list[str]:
    """Return the names of all recorded articles."""
    records = (config.parent / "store").glob("articles/??/*.json")
    return sorted(json.loads(record.read_text())["article"] for record in records)


def remember(config: Path, name: str, source: str) -> None:
    """Leave a record as earlier versions wrote it, under the path as it was typed."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    path = config.parent / "store" / "articles" / digest[:2] / f"{digest}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"article": name, "sources": [source], "date": None}))


@pytest.mark.parametrize("mark", [".git", ".imgmirror", ""])
def test_article_has_one_name_however_its_path_is_typed(
    site: Path, config: Path, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative, absolute, with dots, through a link, from other folders, as a file; by `warm` and by `rewrite`."""
    if mark:
        (site / mark).mkdir()
    monkeypatch.chdir(site.parent)
    for path in ("site", "./site/", site, "link", "site/../site"):
        assert invoke("warm", path, config=config) == 0
    monkeypatch.chdir(site / "posts")
    for path in ("..", "../../link"):
        assert invoke("warm", path, config=config) == 0
        assert invoke("rewrite", path, "--write", config=config) == 0
    assert names(config) == ["posts/a.md"]
    for path in ("a.md", "../posts", site / "posts" / "a.md"):
        # `rewrite --write` has made the mark of the tree by now, where there was none.
        assert invoke("warm", path, config=config) == 0
        assert invoke("rewrite", path, "--write", config=config) == 0
    assert names(config) == ["posts/a.md"]


def test_file_warmed_alone_before_its_tree_has_a_mark_keeps_one_record(site: Path, config: Path) -> None:
    """Without a mark the root is PATH; the record follows the file."""
    assert invoke("warm", site / "posts" / "a.md", config=config) == 0
    assert names(config) == ["a.md"]
    assert invoke("warm", site, config=config) == 0
    assert names(config) == ["posts/a.md"]


def test_former_records_are_healed_and_others_stay(
    site: Path, config: Path, origin: ScriptedOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Absolute ones, those of this working folder, and those of another one with the same sources."""
    source = origin.url("/a.jpg")
    monkeypatch.chdir(site.parent)
    invoke("store", "stat", config=config)
    invoke("warm", site, config=config)
    for name in (str(site / "posts" / "a.md"), "site/posts/a.md", "../site/posts/a.md", "a.md"):
        remember(config, name, source)
    remember(config, "site/posts/b.md", source)
    remember(config, "other/a.md", source)
    remember(config, "/elsewhere/posts/a.md", source)
    assert invoke("warm", site, config=config) == 0
    assert names(config) == ["/elsewhere/posts/a.md", "other/a.md", "posts/a.md", "site/posts/b.md"]


@pytest.mark.parametrize("typed", ["site/posts/a.md", "link/posts/a.md", "posts/a.md", "ABSOLUTE"])
def test_purge_by_article_is_not_held_up_by_former_names_of_the_same_file(
    site: Path, config: Path, origin: ScriptedOrigin, typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The picture goes, and with it every record of the file."""
    monkeypatch.chdir(site.parent)
    assert invoke("warm", site, config=config) == 0
    remember(config, str(site / "posts" / "a.md"), origin.url("/a.jpg"))
    remember(config, "site/posts/a.md", origin.url("/a.jpg"))
    given = typed.replace("ABSOLUTE", str(site / "posts" / "a.md"))
    assert invoke("store", "purge", "--article", given, config=config) == 0
    assert names(config) == []
    assert not list((config.parent / "store").glob("entries/??/*.json"))


@pytest.mark.parametrize("together", [True, False])
def test_articles_of_two_trees_with_the_same_place_are_two(
    tmp_path: Path, config: Path, origin: ScriptedOrigin, together: bool
) -> None:
    """The second keeps its whole path, in one run and over several."""
    trees = [tmp_path / "one", tmp_path / "two"]
    for tree in trees:
        tree.mkdir()
        (tree / "a.md").write_text(f"![]({WRAPPER}{origin.url('/a.jpg')})\n")
    for paths in [trees] if together else [[trees[0]], [trees[1]], [trees[1]]]:
        assert invoke("warm", *paths, config=config) == 0
    assert names(config) == [str(tmp_path / "two" / "a.md"), "a.md"]


def test_lines_of_pictures_are_recorded_by_each_command_that_reads_or_writes_articles(
    site: Path, config: Path, origin: ScriptedOrigin
) -> None:
    """`warm`, `rewrite --write` and `rewrite --undo` leave the lines of the file as it is then."""
    article, source = site / "posts" / "a.html", origin.url("/a.jpg")
    (site / "posts" / "a.md").unlink()
    broken = f"{WRAPPER}{source}".replace("/a.jpg", "\n/a.jpg")
    article.write_text(f'<img src="{broken}">\n<img\nsrc="{WRAPPER}{source}">\n')
    assert invoke("warm", site, config=config) == 0
    record = record_of(config)
    assert json.loads(record.read_text())["lines"] == {source: [1, 4]}
    assert invoke("rewrite", site, "--write", config=config) == 0
    assert json.loads(record.read_text())["lines"] == {source: [1, 3]}
    assert invoke("rewrite", site, "--undo", config=config) == 0
    assert json.loads(record.read_text())["lines"] == {source: [1, 4]}
    assert names(config) == ["posts/a.html"]


def test_undo_changes_nothing_but_lines_of_what_is_recorded(
    site: Path, config: Path, origin: ScriptedOrigin
) -> None:
    """A picture that only `--all-images` finds stays recorded, and an unknown article stays unknown."""
    (site / "posts" / "a.md").write_text(f"---\ndate: 2020-01-02\n---\n![]({origin.url('/a.jpg')})\n")
    assert invoke("warm", site, "--all-images", config=config) == 0
    record = record_of(config)
    known = record.read_text()
    (site / "posts" / "b.md").write_text(f"![]({WRAPPER}{origin.url('/a.jpg')})\n")
    assert invoke("rewrite", site, "--write", "--all-images", config=config) == 0
    other = next(iter({*(config.parent / "store").glob("articles/??/*.json")} - {record}))
    other.unlink()
    assert invoke("rewrite", site, "--undo", config=config) == 0
    assert record_of(config).read_text() == known


def test_record_that_would_stay_the_same_is_not_written_again(site: Path, config: Path) -> None:
    assert invoke("warm", site, config=config) == 0
    before = record_of(config).stat()
    assert invoke("warm", site, config=config) == 0
    assert record_of(config).stat().st_ino == before.st_ino
