"""Finds the spots of YAML front matter: scalars at any depth. Pure.

The events of libyaml and of PyYAML's own parser carry the same positions. Both read characters, so we first replace
each byte above 0x7F and each control by its own private-use character. Positions then stay byte offsets, and GBK and
NUL survive.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import yaml

from proxy.rewrite.base.beginnings import ABSOLUTE
from proxy.rewrite.base.depth import MAX_DEPTH, TooDeep
from proxy.rewrite.base.layers import double_quoted, percent, single_quoted
from proxy.rewrite.base.spot import Layer, Spot, byte_text
from proxy.rewrite.front.fields import Fields, KeyPath

_PRIVATE = 0xE000
_TO_PRIVATE = {
    code: _PRIVATE + code for code in (*range(0x20), *range(0x7F, 0x100)) if code not in (9, 10, 13)
}
_QUESTION = chr(_PRIVATE + ord("?"))
_QUESTION_IN_WORD = re.compile(r"(?<=\S)\?")
_TABS_AT_START = re.compile(r"(?:(?<=[\r\n])|\A)\t+")
_LINE_END = re.compile(r"\r\n?|\n")
_LINE = re.compile(r"[^ \t\r\n](?:[^\r\n]*[^ \t\r\n])?")
LOADERS = tuple(filter(None, (getattr(yaml, "CBaseLoader", None), yaml.BaseLoader)))
"""libyaml first, if PyYAML was built with it: it is ten times as fast. PyYAML's own parser may read what it refuses."""
_hold_plain = percent(r":\Z")
_hold_in_flow = percent(r"[\[\]{},]|:\Z")


@dataclass(slots=True)
class _Container:
    """An open mapping or sequence. `key` is the mapping's current key, None when a key comes next."""

    mapping: bool
    flow: bool
    key: str | None = None


@dataclass(slots=True)
class _YamlWalk:
    fields: Fields
    open: list[_Container] = field(default_factory=list)

    def is_value(self, scalar: str) -> bool:
        """Take a scalar; return whether it is a value, not a key."""
        top = self.open[-1] if self.open else None
        if top is None or not top.mapping:
            return True
        if top.key is None:
            top.key = scalar
            return False
        return True

    def value_done(self) -> None:
        """Note the end of a value."""
        if self.open and self.open[-1].mapping:
            top = self.open[-1]
            # A collection as a key (`? [a]`) counts as a key without a name.
            top.key = "" if top.key is None else None

    def path(self) -> KeyPath:
        """Return the names of the keys of the current value, outermost first."""
        return tuple(item.key for item in self.open if item.mapping and item.key)

    @property
    def in_flow(self) -> bool:
        """Whether commas and brackets end a plain scalar at this position."""
        return any(item.flow for item in self.open)


def yaml_spots(text: str, start: int, fields: Fields) -> Iterator[Spot]:
    """Return the spots of `text`, YAML that begins at `start` of the article.

    Raises:
        TooDeep: it is nested deeper than 64 levels.
        ValueError: it is not valid YAML.
    """
    characters = readable(text)
    for loader in LOADERS:
        with contextlib.suppress(yaml.YAMLError):
            walk = _YamlWalk(fields)
            spots: list[Spot] = []
            for event in yaml.parse(characters, Loader=loader):
                spots.extend(_event_spots(event, walk, text, start))
            return iter(spots)
    raise ValueError("not YAML")


def _event_spots(event: yaml.Event, walk: _YamlWalk, text: str, start: int) -> Iterator[Spot]:
    if isinstance(event, yaml.ScalarEvent):
        if walk.is_value(event.value):
            yield from _scalar_spots(event, walk, text, start)
            walk.value_done()
    elif isinstance(event, yaml.AliasEvent):
        walk.value_done()
    elif isinstance(event, yaml.CollectionStartEvent):
        if len(walk.open) == MAX_DEPTH:
            raise TooDeep
        walk.open.append(_Container(isinstance(event, yaml.MappingStartEvent), bool(event.flow_style)))
    elif isinstance(event, yaml.CollectionEndEvent):
        walk.open.pop()
        walk.value_done()


def _scalar_spots(event: yaml.ScalarEvent, walk: _YamlWalk, text: str, start: int) -> Iterator[Spot]:
    if event.start_mark is None or event.end_mark is None:
        return
    whole = event.start_mark.index, event.end_mark.index
    if "/" not in text[slice(*whole)] and "\\" not in text[slice(*whole)]:
        return
    places = _places(event, whole, text)
    layers: tuple[Layer, ...] = ()
    hold: Callable[[str], str] = str
    if event.style == "'":
        layers = (single_quoted(),)
    elif event.style == '"':
        layers = (double_quoted(text[slice(*places[0])] if places else ""),)
    elif not event.style:
        hold = _hold_in_flow if walk.in_flow else _hold_plain
    path = walk.path()
    if not places:
        yield walk.fields.text(path, start + whole[0], start + whole[1])
    for begin, end in places:
        yield from walk.fields.spots(path, text[begin:end], start + begin, layers=layers, hold=hold)


def _places(event: yaml.ScalarEvent, whole: tuple[int, int], text: str) -> list[tuple[int, int]]:
    """Return the ranges of a scalar's value, without quotes and surrounding spaces; none if it is not in one piece.

    A block scalar may hold several addresses, one in each line.
    """
    begin, raw = whole[0], text[slice(*whole)]
    value = _bytes_of(event.value).strip(" \t\r\n")
    if event.style in ("'", '"'):
        # An anchor or a tag may precede the quote.
        opening = raw.find(event.style)
        inner = raw[opening + 1 : -1]
        return [] if "\n" in inner or "\r" in inner else [_trimmed(inner, begin + opening + 1)]
    if event.style in ("|", ">"):
        return [(begin + found.start(), begin + found.end()) for found in _block_lines(raw)]
    if not value or re.search(r"\s", value) or raw.count(value) != 1:
        return []
    found = begin + raw.index(value)
    return [(found, found + len(value))]


def _block_lines(raw: str) -> list[re.Match[str]]:
    """Return the lines below the header of a block scalar if each of them is an address."""
    header = _LINE_END.search(raw)
    lines = list(_LINE.finditer(raw, header.end())) if header else []
    return lines if all(ABSOLUTE.match(line[0]) and not re.search(r"\s", line[0]) for line in lines) else []


def _trimmed(inner: str, begin: int) -> tuple[int, int]:
    start = begin + len(inner) - len(inner.lstrip(" "))
    return start, max(start, begin + len(inner.rstrip(" ")))


def readable(text: str) -> str:
    """Return the text for PyYAML, with the same number of characters.

    A question mark inside a word is an indicator to PyYAML but not in YAML 1.2, so it is masked. Tabs of the
    indentation are replaced by spaces, as in Hexo.
    """
    text = text.translate(_TO_PRIVATE)
    text = _QUESTION_IN_WORD.sub(_QUESTION, text)
    return _TABS_AT_START.sub(lambda match: " " * len(match[0]), text)


def _bytes_of(value: str) -> str:
    if value.isascii():
        return value
    return "".join(
        chr(ord(char) - _PRIVATE) if _PRIVATE <= ord(char) < _PRIVATE + 0x100 else byte_text(char)
        for char in value
    )
