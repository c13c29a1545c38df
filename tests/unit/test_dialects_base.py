"""What grammars are made of: addresses in pieces, escapes, and the meaning of options in ours."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.base import asked
from proxy.dialects.base.address import SplitAddress
from proxy.dialects.base.asked import AskedOptions, merged, tidied, together
from proxy.dialects.base.escapes import as_bytes, as_text, base64url_decode, percent_decode, read_source
from proxy.dialects.base.opened import AmbiguousWrapper, OpenedWrapper, open_query, query_items
from proxy.errors import InvalidSource

# Addresses


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("http://h/a?b", ("http", "h", "/a", "b", "?")),
        ("HTTPS://H.Example:443/A?B#c", ("https", "h.example", "/A", "B#c", "?")),
        ("http://h:80", ("http", "h", "/", "", "")),
        ("http://h:/a", ("http", "h", "/a", "", "")),
        ("http://h:8080./a", ("http", "h:8080", "/a", "", "")),
        ("https://h./?", ("https", "h", "/", "", "?")),
        ("//h.:80/a#x", ("", "h", "/a", "", "")),
        ("\\\\h/a", ("", "h", "/a", "", "")),
        ("https://w/?http://h/a.png#x", ("https", "w", "/", "http://h/a.png#x", "?")),
    ],
)
def test_address_is_split_and_nothing_in_it_is_decoded(text: str, parts: tuple[str, ...]) -> None:
    found = SplitAddress.parse(text)
    assert found == SplitAddress(*parts)


@pytest.mark.parametrize(
    "text", ["", "h/a", "/a", "ftp://h/a", "http:/h", "http://", "http://u@h/", "http:// h/"]
)
def test_text_without_a_host_is_no_address(text: str) -> None:
    assert SplitAddress.parse(text) is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("/a/b?c?d#e", ("", "", "/a/b", "c?d#e", "?")),
        ("/a#b", ("", "", "/a", "", "")),
        ("/", ("", "", "/", "", "")),
        ("/a//b", ("", "", "/a//b", "", "")),
    ],
)
def test_path_of_an_unknown_site_is_split(text: str, parts: tuple[str, ...]) -> None:
    found = SplitAddress.of_site(text)
    assert found == SplitAddress(*parts)
    assert found is not None
    assert found.site == ""


@pytest.mark.parametrize("text", ["", "a/b", "//h/a", "/\\h/a", "http://h/a"])
def test_text_that_is_no_path_of_a_site_is_not_split(text: str) -> None:
    """A browser reads `//h` and `/\\h` as another host."""
    assert SplitAddress.of_site(text) is None


@pytest.mark.parametrize(
    ("text", "site", "rest"),
    [("http://h/a?b", "http://h", "a?b"), ("//h/a?", "https://h", "a?"), ("https://h", "https://h", "")],
)
def test_site_and_rest_make_the_address(text: str, site: str, rest: str) -> None:
    """Without a scheme the site is that of today's web."""
    found = SplitAddress.parse(text)
    assert found is not None
    assert (found.site, found.rest) == (site, rest)


# Escapes


@given(st.binary(max_size=40))
def test_bytes_as_text_come_back(raw: bytes) -> None:
    """Whatever their encoding: `%CD%BC` is GBK, and nothing here knows that."""
    assert as_bytes(as_text(raw)) == raw
    assert as_bytes(percent_decode("".join(f"%{byte:02X}" for byte in raw))) == raw


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("\ud800", b"\xef\xbf\xbd"),
        ("a\udfff\udc41b", None),
        ("é\udcff", b"\xc3\xa9\xff"),
        ("\ud83d\ude00", "😀".encode()),
    ],
)
def test_surrogate_that_stands_for_no_byte_does_not_fail(text: str, raw: bytes | None) -> None:
    """YAML and JSON can spell one; a pair of them is its character."""
    found = as_bytes(text)
    assert found == raw if raw is not None else b"\xef\xbf\xbd" in found
    assert read_source(f"http://h/{text}").url.isascii()


@pytest.mark.parametrize("padding", ["", "=", "=="])
@pytest.mark.parametrize("text", ["http://h/a", "http://h/ab", "http://h/abc", "http://h/\udcff\udc80?>"])
def test_base64url_is_read_with_and_without_padding(text: str, padding: str) -> None:
    """RFC 4648 §5; padding that is wrong does no harm."""
    encoded = base64.urlsafe_b64encode(as_bytes(text)).decode().rstrip("=")
    assert base64url_decode(encoded + padding) == text


@pytest.mark.parametrize(
    "text", ["", "=", "aHR0cDovL2gvYQ+", "aHR0/DovL2gv", "aHR0 cDov", "aHR0\ncDov", "aHR0c", "é"]
)
def test_what_is_no_base64url_is_invalid(text: str) -> None:
    """A decoder that skips foreign characters would find another address."""
    with pytest.raises(InvalidSource):
        base64url_decode(text)


