"""Finds the spots of texts that are not articles: data files, feeds, style sheets, other markup, components. Pure.

feed.xml          enclosure, HTML in CDATA or escaped    `xmltext`
links.yml         the strings, by their keys             the readers of front matter
main.css          url(…)                                 `css`
Card.vue, *.rst   whole tokens                           `tokens`
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from os import PathLike
from typing import Literal

from proxy.dialects.native import ORIGINAL
from proxy.rewrite.base.depth import TooDeep
from proxy.rewrite.base.ranges import Ranges
from proxy.rewrite.base.spot import TEXTS, Spot, Use
from proxy.rewrite.front.datafront import json_spots, toml_spots
from proxy.rewrite.front.fields import Fields
from proxy.rewrite.front.frontmatter import MAX_BYTES
from proxy.rewrite.front.yamlfront import yaml_spots
from proxy.rewrite.markup.html import style_spots
from proxy.rewrite.markup.xmltext import xml_spots
from proxy.rewrite.site.tokens import token_spots

SiteKind = Literal["yaml", "toml", "json", "xml", "css", "component", "asciidoc", "rst", "org", "other"]

_KINDS: dict[str, SiteKind] = {
    ".yml": "yaml", ".yaml": "yaml", ".toml": "toml", ".json": "json", ".ipynb": "json", ".jsonc": "json",
    ".webmanifest": "json", ".xml": "xml", ".rss": "xml", ".atom": "xml", ".svg": "xml",
    ".css": "css", ".scss": "css", ".less": "css",
    ".adoc": "asciidoc", ".asciidoc": "asciidoc", ".rst": "rst", ".org": "org",
    ".vue": "component", ".astro": "component", ".svelte": "component", ".jsx": "component", ".tsx": "component",
    ".ejs": "component", ".njk": "component", ".liquid": "component", ".pug": "component", ".php": "component",
}  # fmt: skip
KIND_OF_MEDIA_TYPE: dict[str, SiteKind] = {
    "text/css": "css", "application/json": "json", "text/yaml": "yaml", "application/toml": "toml",
    "application/xml": "xml", "text/xml": "xml", "application/rss+xml": "xml", "application/atom+xml": "xml",
    "image/svg+xml": "xml",
}  # fmt: skip
SITE_KINDS = frozenset({*_KINDS.values(), "other"})

_COMMENTS: dict[str, re.Pattern[str]] = {
    "yaml": re.compile(r"(?:(?<=[\r\n])|\A)[ \t]*+#[^\r\n]*+"),
    "toml": re.compile(r"(?:(?<=[\r\n])|\A)[ \t]*+#[^\r\n]*+"),
    "css": re.compile(r"/\*(?:[^*]++|\*(?!/))*+(?:\*/|\Z)"),
    "component": re.compile(
        r"""<!--(?:[^-]++|-(?!->))*+(?:-->|\Z)|\{\#(?:[^\#]++|\#(?!\}))*+(?:\#\}|\Z)|<%\#[^%]*+%>
        |(?<![:"'\w/*])/\*(?:[^*]++|\*(?!/))*+(?:\*/|\Z)|(?:(?<=[\r\n])|\A)[ \t]*+//[^\r\n]*+""",
        re.VERBOSE,
    ),
    "asciidoc": re.compile(
        r"""(?:(?<=\n)|\A)(?P<fence>-{4,}|\.{4,}|/{4,}|`{3,})[ \t]*+\r?\n
        (?:(?!(?P=fence)[ \t]*+(?:\r?\n|\Z))[^\n]*+\n)*+
        |(?:(?<=\n)|\A)//(?!/)[^\n]*+""",
        re.VERBOSE,
    ),
    "rst": re.compile(
        r"""(?:(?<=\n)|\A)(?P<indent>[ \t]*+)\.\.[ \t]++(?:code|code-block|sourcecode|raw|parsed-literal)::[^\n]*+\n
        (?:(?:[ \t]*+\r?\n)|(?P=indent)[ \t]++[^\n]*+(?:\n|\Z))*+""",
        re.VERBOSE,
    ),
    "org": re.compile(
        r"""(?:(?<=\n)|\A)[ \t]*+\#\+begin_(?:src|example)\b[^\n]*+\n(?:(?![ \t]*+\#\+end_)[^\n]*+\n)*+
        |(?:(?<=\n)|\A)[ \t]*+\#(?!\+)[^\n]*+""",
        re.VERBOSE | re.IGNORECASE,
    ),
}
"""Patterns of comments, and of code blocks in other markup."""

_CODE = re.compile(r"`[^`\n]*+`")
_NAMED = {
    "asciidoc": _CODE,
    "rst": re.compile(r"``[^`\n]*+``"),
    "org": re.compile(r"(?<![\w=~])([=~])[^\n=~]++\1"),
}
_KEY_ON_LINE = re.compile(r"(?:(?<=\n)|\A)[ \t]*+(?:-[ \t]++)?[\"']?(?P<key>[\w.-]++)[\"']?[ \t]*+[:=]")
_IDENTITY = "@id"
KEEPS_IDENTITY = "it names the document (@id)"


def suffix_of(path: PathLike[str] | str) -> str:
    """Return the suffix of a file name in lower case, with its dot; empty when it has none."""
    name = os.fspath(path).rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if stem and dot and suffix else ""


def site_kind(path: PathLike[str] | str) -> SiteKind | None:
    """Return how a file that is not an article is read, by its name; None if only wrappers in it are counted."""
    return _KINDS.get(suffix_of(path))


def data_fields(fields: Mapping[str, str]) -> Fields:
    """Return the keys for data files. Unnamed keys get originals; `@id` identifies a document (JSON-LD) and stays."""
    return Fields({**fields, "@id": _IDENTITY}, ORIGINAL)


def site_spots(text: str, kind: SiteKind, fields: Fields) -> tuple[list[Spot], Ranges]:
    """Return the spots of a file, in order, and the ranges of comments and code.

    `fields` has the keys of data files (`data_fields`).
    """
    if kind == "other":
        return [], []
    if kind == "xml":
        return xml_spots(text)
    quiet = [match.span() for pattern in _patterns(kind) for match in pattern.finditer(text)]
    if kind == "css":
        return list(style_spots(text, 0, len(text))), quiet
    if kind not in ("yaml", "toml", "json"):
        return list(token_spots(text, kind, taken=quiet)), quiet
    spots = list(_data_spots(text, kind, fields))
    taken = [*quiet, *((spot.start, spot.end) for spot in spots)]
    spots.extend(token_spots(text, "data", taken=taken, in_flow=kind == "yaml"))
    return sorted(spots, key=lambda spot: spot.start), quiet


def _patterns(kind: SiteKind) -> Iterable[re.Pattern[str]]:
    return (table[kind] for table in (_COMMENTS, _NAMED) if kind in table)


def _data_spots(text: str, kind: SiteKind, fields: Fields) -> Iterator[Spot]:
    """Yield the strings that are a single address. Yield none for an invalid file, in which only tokens are found."""
    try:
        if kind == "json":
            found = list(json_spots(text, 0, fields, bare=False))
        elif kind == "toml":
            found = list(toml_spots(text, 0, fields))
        else:
            found = list(yaml_spots(text, 0, fields)) if len(text) <= MAX_BYTES else []
    except (ValueError, TooDeep, RecursionError):
        return
    for spot in found:
        context = spot.context.replace("front matter", "data")
        if spot.preset == _IDENTITY:
            yield replace(spot, use=Use.LEAVE, context=KEEPS_IDENTITY, preset=None)
        elif spot.preset == ORIGINAL:
            yield replace(spot, use=Use.LINK, context=context, preset=None)
        elif spot.use not in TEXTS:
            yield replace(spot, use=Use.SHOW, context=context)
