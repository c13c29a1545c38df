"""The folder for what the disk does not take goes with its process, or with the next one that starts."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from keeping import run_program

from cache.across.elsewhere import LOCK, UNLOCKED_SECONDS, Elsewhere, remove_abandoned

OWNER = """
import sys
from pathlib import Path
from cache.across.elsewhere import Elsewhere
elsewhere = Elsewhere(Path(sys.argv[1]))
print(elsewhere.create()[1], flush=True)
input()
"""
LATER = UNLOCKED_SECONDS * 2


def later() -> float:
    return time.time() + LATER


def test_folder_of_a_killed_process_is_removed_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    """The lock in a folder, not its age, says whether its process lives."""
    owner = run_program(OWNER, tmp_path)
    with owner:
        assert owner.stdout is not None
        file = Path(owner.stdout.readline().strip())
        assert remove_abandoned(tmp_path, now=later) == 0
        assert file.exists()
        owner.kill()
        owner.wait()
        assert file.exists()
        assert remove_abandoned(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


def test_folder_is_made_when_it_is_needed_and_closed_with_all_that_is_in_it(tmp_path: Path) -> None:
    """A service on a good disk leaves no trace in the temporary folder."""
    elsewhere = Elsewhere(tmp_path)
    assert list(tmp_path.iterdir()) == []
    descriptor, path = elsewhere.create()
    os.close(descriptor)
    assert path.parent == elsewhere.folder
    assert elsewhere.folder.stat().st_mode & 0o777 == 0o700
    elsewhere.close()
    assert list(tmp_path.iterdir()) == []


def test_folder_that_was_deleted_is_made_and_locked_again(tmp_path: Path) -> None:
    """Cleaners of temporary folders do not ask."""
    elsewhere = Elsewhere(tmp_path)
    for _ in range(2):
        descriptor, path = elsewhere.create()
        os.close(descriptor)
        assert remove_abandoned(tmp_path, now=later) == 0
        path.unlink()
        (elsewhere.folder / LOCK).unlink()
        elsewhere.folder.rmdir()
    elsewhere.close()


def test_folder_without_a_lock_goes_when_it_is_old(tmp_path: Path) -> None:
    """Earlier versions made no lock, and a process may be about to make one."""
    folder = tmp_path / "imgmirror-0123456789abcdef"
    folder.mkdir()
    (folder / "imgmirror-x").touch()
    assert remove_abandoned(tmp_path) == 0
    assert remove_abandoned(tmp_path, now=later) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        *("imgmirror-metrics-0123456789abcdef", "imgmirror-doctor-abcdefgh", "imgmirror-demo-abcdefgh"),
        *(
            "imgmirror-abcdefgh",
            "imgmirror-0123456789ABCDEF",
            "imgmirror-0123456789abcdef0",
            "x-0123456789abcdef",
        ),
    ],
)
def test_folder_of_another_name_stays(tmp_path: Path, name: str) -> None:
    """Metrics, doctor and demo look after theirs."""
    (tmp_path / name).mkdir()
    (tmp_path / name / LOCK).touch()
    assert remove_abandoned(tmp_path, now=later) == 0
    assert (tmp_path / name / LOCK).exists()


def test_link_and_file_of_that_name_stay(tmp_path: Path) -> None:
    """A shared temporary folder may hold anything."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / LOCK).touch()
    (tmp_path / "imgmirror-0123456789abcdef").symlink_to(tmp_path / "precious")
    (tmp_path / "imgmirror-fedcba9876543210").touch()
    assert remove_abandoned(tmp_path, now=later) == 0
    assert (tmp_path / "precious" / LOCK).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_folder_of_another_user_stays_and_is_not_used(tmp_path: Path) -> None:
    """Neither its files nor its lock belong to us."""
    elsewhere = Elsewhere(tmp_path)
    elsewhere.folder.mkdir()
    os.chown(elsewhere.folder, 12345, 12345)
    assert remove_abandoned(tmp_path, now=later) == 0
    with pytest.raises(PermissionError):
        elsewhere.create()
