"""Classifies an address in an article: ours, formerly ours, a wrapper, a picture's own, or none of these. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

from proxy.config import RewriteConfig
from proxy.dialects import GRAMMARS, AmbiguousWrapper, Unwrapper, Way
from proxy.dialects.base.asked import Options
from proxy.dialects.base.escapes import read_source
from proxy.dialects.grammars.worker import looks_like_worker
from proxy.errors import MirrorError
from proxy.rewrite.base.charset import as_sent, as_utf8
from proxy.rewrite.base.expressions import has_expression
from proxy.rewrite.base.reasons import TEMPLATE
from proxy.rewrite.base.spot import Spot, Use, address_text
from proxy.rewrite.deciding.own import OwnAddress, OwnBase, Sign, looks_like_ours
from proxy.source import Source

_PICTURE_EXTENSION = re.compile(
    r"\.(?:jpe?g|jfif|pjpeg|png|apng|gif|webp|avif|bmp|tiff?|ico|svgz?|heic|heif|jxl)\Z", re.IGNORECASE
)


class AddressKind(Enum):
    """Whose address it is."""

    OURS = "ours"
    UNSIGNED = "ours, without the first key's signature"
    FORMER = "formerly ours"
    WRAPPER = "a wrapper"
    UNREADABLE = "a wrapper that cannot be opened"
    TEMPLATE = "an address with a template expression in it"
    DIRECT = "the picture's own"


@dataclass(frozen=True, slots=True)
class Address:
    """An address at its spot. `source` is None only when unreadable, and then `reason` says why.

    `options` are the wrapper's options translated to ours; `dropped` names those without a counterpart. `written` are
    the wrappers' own addresses, as sources. pictures_only: the wrapper carries nothing but pictures. A template that is
    not a wrapper has no reason. is_ambiguous: unreadable because it is unclear what belongs to the source.
    """

    spot: Spot
    kind: AddressKind
    text: str
    source: Source | None = None
    own: OwnAddress | None = None
    reason: str = ""
    dropped: tuple[str, ...] = ()
    options: Options = field(default_factory=dict)
    written: tuple[str, ...] = ()
    pictures_only: bool = False
    is_ambiguous: bool = False

    @property
    def is_shown(self) -> bool:
        """Whether the article shows it as a picture."""
        return self.spot.use is Use.SHOW or (self.spot.use is Use.MAY_SHOW and self.is_picture)

    @property
    def is_picture(self) -> bool:
        """Whether the address itself identifies a picture."""
        return self.pictures_only or self.is_picture_by_name

    @property
    def is_picture_by_name(self) -> bool:
        """Whether the source ends like a picture."""
        return self.source is not None and _is_picture_by_name(self.source)

    @property
    def is_svg_by_name(self) -> bool:
        """Whether the source ends like an SVG."""
        return self.source is not None and _path(self.source).endswith((".svg", ".svgz"))


def _path(source: Source) -> str:
    return source.target.partition("?")[0].lower()


def _is_picture_by_name(source: Source) -> bool:
    return _PICTURE_EXTENSION.search(_path(source)) is not None


class Classifier:
    """Classifies addresses for one configuration. With `sign`, our own addresses must be signed."""

    def __init__(self, config: RewriteConfig, *, base_url: str, sign: Sign | None = None) -> None:
        former = [url.rstrip("/") for url in config.former_urls if url.rstrip("/") != base_url]
        self._present = OwnBase(base_url) if base_url else None
        self._bases = [*([self._present] if self._present else []), *map(OwnBase, former)]
        self._unwrapper = Unwrapper(config.prefixes, own=(base_url, *former) if base_url else tuple(former))
        self._wrappers = Unwrapper(config.prefixes)
        self._requests = Unwrapper(config.prefixes, forms=False)
        self._sign = sign

    def wraps_picture(self, text: str) -> bool | None:
        """Return whether a wrapper's source is named like a picture, or cannot be read. None: not a wrapper."""
        try:
            unwrapped = self._wrappers.unwrap(text)
        except MirrorError:
            return True
        return _is_picture_by_name(unwrapped.source) if unwrapped else None

    def wraps(self, text: str) -> bool | None:
        """Return whether a wrapper holds a source. None: not a wrapper, or one that is assembled elsewhere."""
        try:
            return True if self._wrappers.unwrap(text) else None
        except AmbiguousWrapper:
            return True
        except MirrorError:
            return None

    def own_source(self, text: str) -> Source | None:
        """Return the source of one of our current or former addresses, or None for another address."""
        own = next(filter(None, (base.read(text) for base in self._bases)), None)
        return self._way(own.source).source if own else None

    def is_direct_picture(self, text: str) -> bool:
        """Return whether an address is named like a picture and is not below our base URLs."""
        if any(base.covers(text) for base in self._bases):
            return False
        try:
            return _is_picture_by_name(read_source("https:" + text if text.startswith("//") else text))
        except MirrorError:
            return False

    def classify(self, spot: Spot, raw: str, *, encoding: str = "") -> Address | None:
        """Classify `raw`, the byte text of a spot; return None when it is not an address that we handle.

        `encoding` is the encoding of the page, empty for UTF-8.
        """
        if encoding:
            text = as_sent(address_text(spot.read(as_utf8(raw, encoding))), encoding)
        else:
            text = address_text(spot.read(raw))
        found = self._own(spot, text)
        if found and found.kind is AddressKind.OURS:
            return found
        if has_expression(text) or has_expression(raw):
            # In Pug, the `#` of `#{…}` does not begin a fragment.
            plain = text.replace("#{", "{")
            wraps = found is not None or self._wrappers.is_wrapper(plain) or looks_like_worker(plain)
            return Address(spot, AddressKind.TEMPLATE, text, reason=TEMPLATE if wraps else "")
        return found or self._foreign(spot, text)

    def _own(self, spot: Spot, text: str) -> Address | None:
        for base in self._bases:
            own = base.read(text)
            if own and not (own.worker_form and self._wrappers.is_wrapper(text)):
                way = self._way(own.source)
                written = tuple(source.url for source in way.written)
                return Address(spot, self._kind(base, own), text, way.source, own, written=written)
        return None

    def _way(self, source: Source) -> Way:
        """Return what a source in one of our addresses wraps, as a request would read it."""
        try:
            return self._requests.way(source)
        except MirrorError:
            return Way(source)

    def _kind(self, base: OwnBase, own: OwnAddress) -> AddressKind:
        if base is not self._present:
            return AddressKind.FORMER
        return AddressKind.UNSIGNED if self._sign and not own.is_signed(self._sign) else AddressKind.OURS

    def _foreign(self, spot: Spot, text: str) -> Address | None:
        try:
            unwrapped = self._unwrapper.unwrap(text)
        except MirrorError as error:
            ours = self._present is not None and self._present.covers(text)
            ambiguous = isinstance(error, AmbiguousWrapper)
            return (
                None
                if ours
                else Address(spot, AddressKind.UNREADABLE, text, reason=error.message, is_ambiguous=ambiguous)
            )
        if unwrapped is not None:
            grammar = GRAMMARS.get(unwrapped.steps[0].partition(" ")[0])
            return Address(
                spot,
                AddressKind.WRAPPER,
                text,
                unwrapped.source,
                dropped=unwrapped.dropped,
                options=unwrapped.options,
                written=tuple(source.url for source in unwrapped.written(text)),
                pictures_only=grammar is not None and grammar.pictures_only,
            )
        if looks_like_worker(text):
            reason = "looks like a CORS worker: name its address in rewrite.wrappers"
            return Address(spot, AddressKind.UNREADABLE, text, reason=reason)
        if self._present and self._present.covers(text):
            return None
        if looks_like_ours(text):
            reason = "looks like an address of an imgmirror: name its base in rewrite.former_urls"
            return Address(spot, AddressKind.UNREADABLE, text, reason=reason)
        return self._direct(spot, text)

    def _direct(self, spot: Spot, text: str) -> Address | None:
        # For an address without a scheme, a browser uses the page's. We assume that articles are published by https.
        try:
            source = read_source("https:" + text if text.startswith("//") else text)
        except MirrorError:
            return None
        return Address(spot, AddressKind.DIRECT, text, source)
