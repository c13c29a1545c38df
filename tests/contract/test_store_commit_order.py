"""The order of a commit, on which the product's promise rests, checked by recording system calls."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from keeping import keep

from cache.durable_tier import Originals

URL = "http://h/a.png"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Originals]:
    """A new store. It has nothing to count, so no count runs beside the test."""
    opened = await Originals.open(tmp_path / "store")
    assert opened._counting is None
    yield opened
    await opened.close()


class Recording:
    """The calls below a folder, in order, by kind of place: created, fsynced, renamed, deleted."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        self._root = root
        replace, unlink, mkdir, fsync = Path.replace, Path.unlink, Path.mkdir, os.fsync

        def replace_recorded(path: Path, target: Path) -> Path:
            result = replace(path, target)
            self.steps.append(f"rename {self._place(target)}")
            return result

        def unlink_recorded(path: Path, missing_ok: bool = False) -> None:
            there = path.exists()
            unlink(path, missing_ok=missing_ok)
            if there:
                self.steps.append(f"delete {self._place(path)}")

        def mkdir_recorded(path: Path, *arguments: Any, **named: Any) -> None:
            there = path.exists()
            mkdir(path, *arguments, **named)
            if not there:
                self.steps.append(f"mkdir {self._place(path)}")

        def fsync_recorded(descriptor: int) -> None:
            fsync(descriptor)
            self.steps.append(f"fsync {self._place(Path(f'/proc/self/fd/{descriptor}').readlink())}")

        monkeypatch.setattr(Path, "replace", replace_recorded)
        monkeypatch.setattr(Path, "unlink", unlink_recorded)
        monkeypatch.setattr(Path, "mkdir", mkdir_recorded)
        monkeypatch.setattr("cache.base.durable.os.fsync", fsync_recorded)

    def _place(self, path: Path) -> str:
        parts = path.relative_to(self._root).parts
        names = {1: parts[0], 2: f"{parts[0]}/ab" if parts[0] != "incoming" else "incoming/file"}
        return names.get(len(parts), f"{parts[0]}/ab/file")


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="names of open files are read from /proc"
)


