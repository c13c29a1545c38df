"""Exports HTML: local pictures in every format and width, and addresses that work from a folder. Pure.

<img>              is put into a `<picture>` with a `<source>` for each format. The widths are those of its own
`srcset`,
                   else those of the configuration
<source>           is preceded by one `<source>` for each format
previews, links    get the most compatible file, previews with the site's address if it is known
other places       get one file: style sheets, posters, attributes that scripts read
own addresses      lead to files: `/posts/x/` becomes `../posts/x/index.html`
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Iterator, Mapping, Sequence

from proxy.rewrite.base.spot import Use
from proxy.rewrite.exporting.edits import Edit, applied, attribute_of, escaped, without_attribute
from proxy.rewrite.exporting.markup import (
    OPENING,
    Offer,
    sizes_of,
    source_tag,
    spread_offers,
    srcset_offers,
    widths,
)
from proxy.rewrite.exporting.pictures import SHOWN_IN_PAGES, Candidate, ExportedFiles, Want
from proxy.rewrite.exporting.reading import LINKED_DATA, PageReading, loosened, read_page
from proxy.rewrite.exporting.rules import Exported, LeftInPage, Rules
from proxy.rewrite.exporting.taking import Taken
from proxy.rewrite.markup.contexts import rule_for
from proxy.rewrite.markup.htmlscan import Tag
from proxy.rewrite.markup.srcset import candidates

Pictures = Mapping[Want, ExportedFiles | None]
"""The files of each want; None for a picture that is not available. A missing want is not decided yet."""

RELATIVE = "a preview needs an address with a host: give it with --site-url"
_PLAIN_TAGS = frozenset({"meta", "a", "area", "embed", "object", "iframe"})
_RESPONSIVE = frozenset({"src", "srcset", "sizes"})
_COPIED = ("media", "sizes", "width", "height")


def export_page(data: bytes, path: str, rules: Rules, pictures: Pictures) -> Exported:
    """Export a page. Pictures that are not decided yet keep their addresses; the wants are always complete."""
    page = read_page(data, path, rules)
    if page.problem:
        return Exported(data, left=(LeftInPage(1, "", page.problem, on_purpose=False),))
    return _Export(page, rules, pictures).exported()


class _Export:
    def __init__(self, page: PageReading, rules: Rules, pictures: Pictures) -> None:
        self._page = page
        self._rules = rules
        self._pictures = pictures
        self._left = list(page.left)
        self._edits = list(page.edits)
        taken = rules.taker.taken(page.raw, page.spots, encoding=page.encoding)
        self._taken = [item for item in taken if item.options]
        self._starts = [item.spot.start for item in self._taken]
        for item in taken:
            if not item.options:
                self._leave(item, item.reason)
        self._responsive = {tag.start for tag in page.tags if self._is_responsive(tag)}
        self._wants = {item.spot.start: self._want(item) for item in self._taken}

    def exported(self) -> Exported:
        page = self._page
        tags: dict[int, Tag] = {}
        for item in self._taken:
            tag = page.tag_at(item.spot.start)
            if tag is not None and tag.start in self._responsive:
                tags[tag.start] = tag
            else:
                self._edits.extend(self._single(item, tag))
        for tag in tags.values():
            self._edits.extend(self._img(tag) if tag.name == "img" else self._source(tag))
        self._edits.extend(self._loosened())
        wants = tuple((page.lines.of(start), want) for start, want in self._wants.items())
        return Exported(applied(page.raw, self._edits), wants, tuple(self._left))

    def _leave(self, item: Taken, reason: str) -> None:
        line = self._page.lines.of(item.spot.start)
        shows = item.spot.use in (Use.SHOW, Use.MAY_SHOW)
        self._left.append(LeftInPage(line, item.text, reason, on_purpose=not shows))

    def _is_responsive(self, tag: Tag) -> bool:
        """Return whether a browser may choose among several files for a tag, that is, no script sets its address."""
        if tag.name == "source":
            return self._page.in_picture(tag)
        return tag.name == "img" and not any(
            self._is_lazy(tag, item.name, self._page.raw[item.start : item.end]) for item in tag.attributes
        )

    def _is_lazy(self, tag: Tag, name: str, value: str) -> bool:
        rule = (
            None
            if name in _RESPONSIVE or name == "style" or "/" not in value
            else rule_for(tag.name, name, {})
        )
        return rule is not None and rule.use in (Use.SHOW, Use.MAY_SHOW)

    def _want(self, item: Taken) -> Want:
        tag = self._page.tag_at(item.spot.start)
        spread = (
            tag is not None
            and tag.name == "img"
            and tag.start in self._responsive
            and not self._page.value(tag, "srcset").strip()
            and item.spot.context == "img src"
        )
        if item.source is None:
            raise ValueError("a wanted picture has no source")
        return Want(item.source, item.options, spread, item.written)

    def _shown(self, item: Taken) -> ExportedFiles | None:
        return self._pictures.get(self._wants[item.spot.start])

    def _in(self, tag: Tag, name: str) -> list[Taken]:
        """Return the pictures in an attribute of a tag."""
        found = attribute_of(tag, name)
        if found is None:
            return []
        first, last = bisect_left(self._starts, found.start), bisect_left(self._starts, found.end)
        return self._taken[first:last]

    def _address(self, file: Candidate) -> str:
        return self._rules.picture(file.name, self._page.here)

    def _written(self, item: Taken, address: str) -> Iterator[Edit]:
        new = item.spot.write(address)
        if new is None:
            self._leave(item, f"{item.spot.context}: this place cannot hold the new address")
        else:
            yield Edit(item.spot.start, item.spot.end, new)

    def _single(self, item: Taken, tag: Tag | None) -> Iterator[Edit]:
        """Yield the edits of a place that takes a single file."""
        shown = self._shown(item)
        if shown is None:
            return
        is_icon = (
            tag is not None and tag.name == "link" and item.spot.use is Use.SHOW and not self._preloads(tag)
        )
        plain = tag is not None and (tag.name in _PLAIN_TAGS or is_icon)
        file = shown.fallback if plain or item.spot.raster else shown.one
        absolute = item.spot.context == LINKED_DATA or (tag is not None and tag.name == "meta")
        if absolute and not self._rules.site_url:
            self._left.append(LeftInPage(self._page.lines.of(item.spot.start), item.text, RELATIVE))
        yield from self._written(item, self._rules.picture(file.name, self._page.here, absolute=absolute))
        if tag is not None and tag.name == "link":
            yield from self._typed(tag, file)

    def _preloads(self, tag: Tag) -> bool:
        return bool({"preload", "prefetch"} & set(self._page.value(tag, "rel").lower().split()))

    def _typed(self, tag: Tag, *files: Candidate) -> Iterator[Edit]:
        """Yield the edits that set the `type` of a tag to its files' type, or remove it when they differ."""
        found = attribute_of(tag, "type")
        types = {SHOWN_IN_PAGES.get(file.format, "") for file in files}
        if found is None or self._page.value(tag, "type").strip().lower() in types:
            return
        if len(types) == 1 and (media := types.pop()):
            quote = "" if found.quote else '"'
            yield Edit(found.start, found.end, f"{quote}{media}{quote}")
        else:
            yield from without_attribute(self._page.text, tag, "type")

    def _img(self, tag: Tag) -> Iterator[Edit]:
        """Yield the edits of an `<img>`: it gets the most compatible files, and sources before it get the others."""
        here, there = self._in(tag, "src"), self._in(tag, "srcset")
        if self._page.value(tag, "srcset").strip():
            offers = yield from self._candidates(tag, there)
            for item in here:
                yield from self._one(item, fallback=bool(offers))
            yield from self._around(tag, offers, self._page.value(tag, "sizes"))
        elif here and (shown := self._shown(here[0])) is not None:
            sizes = self._page.value(tag, "sizes") or sizes_of(shown.fallback.width)
            yield from self._written(here[0], self._address(shown.fallback))
            if len(shown.plain) > 1:
                yield from self._srcset(tag, widths(shown.plain, self._address), sizes)
            several = any(len(files) > 1 for files in shown.offers)
            yield from self._around(tag, spread_offers(shown, self._address), sizes if several else "")

    def _one(self, item: Taken, *, fallback: bool) -> Iterator[Edit]:
        shown = self._shown(item)
        if shown is not None:
            yield from self._written(item, self._address(shown.fallback if fallback else shown.one))

    def _candidates(self, tag: Tag, items: Sequence[Taken]) -> Generator[Edit, None, list[Offer]]:
        """Yield the edits of a `srcset`; return an offer for each format that all of its candidates have."""
        value = self._page.value(tag, "srcset")
        shown = [one for item in items if (one := self._shown(item)) is not None]
        complete = bool(shown) and len(shown) == sum(1 for _ in candidates(value))
        offers = srcset_offers(value, shown, self._address) if complete else []
        for item in items:
            yield from self._one(item, fallback=bool(offers))
        return offers

    def _srcset(self, tag: Tag, srcset: str, sizes: str) -> Iterator[Edit]:
        at = tag.start + 1 + len(tag.name)
        words = f' srcset="{escaped(srcset)}"'
        if attribute_of(tag, "sizes") is None:
            words += f' sizes="{escaped(sizes)}"'
        yield Edit(at, at, words)

    def _around(self, tag: Tag, offers: Sequence[Offer], sizes: str) -> Iterator[Edit]:
        """Yield a `<picture>` around an `<img>`, or only sources before it if it already is in a `<picture>`."""
        if not offers:
            return
        closed = self._page.text.startswith("/", tag.end - 2)
        sources = "".join(source_tag(offer, [("sizes", sizes)], closed=closed) for offer in offers)
        if self._page.in_picture(tag):
            yield Edit(tag.start, tag.start, sources)
        else:
            yield Edit(tag.start, tag.start, OPENING + sources)
            yield Edit(tag.end, tag.end, "</picture>")

    def _source(self, tag: Tag) -> Iterator[Edit]:
        items = self._in(tag, "srcset")
        offers = yield from self._candidates(tag, items)
        others = [(name, self._page.value(tag, name)) for name in _COPIED]
        closed = self._page.text.startswith("/", tag.end - 2)
        if offers:
            sources = "".join(source_tag(offer, others, closed=closed) for offer in offers)
            yield Edit(tag.start, tag.start, sources)
        shown = [one for item in items if (one := self._shown(item)) is not None]
        if shown and len(shown) == len(items):
            yield from self._typed(tag, *(one.fallback if offers else one.one for one in shown))

    def _loosened(self) -> Iterator[Edit]:
        """Yield the edits that let tags load files beside the page."""
        beside = {
            *self._page.local,
            *(item.spot.start for item in self._taken if self._shown(item) is not None),
        }
        seen: set[int] = set()
        for start in beside:
            tag = self._page.tag_at(start)
            if tag is not None and tag.name != "a" and tag.start not in seen:
                seen.add(tag.start)
                yield from loosened(self._page, tag)
