"""Detects the encoding of a document where expat would fail. Pure.

Expat reads UTF-8, UTF-16 with a byte order mark, and single-byte encodings. It refuses East Asian encodings, and UTF-16
that declares another name. Browsers read both.
"""

from __future__ import annotations

import re

_DECLARED = re.compile(
    rb"<\?xml\s[^>]{0,200}?encoding\s{0,9}=\s{0,9}[\"']([\w.:-]{1,40})[\"']", re.IGNORECASE
)
_CODECS = {
    **dict.fromkeys(("gb2312", "gb_2312-80", "gbk", "x-gbk", "cp936", "gb18030"), "gb18030"),
    **dict.fromkeys(("big5", "big5-hkscs", "cn-big5", "x-x-big5"), "big5hkscs"),
    **dict.fromkeys(("shift_jis", "shift-jis", "sjis", "x-sjis", "windows-31j"), "cp932"),
    **dict.fromkeys(("euc-jp", "x-euc-jp"), "euc_jp"),
    **dict.fromkeys(("euc-kr", "ks_c_5601-1987", "windows-949"), "cp949"),
}
"""The labels of the WHATWG Encoding Standard §4.2 that XML documents use."""


def as_utf_8(body: bytes) -> bytes | None:
    """Return the document in UTF-8, or None if expat can read it unchanged."""
    start = body[:4]
    if start[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        codec = "utf-16"
    elif start[1::2] == b"\0\0" and start[:1] != b"\0":
        codec = "utf-16-le"
    elif start[::2] == b"\0\0" and start[1:2] != b"\0":
        codec = "utf-16-be"
    else:
        declared = _DECLARED.match(body)
        codec = _CODECS.get(declared[1].decode("ascii").lower(), "") if declared else ""
    return body.decode(codec, "replace").encode() if codec else None
