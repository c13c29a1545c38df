"""Exclusion by key."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keeping import run_program

from cache.across import file_locks as locks
from cache.across.file_locks import KeyLocks, offset_of
from cache.across.source_locks import Exclusion

HOLDER = """
import asyncio, sys
from pathlib import Path
from cache.across.file_locks import KeyLocks

async def main():
    async with KeyLocks(Path(sys.argv[1])).hold(sys.argv[2]):
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


async def test_key_is_held_by_one_task_at_a_time(tmp_path: Path) -> None:
    """Tasks of one process exclude each other."""
    key_locks, inside, most = KeyLocks(tmp_path / "locks"), 0, 0

    async def work() -> None:
        nonlocal inside, most
        async with key_locks.hold("a"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(20)))
    assert most == 1
    key_locks.close()


async def test_two_keys_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """Exclusion is by key."""
    key_locks = KeyLocks(tmp_path / "locks")
    async with key_locks.hold("a"), key_locks.hold("b"):
        pass
    key_locks.close()


async def test_two_openers_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    """A lock belongs to the opener, not to the process: two stores in one process are two holders."""
    one, other = KeyLocks(tmp_path / "locks"), KeyLocks(tmp_path / "locks")
    order = []

    async def second() -> None:
        async with other.hold("a"):
            order.append("second")

    async with one.hold("a"):
        waiting = asyncio.create_task(second())
        await asyncio.wait((waiting,), timeout=0.01)
        order.append("first")
    await waiting
    assert order == ["first", "second"]
    one.close()
    other.close()


async def test_key_held_by_a_process_is_free_when_it_is_killed(tmp_path: Path) -> None:
    """The kernel releases what a dying process held; nothing is to be cleaned up."""
    path = tmp_path / "locks"
    process = run_program(HOLDER, path, "a")
    assert process.stdout
    assert process.stdin
    assert await asyncio.to_thread(process.stdout.readline) == "held\n"
    key_locks = KeyLocks(path)
    entered = asyncio.Event()

    async def take() -> None:
        async with key_locks.hold("a"):
            entered.set()

    taking = asyncio.create_task(take())
    async with key_locks.hold("b"):
        await asyncio.wait((taking,), timeout=0.05)
    assert not entered.is_set()
    process.kill()
    await asyncio.wait_for(taking, 10)
    await asyncio.to_thread(process.wait)
    process.stdout.close()
    process.stdin.close()
    key_locks.close()


async def test_lock_file_deleted_while_open_is_made_again(tmp_path: Path) -> None:
    """Those who come after agree with those who were there before."""
    path = tmp_path / "locks"
    old, new = KeyLocks(path), KeyLocks(path)
    async with old.hold("a"):
        pass
    path.unlink()
    async with new.hold("a"):
        waiting = asyncio.create_task(_enter(old, "a"))
        done, _ = await asyncio.wait((waiting,), timeout=0.02)
        assert not done
    await waiting
    old.close()
    new.close()


async def test_lock_file_deleted_while_a_key_is_held_is_let_go_cleanly(tmp_path: Path) -> None:
    """The old file is closed with its last holder, and not before."""
    key_locks = KeyLocks(tmp_path / "locks")
    async with key_locks.hold("a"):
        (tmp_path / "locks").unlink()
        async with key_locks.hold("b"):
            pass
    await _enter(key_locks, "a")
    key_locks.close()


async def test_cancelled_waiter_leaves_nothing_held(tmp_path: Path) -> None:
    """A waiter that gives up does not block others."""
    one, other = KeyLocks(tmp_path / "locks"), KeyLocks(tmp_path / "locks")
    async with one.hold("a"):
        waiting = asyncio.create_task(_enter(other, "a"))
        await asyncio.wait((waiting,), timeout=0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with other.hold("a"):
        pass
    assert not other._waiters
    one.close()
    other.close()


async def test_key_is_free_after_an_error(tmp_path: Path) -> None:
    """An exception inside does not keep the key."""
    key_locks = KeyLocks(tmp_path / "locks")
    with pytest.raises(RuntimeError):
        async with key_locks.hold("a"):
            raise RuntimeError
    await _enter(key_locks, "a")
    key_locks.close()


async def test_locks_without_open_file_description_locks_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere than on Linux, POSIX record locks do the same between processes."""
    monkeypatch.setattr(locks, "_SET_LOCK", None)
    path = tmp_path / "locks"
    key_locks = KeyLocks(path)
    process = run_program(HOLDER, path, "a")
    assert process.stdout
    assert await asyncio.to_thread(process.stdout.readline) == "held\n"
    waiting = asyncio.create_task(_enter(key_locks, "a"))
    done, _ = await asyncio.wait((waiting,), timeout=0.03)
    assert not done
    await asyncio.to_thread(process.communicate, "\n")
    await asyncio.wait_for(waiting, 10)
    key_locks.close()


async def test_locks_that_cannot_be_made_raise_oserror(tmp_path: Path) -> None:
    """Callers that can do without exclusion get the error."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"directory|exists"):
        await _enter(KeyLocks(tmp_path / "file" / "locks"), "a")


@given(st.text())
def test_offset_of_any_key_fits_the_file(key: str) -> None:
    """The kernel takes offsets below 2^63; ours leave room for the length."""
    assert 0 <= offset_of(key) < 1 << 62


async def _enter(key_locks: KeyLocks, key: str) -> None:
    async with key_locks.hold(key):
        pass


async def test_lock_file_that_reports_an_error_when_it_is_closed_lets_go_of_every_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network disk may do so; the file had been replaced while its keys were held."""
    close = os.close

    def failing(descriptor: int) -> None:
        close(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    key_locks = KeyLocks(tmp_path / "locks")
    with monkeypatch.context() as failure:
        async with Exclusion(key_locks).held("a", "b"):
            (tmp_path / "locks").unlink()
            async with key_locks.hold("c"):
                pass
            failure.setattr("cache.across.file_locks.os.close", failing)
    async with key_locks.held_if_free("a") as a, key_locks.held_if_free("b") as b:
        assert a
        assert b
    key_locks.close()
