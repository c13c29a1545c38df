"""Overloads: work that was too much is avoided for a growing pause, under the limits with which it was found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cache.across.failures import Failures, RememberedFailure
from cache.base.threads import StoreThreads
from proxy.config import RenderConfig
from proxy.errors import DecodeFailed, NotAnImage, OutOfMemory, QueueFull, RenderTimeout, TooManyPixels
from proxy.images.formats import PictureFacts
from proxy.images.jobs import Inspection, Output, Rendered, Wish
from proxy.images.transforms.transform import Transform
from proxy.services.troubles.overloads import FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS, Overloads

DIGEST, OTHER = "a" * 64, "b" * 64
FACTS = PictureFacts("jpeg", 4000, 3000)
START = 1_700_000_000.0


class Clock:
    """The time of a test."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


@pytest.fixture(name="failures")
async def _failures(tmp_path: Path) -> AsyncIterator[Failures]:
    threads = StoreThreads("test")
    yield Failures(tmp_path / "overloads", threads)
    await threads.close()


@pytest.fixture(name="overloads")
def _overloads(failures: Failures, clock: Clock) -> Overloads:
    return Overloads(failures, RenderConfig(), now=clock)


def wish(text: str, *acceptable: str) -> Wish:
    return Wish(Transform.parse(text).resolved({}), acceptable or ("avif",))


async def note(overloads: Overloads, wanted: Wish, output: Output, *, digest: str = DIGEST) -> None:
    known = await overloads.look(digest)
    await overloads.note(digest, (wanted,), Inspection(FACTS, "whole", None, (output,)), known=known)


async def note_reading(overloads: Overloads, error: RenderTimeout | OutOfMemory | DecodeFailed) -> None:
    known = await overloads.look(DIGEST)
    await overloads.note(DIGEST, (), Inspection.failed(error, None, wishes=0), known=known)


@pytest.mark.parametrize("error", [RenderTimeout(), OutOfMemory()])
async def test_picture_that_cannot_be_read_is_refused_whatever_is_wished(
    overloads: Overloads, error: RenderTimeout | OutOfMemory
) -> None:
    await note_reading(overloads, error)
    assert type((await overloads.look(DIGEST)).refusal(FACTS)) is type(error)
    assert (await overloads.look(OTHER)).refusal(FACTS) is None


@pytest.mark.parametrize("error", [DecodeFailed(), TooManyPixels(), NotAnImage(), QueueFull()])
async def test_failure_of_another_kind_is_not_remembered(failures: Failures, error: DecodeFailed) -> None:
    """Damage, limits that a header exceeds, and a busy service are not for this memory."""
    clock = Clock()
    overloads = Overloads(failures, RenderConfig(), now=clock)
    await note_reading(overloads, error)
    await note(overloads, wish("width=800"), error)
    known = await overloads.look(DIGEST)
    assert (known.present, known.past) == ({}, {})


@pytest.mark.parametrize(
    ("wanted", "refused"),
    [
        (wish("width=800"), True),
        (wish("width=1600"), True),
        (wish("width=400,dpr=2"), True),
        (wish("width=800,quality=40", "avif", "webp"), True),
        (wish("width=799"), False),
        (wish("width=800", "webp"), False),
        (wish("width=1600", "webp", "avif"), False),
        (wish("width=800", "fallback"), False),
    ],
)
async def test_variant_that_was_too_much_refuses_its_format_from_its_size_on(
    overloads: Overloads, wanted: Wish, refused: bool
) -> None:
    await note(overloads, wish("width=800"), RenderTimeout())
    known = await overloads.look(DIGEST)
    assert known.refusal(FACTS) is None
    assert isinstance(known.refusal_of(wanted, FACTS), RenderTimeout) == refused


DRAWING = PictureFacts("svg", 3000, 3000)


async def note_drawing(overloads: Overloads, wanted: Wish, error: RenderTimeout | OutOfMemory | None) -> None:
    known = await overloads.look(DIGEST)
    made = Rendered(b"x", "avif", 1, 1)
    found = (
        Inspection.failed(error, DRAWING, wishes=1) if error else Inspection(DRAWING, "whole", None, (made,))
    )
    await overloads.note(DIGEST, (wanted,), found, known=known)


@pytest.mark.parametrize(
    ("wanted", "refused"),
    [
        (wish("width=1600"), True),
        (wish("width=3000", "webp"), True),
        (wish("width=800,dpr=2", "png"), True),
        (wish("width=2000,height=1600,fit=cover", "fallback"), True),
        (wish("width=1599"), False),
        (wish("width=400,height=300,fit=cover", "webp"), False),
    ],
)
@pytest.mark.parametrize("error", [RenderTimeout(), OutOfMemory()])
async def test_drawing_that_was_too_much_is_refused_from_its_size_on(
    overloads: Overloads, error: RenderTimeout | OutOfMemory, wanted: Wish, refused: bool
) -> None:
    """A visitor who asks for a huge drawing does not prevent its thumbnails."""
    await note_drawing(overloads, wish("width=1600"), error)
    known = await overloads.look(DIGEST)
    assert known.refusal(DRAWING) is None
    assert isinstance(known.refusal_of(wanted, DRAWING), type(error)) == refused


