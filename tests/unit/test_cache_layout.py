"""The store's folder: recognised, made, or refused."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from cache.base import layout as layout_module
from cache.base.durable import create_aside
from cache.base.errors import StoreRefused, StoreUnreadable
from cache.base.layout import MARKER, Layout, prepare


def test_store_in_an_absent_folder_is_made(tmp_path: Path) -> None:
    """The parents are created too, and the marker says what the folder is."""
    layout = prepare(tmp_path / "var" / "store")
    assert layout.marker.read_text().startswith("imgmirror store, format 1\n")
    assert sorted(path.name for path in layout.root.iterdir()) == sorted(
        [MARKER, "articles", "blocked", "bodies", "entries", "incoming", "refs"]
    )


@pytest.mark.parametrize("name", ["lost+found", ".gitkeep", ".DS_Store"])
def test_store_in_a_folder_as_good_as_empty_is_made(tmp_path: Path, name: str) -> None:
    """A fresh mount or a folder kept by git is empty enough."""
    (tmp_path / name).mkdir() if name == "lost+found" else (tmp_path / name).touch()
    assert prepare(tmp_path).marker.exists()


@pytest.mark.parametrize("name", ["notes.txt", "entries", "a/b.png"])
def test_store_in_a_foreign_folder_is_refused(tmp_path: Path, name: str) -> None:
    """A folder that belongs to something else stays untouched."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StoreRefused):
        prepare(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["__init__.py", "pkg/__init__.py", "pyproject.toml", "setup.py"])
def test_store_in_a_folder_with_code_is_refused_even_with_a_marker(tmp_path: Path, name: str) -> None:
    """Not even a marker makes a source tree a store."""
    prepare(tmp_path)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(StoreRefused, match="code"):
        prepare(tmp_path)


def test_store_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    """A file is not a folder."""
    (tmp_path / "x").touch()
    with pytest.raises(StoreRefused):
        prepare(tmp_path / "x")
    with pytest.raises((StoreRefused, StoreUnreadable)):
        prepare(tmp_path / "x" / "y")


@pytest.mark.parametrize("text", ["", "something else", "imgmirror store, format 2\n"])
def test_store_with_a_strange_marker_is_refused(tmp_path: Path, text: str) -> None:
    """A format we do not know is not touched."""
    (tmp_path / MARKER).write_text(text)
    with pytest.raises(StoreRefused):
        prepare(tmp_path)


def test_store_whose_first_start_was_cut_off_is_made(tmp_path: Path) -> None:
    """Killed before the marker was in its place: the next start goes on."""
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / "123-0123456789abcdef.part").write_text("imgmir")
    assert prepare(tmp_path).marker.exists()
    assert not any((tmp_path / "incoming").iterdir())


def test_store_made_by_another_process_this_instant_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers start on an empty folder, and one that looks too early looks again."""
    prepare(tmp_path)
    real, looks = layout_module._marker_text, []

    def too_early(layout: Layout) -> str | None:
        looks.append(layout)
        return None if len(looks) == 1 else real(layout)

    monkeypatch.setattr(layout_module, "_marker_text", too_early)
    prepare(tmp_path)
    assert len(looks) == 2


def test_store_half_deleted_is_mended(tmp_path: Path) -> None:
    """Missing folders are made again."""
    layout = prepare(tmp_path)
    for name in ("refs", "incoming", "blocked"):
        (tmp_path / name).rmdir()
    prepare(tmp_path)
    assert layout.incoming.is_dir()


def test_leftover_is_removed_only_when_its_owner_is_gone(tmp_path: Path) -> None:
    """The lock decides, not the number in the name, because numbers are reused."""
    layout = prepare(tmp_path)
    alive, living = create_aside(layout.incoming, suffix=".part")
    gone, left = create_aside(layout.incoming, suffix=".part")
    os.close(gone)
    prepare(tmp_path)
    assert living.exists()
    assert not left.exists()
    os.close(alive)
    prepare(tmp_path)
    assert not living.exists()


def test_leftovers_that_are_no_files_are_left_alone(tmp_path: Path) -> None:
    """A folder, a link or a pipe in the way neither blocks the start nor leads us elsewhere."""
    layout = prepare(tmp_path / "store")
    target = tmp_path / "precious"
    target.write_text("keep")
    (layout.incoming / "link").symlink_to(target)
    (layout.incoming / "folder").mkdir()
    os.mkfifo(layout.incoming / "pipe")
    prepare(tmp_path / "store")
    assert target.read_text() == "keep"
    assert (layout.incoming / "pipe").exists()


def test_temporary_file_taken_by_a_cleaner_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making and locking a file, a start of another process may remove it."""
    real, calls = fcntl.flock, []

    def flock(descriptor: int, operation: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:
            next(tmp_path.iterdir()).unlink()
        real(descriptor, operation)

    monkeypatch.setattr("cache.base.durable.fcntl.flock", flock)
    descriptor, path = create_aside(tmp_path, suffix=".part")
    assert path.exists()
    assert len(calls) == 2
    os.close(descriptor)


@pytest.mark.parametrize(
    "digest", ["", "..", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n", "0" * 65]
)
def test_path_of_what_is_no_digest_is_refused(tmp_path: Path, digest: str) -> None:
    """No text becomes a path but 64 hexadecimal digits."""
    layout = Layout(tmp_path)
    for place in (layout.body, layout.entry, layout.ref, layout.blocked, layout.article):
        with pytest.raises(ValueError, match="SHA-256"):
            place(digest)
