"""Answers made of one look: the smallest of a drawing, the next format when an encoder fails, no second encode."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

import pictures
import pytest
from PIL import Image

from proxy.errors import DecodeFailed, TooManyPixels, UnsupportedFormat
from proxy.images import encode as encoders
from proxy.images.answers import Answers
from proxy.images.choice import ORIGINAL, Candidates, candidates
from proxy.images.encode import EncodeFailed, Result, encode
from proxy.images.formats import OUTPUTS, PictureFacts
from proxy.images.transforms.resolved import Resolved

PHOTO = PictureFacts("jpeg", 300, 200)
CHART = PictureFacts("png", 640, 400, drawing=True)
BROWSER = ("avif", "webp", "fallback")
FAULTS = [
    OSError("encoder error -2"),
    ValueError("cannot write empty image"),
    struct.error("ushort format requires 0 <= number <= 65535"),
    RuntimeError("Failed to encode image: Encoding of color planes failed"),
    OverflowError("int too large"),
    KeyError("mode"),
]


@pytest.fixture(name="encoded")
def _encoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the encodes by format."""
    counts: Counter[str] = Counter()

    def counted(name: str, write: Callable[[Result], bytes]) -> Callable[[Result], bytes]:
        def write_and_count(result: Result) -> bytes:
            counts[name] += 1
            return write(result)

        return write_and_count

    for name, write in encoders._ENCODERS.items():
        monkeypatch.setitem(encoders._ENCODERS, name, counted(name, write))
    return counts


def broken(monkeypatch: pytest.MonkeyPatch, error: Exception, *names: str) -> None:
    def fail(_result: Result) -> bytes:
        raise error

    for name in names:
        monkeypatch.setitem(encoders._ENCODERS, name, fail)


def photo(**wanted: Any) -> Result:
    return Result(((pictures.photo(300, 200), 0),), 0, b"", Resolved(**wanted))


def chart() -> Result:
    return Result(((pictures.chart().convert("RGB"), 0),), 0, b"", Resolved(), drawing=True)


def answers(result: Result, facts: PictureFacts = PHOTO, own: bytes | None = None) -> Answers:
    return Answers(result, own=own, source_format=facts.format)


def to(facts: PictureFacts = PHOTO, acceptable: tuple[str, ...] = BROWSER) -> Candidates:
    return candidates(acceptable, facts)


def test_photo_is_encoded_once_in_the_first_format(encoded: Counter[str]) -> None:
    made = answers(photo()).to(to())
    assert (made.output_format, encoded) == ("avif", {"avif": 1})
    assert made.finding.is_plain


def test_drawing_is_encoded_once_in_every_equal_and_the_smallest_answers(encoded: Counter[str]) -> None:
    """Other clients of the same job cost no further encode."""
    one = answers(chart(), CHART)
    made = one.to(to(CHART))
    sizes = {name: len(encode(chart(), name)) for name in ("avif", "webp", "png")}
    encoded.subtract(sizes.keys())
    assert made.output_format == min(sizes, key=lambda name: sizes[name]) == "webp"
    assert (made.finding.smallest, made.finding.sizes) == (True, sizes)
    assert one.to(to(CHART, ("fallback",))).output_format == "png"
    assert one.to(to(CHART, ("avif", "fallback"))).output_format == min(
        ("avif", "png"), key=lambda n: sizes[n]
    )
    assert encoded == {"avif": 1, "webp": 1, "png": 1}


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_format_whose_encoder_fails_is_passed_over(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The next acceptable format answers, and that the first one failed is noted with the answer."""
    broken(monkeypatch, error, "avif")
    made = answers(photo()).to(to())
    assert made.output_format == "webp"
    assert made.finding.sizes["avif"] is None
    broken(monkeypatch, error, "avif", "webp")
    assert answers(photo()).to(to()).output_format == "jpeg"
    assert answers(photo()).to(to(acceptable=("avif", ">", "anyway"))).output_format == "jpeg"
    broken(monkeypatch, error, "jpeg")
    assert answers(photo()).to(to()).output_format == "png"


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("name", tuple(OUTPUTS))
def test_named_format_whose_encoder_fails_is_unsupported_and_never_damage(
    monkeypatch: pytest.MonkeyPatch, name: str, error: Exception
) -> None:
    broken(monkeypatch, error, name)
    with pytest.raises(UnsupportedFormat, match="cannot be written as") as raised:
        answers(photo()).to(Candidates((name,)))
    assert name in raised.value.message.lower()
    assert not isinstance(raised.value, DecodeFailed)


@pytest.mark.parametrize("error", [MemoryError(), OSError("encoder error -1: out of memory")])
def test_shortage_of_memory_is_not_noted(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The next format answers now; the next request tries the first one again."""
    broken(monkeypatch, error, "avif")
    made = answers(photo()).to(to())
    assert made.output_format == "webp"
    assert made.finding.is_plain
    with pytest.raises(TooManyPixels, match="memory"):
        answers(photo()).to(Candidates(("avif",)))


def test_drawing_is_answered_by_those_that_do_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, OSError("broken"), "webp")
    assert answers(chart(), CHART).to(to(CHART)).output_format == "png"
    broken(monkeypatch, OSError("broken"), "webp", "avif", "png")
    assert answers(chart(), CHART).to(to(CHART)).output_format == "gif"


