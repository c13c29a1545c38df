"""Reads the arguments of tags and shortcodes by the table `tags.toml`. Pure.

To add a tag, add a table to that file. The addresses in a tag without a table are left unchanged and reported.

    good   {% image https://h/a.png, width=400px %}      the address ends at the comma (volantis)
    good   {% image https://h/a,b.png 400 %}             this comma does not separate arguments
    bad    {% mytag https://h/a.png %}                   an unknown tag
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Any, Literal

from proxy.rewrite.base.spot import Use

Family = Literal["hexo", "hugo"]

_TAG = re.compile(r"(?:\{%[-+~]?|\{\{[<%])[ \t\r\n]*+([\w-]+)[ \t\r\n]*+")
_CLOSING = re.compile(r"[ \t\r\n]*+(?:/?>\}\}|[-+~]?%\}\}?|%\})\Z")
_ARGUMENT = re.compile(
    r"""(?:(?P<key>[\w-]++)[ \t]*+=[ \t]*+|(?!https?:)(?P<word>[\w-]++):(?=["']?(?:https?:)?//))?+
    (?:"(?P<double>[^"]*+)"|'(?P<single>[^']*+)'|`(?P<tick>[^`]*+)`|(?P<plain>[^\s"'`]++))|["'`]""",
    re.DOTALL | re.VERBOSE,
)
_ADDRESS = re.compile(r"(?:https?:)?//[^\s\"'`\\]++", re.IGNORECASE)
_NAMED_ITEM = re.compile(r"([\w-]+)[ \t]*+=[ \t]*+")
_COMMA = re.compile(r",(?:(?=\s|\Z)|(?=(?:https?:)?//)|[\w-]+=)")
_AROUND = " \t\r\n\"'"


@dataclass(frozen=True, slots=True)
class TagRule:
    """One table of `tags.toml`, which explains the fields."""

    names: tuple[str, ...]
    family: Family | None = None
    split: str = " "
    shows: tuple[int | str, ...] = ()
    links: tuple[int, ...] = ()
    keys: frozenset[str] = frozenset()
    hrefs: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()
    guess: bool = False
    content: Literal["", "code", "yaml", "columns"] = ""
    column: int = 0

    @classmethod
    def read(cls, table: dict[str, Any]) -> TagRule:
        """Return the rule of a table in the file."""
        for name in ("names", "shows", "links"):
            table[name] = tuple(table.get(name, ()))
        for name in ("keys", "hrefs", "lists"):
            table[name] = frozenset(table.get(name, ()))
        table["names"] = tuple(name.lower() for name in table["names"])
        return cls(**table)

    def covers(self, name: str, family: Family) -> bool:
        """Return whether the rule applies to tags of this name, which is in lower case."""
        return self.family in (None, family) and any(fnmatchcase(name, pattern) for pattern in self.names)

    def use(self, key: str, number: int, *, first: bool) -> Use | None:
        """Return the use of an argument, or None.

        `number` counts arguments without a key. `first`: the argument is the first address of the tag.
        """
        if key in self.keys if key else number in self.shows or (first and "first" in self.shows):
            return Use.MAY_SHOW if self.guess else Use.SHOW
        return Use.LINK if (key in self.hrefs if key else number in self.links) else None


@dataclass(frozen=True, slots=True)
class _Include:
    """Jekyll's `{% include file key=value %}`."""

    names: frozenset[str]
    files: re.Pattern[str]
    keys: frozenset[str]
    pictures: frozenset[str]
    hrefs: frozenset[str]


@dataclass(frozen=True, slots=True)
class TagAddress:
    """An address at `start:end` of a tag, and its use.

    closed: our address must not contain commas or other separators. around: it is a link around a picture.
    """

    start: int
    end: int
    use: Use
    closed: bool = False
    around: bool = False


@dataclass(frozen=True, slots=True)
class _Argument:
    """An argument at `start:end`, without its quotes. `number` counts arguments without a key."""

    key: str
    number: int
    start: int
    end: int


@dataclass(slots=True)
class _Tag:
    text: str
    name: str
    family: Family
    begin: int
    end: int
    rules: list[TagRule] = field(default_factory=list)


@functools.cache
def rules() -> tuple[TagRule, ...]:
    """Return the tables of `tags.toml`, in order."""
    return tuple(TagRule.read(dict(table)) for table in _file()["tag"])


def names_with(content: str) -> tuple[str, ...]:
    """Return the names of the tags whose content is of the given kind."""
    return tuple(name for rule in rules() if rule.content == content for name in rule.names)


def tag_name(tag: str) -> str:
    """Return the name of a tag; empty when it has none."""
    match = _TAG.match(tag)
    return match[1] if match else ""


def tag_addresses(tag: str) -> list[TagAddress]:
    """Return the addresses of a tag that a table covers, in order."""
    match = _TAG.match(tag)
    if match is None:
        return []
    closing = _CLOSING.search(tag, max(match.end(), len(tag) - 8))
    found = _Tag(
        tag,
        match[1].lower(),
        "hexo" if tag.startswith("{%") else "hugo",
        match.end(),
        closing.start() if closing else len(tag) - 2,
    )
    if found.name in _include().names and found.family == "hexo":
        addresses = list(_included(found))
    else:
        found.rules = _rules_of(found.name, found.family)
        addresses = list(_by_rules(found))
    if any(address.use in (Use.SHOW, Use.MAY_SHOW) for address in addresses):
        links = (Use.LINK,)
        addresses = [
            TagAddress(item.start, item.end, item.use, item.closed, around=item.use in links)
            for item in addresses
        ]
    return addresses


@functools.lru_cache(maxsize=256)
def _rules_of(name: str, family: Family) -> list[TagRule]:
    return [rule for rule in rules() if not rule.content and rule.covers(name, family)]


def _by_rules(tag: _Tag) -> Iterator[TagAddress]:
    """Yield the addresses by the first rule whose separator is found, else by all rules that separate by spaces."""
    closed = any(rule.split != " " for rule in tag.rules)
    # Rules that only guess come last in the table.
    spaced = [rule for rule in tag.rules if rule.split == " "]
    separated = next((rule for rule in tag.rules if rule.split != " " and _separator(tag, rule)), None)
    if separated is not None:
        for item in _items(tag, _separator(tag, separated) or separated.split):
            use = separated.use(item.key, item.number, first=False)
            if use is not None and _ADDRESS.fullmatch(tag.text, item.start, item.end):
                yield TagAddress(item.start, item.end, use, closed=True)
        return
    # If a theme's own tag is written without its separator, its address is still at its usual place.
    rest = [rule for rule in tag.rules if rule.split != " "] if not any(rule.shows for rule in spaced) else []
    first = True
    for item in _arguments(tag):
        yield from _list(tag, item, spaced)
        if not _ADDRESS.fullmatch(tag.text, item.start, item.end):
            continue
        uses = [rule.use(item.key, item.number, first=first) for rule in (*spaced, *rest)]
        first = first and bool(item.key)
        use = next((use for use in uses if use is not None), None)
        if use is not None:
            yield TagAddress(item.start, item.end, use, closed=closed)


def _list(tag: _Tag, item: _Argument, known: list[TagRule]) -> Iterator[TagAddress]:
    """Yield the pictures of an argument that holds several: `{a,b}` or `a,b`."""
    if not any(item.key in rule.lists for rule in known):
        return
    for match in re.finditer(r"[^\s,{}]+", tag.text[item.start : item.end]):
        start, end = item.start + match.start(), item.start + match.end()
        if _ADDRESS.fullmatch(tag.text, start, end):
            yield TagAddress(start, end, Use.SHOW, closed=True)


def _separator(tag: _Tag, rule: TagRule) -> str:
    """Return the separator of a tag's arguments; empty when the rule's separator is not found."""
    body = tag.text[tag.begin : tag.end]
    if rule.split == " ":
        return " "
    if "::" in body:
        return "::"
    if rule.split == ",":
        # The options in an address contain commas too (`width=80,quality=75/https:`), but a slash follows them.
        last_slash = body.rfind("/")
        for match in _COMMA.finditer(body):
            if not match[0].endswith("=") or match.start() > last_slash:
                return ","
        return ""
    return rule.split if rule.split in body else ""


def _items(tag: _Tag, separator: str) -> Iterator[_Argument]:
    number, start = 0, tag.begin
    while start <= tag.end:
        stop = tag.text.find(separator, start, tag.end)
        stop = stop if stop >= 0 else tag.end
        item = tag.text[start:stop]
        begin = start + len(item) - len(item.lstrip(_AROUND))
        end = max(begin, start + len(item.rstrip(_AROUND)))
        named = _NAMED_ITEM.match(tag.text, begin, end)
        if named:
            yield _Argument(named[1].lower(), -1, min(end, _unquoted(tag.text, named.end())), end)
        else:
            yield _Argument("", number, begin, end)
        number += not named
        start = stop + len(separator)


def _unquoted(text: str, position: int) -> int:
    return position + (text[position : position + 1] in ("'", '"'))


def _arguments(tag: _Tag) -> Iterator[_Argument]:
    number = 0
    for match in _ARGUMENT.finditer(tag.text, tag.begin, tag.end):
        group = next(
            (name for name in ("double", "single", "tick", "plain") if match[name] is not None), None
        )
        if group is None:
            continue
        key = (match["key"] or match["word"] or "").lower()
        yield _Argument(key, -1 if key else number, *match.span(group))
        number += not key


def _included(tag: _Tag) -> Iterator[TagAddress]:
    """Yield the addresses of an include. The name of the file, or the key, shows whether they are pictures."""
    table, file_name = _include(), ""
    for item in _arguments(tag):
        if not item.key:
            file_name = file_name or tag.text[item.start : item.end]
        elif _ADDRESS.fullmatch(tag.text, item.start, item.end):
            if item.key in table.pictures or (item.key in table.keys and table.files.search(file_name)):
                yield TagAddress(item.start, item.end, Use.SHOW)
            elif item.key in table.keys or item.key in table.hrefs:
                yield TagAddress(item.start, item.end, Use.LINK)


@functools.cache
def _include() -> _Include:
    table = _file()["include"]
    return _Include(
        frozenset(table["names"]),
        re.compile("|".join(table["files"]), re.IGNORECASE),
        frozenset(table["keys"]),
        frozenset(table["pictures"]),
        frozenset(table["hrefs"]),
    )


@functools.cache
def _file() -> dict[str, Any]:
    return tomllib.loads(files("proxy.rewrite.generators").joinpath("tags.toml").read_text(encoding="utf-8"))
