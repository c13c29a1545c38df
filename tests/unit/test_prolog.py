"""The root of a document, whatever stands before it, in whatever pieces it comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.prolog import MAX_PARTS, RootFinder, root_of

ILLUSTRATOR = """<?xml version="1.0" encoding="utf-8"?>
<!-- Generator: Adobe Illustrator 16.0.0, SVG Export Plug-In . SVG Version: 6.00 Build 0)  -->
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd" [
  <!ENTITY ns_ai "http://ns.adobe.com/AdobeIllustrator/10.0/"> <!-- ' ] " > -->
  <!ENTITY gt "] > <html>"><?pi ]> ?>
]>
<svg xmlns:i="&ns_ai;">"""

SVG = [
    "<svg>",
    "<svg/>",
    "<svg\nxmlns='x'>",
    "<svg:svg xmlns:svg='http://www.w3.org/2000/svg'>",
    " \t\r\n<svg >",
    "<?xml-stylesheet href='a.css>b'?><svg>",
    "<?xml version='1.0'?><?a?><?b <svg?><svg>",
    "<!-- <html> --><svg>",
    "<!--" + "-> licence <!-- " * 20_000 + "--><svg>",
    "<!---->" * 900 + "<svg>",
    "<!DOCTYPE svg><svg>",
    "<!doctype svg SYSTEM 'a>b'><svg>",
    "<!DOCTYPE svg [" + "<!ENTITY a 'b'>" * 500 + "] ><svg>",
    ILLUSTRATOR,
]
NOT_SVG = [
    ("<!DOCTYPE html><svg>", "html"),
    ("<!doctype HTML PUBLIC 'a' 'b'><svg>", "html"),
    ("<html><svg>", "html"),
    ("<!-- <svg> --><html>", "html"),
    ("<!DOCTYPE svg><html>", "html"),
    ("<div><svg></svg></div>", "div"),
    ("<svgs>", "svgs"),
    ("<svg:g>", "g"),
    ("<?xml version='1.0'?><rss><svg>", "rss"),
    ("An icon: <svg>", ""),
    ("< svg>", ""),
    ("<!-- <svg>", ""),
    ("<!DOCTYPE svg [ <svg>", ""),
    ("<?<svg>", ""),
    ("{'a': '<svg>'}", ""),
    ("", ""),
]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("text", SVG)
def test_root_is_found_behind_any_prolog(text: str, encoding: str) -> None:
    assert root_of(text.encode(encoding)) == "svg"


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("text", "root"), NOT_SVG)
def test_root_of_another_document_is_its_own(text: str, root: str, encoding: str) -> None:
    assert root_of(text.encode(encoding)) == root


@pytest.mark.parametrize("encoding", ["gbk", "big5", "cp932", "euc_jp", "latin-1"])
def test_root_is_found_behind_letters_of_any_encoding(encoding: str) -> None:
    comment = "é" if encoding == "latin-1" else "表示ソ"
    comment = "中文表" if encoding in {"gbk", "big5"} else comment
    assert root_of(f"<!-- {comment} --><svg>".encode(encoding)) == "svg"


def test_root_behind_a_byte_order_mark_in_big_endian_is_found() -> None:
    assert root_of("\ufeff<!-- a --><svg>".encode("utf-16-be")) == "svg"


@given(
    st.sampled_from([*SVG[:8], ILLUSTRATOR, *(text for text, _ in NOT_SVG)]),
    st.sampled_from(ENCODINGS),
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
)
def test_root_is_the_same_in_any_pieces(text: str, encoding: str, sizes: list[int]) -> None:
    body = text.encode(encoding)
    finder, at, turn = RootFinder(), 0, 0
    while at < len(body):
        finder.feed(body[at : at + sizes[turn % len(sizes)]])
        at, turn = at + sizes[turn % len(sizes)], turn + 1
    assert finder.root == root_of(body)


@given(st.text(alphabet="<!-?>[]\"' \nadoctypesvghml:", max_size=400))
def test_soup_never_raises(text: str) -> None:
    assert isinstance(root_of(text.encode()), str)


@pytest.mark.parametrize("text", ["An icon", "<html>", "\x89PNG", "\xff\xd8\xff\xe0", "<" + "a" * 600])
def test_search_ends_at_what_is_no_prolog(text: str) -> None:
    """The rest of such a body need not be read."""
    finder = RootFinder()
    finder.feed(text.encode("latin-1"))
    assert not finder.searching


@pytest.mark.parametrize("part", ["<!---->", "<??>", "<!doctype a>", "<!doctype a [''", "<!doctype a []>"])
def test_search_ends_after_so_many_parts(part: str) -> None:
    """A body made of nothing but prolog costs no more than its first megabytes."""
    finder = RootFinder()
    finder.feed(part.encode() + (b"''" if part.endswith("'") else part.encode()) * MAX_PARTS + b"<svg>")
    assert not finder.searching
    assert finder.root == ""


def test_finder_holds_no_comment() -> None:
    """The text kept between the pieces does not grow with the document."""
    finder = RootFinder()
    finder.feed(b"<!-- ")
    for _ in range(100):
        finder.feed(b"-" * 10_000)
    assert len(finder._text) - finder._at < 10
