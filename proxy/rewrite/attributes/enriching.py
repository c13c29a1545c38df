"""Adds responsive markup to the pictures of one article, and lists the facts that it needs for that. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from proxy.dialects import native
from proxy.rewrite.article import Article
from proxy.rewrite.attributes.responsive import Link, Responsive, ShownPicture, wants
from proxy.rewrite.base.kept import Kept, Known, Wanted
from proxy.rewrite.base.result import Left, Replacement
from proxy.rewrite.base.spot import address_text
from proxy.rewrite.commonmark.mdimages import img_of
from proxy.rewrite.deciding.classify import Address, AddressKind
from proxy.rewrite.deciding.decide import Decision
from proxy.rewrite.deciding.own import Sign
from proxy.rewrite.markup.imgtags import ImgTag, MarkdownImage, Pictures, Place
from proxy.source import Source

NOT_KEPT = "nothing is added: the picture is not kept"
DYNAMIC = "nothing is added: the tag contains a template expression"
UNCERTAIN = "nothing is added: the end of the tag is uncertain"
UNCERTAIN_MARKDOWN = "it stays Markdown: its meaning as HTML is uncertain"
REFERENCE = "it stays Markdown: its address is in a reference definition"
TAKES_LINES = "it stays Markdown: other lines would become HTML with it; put a blank line around it"
JSX = "nothing is added: JSX spells these attributes differently"


_STAYS: dict[Place, str] = {"lines": TAKES_LINES, "uncertain": UNCERTAIN_MARKDOWN}


@dataclass(frozen=True, slots=True)
class Enricher:
    """Adds attributes to pictures whose addresses point at us.

    ignored: returns whether an address is left on purpose. markdown_images: whether Markdown images become tags.
    """

    responsive: Responsive
    base_url: str
    sign: Sign | None
    ignored: Callable[[str], bool]
    markdown_images: bool = False

    def enrich(
        self,
        article: Article,
        decisions: Iterable[Decision],
        pictures: Pictures,
        known: Known | None,
        *,
        jsx: bool = False,
    ) -> tuple[Wanted, ...]:
        """Add markup to `article` and return the sources whose facts are needed; `known` is None on the first pass.

        Pictures that get no markup are listed as left. In JSX these are all pictures.
        """
        work = _Work(article, decisions, pictures.first, known)
        for tag in sorted(pictures.tags, key=lambda tag: tag.start):
            self._enrich_tag(work, tag, jsx=jsx)
        if self.markdown_images and not jsx:
            for image in pictures.images:
                self._exchange(work, image)
        return tuple(work.asked.values())

    def _enrich_tag(self, work: _Work, tag: ImgTag, *, jsx: bool) -> None:
        address, shown = self._pair(work, tag.start)
        if address is None or shown is None or address.source is None:
            return
        first = tag.start == work.first
        reason = JSX if jsx else _obstacle(tag)
        if not reason and (kept := work.known_of(address)):
            for item in self.responsive.additions(tag, shown, kept, first=first):
                if work.is_free(item.at, item.at):
                    work.article.add(item.at, item.text, address.source, address.spot.context, item.names)
        elif wants(tag, first=first):
            work.leave(address, reason or NOT_KEPT)

    def _exchange(self, work: _Work, image: MarkdownImage) -> None:
        """Replace a Markdown image by an `<img>`."""
        if image.place == "reference":
            line, text = work.article.line_of(image.start), address_text(image.text)
            work.article.left.append(Left(line, text, REFERENCE, on_purpose=True, context="markdown image"))
            return
        address, shown = self._pair(work, image.address)
        if address is None or shown is None or address.source is None:
            return
        reason = _STAYS.get(image.place, "") or ("" if shown.lasting else UNCERTAIN_MARKDOWN)
        if reason:
            work.leave(address, reason)
            return
        if (kept := work.known_of(address)) is None:
            work.leave(address, NOT_KEPT)
            return
        tag = ImgTag(image.start, 0, '"', frozenset({"src", "alt", "title"}), {})
        added = self.responsive.additions(tag, shown, kept, first=image.start == work.first)
        src = address.text if address.kind is AddressKind.OURS else shown.link(shown.options)
        new = img_of(image, src, "".join(item.text for item in added))
        if new is None or not work.is_free(image.start, image.end, but=image.address):
            work.leave(address, UNCERTAIN_MARKDOWN)
            return
        names = tuple(name for item in added for name in item.names)
        work.article.exchange(image.start, image.end, new, address.source, address.spot, names)

    def _pair(self, work: _Work, start: int) -> tuple[Address | None, ShownPicture | None]:
        """Return the address at a position, and how its picture is shown through us."""
        decision = work.decisions.get(start)
        if decision is None:
            return None, None
        return decision.address, self._shown(decision.address, work.replaced.get(start))

    def _shown(self, address: Address, new: Replacement | None) -> ShownPicture | None:
        """Return how a picture is shown through us in the rewritten article, or None when it is not."""
        own = address.own
        if self.ignored(address.text):
            return None
        if own is not None and (new is not None or address.kind is AddressKind.OURS):
            base = address.text[: own.base_length] if new is None else self.base_url
            return ShownPicture(own.preset, self._link(base, own.source), lasting=own.exp is None)
        return ShownPicture(new.preset, self._link(self.base_url, new.source)) if new is not None else None

    def _link(self, base: str, source: Source) -> Link:
        def link(options: str) -> str:
            signature = self.sign(options, source, None) if self.sign else None
            return native.build(base, options, source, sig=signature)

        return link


class _Work:
    """One article while it is enriched."""

    def __init__(
        self, article: Article, decisions: Iterable[Decision], first: int, known: Known | None
    ) -> None:
        self.article = article
        self.first = first
        self.decisions = {decision.address.spot.start: decision for decision in decisions}
        self.replaced = {item.start: item for item in article.replaced}
        self.asked: dict[Source, Wanted] = {}
        self._known = known
        self._starts = sorted(self.replaced)

    def known_of(self, address: Address) -> Kept | None:
        """Return the known facts of a picture, and record that they are needed."""
        if address.source is None:
            return None
        self.asked[address.source] = (address.source, *map(Source.parse, address.written))
        return self._known.get(address.source) if self._known is not None else None

    def is_free(self, start: int, end: int, *, but: int = -1) -> bool:
        """Return whether nothing overlapping a range is replaced, except a replacement that begins at `but`."""
        index = bisect_right(self._starts, start) - 1
        if index >= 0 and self._starts[index] < start < self.replaced[self._starts[index]].end:
            return False
        inside = self._starts[index + 1 : bisect_left(self._starts, end)]
        return all(found == but for found in inside)

    def leave(self, address: Address, reason: str) -> None:
        """List a picture that gets no markup."""
        spot = address.spot
        line = self.article.line_of(spot.start)
        self.article.left.append(Left(line, address.text, reason, on_purpose=True, context=spot.context))


def _obstacle(tag: ImgTag) -> str:
    if tag.dynamic:
        return DYNAMIC
    return UNCERTAIN if tag.at is None else ""
