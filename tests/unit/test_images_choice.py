"""Which format answers: from what negotiation leaves, the facts of the picture, and what encoding has shown."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.images.choice import ORIGINAL, Candidates, EncodeFinding, candidates, without
from proxy.images.formats import UNTOUCHED, PictureFacts

PHOTO = PictureFacts("jpeg", 10, 10)
CHART = PictureFacts("png", 10, 10, drawing=True)
SHOT = PictureFacts("png", 10, 10)
DISC = PictureFacts("png", 10, 10, has_alpha=True)
MOVING = PictureFacts("gif", 10, 10, frames=5, drawing=True)


@pytest.mark.parametrize(
    ("acceptable", "facts", "anim", "order"),
    [
        ("avif webp fallback", PHOTO, True, "avif webp jpeg png gif"),
        ("webp avif fallback", DISC, True, "webp avif png jpeg gif"),
        ("fallback", PHOTO, True, "jpeg png gif"),
        ("fallback > webp", PHOTO, True, "jpeg png gif webp"),
        ("webp > avif fallback", PHOTO, True, "webp avif jpeg png gif"),
        ("png gif > webp", PHOTO, True, "png gif webp"),
        ("png gif > webp", CHART, True, "png gif webp"),
        ("jpeg gif", DISC, True, "jpeg gif"),
        ("jpeg gif", CHART, True, "gif jpeg"),
        ("fallback", CHART, True, "png gif jpeg"),
        ("anyway", PHOTO, True, "jpeg png"),
        ("anyway", MOVING, True, "png jpeg"),
        ("avif > anyway", MOVING, True, "avif png jpeg"),
        ("", PHOTO, True, "jpeg png gif"),
        ("avif webp fallback", MOVING, True, "webp gif avif png jpeg"),
        ("avif fallback > webp", MOVING, True, "gif webp avif png jpeg"),
        ("avif > webp fallback", MOVING, True, "webp gif avif png jpeg"),
        ("fallback", MOVING, True, "gif png jpeg"),
        ("png jpeg", MOVING, True, "png jpeg"),
        ("avif webp fallback", MOVING, False, "avif webp png gif jpeg"),
        ("png", PHOTO, True, "png"),
        ("jpeg", DISC, True, "jpeg"),
        ("jpeg", MOVING, True, "jpeg"),
        ("gif", MOVING, True, "gif"),
        ("json", MOVING, True, "json"),
    ],
)
def test_formats_are_tried_in_the_order_of_client_and_picture(
    acceptable: str, facts: PictureFacts, anim: bool, order: str
) -> None:
    """The client's preference comes first, the picture decides among JPEG, PNG and GIF, and animations keep moving."""
    assert candidates(tuple(acceptable.split()), facts, anim=anim).order == tuple(order.split())


@pytest.mark.parametrize(
    ("acceptable", "facts", "equals"),
    [
        ("avif webp fallback", CHART, "avif webp png"),
        ("avif webp fallback", DISC, "avif webp png"),
        ("avif webp fallback", SHOT, "avif webp jpeg png"),
        ("avif webp > fallback", CHART, "avif webp"),
        ("webp > avif fallback", CHART, "webp"),
        ("webp jpeg gif", CHART, "webp gif"),
        ("fallback", CHART, "png"),
        ("webp", CHART, "webp"),
        ("avif webp fallback", MOVING, ""),
    ],
)
def test_drawing_takes_the_smallest_of_what_the_client_likes_equally(
    acceptable: str, facts: PictureFacts, equals: str
) -> None:
    """JPEG does not compete if it would spoil a palette or drop transparency. Animations have no competition."""
    assert candidates(tuple(acceptable.split()), facts).equals == tuple(equals.split())


@pytest.mark.parametrize("place", range(3))
def test_svg_is_answered_unchanged_wherever_that_stands_and_nothing_else_is(place: int) -> None:
    """`UNTOUCHED` says that the client shows SVG, not that it likes it best."""
    acceptable = ["webp", "fallback"]
    without_it = tuple(acceptable)
    acceptable.insert(place, UNTOUCHED)
    drawing = PictureFacts("svg", 10, 10)
    assert candidates(tuple(acceptable), drawing) == Candidates((UNTOUCHED,))
    assert candidates(tuple(acceptable), PHOTO) == candidates(without_it, PHOTO)
    assert candidates((UNTOUCHED,), PHOTO) == candidates(("fallback",), PHOTO)


def test_client_that_takes_neither_jpeg_nor_png_does_not_get_the_original_in_them() -> None:
    """`anyway` is a last resort for what we encode, and no word of the client's."""
    wanted = candidates(("avif", ">", "anyway"), PHOTO)
    assert wanted.order == ("avif", "jpeg", "png")
    assert not wanted.accepted & {"jpeg", "png"}
    assert candidates(("avif", "fallback"), PHOTO).accepted >= {"avif", "jpeg", "png", "gif"}


def test_original_answers_only_where_it_is_smaller() -> None:
    """If both have the same size, the format that the client prefers is used."""
    wanted = all_of(PHOTO)
    assert EncodeFinding({"avif": 5, ORIGINAL: 5}).answer(wanted, source_format="jpeg") == "avif"
    assert EncodeFinding({"avif": 5, ORIGINAL: 4}).answer(wanted, source_format="jpeg") == ORIGINAL
    assert EncodeFinding({"avif": 9, "webp": 5}).answer(all_of(CHART), source_format="png") == "avif"


