"""A tokenizer of HTML that keeps the position of every attribute value. Pure; never fails.

Written here because no library keeps the offsets of attribute values, and rewriting must not touch anything
else. It follows the states of HTML §13.2.5 as far as they decide what is markup: quotes, comments, raw text
(`<script>`, `<style>`, `<textarea>`…), CDATA. It carries its state from one piece of text to the next, because a
Markdown article is HTML in pieces. Linear: every scan ends behind what it consumed, and a search for a missing
end is done once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_OPENING = re.compile(r"<(?:!--|!\[CDATA\[|[!?]|/?[a-zA-Z]|/)")
_NO_TAGS = frozenset({"<!--", "<![CDATA[", "<!", "<?", "</"})
_TAG_NAME = re.compile(r"[^\t\n\f\r />]++")
_BEFORE_ATTRIBUTE = re.compile(r"[\t\n\f\r /]*+")
_ATTRIBUTE_NAME = re.compile(r"[^\t\n\f\r />][^\t\n\f\r />=]*+")
_EQUALS = re.compile(r"[\t\n\f\r ]*+=[\t\n\f\r ]*+")
_UNQUOTED = re.compile(r"[^\t\n\f\r >]*+")
_COMMENT_END = re.compile(r"--!?>")
_SCRIPT = re.compile(r"<!--|-->|<(/?)script(?=[\t\n\f\r />])", re.IGNORECASE)

RAW_TEXT = frozenset(
    {"script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes", "plaintext"}
)
"""Elements whose content is text (HTML §13.2.6.4.7); `noscript` is not one: pages without scripts show it."""

_ENDS = {name: re.compile(rf"</{name}(?=[\t\n\f\r />])", re.IGNORECASE) for name in RAW_TEXT}
_CODE = frozenset({"pre", "code", "listing"})
_FOREIGN = frozenset({"svg", "math"})


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute; `start:end` is its value without quotes, `quote` is empty when there are none."""

    name: str
    start: int
    end: int
    quote: str


@dataclass(frozen=True, slots=True)
class Tag:
    """A start tag at `start:end`; `in_code` tells whether it stands inside `<pre>` or `<code>`."""

    name: str
    attributes: tuple[Attribute, ...]
    in_code: bool
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class StyleSheet:
    """The content of a `<style>` element."""

    start: int
    end: int


class HtmlScanner:
    """Reads HTML, piece by piece.

    `raw` is the element whose raw text is open, `comment` whether a comment is; both stay open over pieces.
    `quiet` are the ranges of the latest piece that show nothing: comments, raw text, what is in `<pre>` or `<code>`.
    `picture_ends` are the positions of its `</picture>` tags. `directed`: a `<source>` of the latest `<picture>` names
    media; whoever reads the tags sets it.
    """

    def __init__(self) -> None:
        self.raw = ""
        self.comment = False
        self.quiet: list[tuple[int, int]] = []
        self.picture_ends: list[int] = []
        self.directed = False
        self._depths = dict.fromkeys([*_CODE, *_FOREIGN, "picture"], 0)
        self._no_cdata_end_from = -1

    @property
    def in_code(self) -> bool:
        """Whether what comes next stands inside `<pre>` or `<code>`."""
        return any(self._depths[name] for name in _CODE)

    @property
    def in_picture(self) -> bool:
        """Whether what comes next stands inside `<picture>`."""
        return self._depths["picture"] > 0

    @property
    def shows(self) -> bool:
        """Whether what comes next is shown as markup at all."""
        return not (self.raw or self.comment or self.in_code)

    def scan(self, text: str, start: int, end: int) -> Iterator[Tag | StyleSheet]:
        """Yield the start tags and style sheets of `text[start:end]`."""
        position = start
        self._no_cdata_end_from = -1
        self.quiet = []
        self.picture_ends = []
        while position < end:
            begin, quiet = position, not self.shows
            if self.comment:
                position = self._rest_of_comment(text, position, end)
            elif self.raw:
                name = self.raw
                position = self._rest_of_raw_text(text, position, end)
                if name == "style":
                    yield StyleSheet(begin, position)
            else:
                opening = _OPENING.search(text, position, end)
                if opening is None:
                    position = end
                else:
                    tag, position = self._markup(text, opening, end)
                    if not quiet and opening[0] in _NO_TAGS:
                        begin, quiet = opening.start(), True
                    if tag is not None:
                        yield tag
            if quiet:
                self.quiet.append((begin, position))

    def _markup(self, text: str, opening: re.Match[str], end: int) -> tuple[Tag | None, int]:
        start, inside = opening.start(), opening.end()
        if opening[0] == "<!--":
            # HTML §13.2.5.43: `<!-->` and `<!--->` are complete.
            short = re.compile(r"-?>").match(text, inside, end)
            self.comment = short is None
            return None, short.end() if short else inside
        if opening[0] == "<![CDATA[":
            return None, self._cdata(text, inside, end)
        if opening[0] in ("<!", "<?", "</"):
            return None, _behind(text, ">", inside, end)
        return self._tag(text, start, end, closing=opening[0].startswith("</"))

    def _cdata(self, text: str, position: int, end: int) -> int:
        if self._no_cdata_end_from < 0:
            close = text.find("]]>", position, end)
            if close >= 0:
                return close + 3
            self._no_cdata_end_from = position
        return _behind(text, ">", position, end)

    def _rest_of_comment(self, text: str, position: int, end: int) -> int:
        close = _COMMENT_END.search(text, position, end)
        self.comment = close is None
        return close.end() if close else end

    def _rest_of_raw_text(self, text: str, position: int, end: int) -> int:
        if self.raw == "plaintext":
            return end
        if self.raw == "script":
            stop = _end_of_script(text, position, end)
        else:
            close = _ENDS[self.raw].search(text, position, end)
            stop = close.start() if close else None
        if stop is None:
            return end
        self.raw = ""
        return stop

    def _tag(self, text: str, start: int, end: int, *, closing: bool) -> tuple[Tag | None, int]:
        position = start + (2 if closing else 1)
        match = _TAG_NAME.match(text, position, end)
        if match is None:
            return None, position
        name = match[0].lower()
        attributes, position = _attributes(text, match.end(), end)
        if position < 0:
            # HTML §13.2.5.72, end of file in a tag: the tag is dropped.
            return None, end
        in_code = self.in_code
        self._enter(name, closing=closing, self_closing=text[position - 2 : position - 1] == "/")
        if closing:
            if name == "picture":
                self.picture_ends.append(start)
            return None, position
        return Tag(name, attributes, in_code, start, position), position

    def _enter(self, name: str, *, closing: bool, self_closing: bool) -> None:
        foreign = any(self._depths[element] for element in _FOREIGN)
        if self_closing and (foreign or name in _FOREIGN):
            return
        if name in self._depths:
            self._depths[name] = max(0, self._depths[name] + (-1 if closing else 1))
        elif name in RAW_TEXT and not closing:
            self.raw = name