# Options


@pytest.mark.parametrize(
    ("reader", "text", "meant"),
    [
        (asked.pixels("width"), "300", {"width": "300"}),
        (asked.pixels("width"), "300.7px", {"width": "300"}),
        (asked.pixels("width"), "32767", {"width": "32767"}),
        (asked.pixels("width"), "32768", None),
        (asked.pixels("width"), "0", {}),
        (asked.pixels("width"), "007", {"width": "7"}),
        *((asked.pixels("width"), word, {}) for word in ("", "auto", "null", "undefined")),
        *((asked.pixels("width"), word, None) for word in ("-1", "1e2", "wide", "3%", "x300", "123456")),
        (asked.number("blur", 1, 9, factor=10), "0.1", {"blur": "1"}),
        (asked.number("blur", 1, 9, factor=10), "0.9", {"blur": "9"}),
        (asked.number("blur", 1, 9, factor=10), "0.09", None),
        (asked.number("blur", 1, 9, factor=10), "0.91", None),
        (asked.number("blur", 0, 9), "2.50", {"blur": "2.5"}),
        (asked.number("blur", 0, 9, whole=True), "2.6", {"blur": "3"}),
        (asked.number("blur", 0, 9), "-1", None),
        *((asked.quality, text, {}) for text in ("", "auto", "0", "auto:good")),
        (asked.quality, "1", {"quality": "1"}),
        (asked.quality, "100", {"quality": "100"}),
        (asked.quality, "79.6", {"quality": "80"}),
        (asked.quality, "101", None),
        *((asked.density, text, {}) for text in ("", "auto")),
        (asked.density, "2.0", {"dpr": "2"}),
        (asked.density, "1", {"dpr": "1"}),
        (asked.density, "8", {"dpr": "8"}),
        (asked.density, "0.5", None),
        (asked.density, "8.1", None),
        (asked.picture_format, "JPG", {"format": "jpeg"}),
        (asked.picture_format, "auto", {}),
        (asked.picture_format, "bmp", None),
        (asked.place, "North_West", {"gravity": "top-left"}),
        (asked.place, "center", {}),
        (asked.place, "0.25x1", {"gravity": "0.25x1"}),
        (asked.place, "0.5,0.50", {"gravity": "0.5x0.5"}),
        (asked.place, "1.1x0", None),
        (asked.place, "2x0", None),
        (asked.place, "somewhere", None),
        (asked.colour("background"), "FFF", {"background": "#fff"}),
        (asked.colour("background"), "#aabbccdd", {"background": "#aabbccdd"}),
        (asked.colour("background"), "rgb:AABBCC", {"background": "#aabbcc"}),
        (asked.colour("background"), "Red", {"background": "red"}),
        (asked.colour("background"), "#ff", None),
        (asked.colour("background"), "a b", None),
        (asked.flag({"flip": "h"}), "", {"flip": "h"}),
        (asked.flag({"flip": "h"}), "1", {"flip": "h"}),
        *((asked.flag({"flip": "h"}), word, {}) for word in ("0", "False", "f")),
        (asked.as_it_is("background"), "x" * 64, {"background": "x" * 64}),
        *((asked.as_it_is("background"), text, None) for text in ("", "x" * 65, "é", "a\n")),
        (asked.clockwise, "90", {"rotate": "90"}),
        (asked.clockwise, "-90", {"rotate": "270"}),
        (asked.clockwise, "+450.0", {"rotate": "90"}),
        (asked.clockwise, "720", {}),
        (asked.clockwise, "45", None),
        (asked.clockwise, "quarter", None),
        (asked.anticlockwise, "90", {"rotate": "270"}),
        (asked.anticlockwise, "-90", {"rotate": "90"}),
        (asked.words("fit", {"Fill": "cover", "max": ""}), "Fill", {"fit": "cover"}),
        (asked.words("fit", {"fill": "cover", "max": ""}), "FILL", {"fit": "cover"}),
        (asked.words("fit", {"fill": "cover", "max": ""}), "max", {}),
        (asked.words("fit", {"fill": "cover", "max": ""}), "min", None),
        (asked.nothing, "whatever", {}),
        (asked.lost, "whatever", None),
    ],
)  # fmt: skip
def test_value_of_another_grammar_has_its_meaning_in_ours(
    reader: asked.Reader, text: str, meant: dict[str, str] | None
) -> None:
    """None is no counterpart, and counted; nothing to write is our own default."""
    assert reader(text) == meant


