"""Reading what the kernel has in memory, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
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
    if PageCache(tmp_path).read(os.fsencode(path), state_of(path)) is None:
        pytest.skip("this kernel or filesystem knows no read that does not wait")
    return path


def state_of(path: Path) -> FileState:
    return FileState.of(path.stat())


def is_unread_once_evicted(file: Path, read: Callable[[], object]) -> bool:
    """Return whether `read` returns nothing once the kernel holds the file no longer."""
    with file.open("rb") as opened:
        # The kernel keeps pages that another processor has at hand, so it is asked again.
        for _ in range(1000):
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            if read() is None:
                return True
    return False


def test_file_in_memory_is_read(file: Path) -> None:
    """All of it."""
    assert PageCache(file.parent).read(os.fsencode(file), state_of(file)) == BODY
    assert PageCache(file.parent).holds(os.fsencode(file), state_of(file))


def test_file_that_is_only_on_the_disk_is_not_read(file: Path) -> None:
    """The caller would have to wait for the disk."""
    state = state_of(file)
    assert is_unread_once_evicted(file, lambda: PageCache(file.parent).read(os.fsencode(file), state))
    assert file.read_bytes() == BODY
    assert PageCache(file.parent).read(os.fsencode(file), state_of(file)) == BODY


def test_file_in_another_state_is_not_read(file: Path) -> None:
    """Written again, or another file under its name."""
    before = state_of(file)
    file.write_bytes(BODY + b"more")
    assert PageCache(file.parent).read(os.fsencode(file), before) is None
    file.unlink()
    assert not PageCache(file.parent).holds(os.fsencode(file), before)


def test_pipe_in_place_of_a_file_is_not_waited_for(file: Path) -> None:
    """The pipe is not read either."""
    before = state_of(file)
    file.unlink()
    os.mkfifo(file)
    assert PageCache(file.parent).read(os.fsencode(file), before) is None
    assert not PageCache(file.parent).holds(os.fsencode(file), before)


def test_kernel_without_these_calls_reads_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller reads in a thread then, as it does on other systems."""
    monkeypatch.setattr("cache.base.page_cache._OPENAT2", 10_000)
    assert PageCache(file.parent).read(os.fsencode(file), state_of(file)) is None
    monkeypatch.setattr("cache.base.page_cache._NO_WAIT", 0)
    assert PageCache(file.parent).read(os.fsencode(file), state_of(file)) is None


def test_parts_of_a_file_in_memory_are_read(file: Path) -> None:
    """Fewer bytes are returned at its end, and none after it."""
    size = len(BODY)
    parts = PageCache(file.parent).read_parts(os.fsencode(file), 16, [0, 300, size - 4, size + 10])
    assert parts == [BODY[:16], BODY[300:316], BODY[-4:], b""]


def test_parts_that_are_only_on_the_disk_are_not_read(file: Path) -> None:
    """The caller would have to wait for the disk."""
    assert is_unread_once_evicted(file, lambda: PageCache(file.parent).read_parts(os.fsencode(file), 16, [0]))


def test_file_that_was_looked_for_before_is_known_to_be_absent(file: Path) -> None:
    """Until it is made; a file that is there never is."""
    missing = file.with_name("missing")
    assert not missing.exists()
    assert PageCache(file.parent).is_absent(os.fsencode(missing))
    assert PageCache(file.parent).read_parts(os.fsencode(missing), 16, [0, 16]) == [b"", b""]
    missing.write_bytes(b"x")
    assert not PageCache(file.parent).is_absent(os.fsencode(missing))
    assert not PageCache(file.parent).is_absent(os.fsencode(file))


def test_file_that_cannot_be_opened_is_not_known_to_be_absent(file: Path) -> None:
    """A folder, or a link that leads in a circle, does not mean that the file is absent."""
    circle = file.with_name("circle")
    circle.symlink_to(circle)
    assert not PageCache(file.parent).is_absent(os.fsencode(circle))
    assert PageCache(file.parent).read_parts(os.fsencode(circle), 16, [0]) is None
    assert PageCache(file.parent).read_parts(os.fsencode(file.parent), 16, [0]) is None


def test_folder_that_is_not_on_a_disk_of_ours_is_not_asked_without_waiting(file: Path) -> None:
    """A filesystem such as /proc answers for itself, as FUSE and network filesystems do: a thread reads there."""
    assert not PageCache(Path("/proc")).is_absent(os.fsencode(file.with_name("missing")))
    assert PageCache(Path("/proc")).read(os.fsencode(file), state_of(file)) is None
    assert PageCache(file.parent / "not yet" / "there").read(os.fsencode(file), state_of(file)) == BODY