@pytest.mark.parametrize(
    ("name", "side"), [("webp", 16_384), ("gif", 65_536), ("jpeg", 65_501), ("avif", 65_537)]
)
def test_side_beyond_a_format_is_told_without_trying(
    monkeypatch: pytest.MonkeyPatch, name: str, side: int
) -> None:
    """The limit is part of the message."""
    broken(monkeypatch, AssertionError("was tried"), name)
    wide = Result(((Image.new("L", (side, 1)), 0),), 0, b"", Resolved())
    with pytest.raises(EncodeFailed) as raised:
        encode(wide, name)
    assert isinstance(raised.value.error, TooManyPixels)
    assert str(side - 1) in raised.value.error.message
    assert answers(wide).to(Candidates((name, "png"))).output_format == "png"


@pytest.mark.parametrize("name", ["webp", "gif", "jpeg"])
def test_longest_side_of_a_format_is_written(name: str) -> None:
    side = {"webp": 16_383, "gif": 65_535, "jpeg": 65_500}[name]
    body = encode(Result(((Image.new("L", (side, 2)), 0),), 0, b"", Resolved()), name)
    assert pictures.opened(body).size == (side, 2)


def test_own_bytes_answer_where_they_are_smaller_and_accepted() -> None:
    """The transform changes nothing: the original is as good, and its format must be one that the client takes."""
    own = b"small"
    one = answers(photo(), own=own)
    assert (one.to(to()).body, one.to(to()).output_format) == (own, "jpeg")
    assert one.to(to()).finding.sizes[ORIGINAL] == len(own)
    assert one.to(to(acceptable=("avif", ">", "anyway"))).output_format == "avif"
    assert one.to(to(acceptable=("webp", ">", "png"))).output_format == "webp"
    assert one.to(Candidates(("avif",), (), frozenset({"avif"}))).output_format == "avif"
    larger = answers(photo(), own=b"x" * 1_000_000)
    assert larger.to(to()).output_format == "avif"
    assert larger.to(to()).finding.is_plain


# Animations


def moving(plays: int = 0, delays: tuple[int, ...] = (40, 40, 40)) -> Result:
    frames = tuple((pictures.quarters(40, 30).rotate(n), delay) for n, delay in enumerate(delays))
    return Result(frames, plays, b"", Resolved())


@pytest.mark.parametrize("plays", [0, 1, 2, 65_535, 65_536, 65_537, 2**31])
def test_plays_beyond_what_a_format_counts_are_as_many_as_it_does(plays: int) -> None:
    """GIF counts repetitions in 16 bits, WebP plays; for ever stays for ever, and once stays once."""
    gif, webp = (pictures.opened(encode(moving(plays), name)) for name in ("gif", "webp"))
    assert gif.info.get("loop") == (None if plays == 1 else max(0, min(plays - 1, 65_535)))
    assert webp.info["loop"] == min(plays, 65_535)


@pytest.mark.parametrize(
    "delays",
    [
        (0, 0, 0),
        (655_350, 655_360, 20),
        (65_535_000, 10, 10),
        (20_000_000,) * 200,
        (500_000, 500_000, 500_000),
    ],
)
@pytest.mark.parametrize("name", ["gif", "webp"])
@pytest.mark.parametrize("equal", [True, False])
def test_delay_beyond_what_a_format_holds_is_as_long_as_it_can_be(
    name: str, delays: tuple[int, ...], equal: bool
) -> None:
    """No delay makes an encoder fail, those of equal frames that are added up neither."""
    shown = moving(delays=delays)
    frames = tuple((shown.picture if equal else picture, delay) for picture, delay in shown.frames)
    body = encode(Result(frames, 0, b"", Resolved()), name)
    assert pictures.opened(body).format == name.upper()


def test_animation_is_still_only_where_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = PictureFacts("gif", 40, 30, frames=3, drawing=True)
    wanted = candidates(BROWSER, facts)
    assert answers(moving(), facts).to(wanted).output_format == "webp"
    broken(monkeypatch, OSError("broken"), "webp")
    assert answers(moving(), facts).to(wanted).output_format == "gif"
    broken(monkeypatch, OSError("broken"), "webp", "gif")
    still = answers(moving(), facts).to(wanted)
    assert (still.output_format, getattr(pictures.opened(still.body), "n_frames", 1)) == ("avif", 1)


# Metadata


@pytest.mark.parametrize("name", tuple(OUTPUTS))
def test_exif_data_that_a_format_cannot_hold_cost_no_picture(name: str) -> None:
    """A JPEG segment ends at 64 KiB; the picture is worth more."""
    tags = pictures.exif(Artist="A" * 70_000)
    result = Result(((pictures.photo(60, 40), 0),), 0, tags, Resolved(metadata="keep"))
    shown = pictures.opened(encode(result, name))
    assert bool(shown.getexif()) is (name not in {"jpeg", "gif"}), (
        f"{name}: is 64 KiB of Exif data too much for it?"
    )
