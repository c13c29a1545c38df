"""Addresses in pages that are not UTF-8, as a browser sends them. Pure.

A browser encodes the path of an address as UTF-8 whatever the page is, and only its query in the page's encoding
(WHATWG URL §4.4). A wrapped source is in the query of its wrapper. Every byte of such a character is escaped,
because a second byte may look like ASCII: 0x5C in Shift JIS is not a backslash.

    good   gbk, http://h/图.png                     ->  http://h/图.png, sent as %E5%9B%BE
    good   gbk, https://worker/?http://h/图.png     ->  https://worker/?http://h/%CD%BC.png
"""

from __future__ import annotations

import codecs
import re

_HEAD_BYTES = 1024
_DECLARED = re.compile(
    rb"""<meta\b[^>]{0,400}?\bcharset\s{0,9}=\s{0,9}["']?\s{0,9}([A-Za-z0-9_.:-]{1,40})"""
    rb"""|\A\s{0,9}<\?xml\b[^>]{0,200}?\bencoding\s{0,9}=\s{0,9}["']([A-Za-z0-9_.:-]{1,40})""",
    re.IGNORECASE,
)
_KNOWN = re.compile(
    r"gbk|gb2312|gb18030|big5|big5hkscs|euc_jp|euc_kr|shift_jis|cp(?:125[0-8]|866|874|932|949)|iso8859-\d+|koi8-[ru]"
    r"|mac-roman|mac-cyrillic|tis-620|ascii"
)
"""Python's names of the encodings that browsers know (WHATWG Encoding §4.2). Pages use no other codecs."""
_READ_AS = {
    "gbk": "gb18030", "gb2312": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949",
    "big5": "big5hkscs", "iso8859-1": "cp1252", "ascii": "cp1252", "iso8859-9": "cp1254", "tis-620": "cp874",
}  # fmt: skip
"""Encodings that browsers read as a superset (WHATWG Encoding §4.2)."""
_LABELS = {
    "x-sjis": "cp932", "windows-31j": "cp932", "x-gbk": "gb18030", "x-euc-jp": "euc_jp", "big5-hkscs": "big5hkscs",
    "x-x-big5": "big5hkscs", "windows-949": "cp949", "windows-874": "cp874",
}  # fmt: skip


def page_encoding(data: bytes) -> str:
    """Return the codec of the encoding that a page declares, or an empty text for UTF-8, none, or an unknown one."""
    head = data[:_HEAD_BYTES].lower()
    if data.startswith(codecs.BOM_UTF8) or not (b"charset" in head or b"encoding" in head):
        return ""
    found = _DECLARED.search(data[:_HEAD_BYTES])
    if found is None:
        return ""
    label = (found[1] or found[2]).decode("ascii").lower()
    try:
        name = codecs.lookup(_LABELS.get(label, label)).name
    except LookupError:
        return ""
    # HTML §13.2.3.2: a page whose declaration is readable as ASCII is not UTF-16.
    return _READ_AS.get(name, name) if _KNOWN.fullmatch(name) else ""


def as_utf8(raw: str, encoding: str) -> str:
    """Convert byte text from `encoding` to UTF-8, still as byte text. Bytes that `encoding` lacks stay unchanged."""
    try:
        return raw.encode("latin-1").decode(encoding).encode("utf-8").decode("latin-1")
    except UnicodeDecodeError:
        return raw


def as_sent(address: str, encoding: str) -> str:
    """Return an address with the characters of its query encoded in the page's encoding and escaped."""
    path, mark, query = address.partition("?")
    return path + mark + "".join(char if char.isascii() else _escaped(char, encoding) for char in query)


def _escaped(char: str, encoding: str) -> str:
    if "\udc80" <= char <= "\udcff":
        return f"%{ord(char) - 0xDC00:02X}"
    try:
        return "".join(f"%{byte:02X}" for byte in char.encode(encoding))
    except UnicodeEncodeError:
        # WHATWG URL §1.3: what the encoding lacks is sent as a character reference.
        return f"%26%23{ord(char)}%3B"
