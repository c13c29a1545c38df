"""Decides which addresses of an article are replaced, by which preset, and why the others stay. Pure.

shows a picture     wrapper -> the size it asked for, else the place's preset; a bare address too when the
                    article shows the source through a wrapper, or when all pictures are wanted
our own addresses   of a former base URL, or not signed by the first key -> the same, with current URL and signature
links               wrapper -> original, when the source is a picture by its name or shown in the article
loads an asset      wrapper -> original, when `fetch.types` admits the type
may show a picture  as if it showed one, when the address is a picture's: by its name, by the wrapper's service,
                    or because the article shows the same source
anything else       stays; with a reason when it may be a picture
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from proxy.dialects.native import ORIGINAL
from proxy.errors import MirrorError
from proxy.rewrite.base.reasons import IN_CODE, NO_PICTURE, TEMPLATE
from proxy.rewrite.base.spot import Use
from proxy.rewrite.deciding.classify import Address, AddressKind
from proxy.rewrite.deciding.sizes import Sizes
from proxy.source import Source

DRAWN = {"format": "png"}
"""The options for places where an SVG must not be answered unchanged."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision about an address: replaced when `preset` is set, else left for `reason` (empty: not ours).

    `preset` is the text of the new address's options; `lost` names the wrapper's options that it cannot express.
    """

    address: Address
    preset: str = ""
    reason: str = ""
    on_purpose: bool = True
    lost: tuple[str, ...] = ()

    def kept(self, reason: str) -> Decision:
        """Return the decision to leave the address, with `reason` if it would have been replaced."""
        keeps = self.preset or not self.on_purpose
        return replace(self, preset="", reason=reason, on_purpose=True) if keeps else self


class Decider:
    """Decides for one article. It needs all addresses before the first one is replaced.

    `shown` are sources that other articles show.
    """

    def __init__(  # noqa: PLR0913 - what a rewriter knows
        self,
        addresses: Iterable[Address],
        *,
        body: str,
        all_images: bool,
        types: tuple[str, ...],
        sizes: Sizes,
        shown: Collection[Source] = (),
    ) -> None:
        self._addresses = list(addresses)
        self._body = body
        self._all_images = all_images
        self._types = types
        self._sizes = sizes
        here = [address for address in self._addresses if address.is_shown and address.source]
        self._shown = {address.source for address in here}.union(shown)
        self._shown_wrapped = {address.source for address in here if address.kind is not AddressKind.DIRECT}
        self._by_kind: dict[AddressKind, Callable[[Address], Decision]] = {
            AddressKind.OURS: Decision,
            AddressKind.TEMPLATE: self._template,
            AddressKind.UNREADABLE: self._unreadable,
            AddressKind.FORMER: self._former,
            AddressKind.UNSIGNED: self._former,
            AddressKind.DIRECT: self._direct_picture,
            AddressKind.WRAPPER: self._wrapper,
        }

    def decisions(self) -> list[Decision]:
        """Return a decision for each address, in order."""
        return [self._decide(self._settled(address)) for address in self._addresses]

    def _decide(self, address: Address) -> Decision:
        return self._by_kind[address.kind](address)

    def _template(self, address: Address) -> Decision:
        shows = self._all_images and address.spot.use in (Use.SHOW, Use.MAY_SHOW)
        return Decision(address, reason=address.reason or (TEMPLATE if shows else ""))

    def _unreadable(self, address: Address) -> Decision:
        known = address.spot.use in (Use.SHOW, Use.MAY_SHOW, Use.LINK)
        return Decision(address, reason=address.reason, on_purpose=not known)

    def _former(self, address: Address) -> Decision:
        if address.spot.use is Use.LEAVE or address.own is None:
            return Decision(address, reason=address.spot.context)
        return Decision(address, address.own.preset)

    def _direct_picture(self, address: Address) -> Decision:
        decision = self._direct(address)
        reason = "" if decision.preset else self._why_direct_stays(address)
        return replace(decision, reason=reason) if reason else decision

    def _wrapper(self, address: Address) -> Decision:
        use = address.spot.use
        if use is Use.SHOW or (use is Use.MAY_SHOW and self._is_picture(address)):
            return self._shown_as(address)
        if use is Use.LINK and self._is_picture(address):
            return Decision(address, ORIGINAL)
        if use is Use.ASSET and self._admitted(address.spot.media):
            return Decision(address, ORIGINAL)
        return Decision(address, reason=_why_wrapper_stays(address))

    def _is_picture(self, address: Address) -> bool:
        by_name = address.is_picture_by_name if address.spot.use is Use.LINK else address.is_picture
        return by_name or address.source in self._shown

    def _direct(self, address: Address) -> Decision:
        use, through_wrapper = address.spot.use, address.source in self._shown_wrapped
        if use in (Use.SHOW, Use.MAY_SHOW):
            wanted = self._all_images and (use is Use.SHOW or address.is_picture)
            return self._shown_as(address) if through_wrapper or wanted else Decision(address)
        if use is Use.LINK:
            large = address.spot.around and address.is_picture_by_name
            shown = through_wrapper or (self._all_images and (large or address.source in self._shown))
            return Decision(address, ORIGINAL if shown else "")
        return Decision(address)

    def _why_direct_stays(self, address: Address) -> str:
        """Return why an address that may show a picture stays; empty when replacing it was not requested."""
        if not self._all_images:
            return ""
        if address.spot.use is Use.MAY_SHOW and address.spot.likely:
            return NO_PICTURE
        may_show = address.spot.use is Use.LEAVE and address.spot.context != IN_CODE
        return address.spot.context if may_show and address.is_picture_by_name else ""

    def _settled(self, address: Address) -> Address:
        """Give an address without a scheme the one with which the article shows the same source."""
        if address.kind is not AddressKind.DIRECT or not address.text.startswith("//"):
            return address
        try:
            plain = Source.parse("http:" + address.text)
        except MirrorError:
            return address
        return replace(address, source=plain) if plain in self._shown_wrapped else address

    def _shown_as(self, address: Address) -> Decision:
        preset = address.spot.preset or self._body
        drawn = address.spot.raster and address.is_svg_by_name and preset != ORIGINAL
        asked = (DRAWN if drawn else {}) | address.options
        chosen = self._sizes.chosen(asked, preset, described_px=address.spot.width)
        lost = tuple(name for name in chosen.lost if name in address.options)
        return Decision(address, chosen.options, lost=lost)

    def _admitted(self, media: tuple[str, ...]) -> bool:
        return any(
            fnmatchcase(wanted, admitted) or fnmatchcase(admitted, wanted)
            for wanted in media
            for admitted in self._types
        )


def _why_wrapper_stays(address: Address) -> str:
    context = address.spot.context
    return {
        Use.MAY_SHOW: NO_PICTURE,
        Use.ASSET: f"{context}: fetch.types does not admit {next(iter(address.spot.media), '')}",
        Use.LINK: "a link to something that is not known to be a picture",
    }.get(address.spot.use, context)
