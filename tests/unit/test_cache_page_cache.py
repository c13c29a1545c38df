"""Reading what the kernel has in memory, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cache.base.page_cache import FileState, PageCache

BODY = bytes(range(256)) * 256


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that is on the disk and in memory; skip where nothing can be read without waiting."""
    path = tmp_path / "file"
    with path.open("wb") as written:
        written.write(BODY)
        written.flush()
        os.fsync(written.fileno())
    if PageCache().read(os.fsencode(path), state_of(path)) is None:
        pytest.skip("this kernel or filesystem knows no read that does not wait")
    return path


def state_of(path: Path) -> FileState:
    return FileState.of(path.stat())


def test_file_in_memory_is_read(file: Path) -> None:
    """All of it."""
    assert PageCache().read(os.fsencode(file), state_of(file)) == BODY
    assert PageCache().holds(os.fsencode(file), state_of(file))


def test_file_that_is_only_on_the_disk_is_not_read(file: Path) -> None:
    """The caller would have to wait for the disk."""
    with file.open("rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert PageCache().read(os.fsencode(file), state_of(file)) is None
    assert file.read_bytes() == BODY
    assert PageCache().read(os.fsencode(file), state_of(file)) == BODY


def test_file_in_another_state_is_not_read(file: Path) -> None:
    """Written again, or another file under its name."""
    before = state_of(file)
    file.write_bytes(BODY + b"more")
    assert PageCache().read(os.fsencode(file), before) is None
    file.unlink()
    assert not PageCache().holds(os.fsencode(file), before)


def test_pipe_in_place_of_a_file_is_not_waited_for(file: Path) -> None:
    """Nor is it read."""
    before = state_of(file)
    file.unlink()
    os.mkfifo(file)
    assert PageCache().read(os.fsencode(file), before) is None
    assert not PageCache().holds(os.fsencode(file), before)


def test_kernel_without_these_calls_reads_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller reads in a thread then, as it does on other systems."""
    monkeypatch.setattr("cache.base.page_cache._OPENAT2", 10_000)
    assert PageCache().read(os.fsencode(file), state_of(file)) is None
    monkeypatch.setattr("cache.base.page_cache._NO_WAIT", 0)
    assert PageCache().read(os.fsencode(file), state_of(file)) is None
