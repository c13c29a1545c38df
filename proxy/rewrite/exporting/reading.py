"""Reads a page of a built site: its tags, edits for the site's own addresses, and all other addresses. Pure."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import quote_from_bytes

from proxy.rewrite.base.beginnings import ABSOLUTE, EVERY
from proxy.rewrite.base.charset import page_encoding
from proxy.rewrite.base.layers import attribute, decode_attribute
from proxy.rewrite.base.masking import structure
from proxy.rewrite.base.spot import TEXTS, Spot, Use
from proxy.rewrite.exporting.edits import Edit, LineCounter, attribute_of, without_attribute
from proxy.rewrite.exporting.rules import LeftInPage, Rules
from proxy.rewrite.exporting.taking import as_written, ordered
from proxy.rewrite.exporting.tree import Here
from proxy.rewrite.markup.frames import with_frames
from proxy.rewrite.markup.html import html_spots
from proxy.rewrite.markup.htmlscan import SPEAKING, HtmlScanner, StyleSheet, Tag
from proxy.rewrite.site.sitetext import site_spots

NO_FILE = "not a file of the site"
FOREIGN_BASE = (
    "<base href> names another site (say which one is yours with --site-url); the page was not changed"
)
POLICY = "a Content-Security-Policy in the page may keep pictures beside it from being shown"
LINKED_DATA = "JSON-LD"
_END_OF_SCRIPT = re.compile(r"</script", re.IGNORECASE)
_IDENTIFIES = frozenset({"canonical", "shortlink", "preconnect", "dns-prefetch"})
_REFRESH = re.compile(
    r"\s*+[0-9.]*+\s*+[;,]\s*+(?:url\s*+=\s*+)?([\"']?)(?P<address>[^\"']++)\1\s*+\Z", re.IGNORECASE
)


class _Scanner(HtmlScanner):
    """Collects the tags. On a built page, `<pre>` and `<code>` are read too, because browsers load their pictures."""

    opening = SPEAKING
    passed = None

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[Tag] = []

    def scan(self, text: str, start: int, end: int) -> Iterator[Tag | StyleSheet]:
        for token in super().scan(text, start, end):
            if isinstance(token, StyleSheet):
                yield token
            else:
                tag = Tag(token.name, token.attributes, False, token.start, token.end)
                self.tags.append(tag)
                yield tag


@dataclass(slots=True)
class PageReading:
    """A page as it was read.

    spots: addresses that lead to other sites. edits: new spellings of the site's own addresses. local: positions of the
    site's own addresses. here: the folder to which relative addresses refer. problem: why the page must stay unchanged,
    else empty.
    """

    text: str
    raw: str
    encoding: str
    here: Here
    lines: LineCounter
    tags: list[Tag] = field(default_factory=list)
    spots: list[Spot] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    local: list[int] = field(default_factory=list)
    left: list[LeftInPage] = field(default_factory=list)
    problem: str = ""
    _starts: list[int] = field(default_factory=list)
    _picture_starts: list[int] = field(default_factory=list)
    _picture_ends: list[int] = field(default_factory=list)

    def tag_at(self, position: int) -> Tag | None:
        """Return the tag that contains a position."""
        index = bisect_right(self._starts, position) - 1
        return self.tags[index] if index >= 0 and position < self.tags[index].end else None

    def in_picture(self, tag: Tag) -> bool:
        """Return whether a tag is inside a `<picture>`."""
        opened = bisect_left(self._picture_starts, tag.start)
        return opened > bisect_left(self._picture_ends, tag.start)

    def value(self, tag: Tag, name: str) -> str:
        """Return the decoded value of an attribute; empty when it is absent."""
        found = attribute_of(tag, name)
        return decode_attribute(self.raw[found.start : found.end]) if found else ""


def read_page(data: bytes, path: str, rules: Rules) -> PageReading:
    """Read a page: its tags, and its addresses with their positions."""
    text = structure(data)
    raw = data.decode("latin-1")
    page = PageReading(
        text, raw, page_encoding(data), Here.of(path, site_url=rules.site_url), LineCounter(text)
    )
    scanner = _Scanner()
    spots = list(html_spots(text, 0, len(text), scanner=scanner, begins=EVERY))
    page.tags = scanner.tags
    page._starts = [tag.start for tag in page.tags]  # noqa: SLF001 - its maker
    page._picture_starts = [tag.start for tag in page.tags if tag.name == "picture"]  # noqa: SLF001 - as above
    page._picture_ends = scanner.picture_ends  # noqa: SLF001 - as above
    _read_base(page, rules)
    if page.problem:
        return page
    _read_meta(page, rules)
    found = [spot for spot in spots if _is_elsewhere(page, spot, rules)]
    found += _linked_data(page, rules)
    page.spots = with_frames(text, list(ordered(found)))
    return page


def _read_base(page: PageReading, rules: Rules) -> None:
    """Make `<base href>` relative, so that it names the same folder wherever the site lies."""
    base = next(
        (item for tag in page.tags if tag.name == "base" and (item := attribute_of(tag, "href"))), None
    )
    if base is None:
        return
    raw = page.raw[base.start : base.end]
    folder = rules.tree.base(decode_attribute(raw), page.here)
    if folder is None:
        page.problem = FOREIGN_BASE
        return
    address = page.here.up + "".join(f"{_quoted(name)}/" for name in folder)
    page.edits.append(Edit(base.start, base.end, address or "./"))
    page.here = Here(folder, page.here.root)


def _quoted(name: str) -> str:
    return quote_from_bytes(name.encode("utf-8", "surrogateescape"))


def _read_meta(page: PageReading, rules: Rules) -> None:
    for tag in page.tags:
        if tag.name != "meta":
            continue
        kind = page.value(tag, "http-equiv").strip().lower()
        content = attribute_of(tag, "content")
        if kind == "content-security-policy" and content:
            page.left.append(LeftInPage(page.lines.of(tag.start), "", POLICY))
        elif kind == "refresh" and content:
            layer = attribute(page.raw[content.start : content.end], content.quote)
            value = page.value(tag, "content")
            match = _REFRESH.match(value)
            local = (
                rules.tree.read(match["address"].strip(), page.here, encoding=page.encoding)
                if match
                else None
            )
            if match and local and local.path is not None and local.address != match["address"]:
                new = value[: match.start("address")] + local.address + value[match.end("address") :]
                page.edits.append(Edit(content.start, content.end, layer.encode(new)))


def _linked_data(page: PageReading, rules: Rules) -> Iterator[Spot]:
    """Yield the addresses in JSON-LD, which search engines read. Other scripts are not read here."""
    for tag in page.tags:
        if tag.name != "script" or page.value(tag, "type").strip().lower() != "application/ld+json":
            continue
        end = _END_OF_SCRIPT.search(page.text, tag.end)
        spots, _ = site_spots(page.text[tag.end : end.start()] if end else "", "json", rules.fields)
        for spot in spots:
            if spot.use not in TEXTS:
                start, stop = spot.start + tag.end, spot.end + tag.end
                yield replace(spot, start=start, end=stop, context=LINKED_DATA, raster=True)


def _is_elsewhere(page: PageReading, spot: Spot, rules: Rules) -> bool:
    """Return whether an address leads to another site; add an edit if it is the site's own."""
    tag = page.tag_at(spot.start)
    if spot.use in TEXTS and spot.context in {"form action", "button formaction", "input formaction"}:
        raw = page.raw[spot.start : spot.end]
        spot = replace(spot, use=Use.LINK, layers=(attribute(raw, '"'),))
    if spot.use in TEXTS or (tag is not None and tag.name == "base"):
        return False
    raw = page.raw[spot.start : spot.end]
    text = spot.read(raw)
    if tag is not None and tag.name == "link" and _IDENTIFIES & set(page.value(tag, "rel").lower().split()):
        return False
    local = rules.tree.read(text, page.here, encoding=page.encoding)
    if local is None:
        return ABSOLUTE.match(text) is not None
    if local.path is None:
        if rules.taker.is_rooted(text) or ABSOLUTE.match(text):
            return True
        if local.rooted:
            page.left.append(LeftInPage(page.lines.of(spot.start), as_written(text), NO_FILE))
        return False
    page.local.append(spot.start)
    if local.address != text and (written := spot.write(local.address)) is not None:
        page.edits.append(Edit(spot.start, spot.end, written))
    return False


def loosened(page: PageReading, tag: Tag) -> Iterator[Edit]:
    """Yield the edits that let a tag load a file beside the page.

    A page opened from a folder has no origin, so browsers refuse to load files with `crossorigin` or `integrity` there.
    A digest adds no security for files that are delivered together with the page, and exported style sheets differ from
    their old digests.
    """
    for name in ("crossorigin", "integrity"):
        yield from without_attribute(page.text, tag, name)
