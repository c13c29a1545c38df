"""Failing disks: whichever step of a commit or a purge fails, no wrong data are kept and nothing is left over."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from keeping import files_below, keep, make_entry

from cache.base.errors import NotKept, StoreFull, StoreUnreadable, StoreUnwritable
from cache.durable_tier import Originals
from cache.originals.incoming import BLOCK_BYTES

if TYPE_CHECKING:
    from typing_extensions import Buffer

URL = "http://h/a.png"
OTHER = "http://h/b.png"
STEPS = 12
"""More turns than a commit has of any one kind of step. Later turns fail nothing, which must be harmless too."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Originals]:
    """A new store."""
    opened = await Originals.open(tmp_path / "store")
    yield opened
    await opened.close()


class Failing:
    """Lets calls through until its turn comes, then fails once, or from then on."""

    def __init__(self, real: Callable[..., object], *, at: int, code: int, for_ever: bool = False) -> None:
        self._real = real
        self._left = at
        self._code = code
        self._for_ever = for_ever
        self.failed = False

    def __call__(self, *arguments: object, **named: Any) -> object:
        self._left -= 1
        if self._left == -1 or (self._left < 0 and self._for_ever):
            self.failed = True
            raise OSError(self._code, os.strerror(self._code))
        return self._real(*arguments, **named)


def break_step(
    patch: pytest.MonkeyPatch, step: str, *, at: int, code: int, for_ever: bool = False
) -> Failing:
    """Make one kind of step fail; return the counter."""
    place, name = {
        "fsync": ("cache.base.durable.os", "fsync"),
        "write": ("cache.base.durable.os", "write"),
        "rename": (Path, "replace"),
        "create": ("cache.base.durable.os", "open"),
        "delete": (Path, "unlink"),
        "mkdir": (Path, "mkdir"),
    }[step]
    descriptors: dict[str, Callable[..., object]] = {"fsync": os.fsync, "write": os.write, "create": os.open}
    real = descriptors.get(step) or getattr(Path, name)
    failing = Failing(real, at=at, code=code, for_ever=for_ever)
    if isinstance(place, str):
        patch.setattr(f"{place}.{name}", failing)
    else:
        patch.setattr(place, name, lambda *given, **named: failing(*given, **named))  # noqa: PLW0108 - binds self
    return failing


async def require_sound(store: Originals, tmp_path: Path) -> None:
    """Everything kept before is intact, no wrong data are kept, nothing is left over, and keeping works again."""
    first = await store.get(OTHER)
    assert first
    assert await store.read_body(first.body_sha256) == b"before"
    assert (await store.verify()).wrong == []
    assert files_below(tmp_path / "store" / "incoming") == []
    entry = await store.get(URL)
    assert entry is None or await store.read_body(entry.body_sha256) in {b"one", b"two"}
    await keep(store, URL, b"three")
    assert (await store.verify()).wrong == []


@pytest.mark.parametrize("for_ever", [False, True])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("step", ["fsync", "write", "rename", "mkdir"])
async def test_commit_that_fails_at_any_step_keeps_nothing_wrong(
    store: Originals, tmp_path: Path, step: str, code: int, for_ever: bool
) -> None:
    """This covers a new source and a changed one, at every turn of every kind of step."""
    await keep(store, OTHER, b"before")
    for url, body in ((URL, b"one"), (URL, b"two"), (OTHER, b"before")):
        for at in range(STEPS):
            with pytest.MonkeyPatch.context() as patch:
                failing = break_step(patch, step, at=at, code=code, for_ever=for_ever)
                try:
                    await keep(store, url, body)
                except NotKept as error:
                    refused = error
                else:
                    break
            assert failing.failed
            assert isinstance(refused, StoreFull) == (code == errno.ENOSPC)
    await require_sound(store, tmp_path)


@pytest.mark.parametrize("at", [0, 1])
async def test_body_goes_back_aside_when_its_entry_cannot_be_written(store: Originals, at: int) -> None:
    """If neither the index nor the entry fits on the disk, no body is left without an entry, and it can be served."""
    async with store.receive() as incoming:
        await incoming.write(b"one")
        await incoming.finish()
        with pytest.MonkeyPatch.context() as patch:
            break_step(patch, "write", at=at, code=errno.ENOSPC)
            with pytest.raises(StoreFull):
                await store.commit(make_entry(URL, sha256=incoming.sha256, size=3), incoming)
        assert incoming.path.read_bytes() == b"one"
        assert not store.body_path(incoming.sha256).exists()
    report = await store.verify()
    assert (report.wrong, report.notes) == ([], [])