@needs_proc
async def test_first_commit_makes_everything_last_in_order(
    store: Originals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the body: fsync, (folder, fsync of its parent), rename, fsync of the folder. Then the entry, in the same
    way."""
    recording = Recording(tmp_path / "store", monkeypatch)
    await keep(store, URL, b"one")
    steps = [step for step in recording.steps if "refs" not in step and step != "delete incoming/file"]
    assert steps == [
        "fsync incoming/file",
        "mkdir bodies/ab",
        "fsync bodies",
        "rename bodies/ab/file",
        "fsync bodies/ab",
        "fsync incoming/file",
        "mkdir entries/ab",
        "fsync entries",
        "rename entries/ab/file",
        "fsync entries/ab",
    ]
    assert recording.steps.index("rename refs/ab/file") < recording.steps.index("rename entries/ab/file")


@needs_proc
async def test_commit_of_shared_bytes_makes_the_index_last_before_the_entry(
    store: Originals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of users is durable before the entry that it names, and the body's folder is fsynced again."""
    await keep(store, URL, b"one")
    recording = Recording(tmp_path / "store", monkeypatch)
    await keep(store, "http://h/b.png", b"one")
    steps = recording.steps
    renamed = steps.index("rename refs/ab/file")
    assert "fsync bodies/ab" in steps[:renamed]
    assert steps[renamed - 1] == "fsync incoming/file" or steps[renamed - 2] == "fsync incoming/file"
    assert "fsync refs/ab" in steps[renamed : steps.index("rename entries/ab/file")]
    assert "rename bodies/ab/file" not in steps


@needs_proc
async def test_folder_that_another_process_made_is_made_to_last(
    store: Originals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process may have died before its own fsync of the parent."""
    other = await Originals.open(tmp_path / "store")
    await keep(other, URL, b"one")
    await other.close()
    recording = Recording(tmp_path / "store", monkeypatch)
    await keep(store, URL, b"one")
    assert "fsync bodies" in recording.steps
    assert "fsync entries" in recording.steps


@needs_proc
async def test_purge_deletes_the_entry_before_its_body(
    store: Originals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash in between leaves a body without an entry, never an entry without a body."""
    await keep(store, URL, b"one")
    recording = Recording(tmp_path / "store", monkeypatch)
    await store.purge(URL)
    assert recording.steps == [
        "delete entries/ab/file",
        "fsync entries/ab",
        "delete bodies/ab/file",
        "fsync bodies/ab",
        "delete refs/ab/file",
        "fsync refs/ab",
    ]


@needs_proc
async def test_generation_changes_after_the_entry_is_there(
    store: Originals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that reads the stamp first and the entry afterwards can only be too careful."""
    await keep(store, URL, b"one")
    recording = Recording(tmp_path / "store", monkeypatch)
    bump = store.generations.bump

    def bump_recorded(url: str) -> None:
        recording.steps.append("bump")
        bump(url)

    monkeypatch.setattr(store.generations, "bump", bump_recorded)
    await keep(store, URL, b"two")
    assert recording.steps.index("bump") > max(
        number for number, step in enumerate(recording.steps) if step == "fsync entries/ab"
    )
    recording.steps.clear()
    await store.purge(URL)
    assert recording.steps[-1] == "bump"


@needs_proc
async def test_purge_of_what_is_gone_makes_sure_that_it_is_gone(
    store: Originals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that deleted it may have been killed before its fsync. The purge is reported only after an fsync."""
    await keep(store, URL, b"one")
    entry = await store.get(URL)
    assert entry
    (tmp_path / "store" / "entries" / entry.key[:2] / f"{entry.key}.json").unlink()
    recording = Recording(tmp_path / "store", monkeypatch)
    assert not (await store.purge(URL)).found
    assert recording.steps == ["fsync entries/ab"]
    await store.purge(URL)
    assert recording.steps == ["fsync entries/ab"], "nothing has changed since"


@needs_proc
async def test_entry_of_another_process_is_confirmed_after_an_fsync_of_its_folder(
    store: Originals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry that a killed process left in the page cache is reported as kept only after an fsync."""
    other = await Originals.open(tmp_path / "store")
    await keep(other, URL, b"one")
    await other.close()
    recording = Recording(tmp_path / "store", monkeypatch)
    entry = await store.confirm(URL)
    assert entry
    assert entry.source == URL
    assert await store.confirm(URL) == entry
    assert recording.steps == ["fsync entries/ab"]
    assert await store.confirm("http://h/none.png") is None


@needs_proc
async def test_first_start_makes_the_folders_of_the_store_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every name from the root on is fsynced before the marker exists, and the names inside the store at every
    start."""
    synced: list[Path] = []

    def sync_recorded(folder: Path) -> None:
        synced.append(folder)

    monkeypatch.setattr("cache.base.layout.sync_folder", sync_recorded)
    root = tmp_path / "var" / "deep" / "store"
    store = await Originals.open(root)
    await store.close()
    assert synced == [*root.parents, root]
    synced.clear()
    store = await Originals.open(root)
    await store.close()
    assert synced == [root]


@needs_proc
async def test_folders_made_beforehand_are_made_to_last_once(
    store: Originals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each room is fsynced once, whoever created the folders. Afterwards no commit creates or fsyncs one."""
    (tmp_path / "store" / "bodies" / "00").mkdir()
    recording = Recording(tmp_path / "store", monkeypatch)
    await store.make_shards()
    assert [step for step in recording.steps if step.startswith("fsync")] == [
        "fsync bodies",
        "fsync refs",
        "fsync entries",
    ]
    assert len([step for step in recording.steps if step.startswith("mkdir")]) == 3 * 256 - 1
    recording.steps.clear()
    await keep(store, URL, b"one")
    assert not [step for step in recording.steps if step.startswith("mkdir")]
    assert [step for step in recording.steps if step.startswith("fsync")] == [
        "fsync incoming/file",
        "fsync bodies/ab",
        "fsync incoming/file",
        "fsync entries/ab",
    ]


async def test_folders_made_beforehand_leave_those_that_are_there_as_they_are(
    store: Originals, tmp_path: Path
) -> None:
    """Owner and mode of existing folders are for the scrub, which follows the service's configuration."""
    there = tmp_path / "store" / "bodies" / "00"
    there.mkdir()
    there.chmod(0o750)
    await store.make_shards()
    assert stat.S_IMODE(there.stat().st_mode) == 0o750
    assert stat.S_IMODE(there.with_name("01").stat().st_mode) == 0o700


async def test_disk_that_refuses_folders_beforehand_keeps_nobody_from_opening(
    store: Originals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store on a full disk still serves what it has, and a later commit tries again."""

    def refused(*_arguments: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(Path, "mkdir", refused)
        await store.make_shards()
    await keep(store, URL, b"one")
    assert await store.get(URL) is not None
