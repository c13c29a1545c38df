"""Generations: the stamps that all processes share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from keeping import finished, run_program

from cache.across.generations import SLOTS, Generations

URL = "http://h/a.png"


def open_at(folder: Path) -> Generations:
    return Generations(folder / "generations")


def test_stamp_stays_until_it_is_bumped(tmp_path: Path) -> None:
    """Reading changes nothing; a bump changes this source and no other slot."""
    generations = open_at(tmp_path)
    before = [generations.stamp_at(slot) for slot in range(SLOTS)]
    assert generations.stamp(URL) == generations.stamp(URL) == before[generations.slot(URL)]
    generations.bump(URL)
    after = [generations.stamp_at(slot) for slot in range(SLOTS)]
    assert [slot for slot in range(SLOTS) if before[slot] != after[slot]] == [generations.slot(URL)]
    generations.close()


def test_stamp_never_repeats(tmp_path: Path) -> None:
    """A value held since the first generation is not taken for true by a later one."""
    generations = open_at(tmp_path)
    seen = {generations.stamp(URL)}
    for _ in range(500):
        generations.bump(URL)
        seen.add(generations.stamp(URL))
    assert len(seen) == 501
    generations.close()


def test_stamp_bumped_through_one_map_is_seen_through_another(tmp_path: Path) -> None:
    """Two openers of one file agree without asking."""
    one, other = open_at(tmp_path), open_at(tmp_path)
    before = other.stamp(URL)
    one.bump(URL)
    assert other.stamp(URL) == one.stamp(URL) != before
    one.close()
    other.close()


async def test_stamp_bumped_by_another_process_is_seen(tmp_path: Path) -> None:
    """The command that purges and the service that answers are two processes."""
    generations = open_at(tmp_path)
    before = generations.stamp(URL)
    program = (
        "import sys; from pathlib import Path; from cache.across.generations import Generations\n"
        "Generations(Path(sys.argv[1])).bump(sys.argv[2])"
    )
    await finished(run_program(program, tmp_path / "generations", URL))
    assert generations.stamp(URL) != before
    assert not generations.check()
    generations.close()


def test_stamps_survive_a_restart(tmp_path: Path) -> None:
    """The file is found again, not made again."""
    first = open_at(tmp_path)
    stamp = first.stamp(URL)
    first.close()
    second = open_at(tmp_path)
    assert second.stamp(URL) == stamp
    second.close()


@pytest.mark.parametrize("damage", ["deleted", "replaced", "cut", "emptied", "with_its_folder"])
def test_file_lost_while_mapped_is_noticed_and_every_stamp_differs(tmp_path: Path, damage: str) -> None:
    """After `check`, memory of before is distrusted, and the processes agree again."""
    folder = tmp_path / "store"
    folder.mkdir()
    one, other = open_at(folder), open_at(folder)
    before = [one.stamp_at(slot) for slot in range(SLOTS)]
    path = folder / "generations"
    if damage == "deleted":
        path.unlink()
    elif damage == "replaced":
        path.unlink()
        path.write_bytes(b"\0" * SLOTS * 8)
    elif damage == "cut":
        path.unlink()
        path.write_bytes(b"\0" * 100)
    elif damage == "emptied":
        path.unlink()
        path.touch()
    else:
        path.unlink()
        folder.rmdir()
        assert one.check() or not one.shared
        folder.mkdir()
    one.check()
    assert other.check()
    if damage != "with_its_folder":
        assert all(one.stamp_at(slot) != before[slot] for slot in range(SLOTS))
    one.bump(URL)
    assert other.stamp(URL) == one.stamp(URL)
    assert one.shared
    assert other.shared
    one.close()
    other.close()


def test_bump_after_the_file_was_lost_reaches_those_who_look(tmp_path: Path) -> None:
    """A purging process checks the file first, so the stamp goes into the file that others will map."""
    one, other = open_at(tmp_path), open_at(tmp_path)
    (tmp_path / "generations").unlink()
    one.bump(URL)
    assert other.check()
    assert other.stamp(URL) == one.stamp(URL)
    one.close()
    other.close()


def test_generations_without_a_file_work_alone(tmp_path: Path) -> None:
    """Where no file can be made, this process still sees its own purges, and shares as soon as it can."""
    folder = tmp_path / "absent"
    generations = Generations(folder / "generations")
    assert not generations.shared
    before = generations.stamp(URL)
    generations.bump(URL)
    assert generations.stamp(URL) != before
    folder.mkdir()
    assert generations.check()
    assert generations.shared
    generations.close()


def test_bump_that_cannot_be_written_makes_all_distrust_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed write must not hide a purge: the file is deleted, and every check notices that."""
    one, other = open_at(tmp_path), open_at(tmp_path)
    before = other.stamp(URL)

    def refuse(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("cache.across.generations.os.pwrite", refuse)
    one.bump(URL)
    assert other.check()
    assert other.stamp(URL) != before
    one.close()
    other.close()


def test_generations_leave_no_temporary_files(tmp_path: Path) -> None:
    """A file written aside is linked or removed."""
    one, other = open_at(tmp_path), open_at(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["generations"]
    one.close()
    other.close()


def test_generations_closed_still_answer(tmp_path: Path) -> None:
    """Late readers during a shutdown get a stamp that matches nothing, not an error."""
    generations = open_at(tmp_path)
    before = generations.stamp(URL)
    generations.close()
    assert generations.stamp(URL) != before


def test_new_file_is_written_where_leftovers_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed before the file is in place leaves one that the next start removes."""
    linked: list[Path] = []
    link = os.link

    def noted(made: Path, path: Path) -> None:
        linked.append(made)
        link(made, path)

    monkeypatch.setattr(os, "link", noted)
    Generations(tmp_path / "generations", aside=tmp_path / "incoming").close()
    assert [path.parent for path in linked] == [tmp_path / "incoming"]
    assert list((tmp_path / "incoming").iterdir()) == []
