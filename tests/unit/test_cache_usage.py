"""The running count of the kept originals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cache.across.usage import Counts, Usage


def test_usage_adds_up(tmp_path: Path) -> None:
    """Changes of several openers come together in one count."""
    one, other = Usage(tmp_path / "usage"), Usage(tmp_path / "usage")
    one.add(Counts(100, 1, 1))
    other.add(Counts(50, 1, 0))
    one.add(Counts(-100, -1, -1))
    assert one.read() == other.read() == Counts(50, 1, 0)


def test_usage_changed_by_many_threads_loses_nothing(tmp_path: Path) -> None:
    """Every change counts."""
    openers = [Usage(tmp_path / "usage") for _ in range(3)]
    with ThreadPoolExecutor(9) as pool:
        list(pool.map(lambda number: openers[number % 3].add(Counts(1, 0, 1)), range(300)))
    assert openers[0].read() == Counts(300, 0, 300)


def test_usage_is_not_trusted_until_it_was_settled(tmp_path: Path) -> None:
    """If the file is missing, the originals are counted again once, however much was added since."""
    usage = Usage(tmp_path / "usage")
    usage.add(Counts(5, 1, 1))
    assert not usage.trusted()
    usage.settle(Counts(1000, 10, 10), before=Counts(5, 1, 1))
    assert usage.trusted()
    assert Usage(tmp_path / "usage").trusted()


def test_usage_settled_keeps_what_came_meanwhile(tmp_path: Path) -> None:
    """A count that takes a minute does not forget originals that were kept meanwhile."""
    usage = Usage(tmp_path / "usage")
    before = usage.read()
    usage.add(Counts(7, 1, 1))
    usage.settle(Counts(100, 2, 2), before=before)
    assert usage.read() == Counts(107, 3, 3)


def test_usage_of_another_start_of_the_machine_is_used_but_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Power loss may have taken the last changes."""
    usage = Usage(tmp_path / "usage")
    usage.settle(Counts(100, 2, 2), before=Counts())
    monkeypatch.setattr("cache.across.usage.boot_number", lambda: 12345)
    later = Usage(tmp_path / "usage")
    assert later.read() == Counts(100, 2, 2)
    assert not later.trusted()


@pytest.mark.parametrize("damage", [b"", b"rubbish", b"\0" * 44, b"imguse1\n" + b"\xff" * 36])
def test_usage_of_a_damaged_file_is_nothing_and_not_trusted(tmp_path: Path, damage: bytes) -> None:
    """A torn count is none."""
    (tmp_path / "usage").write_bytes(damage)
    usage = Usage(tmp_path / "usage")
    assert usage.read() == Counts()
    assert not usage.trusted()
    usage.add(Counts(3, 1, 1))
    assert usage.read() == Counts(3, 1, 1)
    assert not usage.trusted()


def test_usage_never_falls_below_nothing(tmp_path: Path) -> None:
    """A purge of something that was never counted does not create room that does not exist."""
    usage = Usage(tmp_path / "usage")
    usage.add(Counts(-10, -1, -1))
    assert usage.read() == Counts()


def test_usage_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    """The count is not worth a commit."""
    usage = Usage(tmp_path / "absent" / "usage")
    usage.add(Counts(1, 1, 1))
    usage.settle(Counts(1, 1, 1), before=Counts())
    assert usage.read() == Counts()