async def test_drawing_of_unknown_size_that_was_too_much_is_refused(overloads: Overloads) -> None:
    """Another source of the same bytes has no facts yet, so sizes cannot be compared."""
    await note_drawing(overloads, wish("width=1600"), RenderTimeout())
    assert isinstance((await overloads.look(DIGEST)).refusal(None), RenderTimeout)


async def test_smaller_drawing_that_goes_well_does_not_forget_the_larger(
    overloads: Overloads, clock: Clock
) -> None:
    await note_drawing(overloads, wish("width=1600"), RenderTimeout())
    clock.now += FIRST_PAUSE_SECONDS
    await note_drawing(overloads, wish("width=400"), None)
    assert list((await overloads.look(DIGEST)).past) == ["reading"]
    await note_drawing(overloads, wish("width=1600"), None)
    assert (await overloads.look(DIGEST)).past == {}


async def test_smaller_variant_that_is_too_much_lowers_the_bound(overloads: Overloads) -> None:
    await note(overloads, wish("width=800"), RenderTimeout())
    await note(overloads, wish("width=400"), RenderTimeout())
    known = await overloads.look(DIGEST)
    assert known.refusal_of(wish("width=500"), FACTS) is not None
    assert known.refusal_of(wish("width=300"), FACTS) is None


async def test_pause_doubles_up_to_a_week(overloads: Overloads, clock: Clock) -> None:
    """No verdict is for good: it ends by itself, and later each time it is found again."""
    pauses = []
    for _ in range(14):
        await note_reading(overloads, RenderTimeout())
        (found,) = (await overloads.look(DIGEST)).present.values()
        pauses.append(found.until - clock.now)
        clock.now = found.until
        assert (await overloads.look(DIGEST)).refusal(FACTS) is None
    assert pauses[:3] == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS]
    assert pauses[-1] == pauses[-2] == MAX_PAUSE_SECONDS


async def test_success_after_the_pause_forgets(overloads: Overloads, clock: Clock) -> None:
    """After a success, a later failure begins with the first pause again."""
    await note_reading(overloads, RenderTimeout())
    await note(overloads, wish("width=800"), RenderTimeout())
    clock.now += FIRST_PAUSE_SECONDS
    await note(overloads, wish("width=799"), Rendered(b"x", "avif", 1, 1))
    known = await overloads.look(DIGEST)
    assert list(known.past) == ["avif"], "a smaller variant says nothing of the larger one"
    await note(overloads, wish("width=800"), Rendered(b"x", "avif", 1, 1))
    assert (await overloads.look(DIGEST)).past == {}


@pytest.mark.parametrize(
    "changes",
    [{"timeout": 40.0}, {"drawing_timeout": 9.0}, {"memory_max_bytes": 4 << 30}, {"decoder": "pillow"}],
)
async def test_other_limits_are_another_question(overloads: Overloads, changes: dict[str, object]) -> None:
    """A verdict holds under the limits it was found with, and under them again when they come back."""
    await note_reading(overloads, RenderTimeout())
    overloads.reconfigure(RenderConfig.model_validate(changes))
    assert (await overloads.look(DIGEST)).refusal(FACTS) is None
    overloads.reconfigure(RenderConfig())
    assert (await overloads.look(DIGEST)).refusal(FACTS) is not None


async def test_other_render_version_is_another_question(
    overloads: Overloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    await note_reading(overloads, RenderTimeout())
    monkeypatch.setattr("proxy.services.troubles.overloads.RENDER_VERSION", "new")
    overloads.reconfigure(RenderConfig())
    assert (await overloads.look(DIGEST)).refusal(FACTS) is None


@pytest.mark.parametrize(
    "record",
    [
        RememberedFailure("time 0", 0, 1, START + 1e6, START + 2e6),
        RememberedFailure("gone 0", 0, 1, START, START + 60),
        RememberedFailure("time", 0, 1, START, START + 60),
        RememberedFailure("time -1", 0, 1, START, START + 60),
    ],
)
async def test_record_that_makes_no_sense_counts_as_none(
    overloads: Overloads, failures: Failures, record: RememberedFailure
) -> None:
    """A clock that was put back, or a file of others, blocks no picture."""
    await failures.put(overloads._key(DIGEST, "reading"), record)
    assert (await overloads.look(DIGEST)).refusal(FACTS) is None
