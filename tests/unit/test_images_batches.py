"""Batches: jobs that wait for one body are rendered together, and none suffers from another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pictures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import RenderConfig
from proxy.errors import DecodeFailed, QueueFull, RenderTimeout, TooManyPixels
from proxy.images.choice import LOWER
from proxy.images.formats import UNTOUCHED
from proxy.images.jobs import Inspection, Job, Rendered, Wish
from proxy.images.pool.shared_decodes import Batches, deal
from proxy.images.pool.workers import RenderPool
from proxy.images.transforms.transform import Transform


def wish(text: str, *acceptable: str) -> Wish:
    return Wish(Transform.parse(text).resolved({}), acceptable or ("webp", "fallback"))


class CountingPool(RenderPool):
    """A pool that records its jobs, and can fail jobs of more than one wish."""

    def __init__(
        self, *, processes: int = 1, queue: int = 50, failure: Inspection | None = None, slow: bool = False
    ) -> None:
        super().__init__(RenderConfig(queue=queue), processes=processes)
        self.jobs: list[Job] = []
        self._fails_with = failure
        self._slow = slow

    async def run(self, job: Job) -> Inspection:
        self.jobs.append(job)
        if self._slow:
            await asyncio.sleep(0)
            return Inspection.failed(RenderTimeout(), None, wishes=len(job.wishes))
        if self._fails_with is not None and len(job.wishes) > 1:
            error = self._fails_with.error
            assert error is not None
            return replace(self._fails_with, outputs=(error,) * len(job.wishes))
        return await super().run(job)


@pytest.fixture(name="picture")
def _picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture"
    path.write_bytes(pictures.saved(pictures.photo(200, 150), "JPEG"))
    return path


@pytest.fixture(name="pool")
async def _pool() -> AsyncIterator[CountingPool]:
    pool = CountingPool()
    await pool.start()
    yield pool
    await pool.close()


def widths(inspections: list[Inspection]) -> list[int]:
    outputs = [output for inspection in inspections for output in inspection.outputs]
    assert all(isinstance(output, Rendered) for output in outputs)
    return [output.width for output in outputs if isinstance(output, Rendered)]


async def test_jobs_that_wait_for_one_body_become_one(pool: CountingPool, picture: Path) -> None:
    """The first runs; the five that wait for it are decoded once, and each gets its own."""
    batches = Batches(pool)
    made = await asyncio.gather(
        *(batches.run(Job(str(picture), (wish(f"width={width}"),))) for width in range(10, 70, 10))
    )
    assert widths(made) == [10, 20, 30, 40, 50, 60]
    assert [len(job.wishes) for job in pool.jobs] == [1, 5]
    assert batches.queued == 0


async def test_equal_wishes_are_rendered_once(pool: CountingPool, picture: Path) -> None:
    batches = Batches(pool)
    same = Job(str(picture), (wish("width=30"),))
    assert widths(await asyncio.gather(*(batches.run(same) for _ in range(9)))) == [30] * 9
    assert [len(job.wishes) for job in pool.jobs] == [1, 1]


async def test_other_bodies_are_jobs_of_their_own(pool: CountingPool, picture: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(pictures.saved(pictures.chart(), "PNG"))
    batches = Batches(pool)
    await asyncio.gather(*(batches.run(Job(str(path), (wish("width=9"),))) for path in (picture, other) * 3))
    assert {job.path for job in pool.jobs} == {str(picture), str(other)}
    assert len(pool.jobs) == 4


@pytest.mark.parametrize(
    "failure",
    [
        Inspection.failed(TooManyPixels(), None, wishes=0),
        replace(Inspection.failed(DecodeFailed(), None, wishes=0), killed=True),
    ],
    ids=["too large", "killed"],
)
async def test_batch_that_fails_as_a_whole_is_run_one_by_one(picture: Path, failure: Inspection) -> None:
    """An expensive wish must not cost other clients their answers."""
    pool = CountingPool(failure=failure)
    await pool.start()
    try:
        batches = Batches(pool)
        jobs = [Job(str(picture), (wish(f"width={width}"),)) for width in (10, 20, 30)]
        assert widths(await asyncio.gather(*map(batches.run, jobs))) == [10, 20, 30]
    finally:
        await pool.close()
    assert [len(job.wishes) for job in pool.jobs] == [1, 2, 1, 1]


async def test_body_that_is_read_for_too_long_is_tried_once(picture: Path) -> None:
    """The first job that finds it out answers for all that wait; reading would take each as long."""
    pool = CountingPool(slow=True)
    await pool.start()
    try:
        batches = Batches(pool)
        jobs = [Job(str(picture), (wish(f"width={width}"),)) for width in (10, 20, 30, 40)]
        made = await asyncio.gather(*map(batches.run, jobs))
    finally:
        await pool.close()
    assert all(isinstance(inspection.outputs[0], RenderTimeout) for inspection in made)
    assert len(pool.jobs) == 1
    assert batches.queued == 0


async def test_damaged_body_is_not_tried_for_each_wish(pool: CountingPool, tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(pictures.saved(pictures.photo(200, 150), "JPEG")[:-2000])
    batches = Batches(pool)
    made = await asyncio.gather(
        *(batches.run(Job(str(path), (wish(f"width={width}"),))) for width in (10, 20, 30))
    )
    assert all(isinstance(inspection.error, DecodeFailed) for inspection in made)
    assert [len(job.wishes) for job in pool.jobs] == [1, 2]


async def test_longer_line_than_allowed_is_refused(picture: Path) -> None:
    pool = CountingPool(queue=2)
    await pool.start()
    try:
        batches = Batches(pool)
        jobs = [Job(str(picture), (wish(f"width={width}"),)) for width in range(10, 60, 10)]
        first = asyncio.create_task(batches.run(jobs[0]))
        await asyncio.sleep(0)
        while pool.queued:  # noqa: ASYNC110 - what is waited for happens in the pool, which knows no events
            await asyncio.sleep(0)
        made = await asyncio.gather(first, *map(batches.run, jobs[1:]), return_exceptions=True)
    finally:
        await pool.close()
    assert [type(one) for one in made] == [Inspection] * 3 + [QueueFull] * 2


async def test_caller_that_goes_away_is_not_worked_for(pool: CountingPool, picture: Path) -> None:
    batches = Batches(pool)
    calls = [
        asyncio.create_task(batches.run(Job(str(picture), (wish(f"width={width}"),))))
        for width in (10, 20, 30)
    ]
    await asyncio.sleep(0)
    calls[1].cancel()
    assert widths([await calls[0], await calls[2]]) == [10, 30]
    assert [len(job.wishes) for job in pool.jobs] == [1, 1]


async def test_closed_pool_leaves_nobody_waiting(pool: CountingPool, picture: Path) -> None:
    batches = Batches(pool)
    calls = [
        asyncio.create_task(batches.run(Job(str(picture), (wish(f"width={width}"),))))
        for width in (10, 20, 30)
    ]
    await asyncio.sleep(0)
    await pool.close()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(one, Exception) for one in ended)
    assert batches.queued == 0


WISHES = st.lists(
    st.builds(
        lambda width, name: wish(f"width={width}", name),
        st.integers(1, 2000),
        st.sampled_from(["avif", "webp", "jpeg"]),
    ),
    unique=True,
    max_size=20,
)


@given(wishes=WISHES, hands=st.integers(1, 6))
def test_every_wish_is_dealt_once_and_equal_looks_to_one_hand(wishes: list[Wish], hands: int) -> None:
    parts = deal(wishes, hands)
    assert len(parts) <= hands
    assert all(parts)
    assert sorted(map(repr, (one for part in parts for one in part))) == sorted(map(repr, wishes))
    looks = [{one.resolved.look for one in part} for part in parts]
    assert sum(map(len, looks)) == len(set().union(*looks)) if looks else not wishes


def test_costly_wishes_are_dealt_to_different_hands() -> None:
    wishes = [wish(f"width={width}", name) for width in (320, 640, 960, 1600) for name in ("webp", "jpeg")]
    heavy, light = deal(wishes, 2)
    assert {one.resolved.width for one in heavy} == {1600}
    assert {one.resolved.width for one in light} == {320, 640, 960}


def test_large_avif_counts_less_than_a_small_one() -> None:
    """From half a megapixel on it is encoded at a faster speed: the four sizes of a page are two equal shares."""
    wishes = [
        wish(f"width={width}", name) for width in (320, 480, 640, 960) for name in ("avif", "webp", "jpeg")
    ]
    parts = deal(wishes, 2)
    assert sorted(sorted({one.resolved.width or 0 for one in part}) for part in parts) == [
        [320, 640],
        [480, 960],
    ]


@pytest.mark.parametrize("before", [(UNTOUCHED,), (LOWER,), (UNTOUCHED, LOWER)])
def test_word_that_is_no_format_hides_no_cost(before: tuple[str, ...]) -> None:
    """A photo gets the first real format, so the cost of a wish is that format's wherever it stands."""
    wishes = [
        wish("width=320", *before, "avif", "fallback"),
        *(wish(f"width={width}", "fallback") for width in (321, 322, 323)),
    ]
    heavy, light = deal(wishes, 2)
    assert {one.resolved.width for one in heavy} == {320}
    assert {one.resolved.width for one in light} == {321, 322, 323}


def test_wish_without_formats_is_dealt_like_a_jpeg() -> None:
    """No format means that every browser must be able to show the answer."""
    resolved = Transform.parse("width=320").resolved({})
    assert deal([Wish(resolved, ())], 2) == [(Wish(resolved, ()),)]
