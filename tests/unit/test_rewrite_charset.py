"""Addresses in pages of other encodings: paths are UTF-8, queries take the encoding of the page, as in browsers."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from rewriting import BASE, WORKER, rewrite

PAGES = [
    ("gbk", "gbk", "图片"), ("gb2312", "gb2312", "图"), ("gb18030", "gb18030", "㐀"), ("Shift_JIS", "cp932", "表ソ"),
    ("x-sjis", "cp932", "十"), ("euc-jp", "euc_jp", "表"), ("EUC-KR", "cp949", "그림"), ("euc_kr", "cp949", "뷁"),
    ("Big5", "big5", "功許"), ("windows-1251", "cp1251", "рис"), ("koi8-r", "koi8_r", "рис"),
    ("iso-8859-1", "cp1252", "é"), ("iso-8859-1", "cp1252", "“"),
]  # fmt: skip


@pytest.mark.parametrize(("label", "codec", "word"), PAGES)
def test_path_is_utf8_and_query_is_the_page_s(label: str, codec: str, word: str) -> None:
    """The address of the picture itself: the path as UTF-8, the query in the page's encoding; the rest untouched."""
    page = f'<meta charset="{label}"><p title="{word}"><img src="http://h/{word}.png?{word}">{word}'
    sent = f"{BASE}/image/content/http://h/{quote(word)}.png?{quoted(word, codec)}"
    expected = page.replace(f"http://h/{word}.png?{word}", sent)
    assert rewrite(page.encode(codec), kind="html", all_images=True).data == expected.encode(codec)


@pytest.mark.parametrize(("label", "codec", "word"), PAGES)
def test_wrapped_address_stands_in_the_query_of_its_wrapper(label: str, codec: str, word: str) -> None:
    """Everything after the worker's question mark is in the page's encoding, so a second byte of 0x5C is not a
    backslash."""
    page = f'<meta http-equiv="Content-Type" content="text/html; charset={label}"><img src="{WORKER}http://h/{word}.png">'
    result = rewrite(page.encode(codec), kind="html")
    assert result.replaced[0].new.decode() == f"{BASE}/image/content/http://h/{quoted(word, codec)}.png"


def quoted(word: str, codec: str) -> str:
    """Return the word with every byte escaped."""
    return "".join(f"%{byte:02X}" for byte in word.encode(codec))


@pytest.mark.parametrize(
    ("page", "source"),
    [
        # An entity means its character, whatever the page is.
        ('<meta charset="gbk"><img src="http://h/\xcd\xbc&#22270;.png">', "http://h/%E5%9B%BE%E5%9B%BE.png"),
        # What the page's encoding lacks is sent as a character reference.
        ('<meta charset="windows-1251"><img src="http://h/?&#22270;">', "http://h/?%26%2322270%3B"),
        # A path behind a wrapper's path is a path.
        (
            '<meta charset="gbk"><img src="https://cors-anywhere.herokuapp.com/http://h/\xcd\xbc.png">',
            "http://h/%E5%9B%BE.png",
        ),
        # XML declares its encoding too.
        ('<?xml version="1.0" encoding="gbk"?><img src="http://h/\xcd\xbc.png"/>', "http://h/%E5%9B%BE.png"),
        # Bytes that the declared encoding does not know, unknown encodings, and ASCII that calls itself UTF-16.
        ('<meta charset="gbk"><img src="http://h/\xff\xff.png">', "http://h/%FF%FF.png"),
        ('<meta charset="klingon"><img src="http://h/\xcd\xbc.png">', "http://h/%CD%BC.png"),
        ('<meta charset="punycode"><img src="http://h/\xcd\xbc.png">', "http://h/%CD%BC.png"),
        ('<meta charset="hex"><img src="http://h/\xcd\xbc.png">', "http://h/%CD%BC.png"),
        ('<meta charset="utf-16"><img src="http://h/\xe5\x9b\xbe.png">', "http://h/%E5%9B%BE.png"),
        ('\xef\xbb\xbf<meta charset="gbk"><img src="http://h/\xe5\x9b\xbe.png">', "http://h/%E5%9B%BE.png"),
        ('<img src="http://h/\xe5\x9b\xbe.png?\xe5\x9b\xbe">', "http://h/%E5%9B%BE.png?%E5%9B%BE"),
    ],
)
def test_address_is_read_as_a_browser_sends_it(page: str, source: str) -> None:
    """The bytes of the page are given one character each."""
    result = rewrite(page.encode("latin-1"), kind="html", all_images=True)
    assert [item.source.url for item in result.replaced] == [source]
