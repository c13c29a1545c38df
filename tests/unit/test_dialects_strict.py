"""What dialects are served with: requests read strictly, sizes and places met as theirs, grammars as values."""

from __future__ import annotations

import pytest

from proxy.dialects.base import asked
from proxy.dialects.base.grammar import (
    Grammar,
    formatted,
    inside,
    named,
    split_list,
    split_query,
    worded,
    written,
)
from proxy.dialects.base.serving import (
    Served,
    meeting,
    only,
    resized_first,
    strictly,
    turned_first,
    with_default_scheme,
)
from proxy.errors import InvalidTransform, NotFound

STRICT = asked.by_name(
    [
        asked.key("w", asked.pixels("width")),
        asked.key("mirror", asked.flag({"flip": "h"})),
        asked.key("turn", asked.flag({"flip": "v"})),
        asked.key("il", asked.nothing),
        asked.key("mask", asked.lost),
        asked.key("crop", asked.lost, serve=only("none", "off")),
    ]
)


def test_request_is_read_strictly_and_says_what_had_no_effect() -> None:
    pairs = [
        ("W", "%31"),
        ("w", "2"),
        ("mirror", ""),
        ("turn", "1"),
        ("il", "a"),
        ("il", "b"),
        ("crop", "NONE"),
    ]
    assert strictly("weserv", pairs, STRICT) == ({"width": "2", "flip": "hv"}, ("il",))
    assert strictly("weserv", [("zoom", "1"), ("w", "2")], STRICT, others_ignored=True) == (
        {"width": "2"},
        ("zoom",),
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("zoom", "1", "weserv's option zoom is not one that is served here."),
        ("mask", "1", "weserv's option mask is not one that is served here."),
        ("w", "%77ide", "weserv's option w does not take wide here."),
        ("crop", "all", "weserv's option crop does not take all here."),
    ],
)
def test_option_that_cannot_be_served_is_refused_by_name(name: str, value: str, said: str) -> None:
    """Never a picture that looks otherwise than was asked."""
    with pytest.raises(InvalidTransform) as caught:
        strictly("weserv", [("w", "1"), (name, value)], STRICT)
    assert caught.value.message == said


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("h.example/a.png", "https://h.example/a.png"),
        ("//h.example/a.png", "https://h.example/a.png"),
        ("localhost:8080/a", "https://localhost:8080/a"),
        ("[::1]/a", "https://[::1]/a"),
        ("[::1]:81/a", "https://[::1]:81/a"),
        ("2130706433/a", "https://2130706433/a"),
        ("0x7F000001/a", "https://0x7F000001/a"),
        ("h.example%2Fa%20b.png", "https://h.example/a b.png"),
        ("h.example%2fa", "https://h.example/a"),
        ("a.png", None),
        ("images/a.png", None),
        ("images./a.png", None),
        ("1234567/a.png", None),
        ("h.example", None),
        ("/a/b.png", None),
        ("u@h.example/a", None),
        ("h.example:x/a", None),
    ],
)
def test_source_that_begins_with_a_host_takes_the_scheme_of_its_service(
    text: str, source: str | None
) -> None:
    """A single word is a host only with a port or as a number; a path of the service's own site is none."""
    assert with_default_scheme(text, "https") == source


BOTH: dict[str, str] = {"width": "9", "height": "8"}
GROWN: dict[str, str] = {"fit": "contain", "upscale": "true"}


@pytest.mark.parametrize(
    ("options", "fit", "enlarging", "met"),
    [
        (BOTH, "contain", True, {**BOTH, **GROWN}),
        (BOTH, "scale-down", True, {**BOTH, **GROWN}),
        (BOTH, "contain", False, BOTH),
        ({**BOTH, "gravity": "left"}, "cover", True, {**BOTH, "gravity": "left", "fit": "cover"}),
        ({"width": "9", "gravity": "left"}, "cover", True, {"width": "9", **GROWN}),
        ({"height": "9"}, "cover", True, {"height": "9", **GROWN}),
        ({"width": "9"}, "cover", False, {"width": "9"}),
        ({"blur": "1"}, "cover", True, {"blur": "1"}),
    ],
)
def test_picture_meets_its_area_as_its_dialect_says(
    options: dict[str, str], fit: str, enlarging: bool, met: dict[str, str]
) -> None:
    """With one side it keeps its shape, whatever fit is asked for."""
    assert meeting(options, fit=fit, enlarging=enlarging) == met


@pytest.mark.parametrize(
    ("options", "swapped"),
    [
        ({"rotate": "90", "flip": "h"}, "v"), ({"rotate": "270", "flip": "v"}, "h"),
        ({"rotate": "90", "flip": "hv"}, "hv"),
        ({"rotate": "180", "flip": "h"}, "h"), ({"flip": "v"}, "v"),
    ],
)  # fmt: skip
def test_mirror_after_a_quarter_turn_is_one_about_the_other_axis(
    options: dict[str, str], swapped: str
) -> None:
    assert turned_first(options) == {**options, "flip": swapped}
    assert turned_first({"rotate": "90"}) == {"rotate": "90"}


