"""Finds images, links, autolinks and HTML tags in one block of Markdown text. Pure; linear.

We do not use markdown-it here, because it keeps no positions of inline tokens and is not linear on hostile text. This
is the bracket algorithm of the appendix of the CommonMark specification, without emphasis, which does not affect
addresses. Template tags (`{% … %}`, `{{ … }}`) are passed over first, as in Hexo and Jekyll. A test compares the result
with markdown-it's on the examples of the specification.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

_SPECIAL = re.compile(r"[\\`<!\[\]{]|(?<![A-Za-z0-9%/?=&#+@$.<\"'-])[hH][tT][tT][pP][sS]?://")
_BACKTICKS = re.compile(r"`+")
_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_AUTOLINK = re.compile(r"<([A-Za-z][A-Za-z0-9+.\-]{1,31}:[^<>\x00-\x20]*)>")
_TAG = re.compile(
    r"""</[A-Za-z][A-Za-z0-9-]*+[ \t\n]*+>|<[A-Za-z][A-Za-z0-9-]*+
    (?:[ \t\n]++[A-Za-z_:][A-Za-z0-9_.:-]*+
       (?:[ \t\n]*+=[ \t\n]*+(?:[^"'=<>`\x00-\x20]++|'[^']*+'|"[^"]*+"))?+
    )*+[ \t\n]*+/?+>""",
    re.VERBOSE,
)
_SPACE = re.compile(r"[ \t\n]*+")
_ANGLE = re.compile(r"<((?:[^<>\\\n]++|\\.)*+)>")
_BARE = re.compile(r"(?:[^\\()\x00-\x20\x7f]++|\\[^\x00-\x20\x7f]?)++")
_TITLE = re.compile(r""""(?:[^"\\]++|\\.)*+"|'(?:[^'\\]++|\\.)*+'|\((?:[^()\\]++|\\.)*+\)""", re.DOTALL)
_LABEL = re.compile(r"\[((?:[^\[\]\\]|\\.){0,999}+)\]", re.DOTALL)
_MAX_PARENTHESES = 32
_STANDING_BARE = re.compile(r"[!#$%&()*+,\-./0-9:;=?@A-Za-z_~]++")
_ENTITY_AFTER = re.compile(r"&[A-Za-z0-9]{1,32}+;\Z")
_BARE_ENDS = re.compile(r"[\"'\])]*+(?:[\s<]|\Z)|\xe3\x80|\xef\xbc[\x80-\x8f\x9a-\xa0]|\xe2\x80")
"""Text that may follow a bare address: space, quotes before a space, Chinese or typographic punctuation in UTF-8."""

_ANCHOR = re.compile(r"<(/?)a[\s>]", re.IGNORECASE)
_PICTURE_TAG = re.compile(r"<(?:img|amp-img|picture|source)(?=[\s/>])", re.IGNORECASE)
_ENDS = {"<!--": "-->", "<?": "?>", "<![CDATA[": "]]>", "<!": ">", "{%": "%}", "{{": "}}", "{#": "#}"}

Kind = Literal["image", "link", "autolink", "bare", "html", "template", "reference image", "reference link"]


@dataclass(frozen=True, slots=True)
class Found:
    """A construct in the block.

    `start:end` is the destination of an image or link (without its angle brackets, if `angle`), or the label of a
    reference. opened_at: where the construct begins. closed_at: where a construct with brackets ends. around: whether
    it is a link around a picture.
    """

    kind: Kind
    start: int
    end: int
    opened_at: int
    angle: bool = False
    around: bool = False
    closed_at: int = 0


@dataclass(slots=True)
class _Opener:
    position: int
    image: bool
    bracket_after: bool = False


