"""Finds the root element of an XML document after its prolog. Pure.

Reads comments, processing instructions and a document type with its internal subset, in UTF-8, UTF-16 with and without
a byte order mark, and every encoding whose markup is ASCII (GBK, Latin-1, Shift_JIS). Documents are fed in pieces; the
finder holds a few hundred characters, however long a comment is. It does not read the document's content.

    good   <!-- licence --><?xml-stylesheet …?><!DOCTYPE svg [<!ENTITY ns "…">]><svg:svg …>   ->  svg
    good   FF FE 3C 00 73 00 76 00 67 00 …                                                    ->  svg
    bad    <!DOCTYPE html><svg …>                                                             ->  html
    bad    An icon: <svg …>                                                                   ->  no root
"""

from __future__ import annotations

import codecs
import re

MAX_PARTS = 10_000
"""How many comments, instructions and document type tokens are read. Real documents have fewer than a hundred."""

_MAX_TOKEN = 512
"""Characters after which a construct must have been recognized. Real names are shorter."""
_SPACE = re.compile(r"[ \t\r\n\f]*")
_BEGINNING = re.compile(
    r"<(?:(?P<comment>!--)|(?P<instruction>\?)|!doctype\s{1,50}(?P<doctype>[^\s<>\[\]\"']{1,200})(?=[\s>\[])"
    r"|(?:[\w.-]{1,200}:)?(?P<root>[\w.-]{1,200})(?=[\s/>]))",
    re.IGNORECASE,
)
_IN_DOCTYPE = re.compile(r"[\"'\[>]")
_IN_SUBSET = re.compile(r"[\"'\]]|<!--|<\?")
_ENDS = {'"': '"', "'": "'", "<!--": "-->", "<?": "?>"}
_BOMS = ((b"\xef\xbb\xbf", "latin-1"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_MARK_BYTES = 4
"""XML 1.0 appendix F.1: the first four bytes tell the encoding of markup."""


def root_of(head: bytes) -> str:
    """Return the local name of the root element in lower case, empty when `head` shows none."""
    finder = RootFinder()
    finder.feed(head)
    return finder.root


class RootFinder:
    """Takes a document piece by piece until its root is found.

    root: the local name in lower case, `html` for an HTML document type; empty until it is found. searching: whether
    more bytes may still show the root. Text that is not XML ends the search at once.
    """

    def __init__(self) -> None:
        self.root = ""
        self.searching = True
        self._first = b""
        self._decoder: codecs.IncrementalDecoder | None = None
        self._text = ""
        self._at = 0
        self._parts = 0
        self._end = ""
        self._inside: re.Pattern[str] | None = None

    def feed(self, chunk: bytes) -> None:
        """Read the next bytes of the document."""
        if not self.searching:
            return
        self._text = self._text[self._at :] + self._decoded(chunk)
        self._at = 0
        while self.searching and self._step():
            self._parts += 1
            self.searching = self.searching and self._parts < MAX_PARTS

    def _decoded(self, chunk: bytes) -> str:
        if self._decoder is None:
            self._first += chunk
            if len(self._first) < _MARK_BYTES:
                return ""
            chunk, encoding = _without_mark(self._first)
            self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        return self._decoder.decode(chunk)

    def _step(self) -> bool:
        """Read one part of the prolog; return False when more text is needed for the next."""
        if self._end:
            return self._skipped()
        if self._inside:
            return self._in_doctype(self._inside)
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
        found = _BEGINNING.match(self._text, self._at)
        if found is None:
            self.searching = len(self._text) - self._at < _MAX_TOKEN and self._text[self._at :][:1] in {
                "",
                "<",
            }
            return False
        self._at = found.end()
        self._begin(found)
        return True

    def _begin(self, found: re.Match[str]) -> None:
        if found["comment"]:
            self._end = "-->"
        elif found["instruction"]:
            self._end = "?>"
        elif found["doctype"] and found["doctype"].lower() != "html":
            self._inside = _IN_DOCTYPE
        else:
            self.root = (found["root"] or "html").lower()
            self.searching = False

    def _skipped(self) -> bool:
        at = self._text.find(self._end, self._at)
        if at < 0:
            # The end marker may be split between two pieces.
            self._at = max(self._at, len(self._text) - len(self._end) + 1)
            return False
        self._at = at + len(self._end)
        self._end = ""
        return True

    def _in_doctype(self, inside: re.Pattern[str]) -> bool:
        found = inside.search(self._text, self._at)
        if found is None:
            self._at = max(self._at, len(self._text) - 3)
            return False
        self._at = found.end()
        token = found[0]
        if token in _ENDS:
            self._end = _ENDS[token]
        else:
            self._inside = {"[": _IN_SUBSET, "]": _IN_DOCTYPE}.get(token)
        return True


def _without_mark(head: bytes) -> tuple[bytes, str]:
    """Return the bytes behind the byte order mark, and the encoding in which to look for markup."""
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return head[len(mark) :], encoding
    zeros = [byte == 0 for byte in head[:_MARK_BYTES]]
    if zeros == [False, True, False, True]:
        return head, "utf-16-le"
    return head, "utf-16-be" if zeros == [True, False, True, False] else "latin-1"