AREA = {"width": "9", "height": "8"}


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"width": "9", "fit": "cover"}, {"width": "9"}),
        ({**AREA, "fit": "scale-down"}, AREA),
        ({**AREA, "fit": "contain"}, AREA),
        ({**AREA, "upscale": "true"}, {**AREA, "fit": "contain", "upscale": "true"}),
        ({**AREA, "fit": "contain", "upscale": "false"}, AREA),
        ({**AREA, "fit": "cover", "upscale": "true"}, {**AREA, "fit": "cover"}),
        ({**AREA, "fit": "pad", "upscale": "false"}, {**AREA, "fit": "pad", "upscale": "false"}),
        ({**AREA, "fit": "cover-down", "upscale": "false"}, {**AREA, "fit": "cover-down"}),
        ({"width": "9", "gravity": "left", "fit": "cover"}, {"width": "9"}),
        ({**AREA, "fit": "squeeze", "gravity": "left"}, {**AREA, "fit": "squeeze"}),
        ({**AREA, "fit": "crop", "gravity": "left"}, {**AREA, "fit": "crop", "gravity": "left"}),
        ({"dpr": "2"}, {}),
        ({"width": "9", "dpr": "1"}, {"width": "9"}),
        ({"height": "9", "dpr": "2"}, {"height": "9", "dpr": "2"}),
        ({"quality": "", "blur": "3"}, {"blur": "3"}),
    ],
)  # fmt: skip
def test_options_without_effect_are_left_out(options: dict[str, str], left: dict[str, str]) -> None:
    """So that options that mean the same are one address, and one variant."""
    assert tidied(options) == left
    assert tidied(left) == left


@pytest.mark.parametrize(
    ("one", "other", "both"), [("h", "v", "hv"), ("v", "h", "hv"), ("h", "h", "h"), ("hv", "h", "hv")]
)
def test_two_mirrors_are_one_about_both_axes(one: str, other: str, both: str) -> None:
    assert together({"flip": one, "width": "1"}, {"flip": other, "width": "2"}) == {
        "flip": both,
        "width": "2",
    }
    assert together({}, {"flip": one}) == together({"flip": one}, {}) == {"flip": one}


def test_outer_wrapper_decides_the_size_and_the_inner_one_the_rest() -> None:
    """Its picture is what the page shows; a size of the inner one that is lost is told."""
    inner = {"width": "900", "height": "8", "fit": "cover", "gravity": "left", "blur": "3", "quality": "1"}
    assert merged({"width": "9", "quality": "2", "height": "8"}, inner) == (
        {**AREA, "blur": "3", "quality": "2"},
        ("width", "fit"),
    )
    assert merged({"quality": "2"}, inner) == ({**inner, "quality": "2"}, ())
    assert merged({"height": "9"}, {"dpr": "2"}) == ({"height": "9"}, ())


KEYS = asked.by_name([asked.key("w width", asked.pixels("width")), asked.key("mask", asked.lost)])


def test_options_are_translated_and_the_lost_ones_are_named_once() -> None:
    """The last value of a repeated option counts; names are found in any case; a listed name is short and printable."""
    pairs = [("w", "1"), ("WIDTH", "%33"), ("mask", "a"), ("mask", "b"), ("\u202e" + "x" * 30, ""), ("", "")]
    found = asked.asked(pairs, KEYS, start=AskedOptions({"blur": "2"}, ("q",)))
    assert found == AskedOptions({"blur": "2", "width": "3"}, ("q", "mask", "?" + "x" * 23, "?"))
    assert asked.asked([], KEYS) == AskedOptions()


# Queries


def test_query_is_split_as_servers_do() -> None:
    assert query_items("a=b=c&d&=e&&f=#g=h") == [("a", "b=c"), ("d", ""), ("f", "")]


@pytest.mark.parametrize(
    ("query", "opened"),
    [
        ("url=http%3A%2F%2Fh%2Fa&w=9", OpenedWrapper("http://h/a", {"width": "9"})),
        ("w=9&url=http://h/a", OpenedWrapper("http://h/a", {"width": "9"})),
        ("url=http%3A%2F%2Fh%2Fa&zoom=9", OpenedWrapper("http://h/a", {}, ("zoom",))),
        ("url=http%3A%2F%2Fh%2Fa%253Fb&W=9#x", OpenedWrapper("http://h/a%3Fb", {"width": "9"})),
        ("url=http://h/a&W=9", OpenedWrapper("http://h/a", {"width": "9"})),
        ("url=", None),
        ("w=9", None),
    ],
)
def test_wrapper_with_its_source_in_the_query_is_opened(query: str, opened: Any) -> None:
    assert open_query(query, "url", keys=KEYS) == opened


@pytest.mark.parametrize(
    ("query", "named"),
    [("url=http://h/a&zoom=9&b=1", "b, zoom"), ("url=http://h/a?b&zoom=9", "zoom"), ("url=a&url=b", "url")],
)
def test_wrapper_whose_source_may_go_on_behind_the_ampersand_is_ambiguous(query: str, named: str) -> None:
    """`zoom` may be the inner address's own; a guess would fetch another picture."""
    with pytest.raises(AmbiguousWrapper, match=f"belong: {named};"):
        open_query(query, "url", keys=KEYS)
