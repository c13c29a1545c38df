"""Finds the spots of TOML and JSON front matter: strings at any depth. Pure.

A library decides whether the text is valid. A tokenizer of a few lines finds the strings, because neither library keeps
positions.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator

from proxy.rewrite.base.depth import MAX_DEPTH, TooDeep
from proxy.rewrite.base.layers import double_quoted
from proxy.rewrite.base.spot import Layer, Spot
from proxy.rewrite.front.fields import Fields

# An unterminated string is a token too. Otherwise each of its escaped quotes would be tried as the beginning of another
# string, which takes quadratic time.
_TOML_TOKEN = re.compile(
    r"""(?P<skip>\#[^\n]*+)
    |(?P<long>\"{3}(?:[^"\\]++|\\.?|"{1,2}(?!"))*+(?:"{3,5}|\Z)|'{3}(?:[^']++|'{1,2}(?!'))*+(?:'{3,5}|\Z))
    |(?P<table>(?:(?<=\n)|\A)[ \t]*+\[++[^\]\n]*+\]++[ \t]*+(?=[\r\n#]|\Z))
    |(?P<string>"(?:[^"\\\n]++|\\.?)*+(?:"|(?=\n)|\Z)|'[^'\n]*+(?:'|(?=\n)|\Z))
    |(?P<word>[A-Za-z0-9_-]++)|(?P<mark>[={}])""",
    re.VERBOSE | re.DOTALL,
)
_BEFORE_DOT = re.compile(r"[ \t]*+\.")
_BEFORE_EQUALS = re.compile(r"[ \t]*+[=.]")
_JSON_TOKEN = re.compile(r"""(?P<string>"(?:[^"\\]++|\\.?)*+(?:"|\Z))|(?P<mark>[{}\[\]:,])""", re.DOTALL)


def toml_spots(text: str, start: int, fields: Fields) -> Iterator[Spot]:
    """Yield the spots of `text`, TOML that begins at `start` of the article.

    Raises:
        TooDeep: it is nested deeper than 64 levels, or a key has more than 64 parts.
        ValueError: it is not valid TOML.
    """
    _require_shallow_toml(text)
    tomllib.loads(text.replace("\r\n", "\n"))
    table: list[str] = []
    keys: list[list[str]] = [[]]
    parts: list[str] = []
    for token in _TOML_TOKEN.finditer(text):
        names = [*table, *(name for key in keys for name in key)]
        if token["table"]:
            table, keys = re.findall(r"[\w-]+", token["table"]), [[]]
        elif token["mark"] == "=":
            keys[-1], parts = parts, []
        elif token["mark"] == "{":
            keys.append([])
        elif token["mark"] == "}" and len(keys) > 1:
            keys.pop()
        elif token["long"]:
            yield from _string_spot(token.span("long"), text, start, names, fields)
        elif (token["word"] or token["string"]) and _BEFORE_EQUALS.match(text, token.end()):
            # A part of a key, such as `cover` and `src` in `cover."src" = …`. Parts of a number come here too, and are
            # dropped.
            parts.append(token["word"] or token["string"][1:-1])
        elif token["word"]:
            parts = []
        elif token["string"]:
            yield from _string_spot(token.span("string"), text, start, names, fields)


def json_spots(text: str, start: int, fields: Fields, *, bare: bool) -> Iterator[Spot]:
    """Yield the spots of `text`, JSON that begins at `start` of the article. `bare`: an object without its braces.

    Raises:
        TooDeep: it is nested deeper than 64 levels.
        ValueError: it is not valid JSON.
    """
    _require_shallow_json(text)
    json.loads(f"{{{text}}}" if bare else text)
    keys: list[str] = [""]
    last: re.Match[str] | None = None
    for token in _JSON_TOKEN.finditer(text):
        if token["string"]:
            last = token
            continue
        mark = token["mark"]
        if mark == ":":
            keys[-1] = last[0][1:-1] if last else ""
        elif last is not None:
            yield from _string_spot(last.span("string"), text, start, keys, fields)
        last = None
        if mark in "{[":
            keys.append("")
        elif mark in "}]" and len(keys) > 1:
            keys.pop()
    if last is not None:
        yield from _string_spot(last.span("string"), text, start, keys, fields)


def object_end(text: str, begin: int) -> int:
    """Return the end of the JSON object at `begin`, even of an invalid one; 0 when it is never closed."""
    depth = 0
    for token in _JSON_TOKEN.finditer(text, begin):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token["mark"] or "", 0)
        if depth == 0:
            return token.end()
    return 0


def _require_shallow_toml(text: str) -> None:
    """Raise TooDeep before tomllib parses the text: a key of 30,000 parts would take gigabytes of memory there."""
    parts = depth = 0
    for token in _TOML_TOKEN.finditer(text):
        if token["mark"]:
            depth += {"{": 1, "}": -1}.get(token["mark"], 0)
        named = (token["word"] or token["string"]) and _BEFORE_DOT.match(text, token.end())
        parts = parts + 1 if named else 0
        if max(parts, depth, (token["table"] or "").count(".")) >= MAX_DEPTH:
            raise TooDeep


def _require_shallow_json(text: str) -> None:
    depth = 0
    for token in _JSON_TOKEN.finditer(text):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token["mark"] or "", 0)
        if depth > MAX_DEPTH:
            raise TooDeep


def _string_spot(
    place: tuple[int, int], text: str, start: int, path: list[str], fields: Fields
) -> Iterator[Spot]:
    quotes = 3 if text.startswith(('"""', "'''"), place[0]) else 1
    begin, end = place[0] + quotes, place[1] - quotes
    raw = text[begin:end]
    if "/" not in raw and "\\" not in raw:
        return
    names = tuple(name for name in path if name)
    if "\n" in raw:
        yield fields.text(names, start + begin, start + end)
        return
    layers: tuple[Layer, ...] = (double_quoted(raw),) if text[place[0]] == '"' else ()
    yield from fields.spots(names, raw, start + begin, layers=layers, hold=str if layers else _hold_quote)


def _hold_quote(url: str) -> str:
    return url.replace("'", "%27")
