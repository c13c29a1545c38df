"""Rewrites an article: turns its bytes into bytes with our addresses. Pure; CPU-bound.

Only addresses change. Positions are byte offsets in any encoding. `frontmatter`, `markdown` and `html` determine how a
place uses an address, and `proxy.dialects` determines what an address wraps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Literal

from proxy.config import RewriteConfig
from proxy.dialects import native
from proxy.rewrite.article import Article
from proxy.rewrite.attributes.enriching import Enricher
from proxy.rewrite.attributes.responsive import Responsive
from proxy.rewrite.base.charset import page_encoding
from proxy.rewrite.base.globs import is_prefix
from proxy.rewrite.base.kept import Known, Wanted
from proxy.rewrite.base.masking import is_wide, structure
from proxy.rewrite.base.ranges import joined
from proxy.rewrite.base.reasons import IGNORED
from proxy.rewrite.base.result import ArticlePicture, Left, Replacement, RewriteResult
from proxy.rewrite.base.spot import TEXTS, Spot, Use
from proxy.rewrite.commonmark.blocks import TooManyBlocks
from proxy.rewrite.commonmark.markdown import MarkdownReader
from proxy.rewrite.deciding.classify import Address, AddressKind, Classifier
from proxy.rewrite.deciding.decide import Decider, Decision
from proxy.rewrite.deciding.own import OwnAddress, Sign
from proxy.rewrite.deciding.sitedecide import decide_site_text
from proxy.rewrite.deciding.sizes import Canonical, Sizes
from proxy.rewrite.front.fields import Fields
from proxy.rewrite.front.frontmatter import comments, find_front_matter, front_matter_spots
from proxy.rewrite.generators.tagspots import tag_spots, tags_in_html, without_code
from proxy.rewrite.generators.templates import code_ranges, masked
from proxy.rewrite.leftovers import Judgement, Surroundings, leftovers
from proxy.rewrite.markup.frames import with_frames
from proxy.rewrite.markup.html import html_spots
from proxy.rewrite.markup.htmlscan import HtmlScanner
from proxy.rewrite.markup.imgtags import Pictures
from proxy.rewrite.site.sitetext import SITE_KINDS, SiteKind, data_fields, site_spots, suffix_of
from proxy.source import Source

__all__ = [
    "ArticleKind",
    "ArticlePicture",
    "Left",
    "Replacement",
    "RewriteResult",
    "Rewriter",
    "TextKind",
    "kind_of",
]

ArticleKind = Literal["markdown", "mdx", "html"]
TextKind = ArticleKind | SiteKind
_KINDS: dict[str, ArticleKind] = {
    ".md": "markdown", ".markdown": "markdown", ".mdown": "markdown", ".mkd": "markdown", ".txt": "markdown",
    ".mdx": "mdx", ".qmd": "markdown", ".rmd": "markdown",
    ".html": "html", ".htm": "html", ".xhtml": "html",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of reading an article.

    spots: in order. quiet: ranges of code and comments. problem: why the article or its front matter could not be read,
    else empty. read_anyway: whether all addresses were read despite the problem. labels: pieces of text with the key,
    attribute or tag that holds them. pictures: the pictures of its HTML and Markdown.
    """

    spots: list[Spot]
    quiet: list[tuple[int, int]]
    problem: str = ""
    read_anyway: bool = False
    labels: list[Spot] = field(default_factory=list)
    pictures: Pictures = field(default_factory=Pictures)


def _is_shown_by_tag(spot: Spot) -> bool:
    return spot.use is Use.SHOW and spot.context.startswith("template tag")


def kind_of(path: PathLike[str] | str) -> ArticleKind | None:
    """Return the kind of an article by its file name, or None when it is not an article.

    A `.txt` file is Markdown, but it is an article only if it has front matter.
    """
    return _KINDS.get(suffix_of(path))


