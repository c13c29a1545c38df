"""Judging: what a download is and whether it may be kept, from facts alone; no server, no disk."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cache.base.entry import Entry
from cache.originals.incoming import Incoming
from proxy.errors import DecodeFailed, MirrorError, NotAnImage, SourceUnreachable, TooManyPixels
from proxy.fetch.fetcher import Fetched, NotModified
from proxy.images.formats import PictureFacts
from proxy.images.jobs import JUDGE, Inspection
from proxy.services.serving import judging
from proxy.services.serving.download import Arrival
from proxy.services.serving.values import NOT_KEPT
from proxy.source import Source

SOURCE = Source.parse("https://pictures.example/a.png")
DIGEST, OTHER = "a" * 64, "b" * 64
PNG_HEAD = b"\x89PNG\r\n\x1a\n" + bytes(64)
FACTS = PictureFacts(format="png", width=40, height=30, frames=1)
WHOLE = Inspection(FACTS, "whole")
DAMAGED = Inspection(FACTS, "damaged", DecodeFailed())


def fetched(**changes: Any) -> Fetched:
    answer = Fetched(
        status=200,
        headers=(("content-type", "image/png"), ("etag", '"1"')),
        final_url=SOURCE.url,
        size=72,
        framing="length",
        request_time=1000.0,
        response_time=1001.0,
        redirects=0,
    )
    return replace(answer, **changes)


def arrival(answer: Fetched | None = None, **more: Any) -> Arrival:
    incoming = cast("Incoming", SimpleNamespace(sha256=DIGEST))
    return Arrival(SOURCE, answer or fetched(), incoming, PNG_HEAD, 7, **more)


def kept(**changes: Any) -> Entry:
    entry = judging.entry_of(arrival(), "image/png", WHOLE)
    return replace(entry, fetched_at=500.0, validated_at=600.0, **changes)


def test_bytes_decide_the_type_against_the_origins_word() -> None:
    found = judging.media_type_of(PNG_HEAD, size=72, claimed="text/html", root="", types=("image/*",))
    assert found == "image/png"


@pytest.mark.parametrize(
    ("head", "size"), [(b"", 0), (b"<!doctype html><html>", 21)], ids=["empty body", "page"]
)
def test_body_that_is_no_admitted_picture_is_refused(head: bytes, size: int) -> None:
    with pytest.raises(NotAnImage):
        judging.media_type_of(head, size=size, claimed="image/png", root="", types=("image/*",))


def test_empty_body_is_refused_although_its_type_is_admitted() -> None:
    """Nothing is a style sheet of no bytes; a style sheet of one byte is one."""
    asked: dict[str, Any] = {"claimed": "text/css", "root": "", "types": ("image/*", "text/css")}
    with pytest.raises(NotAnImage):
        judging.media_type_of(b"", size=0, **asked)
    assert judging.media_type_of(b" ", size=1, **asked) == "text/css"


def test_body_with_a_known_length_needs_no_end_of_its_own() -> None:
    assert judging.end_to_find("image/x-unknown", framing="length") == ""


def test_body_that_ends_with_the_connection_must_show_the_end_of_its_format() -> None:
    assert judging.end_to_find("image/png", framing="close") == "png"
    with pytest.raises(SourceUnreachable):
        judging.end_to_find("text/css", framing="close")


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({}, True),
        ({"body_sha256": OTHER}, False),
        ({"damaged": True}, False),
        ({"picture": None}, False),
        ({"media_type": "image/gif"}, False),
    ],
)
def test_second_look_is_spared_for_the_same_good_picture_only(changes: dict[str, Any], known: bool) -> None:
    assert judging.is_known(arrival(previous=kept(**changes)), "image/png") is known


def test_picture_that_was_never_kept_is_looked_at() -> None:
    assert judging.is_known(arrival(), "image/png") is False


@pytest.mark.parametrize("recovered", [None, {"place": "wayback"}], ids=["origin", "copy"])
def test_damaged_picture_is_taken_from_its_origin_but_not_as_a_copy(recovered: dict[str, str] | None) -> None:
    refusal = judging.refusal_of(arrival(recovered=recovered), DAMAGED)
    assert isinstance(refusal, DecodeFailed) == (recovered is not None)


def test_copy_of_one_pixel_is_no_picture_and_the_origins_own_is() -> None:
    pixel = Inspection(replace(FACTS, width=1, height=1), "whole")
    assert isinstance(judging.refusal_of(arrival(recovered={}), pixel), NotAnImage)
    assert judging.refusal_of(arrival(), pixel) is None


@pytest.mark.parametrize(
    ("width", "height", "refused"),
    [(2, 2, True), (1, 2, True), (3, 1, False), (1, 3, False), (3, 3, False)],
)
def test_copy_is_refused_only_where_both_sides_are_at_most_two_pixels(
    width: int, height: int, refused: bool
) -> None:
    """Archives keep tracking pixels in the place of pictures; a thin line is a picture of some page."""
    copy = Inspection(replace(FACTS, width=width, height=height), "whole")
    assert isinstance(judging.refusal_of(arrival(recovered={}), copy), NotAnImage) is refused


def test_copy_whose_size_a_limit_kept_from_being_known_is_taken() -> None:
    beyond = Inspection(None, "beyond_limits", TooManyPixels())
    assert judging.refusal_of(arrival(recovered={}), beyond) is None


@pytest.mark.parametrize("error", [NotAnImage(detail="text"), None])
def test_what_a_render_process_calls_no_picture_is_refused(error: MirrorError | None) -> None:
    refusal = judging.refusal_of(arrival(), Inspection(None, "not_an_image", error))
    assert isinstance(refusal, NotAnImage)
    assert error is None or refusal is error


def test_entry_of_a_damaged_picture_says_so_and_one_beyond_the_limits_is_not_damaged() -> None:
    beyond = Inspection(FACTS, "beyond_limits", TooManyPixels())
    assert judging.entry_of(arrival(), "image/png", DAMAGED).damaged
    assert not judging.entry_of(arrival(), "image/png", beyond).damaged


def test_same_bytes_again_keep_when_they_first_came_and_what_is_known_of_them() -> None:
    before = kept()
    entry = judging.entry_of(arrival(previous=before), "image/png", None)
    assert (entry.fetched_at, entry.validated_at) == (500.0, 1001.0)
    assert entry.picture == before.picture


def test_other_bytes_take_nothing_over_from_what_was_kept() -> None:
    entry = judging.entry_of(arrival(previous=kept(body_sha256=OTHER)), "text/css", None)
    assert (entry.fetched_at, entry.picture) == (1001.0, None)


def test_same_bytes_that_were_looked_at_again_are_known_by_the_new_look_only() -> None:
    beyond = Inspection(None, "beyond_limits", TooManyPixels())
    assert judging.entry_of(arrival(previous=kept()), "image/png", beyond).picture is None


def test_lost_bytes_that_come_back_keep_when_they_first_came() -> None:
    assert judging.entry_of(arrival(lost=kept()), "image/png", WHOLE).fetched_at == 500.0


def test_304_brings_headers_and_times_and_leaves_the_body() -> None:
    answer = NotModified((("etag", '"2"'),), 2000.0, 2001.0)
    entry = judging.entry_vouched(kept(), answer)
    assert (entry.etag, entry.validated_at, entry.body_sha256) == ('"2"', 2001.0, DIGEST)
    assert entry.fetched_at == 500.0


def test_another_look_clears_a_mark_of_former_rules() -> None:
    entry = judging.entry_relooked(kept(damaged=True, judged_by="1"), WHOLE)
    assert entry is not None
    assert (entry.damaged, entry.judged_by) == (False, JUDGE)


@pytest.mark.parametrize(("inspection", "damaged"), [(WHOLE, False), (DAMAGED, True)])
def test_another_look_at_bytes_without_facts_brings_them(inspection: Inspection, damaged: bool) -> None:
    entry = judging.entry_relooked(kept(picture=None), inspection)
    assert entry is not None
    assert (entry.picture, entry.damaged) == (FACTS.to_dict(), damaged)


def test_another_look_without_facts_leaves_those_that_are_known() -> None:
    former = kept(damaged=True, judged_by="1")
    entry = judging.entry_relooked(former, Inspection(None, "damaged", DecodeFailed()))
    assert entry is not None
    assert (entry.picture, entry.judged_by) == (former.picture, JUDGE)


@pytest.mark.parametrize(
    "known", [{}, {"damaged": True}, {"judged_by": "1"}], ids=["good", "damaged", "good by former rules"]
)
def test_another_look_at_what_is_known_changes_nothing(known: dict[str, Any]) -> None:
    assert judging.entry_relooked(kept(**known), WHOLE) is None


def test_another_look_that_was_cut_off_by_a_limit_says_nothing() -> None:
    beyond = Inspection(None, "beyond_limits", TooManyPixels())
    assert judging.entry_relooked(kept(picture=None), beyond) is None


def test_state_tells_why_the_origin_was_asked_and_whether_the_disk_took_it() -> None:
    first = judging.state_of(arrival())
    assert (first.forward, first.forward_status, first.stored, first.detail) == ("uri-miss", 200, False, "")
    refused = judging.state_of(arrival(previous=kept()), stored=False)
    assert (refused.forward, refused.stored, refused.detail) == ("stale", False, NOT_KEPT)


def test_picture_kept_against_the_origins_wish_says_which() -> None:
    answer = fetched(headers=(("cache-control", "no-store"),))
    assert judging.state_of(arrival(answer), stored=True).detail == "kept_despite_no-store"


def test_copy_from_an_archive_says_so_rather_than_what_the_archive_wished() -> None:
    answer = fetched(headers=(("cache-control", "no-store"),))
    recovered = arrival(answer, recovered={"place": "wayback"})
    assert judging.state_of(recovered, stored=True).detail == "recovered"