@pytest.mark.parametrize(
    ("flip", "rotate", "gravity", "turned"),
    [
        ("", "90", "left", "0.5x0"), ("", "90", "top", "1x0.5"), ("", "90", "0.2x0.3", "0.7x0.2"),
        ("", "180", "top-left", "1x1"), ("", "180", "0.2x0.3", "0.8x0.7"),
        ("", "270", "left", "0.5x1"), ("", "270", "0.2x0.3", "0.3x0.8"),
        ("h", "", "left", "1x0.5"), ("h", "", "top", "0.5x0"), ("v", "", "bottom-right", "1x0"),
        ("hv", "", "0.2x0.3", "0.8x0.7"), ("h", "90", "0.2x0.3", "0.7x0.8"), ("v", "270", "right", "0.5x0"),
    ],
)  # fmt: skip
def test_place_in_the_picture_as_it_was_is_found_after_mirror_and_turn(
    flip: str, rotate: str, gravity: str, turned: str
) -> None:
    """The other proxy cuts first: left of the unturned picture is the top of one that was turned by 90 degrees."""
    found = resized_first({"flip": flip, "rotate": rotate, "gravity": gravity, "width": "9", "height": "8"})
    quarter = rotate in {"90", "270"}
    assert found["gravity"] == turned
    assert (found["width"], found["height"]) == (("8", "9") if quarter else ("9", "8"))


def test_turn_of_a_picture_with_one_side_or_no_place_changes_what_there_is() -> None:
    assert resized_first({"rotate": "90", "width": "9"}) == {"rotate": "90", "height": "9"}
    assert resized_first({"rotate": "90", "gravity": "auto"}) == {"rotate": "90", "gravity": "auto"}
    assert resized_first({"gravity": "left", "width": "9"}) == {"gravity": "left", "width": "9"}


# Grammars as values


@pytest.mark.parametrize(
    ("rest", "source"),
    [
        ("http://h/a?b#c", "http://h/a?b#c"),
        ("http%3A%2F%2Fh%2Fa%3Fb?w=9#c", "http://h/a?b"),
        ("http%253A%252F%252Fh%252Fa?w=9", "http://h/a"),
        ("http%3A//h/%2520", "http://h/%20"),
    ],
)
def test_source_at_the_end_of_a_path_is_as_it_is_or_decoded_as_a_whole(rest: str, source: str) -> None:
    """A plain source owns the query behind it; the query behind an escaped one is the wrapper's."""
    assert inside(rest) == source


def test_list_is_split_at_commas_that_may_all_be_escaped() -> None:
    assert split_list("a,b%2Cc") == ["a", "b%2Cc"]
    assert split_list("a%2cb%2Cc") == ["a", "b", "c"]
    assert split_query("a/b?c?d#e?f") == ("a/b", "c?d")
    assert split_query("a#b?c") == ("a", "")


def test_options_are_written_in_the_words_of_a_grammar_or_refused() -> None:
    writers = {
        "width": named("w"),
        "format": formatted("fm"),
        "fit": worded("mode", {"cover": "crop"}, mark=":"),
        "blur": lambda _: "",
    }
    options = {"width": "9", "fit": "cover", "format": "webp", "blur": "3"}
    assert written(options, writers, "ours") == ["mode:crop", "fm=webp", "w=9"]
    for name, value in (("fit", "pad"), ("format", "json"), ("rotate", "90")):
        with pytest.raises(InvalidTransform, match=f"^ours cannot carry {name}={value}.$"):
            written({"width": "9", name: value}, writers, "ours")


def test_grammar_reads_what_stands_behind_its_mount_or_without_one() -> None:
    """The first mount that fits is taken off, once; only opening forgives slashes in front."""
    seen: list[str] = []

    def read(rest: str, site: str) -> None:
        seen.append(f"{site} {rest}")

    def serve(rest: str) -> Served:
        return Served(rest)

    grammar = Grammar("x", read, mounts=("m/", "m2/"), serve=serve, pictures_only=True)
    for rest in ("m/m/a", "//m2/a", "a", "/"):
        grammar.open_rest(rest, "s")
    assert seen == ["s m/a", "s a", "s a", "s "]
    assert [grammar.serve_rest(rest).source for rest in ("m/m/a", "m2/a", "a", "/m/a")] == [
        "m/a",
        "a",
        "a",
        "/m/a",
    ]
    with pytest.raises(NotFound):
        Grammar("x", read, pictures_only=True).serve_rest("a")
