"""robots.txt: which delay is read from it, when it is asked for, and that nothing in it can hurt."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.fetch.politeness.pace import MAX_ORIGINS, Pace
from proxy.fetch.politeness.robots import MAX_BYTES, MAX_DELAY_SECONDS, MEMORY_SECONDS, Robots, delay_in

AGENT = "imgmirror (+https://imgmirror.example/contact)"
ORIGIN = "http://h.example"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("User-agent: *\nCrawl-delay: 2\n", 2.0),
        ("User-agent: *\nCrawl-delay: 0.5\nDisallow: /private\n", 0.5),
        ("User-agent: *\nCrawl-delay: 9\n\nUser-agent: imgmirror\nCrawl-delay: 3\n", 3.0),
        ("User-agent: other\nCrawl-delay: 9\n", 0.0),
        ("User-agent: *\nRequest-rate: 1/5\n", 5.0),
        ("\ufeffUser-agent: *\r\nCrawl-delay: 4\r\n", 4.0),
        ("User-agent: *\nCrawl-delay: 86400\n", MAX_DELAY_SECONDS),
        ("User-agent: *\nCrawl-delay: -5\n", 0.0), ("User-agent: *\nCrawl-delay: nan\n", 0.0),
        ("User-agent: *\nCrawl-delay: soon\n", 0.0), ("User-agent: *\nCrawl-delay: inf\n", MAX_DELAY_SECONDS),
        ("User-agent: *\nDisallow: /\n", 0.0), ("<html>not found</html>", 0.0), ("", 0.0),
        ("#" * MAX_BYTES + "\nUser-agent: *\nCrawl-delay: 5\n", 0.0),
    ],
)  # fmt: skip
def test_delay_is_what_the_file_asks_of_us(text: str, seconds: float) -> None:
    assert delay_in(text.encode(), AGENT) in ({seconds, 0.0} if "inf" in text else {seconds})


@given(text=st.binary(max_size=400))
def test_any_bytes_are_some_delay(text: bytes) -> None:
    assert 0 <= delay_in(b"User-agent: *\nCrawl-delay:" + text, AGENT) <= MAX_DELAY_SECONDS
    assert 0 <= delay_in(text, AGENT) <= MAX_DELAY_SECONDS


class Site:
    """An origin's robots.txt, and how often it was read."""

    def __init__(self, text: bytes = b"User-agent: *\nCrawl-delay: 7\n") -> None:
        self.text = text
        self.now = 0.0
        self.reads = 0
        self.robots = Robots(self.read, clock=lambda: self.now)

    async def read(self, _origin: str) -> bytes:
        self.reads += 1
        await asyncio.sleep(0)
        return self.text

    async def delay(self) -> float:
        return await self.robots.delay(ORIGIN, user_agent=AGENT)


async def test_single_request_needs_no_delay_and_asks_nothing() -> None:
    site = Site()
    assert await site.delay() == 0.0
    assert site.reads == 0
    assert site.robots.known_delay(ORIGIN) == 0.0


async def test_many_requests_read_the_file_once_a_day() -> None:
    site = Site()
    await site.delay()
    assert set(await asyncio.gather(*(site.delay() for _ in range(5)))) == {7.0}
    assert site.robots.known_delay(ORIGIN) == 7.0
    assert site.reads == 1
    site.now += MEMORY_SECONDS + 1
    await site.delay()
    await site.delay()
    assert site.reads == 2


async def test_asking_that_is_given_up_by_one_goes_on_for_the_others() -> None:
    site = Site()
    await site.delay()
    first, second = (asyncio.create_task(site.delay()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 7.0
    await site.robots.close()


class Watch:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.pace = Pace(clock=lambda: self.now, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_requests_to_one_origin_keep_their_distance_and_others_do_not_wait() -> None:
    watch = Watch()
    for _ in range(3):
        await watch.pace.keep(ORIGIN, 5.0)
    assert watch.slept == [5.0, 10.0]
    await watch.pace.keep("http://other.example", 5.0)
    assert watch.slept == [5.0, 10.0]
    assert watch.pace.seconds_until(ORIGIN, 5.0) == 15.0
    watch.now = 100.0
    assert watch.pace.seconds_until(ORIGIN, 5.0) == 0.0


async def test_paces_of_origins_that_are_made_up_are_forgotten() -> None:
    watch = Watch()
    for number in range(MAX_ORIGINS + 10):
        await watch.pace.keep(f"http://h{number}.example", 0.0)
    assert len(watch.pace) == MAX_ORIGINS
