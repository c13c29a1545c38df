"""Decides which addresses of a document are pictures to export, and with which options. Pure.

our own addresses    with their preset, options or original, signed or not
wrappers, direct     as `rewrite --all-images` decides, so that a site looks the same after the export
anything else        stays; with a reason when it may be a picture
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from proxy.config import RewriteConfig, WrapperConfig
from proxy.dialects import native
from proxy.dialects.mounts import SERVED
from proxy.rewrite.base.globs import is_prefix
from proxy.rewrite.base.spot import Spot, Use, byte_text
from proxy.rewrite.deciding.classify import Address, AddressKind, Classifier
from proxy.rewrite.deciding.decide import Decider, Decision
from proxy.rewrite.deciding.sizes import Sizes
from proxy.source import Source

_OWN = re.compile(r"(?:/[^/?#\s]+){0,3}?(?=/image/[^/?#\s]+/(?:https?(?::|%3a)|b64:))", re.IGNORECASE)
_MOUNTS = tuple(grammar.mount for grammar in SERVED.values())
NO_PICTURE = "it loads something that is not a picture"
UNKNOWN = "an address of the mirror that is not read"


@dataclass(frozen=True, slots=True)
class Taken:
    """An address at its spot: a picture to export when `options` is set, else left for `reason`."""

    spot: Spot
    text: str
    source: Source | None = None
    options: str = ""
    reason: str = ""
    written: tuple[str, ...] = ()


class Taker:
    """Decides for one configuration; `base_url` is the mirror's address in the pages."""

    def __init__(
        self, config: RewriteConfig, *, base_url: str, sizes: Sizes, types: tuple[str, ...] = ("image/*",)
    ) -> None:
        self._config = config
        self._base_url = base_url.rstrip("/")
        self._sizes = sizes
        self._types = types
        self._classifier = Classifier(_with_mounts(config, self._base_url), base_url=self._base_url)
        self._live = tuple(entry.lower() for entry in config.ignore if is_prefix(entry))
        self.bases = tuple(
            url.partition("//")[2].rstrip("/").encode() for url in (self._base_url, *config.former_urls)
        )

    def taken(self, text: str, spots: Iterable[Spot], *, encoding: str = "") -> list[Taken]:
        """Return a decision for each address at `spots` that is ours, a wrapper's or a picture's, in order.

        `spots` contains none of the site's own addresses, except those of a mirror below the site's host.
        """
        found = [self._read(spot, text[spot.start : spot.end], encoding) for spot in spots]
        addresses = [item for item in found if isinstance(item, Address)]
        decider = Decider(
            addresses, body=self._config.body, all_images=True, types=self._types, sizes=self._sizes
        )
        decisions = iter(decider.decisions())
        taken = [self._settled(next(decisions)) if isinstance(item, Address) else item for item in found]
        return [item for item in taken if item is not None]

    def is_rooted(self, text: str) -> bool:
        """Return whether `text`, an address from the root of a host, is the mirror's: `/image/content/https://…`."""
        return self._rooted(text) is not None

    def _rooted(self, text: str) -> str | None:
        if not text.startswith("/") or text.startswith("//"):
            return None
        match = _OWN.match(text)
        if match:
            return self._base_url + text[match.end() :]
        below_us = self._base_url + text
        return below_us if text.startswith(_MOUNTS) and self._classifier.wraps(below_us) else None

    def _read(self, spot: Spot, raw: str, encoding: str) -> Address | Taken | None:
        text = spot.read(raw)
        rooted = self._rooted(text)
        if rooted is not None:
            plain = replace(spot, layers=())
            address = self._classifier.classify(plain, rooted)
            return replace(address, spot=spot, text=text) if address else None
        address = self._classifier.classify(spot, raw, encoding=encoding)
        if address is None and spot.use in (Use.SHOW, Use.MAY_SHOW, Use.LINK) and self._is_below_us(text):
            return Taken(spot, text, reason=UNKNOWN)
        return address

    def _is_below_us(self, text: str) -> bool:
        bare = text.partition("//")[2]
        return any(bare.startswith(base.decode() + "/image/") for base in self.bases)

    def _settled(self, decision: Decision) -> Taken | None:
        address = decision.address
        spot = address.spot
        if address.kind is AddressKind.DIRECT and address.text.lower().startswith(self._live):
            return None
        options = self._options(decision)
        if not options or address.source is None:
            return Taken(spot, address.text, reason=decision.reason) if decision.reason else None
        if spot.use is Use.ASSET:
            # Style sheets, scripts and videos at their own addresses stay there; that need not be reported.
            return (
                None if address.kind is AddressKind.DIRECT else Taken(spot, address.text, reason=NO_PICTURE)
            )
        return Taken(spot, address.text, address.source, options, written=address.written)

    def _options(self, decision: Decision) -> str:
        address = decision.address
        if address.own is not None:
            return address.own.preset
        if decision.preset:
            return decision.preset
        is_enclosure = address.spot.raster and address.spot.use is Use.LINK
        return native.ORIGINAL if is_enclosure and address.is_picture_by_name else ""


def _with_mounts(config: RewriteConfig, base_url: str) -> RewriteConfig:
    """Add the dialects that the mirror serves, below its current and former base URLs, to the wrappers."""
    wrappers = (
        WrapperConfig(prefix=f"{base}{grammar.mount}", dialect=name)  # type: ignore[arg-type]  # one of the grammars
        for base in (base_url, *(url.rstrip("/") for url in config.former_urls))
        for name, grammar in SERVED.items()
    )
    return config.model_copy(update={"wrappers": (*config.wrappers, *wrappers)})


def as_written(text: str) -> str:
    """Return an address as reports show it."""
    return byte_text(text) if not text.isascii() else text


def ordered(spots: Iterable[Spot]) -> Sequence[Spot]:
    """Return spots in the order of the document. Of two spots at the same position, keep the first."""
    found: dict[int, Spot] = {}
    for spot in spots:
        found.setdefault(spot.start, spot)
    return sorted(found.values(), key=lambda spot: spot.start)