@pytest.mark.parametrize("step", ["delete", "fsync"])
async def test_purge_that_fails_at_any_step_breaks_no_promise(
    store: Originals, tmp_path: Path, step: str
) -> None:
    """The caller gets an error, a body is never deleted before its entry, and every process discards its memory."""
    await keep(store, OTHER, b"before")
    for at in range(STEPS):
        await keep(store, URL, b"one")
        stamp = store.generations.stamp(URL)
        with pytest.MonkeyPatch.context() as patch:
            failing = break_step(patch, step, at=at, code=errno.EIO)
            try:
                await store.purge(URL)
            except StoreUnwritable:
                assert failing.failed
        assert store.generations.stamp(URL) != stamp
        assert (await store.verify()).wrong == []
    await require_sound(store, tmp_path)


async def test_failed_fsync_of_a_body_is_never_taken_back(store: Originals) -> None:
    """The kernel reports a lost page once. A second fsync would wrongly succeed."""
    async with store.receive() as incoming:
        await incoming.write(b"x")
        await incoming.finish()
        with pytest.MonkeyPatch.context() as patch:
            break_step(patch, "fsync", at=0, code=errno.EIO)
            with pytest.raises(StoreUnwritable):
                await incoming.sync()
        with pytest.raises(StoreUnwritable):
            await store.commit(make_entry(URL, sha256=incoming.sha256, size=1), incoming)
    assert await store.get(URL) is None


class FullFile(io.BufferedWriter):
    """A file on a disk that becomes full after a number of bytes."""

    room = 0

    def write(self, data: Buffer) -> int:
        view = memoryview(data)
        if self.tell() + len(view) > FullFile.room:
            super().write(view[: FullFile.room - self.tell()])
            super().flush()
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(view)


@pytest.mark.parametrize("room", [0, 1, BLOCK_BYTES, BLOCK_BYTES + 7])
async def test_body_on_a_disk_that_becomes_full_is_served_and_not_kept(
    store: Originals, tmp_path: Path, room: int
) -> None:
    """The visitor gets the picture: the body continues elsewhere, complete, and the commit reports a full store."""
    body = os.urandom(3 * BLOCK_BYTES + 11)
    FullFile.room = room
    opened = os.fdopen

    def fdopen(descriptor: int, mode: str) -> object:
        inside = Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(tmp_path / "store")
        return FullFile(io.FileIO(descriptor, "w")) if inside else opened(descriptor, mode)

    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    elsewhere.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cache.originals.incoming.os.fdopen", fdopen)
        patch.setattr("tempfile.tempdir", str(elsewhere))
        async with store.receive() as incoming:
            for start in range(0, len(body), 5000):
                await incoming.write(body[start : start + 5000])
            await incoming.finish()
            assert incoming.path.read_bytes() == body
            with pytest.raises(StoreFull):
                await store.commit(make_entry(URL, sha256=incoming.sha256, size=incoming.size), incoming)
            assert incoming.path.read_bytes() == body
    assert files_below(elsewhere) == files_below(tmp_path / "store" / "incoming") == []


async def test_body_that_nothing_takes_is_an_error_of_the_store(store: Originals) -> None:
    """If no disk accepts the body, callers get one error that they know, and nothing stays open."""
    with pytest.MonkeyPatch.context() as patch:
        break_step(patch, "create", at=0, code=errno.ENOSPC, for_ever=True)
        async with store.receive() as incoming:
            await incoming.write(b"x")
            with pytest.raises(StoreUnwritable):
                await incoming.finish()


async def test_store_that_cannot_be_locked_keeps_nothing(store: Originals) -> None:
    """Without exclusion there is no commit. Reading continues."""
    await keep(store, URL, b"one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "cache.across.file_locks.KeyLocks._try",
            Failing(lambda: None, at=0, code=errno.EROFS, for_ever=True),
        )
        with pytest.raises(StoreUnwritable):
            await keep(store, OTHER, b"two")
        with pytest.raises(StoreUnwritable):
            await store.purge(URL)
    assert await store.get(URL)


async def test_blocks_that_cannot_be_read_are_not_taken_for_none(store: Originals, tmp_path: Path) -> None:
    """Keeping a blocked source because a folder could not be read would break a promise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "stat", Failing(lambda: None, at=0, code=errno.EACCES, for_ever=True))
        with pytest.raises(StoreUnreadable):
            await store.is_blocked(URL)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_read_only_store_still_gives_what_it_keeps(tmp_path: Path) -> None:
    """On a disk that was mounted read-only after an error, kept originals answer, and new ones are not kept."""
    store = await Originals.open(tmp_path / "store")
    await keep(store, URL, b"one")
    await store.close()
    folders = [path for path in (tmp_path / "store").rglob("*") if path.is_dir()] + [tmp_path / "store"]
    for path in folders:
        path.chmod(0o555)
    again = await Originals.open(tmp_path / "store")
    assert await again.get(URL)
    assert not again.writable()
    with pytest.raises(NotKept):
        await keep(again, OTHER, b"two")
    await again.close()
    for path in folders:
        path.chmod(0o755)
