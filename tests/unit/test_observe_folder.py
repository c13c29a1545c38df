"""The folder of shared metrics goes with its supervisor, or with the next one."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from proxy.observe.folder import PREFIX, shared_folder

OWNER = """
from proxy.observe.folder import shared_folder
with shared_folder() as folder:
    print(folder, flush=True)
    input()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_folder_of_a_killed_supervisor_is_removed_by_the_next_and_that_of_a_living_one_stays(
    temporary: Path,
) -> None:
    """The lock in a folder, not its age or name, says whether its owner lives."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        with shared_folder():
            assert folder.exists()
        owner.kill()
        owner.wait()
        assert folder.exists()
        with shared_folder() as own:
            assert list(temporary.iterdir()) == [own]
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(("pid", "stays"), [("1", True), ("99999999", False)])
def test_folder_without_a_lock_goes_when_every_writer_is_dead(temporary: Path, pid: str, stays: bool) -> None:
    """Earlier versions made no lock; their workers left files with their numbers."""
    old = temporary / f"{PREFIX}old"
    old.mkdir()
    (old / f"counter_{pid}.db").touch()
    with shared_folder():
        assert old.exists() == stays


def test_link_of_that_name_is_not_followed(temporary: Path) -> None:
    """A shared temporary folder may hold anything."""
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "counter_99999999.db").touch()
    (temporary / f"{PREFIX}link").symlink_to(elsewhere)
    with shared_folder():
        assert (elsewhere / "counter_99999999.db").exists()
