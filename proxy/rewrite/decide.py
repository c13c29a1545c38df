"""Which addresses of an article are replaced, by which preset, and why the others stay. Pure.

shows a picture     wrapper -> the place's preset; a bare address too when the article shows the source
                    through a wrapper, or when all pictures are wanted
our own addresses   of a former base URL, or not signed by the first key -> what they were, right again
links               wrapper -> original, when the source is a picture by its name or shown in the article
loads an asset      wrapper -> original, when `fetch.types` admits the type
anything else       stays
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from proxy.dialects.native import ORIGINAL
from proxy.errors import MirrorError
from proxy.rewrite.classify import Address, Kind
from proxy.rewrite.spot import Use
from proxy.source import Source

DRAWN = "format=png"
"""What follows a preset where an SVG must not be answered as it is."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of an address: replaced when `preset` is set, else left for `reason` (empty: not ours)."""

    address: Address
    preset: str = ""
    reason: str = ""
    on_purpose: bool = True

    def kept(self, reason: str) -> Decision:
        """Return the decision to replace nothing, and to say why where something would have been."""
        keeps = self.preset or not self.on_purpose
        return replace(self, preset="", reason=reason, on_purpose=True) if keeps else self


IGNORED = "rewrite.ignore names it"


class Decider:
    """Decides for one article: it has to know all addresses before the first is replaced.

    `shown` are sources that other articles show.
    """

    def __init__(
        self,
        addresses: Iterable[Address],
        *,
        body: str,
        all_images: bool,
        types: tuple[str, ...],
        shown: Collection[Source] = (),
    ) -> None:
        self._addresses = list(addresses)
        self._body = body
        self._all_images = all_images
        self._types = types
        here = [address for address in self._addresses if address.shown and address.source]
        self._shown = {address.source for address in here}.union(shown)
        self._shown_wrapped = {address.source for address in here if address.kind is not Kind.DIRECT}

    def decisions(self) -> list[Decision]:
        """Return a decision for each address, in order."""
        return [self._decide(self._settled(address)) for address in self._addresses]

    def _decide(self, address: Address) -> Decision:
        if address.kind is Kind.OURS:
            return Decision(address)
        if address.kind is Kind.UNREADABLE:
            known = address.spot.use in (Use.SHOW, Use.LINK)
            return Decision(address, reason=address.reason, on_purpose=not known)
        if address.kind in (Kind.FORMER, Kind.UNSIGNED) and address.own is not None:
            if address.spot.use is Use.LEAVE:
                return Decision(address, reason=address.spot.context)
            return Decision(address, address.own.preset)
        if address.kind is Kind.DIRECT:
            return Decision(address, self._direct(address))
        return self._wrapper(address)

    def _wrapper(self, address: Address) -> Decision:
        use = address.spot.use
        if use is Use.SHOW:
            return Decision(address, self._preset(address))
        if use is Use.LEAVE:
            return Decision(address, reason=address.spot.context)
        if use is Use.ASSET:
            wanted = address.spot.media
            if self._admitted(wanted):
                return Decision(address, ORIGINAL)
            return Decision(address, reason=f"{address.spot.context}: fetch.types does not admit {wanted[0]}")
        if address.is_picture_by_name or address.source in self._shown:
            return Decision(address, ORIGINAL)
        return Decision(address, reason="a link to something that is not known to be a picture")

    def _direct(self, address: Address) -> str:
        through_wrapper = address.source in self._shown_wrapped
        if address.spot.use is Use.SHOW:
            return self._preset(address) if through_wrapper or self._all_images else ""
        if address.spot.use is Use.LINK:
            shown = through_wrapper or (self._all_images and address.source in self._shown)
            return ORIGINAL if shown else ""
        return ""

    def _settled(self, address: Address) -> Address:
        """Give an address without a scheme the scheme by which the article shows the same source."""
        if address.kind is not Kind.DIRECT or not address.text.startswith("//"):
            return address
        try:
            plain = Source.parse("http:" + address.text)
        except MirrorError:
            return address
        return replace(address, source=plain) if plain in self._shown_wrapped else address

    def _preset(self, address: Address) -> str:
        preset = address.spot.preset or self._body
        drawn = address.spot.raster and address.is_svg_by_name and preset != ORIGINAL
        return f"{preset},{DRAWN}" if drawn else preset

    def _admitted(self, media: tuple[str, ...]) -> bool:
        return any(
            fnmatchcase(wanted, admitted) or fnmatchcase(admitted, wanted)
            for wanted in media
            for admitted in self._types
        )
