"""diskcache without pickle."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diskcache
import pytest

from cache.base.errors import PickleRefused
from cache.variants.safe_disk import SafeDisk


class Whole(int):
    """A number that diskcache would pickle."""


class Trap:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self._path,))


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Any]:
    """An open diskcache on the safe disk, small values in rows."""
    with diskcache.Cache(str(tmp_path / "shelf"), disk=SafeDisk, disk_min_file_size=100) as opened:
        yield opened


@pytest.mark.parametrize("value", ["text", b"bytes", 5, 2.5, b"x" * 1000, "y" * 1000])
def test_plain_value_comes_back(shelf: Any, value: object) -> None:
    """Text, bytes and numbers, in rows and in files."""
    shelf.set("key", value)
    assert shelf.get("key") == value


@pytest.mark.parametrize("value", [True, None, (1, 2), [1], {"a": 1}, Whole(3), 1 << 63, bytearray(b"x")])
def test_value_that_would_be_pickled_is_refused(shelf: Any, value: object) -> None:
    """It is refused as a value and as a key."""
    with pytest.raises(PickleRefused):
        shelf.set("key", value)
    with pytest.raises(PickleRefused):
        shelf.set(value, b"x")
    with pytest.raises(PickleRefused):
        shelf.get(value)
    assert len(shelf) == 0


def plant(shelf: Any, columns: str, *values: object) -> None:
    with sqlite3.connect(Path(shelf.directory) / "cache.db") as connection:
        connection.execute(f"UPDATE Cache SET {columns}", values)  # noqa: S608 - columns are named in this file
    connection.close()


@pytest.mark.parametrize("large", [False, True])
def test_planted_pickle_is_not_run(shelf: Any, tmp_path: Path, large: bool) -> None:
    """CVE-2025-69872: a user who can write a row must not be able to run code in our process."""
    shelf.set("key", b"z" * 500 if large else b"z")
    trap = pickle.dumps(Trap(tmp_path / "sprung"))
    if large:
        next(Path(shelf.directory).rglob("*.val")).write_bytes(trap)
        plant(shelf, "mode = 4")
    else:
        plant(shelf, "mode = 4, value = ?", trap)
    with pytest.raises(PickleRefused):
        shelf.get("key")
    assert not (tmp_path / "sprung").exists()


def test_planted_key_is_not_run(shelf: Any, tmp_path: Path) -> None:
    """Keys are unpickled too, when all are listed."""
    shelf.set("key", b"z")
    plant(shelf, "raw = 0, key = ?", pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(PickleRefused):
        list(shelf)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["../precious", "../../precious", "ab/cd/../../../precious", ""])
def test_planted_file_name_leads_nowhere(shelf: Any, tmp_path: Path, name: str) -> None:
    """A row can make us neither read nor delete a file that is not ours."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"secret")
    shelf.set("key", b"z" * 500)
    plant(shelf, "filename = ?", name or str(precious))
    with pytest.raises(PickleRefused):
        shelf.get("key")
    shelf.delete("key")
    assert precious.read_bytes() == b"secret"


def test_file_cut_off_by_a_full_disk_is_removed(shelf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """diskcache itself would leave it behind for ever."""

    def cut(disk: Any, full_path: str, *_: object) -> int:
        Path(full_path).parent.mkdir(parents=True)
        Path(full_path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(diskcache.Disk, "_write", cut)
    with pytest.raises(OSError, match="No space"):
        shelf.set("key", b"z" * 500)
    assert not list(Path(shelf.directory).rglob("*.val"))