class InlineScanner:
    """Reads one block.

    `is_reference(label)` returns whether the article defines the label. After the scan, `quiet` has the ranges of plain
    text: code spans, template comments, the text of links.

    1. Go from one special character to the next. A backslash escapes the character after it.
    2. Pass over code spans, autolinks, HTML and template tags as a whole.
    3. Remember `[` and `![`. At `]`, try the latest one as an inline link, then as a reference. If it is neither, go
    on.
    4. Drop everything found inside an image, because it is alternative text. A link makes earlier `[` inactive.
    """

    def __init__(self, text: str, is_reference: Callable[[str], bool]) -> None:
        self._text = text
        self._is_reference = is_reference
        self.quiet: list[tuple[int, int]] = []
        self._in_anchor = False
        self._unclear_until = 0
        self._openers: list[_Opener] = []
        self._inactive_below = 0
        self._found: list[Found] = []
        self._missing: set[str] = set()
        self._runs: dict[int, list[int]] | None = None
        self._handlers: dict[str, Callable[[int], int]] = {
            "\\": self._escape,
            "`": self._code_span,
            "<": self._angle_bracket,
            "{": self._template,
            "]": self._close,
        }

    def scan(self) -> list[Found]:
        """Return the constructs of the block, in the order of the text."""
        position = 0
        while (special := _SPECIAL.search(self._text, position)) is not None:
            position = self._step(special[0], special.start())
        return self._found

    def _step(self, special: str, at: int) -> int:
        if len(special) > 1:
            return self._bare(at)
        handler = self._handlers.get(special, self._open)
        return handler(at)

    def _bare(self, at: int) -> int:
        """Take a bare address in the text, which GFM, Hexo and others turn into a link.

        Trailing punctuation does not belong to it, as in GFM's extended autolinks. An address that implementations
        would end at different places is left unchanged.
        """
        match = _STANDING_BARE.match(self._text, at) if at >= self._unclear_until else None
        if match is None:
            return at + 1
        if not _BARE_ENDS.match(self._text, match.end()):
            self._unclear_until = match.end()
            return at + 1
        end = _without_punctuation(self._text, at, match.end())
        if self._in_anchor:
            self.quiet.append((at, end))
        else:
            self._found.append(Found("bare", at, end, at))
        return end

    def _escape(self, at: int) -> int:
        return at + (2 if self._text[at + 1 : at + 2] in _PUNCTUATION else 1)

    def _open(self, at: int) -> int:
        char = self._text[at]
        if char == "!" and self._text[at + 1 : at + 2] != "[":
            return at + 1
        if self._openers:
            self._openers[-1].bracket_after = True
        after = at + (2 if char == "!" else 1)
        self._openers.append(_Opener(at, char == "!"))
        return after

    def _code_span(self, at: int) -> int:
        if self._runs is None:
            self._runs = {}
            for run in _BACKTICKS.finditer(self._text):
                self._runs.setdefault(len(run[0]), []).append(run.start())
        match = _BACKTICKS.match(self._text, at)
        after = match.end() if match else at + 1
        closers = self._runs.get(after - at, [])
        index = bisect_left(closers, after)
        if index == len(closers):
            return after
        end = closers[index] + after - at
        self.quiet.append((at, end))
        return end

    def _angle_bracket(self, at: int) -> int:
        if match := _AUTOLINK.match(self._text, at):
            self._found.append(Found("autolink", *match.span(1), at))
            return match.end()
        match = _TAG.match(self._text, at)
        end = match.end() if match else self._special_markup(at)
        if end < 0:
            return at + 1
        self._found.append(Found("html", at, end, at))
        if anchor := _ANCHOR.match(self._text, at):
            self._in_anchor = not anchor[1]
        return end

    def _special_markup(self, at: int) -> int:
        """Return the end of a comment, instruction, CDATA section or declaration, or -1 (CommonMark §6.6)."""
        text = self._text
        for opening in ("<!--", "<?", "<![CDATA["):
            if text.startswith(opening, at):
                short = re.compile(r"<!---?>").match(text, at)
                return short.end() if short else self._behind(opening, at)
        if text.startswith("<!", at) and text[at + 2 : at + 3].isalpha():
            return self._behind("<!", at)
        return -1

    def _template(self, at: int) -> int:
        opening = self._text[at : at + 2]
        if opening not in ("{%", "{{", "{#"):
            return at + 1
        end = self._behind(opening, at)
        if end < 0:
            return at + 1
        if opening == "{#" or self._text.startswith("{{/*", at):
            self.quiet.append((at, end))
        elif opening == "{%" or self._text[at + 2] in "<%":
            self._found.append(Found("template", at, end, at))
        return end

    def _behind(self, opening: str, at: int) -> int:
        if opening in self._missing:
            return -1
        closing = _ENDS[opening]
        end = self._text.find(closing, at + len(opening))
        if end < 0:
            self._missing.add(opening)
            return -1
        return end + len(closing)

    def _close(self, at: int) -> int:
        if not self._openers:
            return at + 1
        opener = self._openers.pop()
        index = len(self._openers)
        inactive = index < self._inactive_below
        self._inactive_below = min(self._inactive_below, index)
        if inactive and not opener.image:
            return at + 1
        kind: Kind = "image" if opener.image else "link"
        result = self._inline(kind, opener, at) or self._by_reference(opener, at)
        if result is None:
            return at + 1
        found, end = result
        inside: list[Found] = []
        while self._found and self._found[-1].opened_at > opener.position:
            inside.append(self._found.pop())
        if not opener.image:
            self._inactive_below = index
            self._found.extend(item for item in reversed(inside) if item.kind != "bare")
        if opener.image or not any(item.kind == "html" for item in inside):
            self.quiet.append((opener.position, at))
        around = not opener.image and any(map(self._is_picture, inside))
        self._found.append(replace(found, around=around, closed_at=end))
        return end

    def _is_picture(self, item: Found) -> bool:
        if item.kind == "html":
            return _PICTURE_TAG.match(self._text, item.start) is not None
        return item.kind in ("image", "reference image")

    def _inline(self, kind: Kind, opener: _Opener, at: int) -> tuple[Found, int] | None:
        text = self._text
        if text[at + 1 : at + 2] != "(":
            return None
        start = _skip_space(text, at + 2)
        destination = parse_destination(text, start)
        if destination is None:
            return None
        begin, stop, after = destination
        spaced = _skip_space(text, after)
        title = _TITLE.match(text, spaced) if spaced > after else None
        end = _skip_space(text, title.end()) if title else spaced
        if text[end : end + 1] != ")":
            return None
        return Found(kind, begin, stop, opener.position, angle=begin > start), end + 1

    def _by_reference(self, opener: _Opener, at: int) -> tuple[Found, int] | None:
        kind: Kind = "reference image" if opener.image else "reference link"
        label = _LABEL.match(self._text, at + 1)
        if label and label[1]:
            if self._is_reference(label[1]):
                return Found(kind, *label.span(1), opener.position), label.end()
            return None
        start = opener.position + (2 if opener.image else 1)
        if opener.bracket_after or at - start > 999 or not self._is_reference(self._text[start:at]):
            return None
        return Found(kind, start, at, opener.position), label.end() if label else at + 1


def parse_destination(text: str, start: int) -> tuple[int, int, int] | None:
    """Return start and end of the link destination at `start`, and the position after it (CommonMark §6.3)."""
    if text[start : start + 1] == "<":
        match = _ANGLE.match(text, start)
        return (*match.span(1), match.end()) if match else None
    position, depth = start, 0
    while True:
        match = _BARE.match(text, position)
        position = match.end() if match else position
        char = text[position : position + 1]
        if char == "(" and depth < _MAX_PARENTHESES:
            depth += 1
        elif char == ")" and depth:
            depth -= 1
        else:
            break
        position += 1
    return None if depth or text[position : position + 1] == "(" else (start, position, position)


def _without_punctuation(text: str, start: int, end: int) -> int:
    """Return the end of a bare address without the punctuation of the sentence around it (GFM §6.9)."""
    surplus = text.count(")", start, end) - text.count("(", start, end)
    while end > start:
        last = text[end - 1]
        if last == ";" and (entity := _ENTITY_AFTER.search(text, max(start, end - 34), end)):
            end = entity.start()
            continue
        if last == ")" and surplus > 0:
            surplus -= 1
        elif last not in "?!.,:;*_~":
            break
        end -= 1
    return end


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position
