"""An HTML tokenizer that keeps the position of every attribute value. Pure; never fails.

We wrote our own, because no library keeps the offsets of attribute values and rewriting must not change anything else.
It follows the states of HTML §13.2.5 that decide what is markup: quotes, comments, raw text (`<script>`, `<style>`,
`<textarea>`…), CDATA. It carries its state from one piece of text to the next, because a Markdown article contains HTML
in pieces. It takes linear time: every scan continues after the text it consumed, and a missing end is searched for
once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_OPENING = re.compile(r"<(?:!--|!\[CDATA\[|[!?]|/?[a-zA-Z]|/)")
SPEAKING = re.compile(
    r"<(?:!--|!\[CDATA\[|[!?]|/(?![a-zA-Z])"
    r"|/?(?:script|style|textarea|title|xmp|iframe|noembed|noframes|plaintext|pre|code|listing|svg|math|picture)"
    r"(?=[\t\n\f\r />])|/?[a-zA-Z][^\t\n\f\r /<>]*+[\t\n\f\r /<])",
    re.IGNORECASE,
)
"""The beginning of markup that matters. Tags without attributes do not, unless the text after them depends on them."""

_NO_TAGS = frozenset({"<!--", "<![CDATA[", "<!", "<?", "</"})
_TAG_NAME = re.compile(r"[^\t\n\f\r />]++")
_ATTRIBUTE = re.compile(
    r"""[\t\n\f\r /]*+(?:(?P<end>>)|(?P<name>[^\t\n\f\r />][^\t\n\f\r />=]*+)
    (?:[\t\n\f\r ]*+=[\t\n\f\r ]*+(?:"(?P<double>[^"]*+)"|'(?P<single>[^']*+)'|(?P<plain>(?!["'])[^\t\n\f\r >]*+)))?+
    (?P<unclosed>[\t\n\f\r ]*+=)?+)""",
    re.VERBOSE,
)
"""One attribute, or the end of the tag. If a value has no closing quote, the unmatched rest begins with `=`."""
_QUOTES = {"double": '"', "single": "'", "plain": ""}
_COMMENT_END = re.compile(r"--!?>")
_SCRIPT = re.compile(r"<!--|-->|<(/?)script(?=[\t\n\f\r />])", re.IGNORECASE)

RAW_TEXT = frozenset(
    {"script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes", "plaintext"}
)
"""Elements whose content is text (HTML §13.2.6.4.7), except `noscript`, whose content is shown without scripts."""

_ENDS = {name: re.compile(rf"</{name}(?=[\t\n\f\r />])", re.IGNORECASE) for name in RAW_TEXT}
_CODE = frozenset({"pre", "code", "listing"})
_FOREIGN = frozenset({"svg", "math"})
_PICTURES = frozenset({"img", "picture", "source"})
_OF_ACCOUNT = "|".join(sorted(RAW_TEXT | _CODE | _FOREIGN | _PICTURES))
_OF_NO_ACCOUNT = re.compile(
    rf"""(?:[^<]++|</?(?!(?:{_OF_ACCOUNT})[\t\n\f\r />])[a-z][^\t\n\f\r />"'=]*+
    (?:[\t\n\f\r /]++(?:[^\t\n\f\r />"'=]++(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+
    (?:(?:"(?:[^"/\\&:]++|(?<![ps]):)*+"|'(?:[^'/\\&:]++|(?<![ps]):)*+')(?=[\t\n\f\r />])
    |[^\t\n\f\r >"'/\\&:]++(?=[\t\n\f\r >])))?+)?+)*+>)*+""",
    re.VERBOSE | re.IGNORECASE,
)
"""Text and tags that contain no address of another site or image endpoint, and do not affect the text after them.

Tags of pictures are never skipped, because it matters which picture is the first.
"""


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute. `start:end` is its value without quotes; `quote` is empty for an unquoted value."""

    name: str
    start: int
    end: int
    quote: str


@dataclass(frozen=True, slots=True)
class Tag:
    """A start tag at `start:end`. `in_code`: whether it is inside `<pre>` or `<code>`."""

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

    raw: the element whose raw text is open, or empty. comment: whether a comment is open. Both stay open across pieces.
    quiet: the ranges of the latest piece that show no pictures: comments, raw text, the content of `<pre>` and
    `<code>`. picture_ends: the positions of its `</picture>` tags. directed: whether a `<source>` of the latest
    `<picture>` has `media`; set by the caller. opening: matches the beginning of markup to examine. passed: matches
    text and tags that are skipped before it.
    """

    opening = _OPENING
    passed: re.Pattern[str] | None = _OF_NO_ACCOUNT

    def __init__(self) -> None:
        self.raw = ""
        self.comment = False
        self.quiet: list[tuple[int, int]] = []
        self.picture_ends: list[int] = []
        self.directed = False
        self._depths = dict.fromkeys([*_CODE, *_FOREIGN, "picture"], 0)
        self._open_code = self._open_foreign = 0
        self._no_cdata_end_from = -1

    @property
    def in_code(self) -> bool:
        """Whether the following text is inside `<pre>` or `<code>`."""
        return self._open_code > 0

    @property
    def in_picture(self) -> bool:
        """Whether the following text is inside `<picture>`."""
        return self._depths["picture"] > 0

    @property
    def shows(self) -> bool:
        """Whether the following text is rendered as markup."""
        return not (self.raw or self.comment or self._open_code)

    def scan(self, text: str, start: int, end: int) -> Iterator[Tag | StyleSheet]:
        """Yield the start tags that may hold an address and the style sheets of `text[start:end]`."""
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
                passed = self.passed.match(text, position, end) if self.passed else None
                opening = self.opening.search(text, passed.end() if passed else position, end)
                if opening is None:
                    position = end
                else:
                    tag, position = self._markup(text, opening, end)
                    if not quiet and opening[0] in _NO_TAGS:
                        begin, quiet = opening.start(), True
                    if tag is not None and (tag.attributes or tag.name == "picture"):
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
        if self_closing and (self._open_foreign or name in _FOREIGN):
            return
        if name in self._depths:
            before = self._depths[name]
            self._depths[name] = max(0, before + (-1 if closing else 1))
            if name in _CODE:
                self._open_code += self._depths[name] - before
            elif name in _FOREIGN:
                self._open_foreign += self._depths[name] - before
        elif name in RAW_TEXT and not closing:
            self.raw = name


def attribute_names(text: str, tag: Tag) -> Iterator[str]:
    """Yield the names of a tag's attributes in lower case, including attributes without a value."""
    position = tag.start + 1 + len(tag.name)
    while (item := _ATTRIBUTE.match(text, position, tag.end)) is not None and not item["end"]:
        yield item["name"].lower()
        position = item.end()


def _attributes(text: str, position: int, end: int) -> tuple[tuple[Attribute, ...], int]:
    """Read attributes up to the `>`; also return the position after it, or -1 when there is none."""
    found: list[Attribute] = []
    while (item := _ATTRIBUTE.match(text, position, end)) is not None:
        position = item.end()
        if item["end"]:
            return tuple(found), position
        if item["unclosed"]:
            break
        kind = item.lastgroup or ""
        if kind != "name":
            found.append(Attribute(item["name"].lower(), *item.span(kind), _QUOTES[kind]))
    return (), -1


def _end_of_script(text: str, position: int, end: int) -> int | None:
    """Return the position of the `</script` that ends a script; one in `<!-- <script>` does not (HTML §13.2.5.27)."""
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