def attribute_names(text: str, tag: Tag) -> Iterator[str]:
    """Yield the names of a tag's attributes in lower case, those without a value included."""
    values = {item.start - len(item.quote): item for item in tag.attributes}
    position = tag.start + 1 + len(tag.name)
    while position < tag.end - 1:
        between = _BEFORE_ATTRIBUTE.match(text, position, tag.end - 1)
        position = between.end() if between else position
        name = _ATTRIBUTE_NAME.match(text, position, tag.end - 1)
        if name is None:
            return
        yield name[0].lower()
        equals = _EQUALS.match(text, name.end(), tag.end)
        item = values.get(equals.end()) if equals else None
        position = item.end + len(item.quote) if item else name.end()


def _attributes(text: str, position: int, end: int) -> tuple[tuple[Attribute, ...], int]:
    """Read attributes up to the `>`; the position behind it is -1 when there is none."""
    found: list[Attribute] = []
    while True:
        between = _BEFORE_ATTRIBUTE.match(text, position, end)
        position = between.end() if between else position
        if position >= end:
            return (), -1
        if text[position] == ">":
            return tuple(found), position + 1
        name = _ATTRIBUTE_NAME.match(text, position, end)
        if name is None:
            return (), -1
        equals = _EQUALS.match(text, name.end(), end)
        if equals is None:
            position = name.end()
            continue
        value_start, value_end, quote = _value(text, equals.end(), end)
        if value_end < 0:
            return (), -1
        found.append(Attribute(name[0].lower(), value_start, value_end, quote))
        position = value_end + len(quote)


def _value(text: str, position: int, end: int) -> tuple[int, int, str]:
    quote = text[position] if position < end and text[position] in "\"'" else ""
    if quote:
        return position + 1, text.find(quote, position + 1, end), quote
    match = _UNQUOTED.match(text, position, end)
    return position, match.end() if match else position, ""


def _end_of_script(text: str, position: int, end: int) -> int | None:
    """Return where `</script` ends a script; inside `<!-- <script>` it does not (HTML §13.2.5.27)."""
    escaped = double = False
    for token in _SCRIPT.finditer(text, position, end):
        if token[0] == "<!--":
            escaped = True
        elif token[0] == "-->":
            escaped = double = False
        elif not token[1]:
            double = escaped
        elif double:
            double = False
        else:
            return token.start()
    return None


def _behind(text: str, mark: str, position: int, end: int) -> int:
    found = text.find(mark, position, end)
    return found + len(mark) if found >= 0 else end
