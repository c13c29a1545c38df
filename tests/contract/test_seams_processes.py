"""What two processes of one store see of each other, on every implementation that processes can share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from node_process import NodeProcess
from nodes import SHARED_BY_PROCESSES, OpenNodes

URL = "http://h/a.png"
NAME = "ab" + "0" * 62
TIMES = 100


@pytest.fixture(params=SHARED_BY_PROCESSES)
async def two(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[NodeProcess, NodeProcess]]:
    """Two processes, each with a node of the same store."""
    opened: OpenNodes = request.param
    first, second = (NodeProcess(opened.__name__, tmp_path / "store") for _ in range(2))
    await asyncio.gather(first.ready(), second.ready())
    yield first, second
    await asyncio.gather(first.end(), second.end())


async def test_key_that_one_process_holds_is_not_free_in_the_other(
    two: tuple[NodeProcess, NodeProcess],
) -> None:
    """The other process waits until the key is released, and learns that it had to wait."""
    first, second = two
    assert not await first.tell("hold", "key")
    assert not await second.tell("is_free", "key")
    assert await second.tell("is_free", "another key")
    waiting = asyncio.create_task(second.tell("hold", "key"))
    assert not (await asyncio.wait((waiting,), timeout=0.05))[0]
    await first.tell("release", "key")
    assert await waiting
    assert not await first.tell("is_free", "key")


async def test_processes_that_contend_for_a_key_lose_no_change(two: tuple[NodeProcess, NodeProcess]) -> None:
    """A process that reads and writes while it holds the key is never refused, and no change is lost."""
    first, second = two
    work = first.tell("append", NAME, "a", TIMES), second.tell("append", NAME, "b", TIMES)
    assert [done for done in await asyncio.gather(*work) if done is not None] == []
    text = await first.tell("look", NAME)
    assert (text.count("a"), text.count("b")) == (TIMES, TIMES)


async def test_key_of_a_killed_process_is_free(two: tuple[NodeProcess, NodeProcess]) -> None:
    """A process that waits while the holder dies by SIGKILL gets the key."""
    first, second = two
    await first.tell("hold", "key")
    await first.tell("hold", "another key")
    waiting = asyncio.create_task(second.tell("hold", "key"))
    assert not (await asyncio.wait((waiting,), timeout=0.05))[0]
    await first.kill()
    assert await waiting
    assert await second.tell("is_free", "another key")


async def test_stamp_raised_in_one_process_is_seen_by_the_other(two: tuple[NodeProcess, NodeProcess]) -> None:
    """The other process sees it at once, in both directions, and it outlives the process that raised it."""
    first, second = two
    seen = [await first.tell("stamp", URL)]
    for node in (first, second, first):
        await node.tell("bump", URL)
        stamps = {await each.tell("stamp", URL) for each in two}
        assert len(stamps) == 1
        seen += stamps
    await first.kill()
    assert await second.tell("stamp", URL) == seen[-1]
    assert len(set(seen)) == len(seen)


async def test_failure_remembered_by_one_process_is_known_to_the_other(
    two: tuple[NodeProcess, NodeProcess],
) -> None:
    """The last failure counts, even after its process has ended."""
    first, second = two
    assert await second.tell("failure", "key") is None
    await first.tell("fail", "key", "gone")
    assert await second.tell("failure", "key") == "gone"
    await second.tell("fail", "key", "timeout")
    assert await first.tell("failure", "key") == "timeout"
    await first.kill()
    assert await second.tell("failure", "key") == "timeout"


async def test_counts_that_two_processes_add_add_up(two: tuple[NodeProcess, NodeProcess]) -> None:
    """The sum is right even when they count at the same time."""
    first, second = two
    await asyncio.gather(first.tell("add", TIMES), second.tell("add", TIMES))
    assert [await node.tell("count") for node in two] == [20 * TIMES, 20 * TIMES]


async def test_blob_that_another_process_changed_is_not_written(two: tuple[NodeProcess, NodeProcess]) -> None:
    """A process that knows an earlier state can neither create nor replace the blob."""
    first, second = two
    assert [await node.tell("look", NAME) for node in two] == [None, None]
    await first.tell("write", NAME, "one")
    assert await second.tell("write", NAME, "two") == ["refused", "BlobChanged"]
    assert [await node.tell("look", NAME) for node in two] == ["one", "one"]
    await second.tell("write", NAME, "two")
    assert await first.tell("write", NAME, "six") == ["refused", "BlobChanged"]
    await second.kill()
    assert await first.tell("look", NAME) == "two"
