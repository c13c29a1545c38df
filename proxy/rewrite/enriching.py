"""Responsive markup for one article: which pictures get what, and what has to be known for it. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from proxy.dialects import native
from proxy.rewrite.article import Article
from proxy.rewrite.classify import Address, Kind
from proxy.rewrite.decide import Decision
from proxy.rewrite.imgtags import ImgTag, Pictures
from proxy.rewrite.kept import Known, Wanted
from proxy.rewrite.own import Sign
from proxy.rewrite.responsive import Link, Responsive, Shown, wants
from proxy.rewrite.result import Left, Replacement
from proxy.source import Source

NOT_KEPT = "nothing is added: the picture is not kept"
DYNAMIC = "nothing is added: a template expression stands in the tag"
UNCERTAIN = "nothing is added: where the tag ends in the article is not certain"
JSX = "nothing is added: JSX spells these attributes in another way"


@dataclass(frozen=True, slots=True)
class Enricher:
    """Adds to the pictures of articles that point at us. ignored: tells whether an address is left on purpose."""

    responsive: Responsive
    base_url: str
    sign: Sign | None
    ignored: Callable[[str], bool]

    def enrich(
        self,
        article: Article,
        decisions: Iterable[Decision],
        pictures: Pictures,
        known: Known | None,
        *,
        jsx: bool = False,
    ) -> tuple[Wanted, ...]:
        """Add to `article` what is known to be right, and return what has to be known; `known` is None before that.

        What nothing is added to is left in the article and listed. In JSX that is every picture.
        """
        by_start = {decision.address.spot.start: decision for decision in decisions}
        replaced = {item.start: item for item in article.replaced}
        ends = sorted(replaced)
        asked: dict[Source, Wanted] = {}
        for tag in sorted(pictures.tags, key=lambda tag: tag.start):
            decision = by_start.get(tag.start)
            if decision is None or decision.address.source is None:
                continue
            address, new = decision.address, replaced.get(tag.start)
            shown = self._shown(address, new)
            if shown is None:
                continue
            source, first = decision.address.source, tag.start == pictures.first
            reason = JSX if jsx else _obstacle(tag)
            if not reason:
                asked[source] = (source, *map(Source.parse, address.written))
                if known is None:
                    continue
                kept = known.get(source)
                reason = "" if kept else NOT_KEPT
                for item in self.responsive.additions(tag, shown, kept, first=first) if kept else ():
                    if not _inside(item.at, ends, replaced):
                        article.add(item.at, item.text, source, address.spot.context, item.names)
            if reason and wants(tag, first=first):
                line = article.line_of(tag.start)
                article.left.append(
                    Left(line, address.text, reason, on_purpose=True, context=address.spot.context)
                )
        return tuple(asked.values())

    def _shown(self, address: Address, new: Replacement | None) -> Shown | None:
        """Return how a picture is shown through us once the article is rewritten, None when it is not."""
        own = address.own
        if self.ignored(address.text):
            return None
        if own is not None and (new is not None or address.kind is Kind.OURS):
            base = address.text[: own.base_length] if new is None else self.base_url
            return Shown(own.preset, self._link(base, own.source), lasting=own.exp is None)
        return Shown(new.preset, self._link(self.base_url, new.source)) if new is not None else None

    def _link(self, base: str, source: Source) -> Link:
        def link(options: str) -> str:
            signature = self.sign(options, source, None) if self.sign else None
            return native.build(base, options, source, sig=signature)

        return link


def _obstacle(tag: ImgTag) -> str:
    if tag.dynamic:
        return DYNAMIC
    return UNCERTAIN if tag.at is None else ""


def _inside(at: int, starts: list[int], replaced: dict[int, Replacement]) -> bool:
    """Tell whether a place lies inside of what is replaced."""
    before = bisect_right(starts, at) - 1
    return before >= 0 and starts[before] < at < replaced[starts[before]].end
