"""Finds front matter, recognizes its language, and returns its spots. Pure.

It may follow a BOM and blank lines. `---` begins YAML (Hexo, Jekyll, Hugo), `+++` TOML and `{` JSON (Hugo), and `;;;`
JSON without its braces (Hexo). Hexo accepts `---` and `;;;` front matter without the first fence too. Front matter that
the parser of its language refuses is read line by line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from proxy.rewrite.base.beginnings import SITE_FORMS
from proxy.rewrite.base.depth import MAX_DEPTH, TooDeep
from proxy.rewrite.base.spot import Spot
from proxy.rewrite.front.datafront import json_spots, object_end, toml_spots
from proxy.rewrite.front.fields import Fields
from proxy.rewrite.front.linefront import line_spots
from proxy.rewrite.front.yamlfront import yaml_spots

MAX_BYTES = 256 * 1024
"""Longest YAML and TOML front matter that is read. PyYAML reads about 100 kB a second, and 4 kB is long already. JSON
has no such limit: it is parsed in C, and a list of pictures may be long."""

Language = Literal["yaml", "toml", "json", "bare json"]

_BEFORE = re.compile(r"(?:\xef\xbb\xbf)?(?:[ \t]*+(?:\r\n|\n|\r))*+")
_COMMENT = re.compile(r"(?:(?<=[\r\n])|\A)[ \t]*+#[^\r\n]*+")
_FENCE = re.compile(r"(-{3,}|;{3,}|\+{3})[ \t]*+(?:\r\n|\n|\r)")
# In Hugo, the end of the object ends the front matter. A template tag begins with a brace too, so look further.
_OBJECT = re.compile(r"\{[ \t\r\n]*+[\"}]")
_OBJECT_WITH_KEY = re.compile(r'\{[ \t\r\n]*+"[^"\\\r\n]*+"[ \t\r\n]*+:')
_BARE_KEY = re.compile(r'"[^"\\\r\n]++"[ \t]*+:')
_BARE_END = re.compile(r"(?<=[\r\n]);{3,}[ \t]*+(?=[\r\n]|\Z)")
_FIRST_KEY = re.compile(r"(?P<name>[A-Za-z_][\w.-]{0,99}+)[ \t]*+:(?:[ \t]++(?P<value>[^\r\n]*+))?(?=[\r\n])")
_UNFENCED_LINE = re.compile(
    r"(?:[A-Za-z_][\w.-]*+[ \t]*+:(?=[ \t\r\n])|[ \t#-]|(?=[\r\n]))[^\r\n]*+(?:\r\n|\n|\r)"
)
_UNFENCED_END = re.compile(r"-{3,}[ \t]*+(?=[\r\n]|\Z)")
_COMMON_KEYS = frozenset(
    {"title", "date", "layout", "permalink", "tags", "categories", "author", "description"}
)
_MAY_HOLD_ADDRESS = re.compile(rf"//|\\(?:/|x2f|u002f|U0000002f)|{SITE_FORMS}", re.IGNORECASE)
_LANGUAGES: dict[str, Language] = {"-": "yaml", "+": "toml", ";": "bare json"}


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """Front matter at `start:end`, without its fences. The text of the article begins at `body`."""

    start: int
    end: int
    body: int
    language: Language


@dataclass(frozen=True, slots=True)
class FrontReading:
    """The spots of front matter, and its problem, empty for none. `by_lines`: it was read despite the problem."""

    spots: list[Spot]
    problem: str = ""
    by_lines: bool = False


def find_front_matter(text: str) -> FrontMatter | None:
    """Return the front matter of an article, or None when it has none."""
    before = _BEFORE.match(text)
    begin = before.end() if before else 0
    fence = _FENCE.match(text, begin)
    if fence is None:
        return _json_object(text, begin) or _bare_json(text, begin) or _unfenced(text, begin)
    closing = re.compile(rf"(?:(?<=[\r\n])|\A){re.escape(fence[1])}[ \t]*+(?=[\r\n]|\Z)")
    close = closing.search(text, fence.end())
    if close is None:
        return None
    return FrontMatter(fence.end(), close.start(), close.end(), _LANGUAGES[fence[1][0]])


def may_begin_front_matter(head: str) -> bool:
    """Return whether an article that begins with `head` may have front matter that ends after it."""
    before = _BEFORE.match(head)
    begin = before.end() if before else 0
    return bool(_FENCE.match(head, begin) or _OBJECT_WITH_KEY.match(head, begin))


def front_matter_spots(text: str, front: FrontMatter, fields: Fields) -> FrontReading:
    """Return the spots of the front matter and any problem with it."""
    inside = text[front.start : front.end]
    if not _MAY_HOLD_ADDRESS.search(inside):
        return FrontReading([])
    if len(inside) > MAX_BYTES and front.language in ("yaml", "toml"):
        return FrontReading([], "the front matter is too long to be read")
    try:
        return FrontReading(list(_spots(inside, front, fields)))
    except TooDeep:
        return FrontReading([], f"the front matter nests more than {MAX_DEPTH} deep and was not read")
    except (ValueError, RecursionError):
        reason = f"the front matter is not readable {front.language.upper()} and was rewritten key by key"
        return FrontReading(list(line_spots(inside, front.start, fields)), reason, by_lines=True)


def _spots(inside: str, front: FrontMatter, fields: Fields) -> Iterator[Spot]:
    if front.language == "yaml":
        return yaml_spots(inside, front.start, fields)
    if front.language == "toml":
        return toml_spots(inside, front.start, fields)
    return json_spots(inside, front.start, fields, bare=front.language == "bare json")


def comments(text: str, front: FrontMatter) -> list[tuple[int, int]]:
    """Return the lines of the front matter that are comments."""
    if front.language not in ("yaml", "toml"):
        return []
    return [match.span() for match in _COMMENT.finditer(text, front.start, front.end)]


def _unfenced(text: str, begin: int) -> FrontMatter | None:
    """Return front matter without its first fence: lines with keys from the first line up to `---` (Hexo).

    A single line above `---` may also be a Markdown heading, so it must have a common key or an address.
    """
    first = _FIRST_KEY.match(text, begin)
    position, keys = begin, 0
    while first and position - begin < MAX_BYTES:
        if keys and (end := _UNFENCED_END.match(text, position)):
            known = first["name"].lower() in _COMMON_KEYS or "//" in (first["value"] or "")
            return FrontMatter(begin, position, end.end(), "yaml") if known or keys > 1 else None
        line = _UNFENCED_LINE.match(text, position)
        if line is None:
            return None
        keys += line[0][0] not in " \t#-\r\n"
        position = line.end()
    return None


def _bare_json(text: str, begin: int) -> FrontMatter | None:
    """Return JSON without braces and without its first fence, up to `;;;` (Hexo)."""
    if not _BARE_KEY.match(text, begin):
        return None
    close = _BARE_END.search(text, begin)
    return FrontMatter(begin, close.start(), close.end(), "bare json") if close else None


def _json_object(text: str, begin: int) -> FrontMatter | None:
    if not _OBJECT.match(text, begin):
        return None
    try:
        _, end = json.JSONDecoder().raw_decode(text, begin)
    except RecursionError:
        # Its end is unknown. Take the whole text, which is then reported as nested too deep.
        end = len(text)
    except ValueError:
        # Text that only begins with a brace and a quote is not front matter. An invalid object is, and is reported.
        end = object_end(text, begin) if _OBJECT_WITH_KEY.match(text, begin) else 0
    return FrontMatter(begin, end, end, "json") if end else None
