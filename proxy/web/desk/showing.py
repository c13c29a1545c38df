"""Addresses with which pages show pictures: small ones for lists, and every version. Pure.

Answers to them do not count as uses of the pictures: otherwise a look at the list would change its order by use. They
are signed for a visitor who has signed in, because the desk shows pictures that nobody else may request. Without a
session, a service with keys shows no pictures here.
"""

from __future__ import annotations

from cache.catalogue.questions import PictureRow
from proxy.dialects.native import ORIGINAL, VERSION_MARK, build_look
from proxy.errors import MirrorError
from proxy.services.desk.weights import THUMBNAIL
from proxy.source import Source
from proxy.web.desk.pages import DeskRequest


class Showing:
    """Makes addresses for one visitor."""

    def __init__(self, desk: DeskRequest) -> None:
        context = self._context = desk.context
        self._signer = context.signer if desk.visitor.may_act else None
        self._is_closed = context.signer is not None and not desk.visitor.may_act
        presets = context.config.presets
        self._small = THUMBNAIL if THUMBNAIL in presets else next(iter(presets), ORIGINAL)

    def small(self, source_url: str) -> str:
        """Return the address of a small picture; empty when it cannot be shown."""
        return self._address(source_url, self._small)

    def thumbnail(self, row: PictureRow) -> str:
        """Return the address of a small picture of a kept one; empty when no picture would be answered."""
        render = self._context.config.render
        is_shown = row.media_type.startswith("image/") and not row.is_blocked
        if not is_shown or not row.source or row.width * row.height > render.max_pixels:
            return ""
        address = self.small(row.source)
        try:
            self._context.plans.make(address, now=self._context.now())
        except MirrorError:
            return ""
        return address

    def original(self, source_url: str) -> str:
        """Return the address of the original; empty when it cannot be shown."""
        return self._address(source_url, ORIGINAL)

    def version(self, source_url: str, digest: str) -> str:
        """Return the address of a version; empty when it cannot be shown."""
        return self._address(source_url, VERSION_MARK + digest)

    def _address(self, source_url: str, options: str) -> str:
        if self._is_closed:
            return ""
        try:
            source = Source.parse(source_url)
        except MirrorError:
            return ""
        sig = self._signer.sign(options, source.url) if self._signer else None
        return build_look(options, source, sig=sig)