class Rewriter:
    """Rewrites articles one after the other, without keeping state between them. Not thread-safe.

    1. Find the spots: in front matter, then in the text as Markdown or HTML. If the text cannot be read, report it.
    2. Classify each address. An address that cannot be read stays.
    3. Decide about all addresses together, because a bare address follows the wrapper that shows the same source.
    4. Write the new addresses in the spelling of their places. An address that its place cannot spell stays.
    """

    def __init__(  # noqa: PLR0913 - what the configuration says outside its section `rewrite`
        self,
        config: RewriteConfig,
        *,
        base_url: str,
        sign: Sign | None = None,
        all_images: bool = False,
        types: tuple[str, ...] = ("image/*",),
        any_transform: bool = True,
        canonical: Canonical | None = None,
        preset_widths: Mapping[str, int] | None = None,
        responsive: Responsive | None = None,
    ) -> None:
        base_url = base_url.rstrip("/")
        self._config = config
        self._base_url = base_url
        self._all_images = all_images
        self._types = types
        self._sign = sign
        self._sizes = Sizes(
            any_transform=any_transform,
            widths=config.widths,
            canonical=canonical,
            preset_widths=preset_widths,
        )
        self._fields = Fields(config.fields, config.front)
        self._data_fields = data_fields(config.fields)
        self._ignored = tuple(entry.lower() for entry in config.ignore if is_prefix(entry))
        self._classifier = Classifier(config, base_url=base_url, sign=sign)
        self._markdown = MarkdownReader(self._fields)
        self._enricher = responsive and Enricher(
            responsive, base_url, sign, self._is_ignored, config.markdown_images
        )

    def rewrite(
        self,
        data: bytes,
        *,
        kind: TextKind,
        shown: Collection[Source] = (),
        ignored: bool = False,
        kept: Known | None = None,
    ) -> RewriteResult:
        """Return the article with its pictures pointing at us, and the findings.

        `shown` has the sources that other articles show. With `ignored`, nothing is replaced and all findings are
        listed. `kept` has the facts of the sources for which an earlier result asked. A result that asks for facts
        without `kept` contains only `asked` and the pictures.
        """
        text = data.decode("latin-1")
        reading = self.read(data, kind=kind)
        addresses = self._addresses(text, reading.spots, encoding=page_encoding(data))
        article = Article(text, body_preset=self._config.body, new_address=self._new_address)
        unsure: tuple[Source, ...] = ()
        if kind in SITE_KINDS:
            decisions, unsure = decide_site_text(
                addresses, self._decider, shown=shown, body=self._config.body
            )
        else:
            decisions = self._decider(addresses).decisions()
        article.take(
            decision.kept(IGNORED) if ignored or self._is_ignored(decision.address.text) else decision
            for decision in decisions
        )
        asked: tuple[Wanted, ...] = ()
        if self._enricher and not ignored:
            asked = self._enricher.enrich(article, decisions, reading.pictures, kept, jsx=kind == "mdx")
        if asked and kept is None:
            return RewriteResult(data, (), (), article.pictures, asked=asked)
        if reading.problem:
            article.left.append(Left(1, "", reading.problem, on_purpose=reading.read_anyway))
        around = Surroundings(
            [(spot.start, spot.end) for spot in reading.spots],
            [(0, len(text))] if ignored else reading.quiet,
            reading.labels,
        )
        own = {address.source: None for address in addresses if address.own and address.source}
        judge = self._judge_unread if kind == "other" else self._judge

        def noted(found: str) -> Judgement:
            if (source := self._classifier.own_source(found)) is not None:
                own[source] = None
            return judge(found)

        others = leftovers(text, around, judge=noted, line_of=article.line_of)
        left = sorted((*article.left, *others), key=lambda item: item.line)
        return RewriteResult(
            article.data(),
            tuple(article.replaced),
            tuple(left),
            article.pictures,
            unsure,
            own=tuple(own),
            unread="" if reading.read_anyway or ignored else reading.problem,
            added=tuple(article.added),
            asked=asked,
        )

    def addresses(self, data: bytes, *, kind: TextKind) -> list[bytes]:
        """Return the addresses of an article at all places that may be rewritten, as spelled there."""
        spots = self.read(data, kind=kind).spots
        return [data[spot.start : spot.end] for spot in spots if spot.use is not Use.LEAVE]

    def read(self, data: bytes, *, kind: TextKind) -> Reading:
        """Return the places of addresses in an article."""
        reading = self._read(data, kind=kind)
        reading.labels.extend(spot for spot in reading.spots if spot.use in TEXTS)
        reading.spots[:] = [spot for spot in reading.spots if spot.use not in TEXTS]
        return reading

    def _read(self, data: bytes, *, kind: TextKind) -> Reading:
        if is_wide(data):
            return Reading([], [], "the article is UTF-16 or UTF-32 and was not read; save it as UTF-8")
        text = structure(data)
        if kind in SITE_KINDS:
            return Reading(*site_spots(text, kind, self._data_fields))
        front = find_front_matter(text)
        body = 3 if text.startswith("\xef\xbb\xbf") else 0
        reading = Reading([], [])
        if front is not None:
            found = front_matter_spots(text, front, self._fields)
            reading = Reading(found.spots, comments(text, front), found.problem, found.by_lines)
            body = front.body
        code = code_ranges(text, body)
        reading.quiet.extend(code)
        text = masked(text, code)
        if kind == "html":
            scanner = HtmlScanner()
            pictures = reading.pictures if self._enricher else None
            spots = list(html_spots(text, body, len(text), scanner=scanner, pictures=pictures))
            in_tags = (spot for tag in tags_in_html(text, body) for spot in tag_spots(text, tag))
            spots.extend(without_code(in_tags, joined(scanner.quiet)))
            reading.spots.extend(sorted(spots, key=lambda spot: spot.start))
            reading.quiet.extend(scanner.quiet)
        else:
            try:
                pictures = reading.pictures if self._enricher else None
                spots, quiet = self._markdown.spots(text, body, pictures)
            except TooManyBlocks as error:
                return replace(
                    reading, problem=f"the text of the article was not read: {error}", read_anyway=False
                )
            reading.spots.extend(spots)
            reading.quiet.extend(quiet)
        reading.spots[:] = with_frames(text, reading.spots)
        reading.pictures.others.extend(spot.start for spot in reading.spots if _is_shown_by_tag(spot))
        return reading

    def _judge(self, text: str) -> Judgement:
        """Classify an address outside all spots."""
        if self._is_ignored(text):
            return Judgement.NOTHING
        is_picture = self._classifier.wraps_picture(text)
        if is_picture is not None:
            return Judgement.WRAPPER if is_picture else Judgement.OTHER
        direct = self._all_images and self._classifier.is_direct_picture(text)
        return Judgement.DIRECT if direct else Judgement.NOTHING

    def _judge_unread(self, text: str) -> Judgement:
        wraps = not self._is_ignored(text) and self._classifier.wraps(text)
        return Judgement.UNREAD if wraps else Judgement.NOTHING

    def _is_ignored(self, address: str) -> bool:
        return address.lower().startswith(self._ignored)

    def _addresses(self, text: str, spots: list[Spot], *, encoding: str) -> list[Address]:
        """Classify the addresses of an article."""
        found = (
            self._classifier.classify(spot, text[spot.start : spot.end], encoding=encoding) for spot in spots
        )
        return [address for address in found if address is not None]

    def _decider(self, addresses: Iterable[Address], shown: Collection[Source] = ()) -> Decider:
        return Decider(
            addresses,
            body=self._config.body,
            all_images=self._all_images,
            types=self._types,
            sizes=self._sizes,
            shown=shown,
        )

    def _new_address(self, decision: Decision) -> tuple[Source, str] | None:
        """Return the source as its place can spell it, and our address for it."""
        address = decision.address
        if address.source is None:
            return None
        if address.kind in (AddressKind.FORMER, AddressKind.UNSIGNED) and address.own is not None:
            link = self._renewed(address, address.own)
            return address.source, address.spot.hold(link) if address.spot.closed else link
        source = Source.parse(address.spot.hold(address.source.url))
        link = self._link(decision.preset, source)
        return source, address.spot.hold(link) if address.spot.closed else link

    def _link(self, options: str, source: Source) -> str:
        signature = self._sign(options, source, None) if self._sign else None
        return native.build(self._base_url, options, source, sig=signature)

    def _renewed(self, address: Address, own: OwnAddress) -> str:
        """Return one of our addresses below the current base URL, signed with the first key if there are keys."""
        if self._sign and own.worker_form:
            return self._link(own.preset, own.source)
        base = self._base_url if address.kind is AddressKind.FORMER else address.text[: own.base_length]
        path = address.text[own.base_length :]
        return base + (own.signed(path, self._sign) if self._sign else path)
