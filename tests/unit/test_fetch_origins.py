"""Turns at origins: never more than the limit, in order, and nothing left behind."""

import asyncio

import pytest

from proxy.errors import QueueFull
from proxy.fetch.politeness.slots import OriginTurns


class Visits:
    """Counts who is at an origin now and at most; everybody stays until released."""

    def __init__(self, turns: OriginTurns) -> None:
        self.turns = turns
        self.now = 0
        self.most = 0
        self.order: list[int] = []
        self.release = asyncio.Event()

    async def visit(self, origin: str, number: int = 0) -> None:
        async with self.turns.turn(origin):
            self.now += 1
            self.most = max(self.most, self.now)
            self.order.append(number)
            await self.release.wait()
            self.now -= 1


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_turns_at_one_origin_are_limited_and_in_order() -> None:
    """The limit holds, and the first to arrive is the next."""
    visits = Visits(OriginTurns(2))
    tasks = [asyncio.create_task(visits.visit("http://h", number)) for number in range(6)]
    await settle()
    assert visits.now == 2
    visits.release.set()
    await asyncio.gather(*tasks)
    assert visits.most == 2
    assert visits.order == list(range(6))


async def test_turns_at_different_origins_do_not_wait_for_each_other() -> None:
    """A slow origin does not delay others."""
    visits = Visits(OriginTurns(1))
    tasks = [asyncio.create_task(visits.visit(f"http://h{number}")) for number in range(5)]
    await settle()
    assert visits.now == 5
    visits.release.set()
    await asyncio.gather(*tasks)


async def test_turns_leave_nothing_behind() -> None:
    """This includes a holder that fails and a waiter that is cancelled."""
    turns = OriginTurns(1)
    visits = Visits(turns)
    holder = asyncio.create_task(visits.visit("http://h"))
    waiting = asyncio.create_task(visits.visit("http://h"))
    await settle()
    waiting.cancel()
    visits.release.set()
    await asyncio.gather(holder, waiting, return_exceptions=True)
    with pytest.raises(ZeroDivisionError):
        async with turns.turn("http://other"):
            raise ZeroDivisionError
    assert len(turns) == 0


async def test_turns_take_a_new_limit_when_idle() -> None:
    """A reload applies to origins without requests."""
    turns = OriginTurns(1)
    turns.limit = 3
    visits = Visits(turns)
    tasks = [asyncio.create_task(visits.visit("http://h")) for _ in range(5)]
    await settle()
    assert visits.now == 3
    visits.release.set()
    await asyncio.gather(*tasks)


async def test_more_than_the_queue_is_refused_whatever_the_origins() -> None:
    """Each origin has room; all of them together do not. Who is patient is not counted."""
    turns = OriginTurns(1, queue=5)
    visits = Visits(turns)
    tasks = [asyncio.create_task(visits.visit(f"http://h{number}")) for number in range(5)]
    await settle()
    with pytest.raises(QueueFull):
        async with turns.turn("http://another"):
            pass
    async with turns.turn("http://another", patient=True):
        pass
    visits.release.set()
    await asyncio.gather(*tasks)
    async with turns.turn("http://another"):
        assert len(turns) == 1
