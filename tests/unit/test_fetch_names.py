"""Names: one lookup at a time, remembered for seconds, bounded, and safe from those who leave."""

import asyncio
import contextlib

import pytest
from stub_resolver import StubResolver

from proxy.fetch.names import Names


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_name_asked_for_many_times_is_looked_up_once() -> None:
    """At the same time and later."""
    stub = StubResolver({"h": [["192.0.2.1"], ["192.0.2.2"]]})
    names = Names(stub, owns=False)
    found = await asyncio.gather(*(names.resolve("h", 80) for _ in range(10)))
    assert {result["host"] for results in [*found, await names.resolve("h", 80)] for result in results} == {
        "192.0.2.1"
    }
    assert stub.asked["h"] == 1


async def test_name_that_is_absent_is_asked_for_again() -> None:
    """Failures are not remembered here: a name may appear."""
    stub = StubResolver({})
    names = Names(stub, owns=False)
    for _ in range(2):
        with pytest.raises(OSError, match="not found"):
            await names.resolve("h", 80)
    assert stub.asked["h"] == 2


async def test_answers_of_a_name_are_the_callers_to_change() -> None:
    """aiohttp takes addresses out of its list while it tries them."""
    names = Names(StubResolver({"h": [["192.0.2.1"]]}), owns=False)
    (await names.resolve("h", 80)).clear()
    assert len(await names.resolve("h", 80)) == 1


async def test_lookup_goes_on_when_the_one_who_began_it_leaves() -> None:
    """The others who wait for it get their answer."""
    stub = StubResolver({"h": [["192.0.2.1"]]})
    names = Names(stub, owns=False)
    first = asyncio.create_task(names.resolve("h", 80))
    await asyncio.sleep(0)
    second = asyncio.create_task(names.resolve("h", 80))
    first.cancel()
    assert (await second)[0]["host"] == "192.0.2.1"
    assert stub.asked["h"] == 1
    with contextlib.suppress(asyncio.CancelledError):
        await first
    assert first.cancelled()


async def test_names_that_are_closed_end_the_lookups_as_failures() -> None:
    """A waiting fetch gets an error that it can handle."""
    names = Names(StubResolver({}, hanging=["h"]), owns=True)
    waiting = asyncio.create_task(names.resolve("h", 80))
    await settle()
    await names.close()
    with pytest.raises(OSError, match="ended"):
        await waiting


async def test_memory_of_names_is_bounded() -> None:
    """A thousand and one names: the oldest is asked for again."""
    stub = StubResolver({f"h{number}": [["192.0.2.1"]] for number in range(1001)})
    names = Names(stub, owns=False)
    for number in range(1001):
        await names.resolve(f"h{number}", 80)
    await names.resolve("h1000", 80)
    await names.resolve("h0", 80)
    assert (stub.asked["h1000"], stub.asked["h0"]) == (1, 2)