def finding(sizes: dict[str, int | None], *, smallest: bool = False) -> EncodeFinding:
    return EncodeFinding(sizes, smallest=smallest)


def all_of(facts: PictureFacts, acceptable: str = "avif webp fallback") -> Candidates:
    return candidates(tuple(acceptable.split()), facts)


@pytest.mark.parametrize(
    ("found", "wanted", "answer"),
    [
        (finding({}), all_of(PHOTO), "avif"),
        (finding({"avif": None, "webp": 9}), all_of(PHOTO), "webp"),
        (finding({"avif": None}), all_of(PHOTO), "webp"),
        (finding({"avif": None, "webp": None}), all_of(PHOTO), "jpeg"),
        (finding({"avif": 9, ORIGINAL: 5}), all_of(PHOTO), ORIGINAL),
        (finding({"avif": 4, ORIGINAL: 5}), all_of(PHOTO), "avif"),
        (finding({"avif": 9, ORIGINAL: 5}), all_of(PHOTO, "avif > anyway"), "avif"),
        (finding({"avif": 9, ORIGINAL: 5}), all_of(PHOTO, "webp fallback"), None),
        (finding({"avif": 9}, smallest=True), all_of(CHART), None),
        (finding({"avif": 9, "webp": 3, "png": 5}, smallest=True), all_of(CHART), "webp"),
        (finding({"avif": 9, "webp": 3, "png": 5}, smallest=True), all_of(CHART, "avif fallback"), "png"),
        (finding({"avif": 9, "webp": 3, "png": 5}, smallest=True), all_of(CHART, "avif > webp"), "avif"),
        (finding({"avif": 5, "webp": 5, "png": 5}, smallest=True), all_of(CHART), "avif"),
        (finding({"avif": 2, "webp": None, "png": 5}, smallest=True), all_of(CHART), "avif"),
        (
            finding({"avif": None, "webp": None, "png": None}, smallest=True),
            all_of(CHART),
            "gif",
        ),
    ],
)
def test_what_was_found_decides_without_another_encode(
    found: EncodeFinding, wanted: Candidates, answer: str | None
) -> None:
    """The smallest of a drawing, the original's own bytes, no format that failed; None where a size is missing."""
    source_format = "jpeg" if "jpeg" in wanted.order[:3] or "anyway" in wanted.accepted else "png"
    assert found.answer(wanted, source_format=source_format) == answer


def test_findings_of_different_clients_add_up() -> None:
    """A second client's sizes complete the first one's."""
    first, second = finding({"webp": 3, "png": 5}, smallest=True), finding({"avif": 9})
    assert first.merged(second).answer(all_of(CHART), source_format="png") == "webp"


@pytest.mark.parametrize("sizes", [{}, {"avif": 1, "webp": None}, {ORIGINAL: 7}])
@pytest.mark.parametrize("smallest", [True, False])
def test_finding_survives_storing(sizes: dict[str, int | None], smallest: bool) -> None:
    """`from_dict(to_dict)` is the same."""
    stored = finding(sizes, smallest=smallest)
    assert EncodeFinding.from_dict(stored.to_dict()) == stored


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"sizes": [1], "smallest": True},
        {"sizes": {"bmp": 3}, "smallest": False},
        {"sizes": {"png": "3"}, "smallest": False},
        [],
    ],
)
def test_what_is_no_finding_is_refused(stored: Any) -> None:
    """A damaged note and a render process that was taken over cannot name formats of their own."""
    with pytest.raises(ValueError, match=r"finding|sizes"):
        EncodeFinding.from_dict(stored)


@pytest.mark.parametrize(
    ("acceptable", "refused", "left"),
    [
        ("avif webp fallback", "", "avif webp fallback"),
        ("avif webp fallback", "avif", "webp fallback"),
        ("avif webp fallback", "jpeg", "avif webp png gif"),
        ("avif > anyway", "avif png", "> jpeg"),
        ("webp > avif fallback svg", "webp", "> avif fallback svg"),
        ("", "png", "jpeg gif"),
        ("avif > webp", "avif webp", ""),
        ("jpeg", "jpeg", ""),
    ],
)
def test_refused_formats_leave_the_others_in_their_order(acceptable: str, refused: str, left: str) -> None:
    assert without(tuple(acceptable.split()), refused.split()) == tuple(left.split())


@pytest.mark.parametrize(
    ("found", "plain"),
    [
        (finding({"webp": 3}), True),
        (finding({"webp": 3}, smallest=True), False),
        (finding({"webp": 3, ORIGINAL: 2}), False),
        (finding({"webp": None, "png": 2}), False),
    ],
)
def test_finding_is_plain_where_the_facts_alone_choose_the_same_format(
    found: EncodeFinding, plain: bool
) -> None:
    assert found.is_plain is plain


def test_findings_of_a_drawing_stay_those_of_a_drawing() -> None:
    assert finding({"png": 5}).merged(finding({"webp": 3}, smallest=True)).smallest
