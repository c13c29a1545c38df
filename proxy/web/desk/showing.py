"""Addresses with which pages show pictures: small ones for lists, and every version. Pure.

They are signed for a visitor who has signed in, because the desk shows what nobody else may ask for. Without a
session, a service with keys shows no pictures here.
"""

from __future__ import annotations

from proxy.dialects.native import ORIGINAL, VERSION_MARK
from proxy.errors import MirrorError
from proxy.source import Source
from proxy.web.desk.pages import DeskRequest
from proxy.web.targets.building import native_address

THUMBNAIL = "thumbnail"


class Showing:
    """Makes addresses for one visitor."""

    def __init__(self, desk: DeskRequest) -> None:
        context = desk.context
        self._signer = context.signer if desk.visitor.may_act else None
        self._is_closed = context.signer is not None and not desk.visitor.may_act
        presets = context.config.presets
        self._small = THUMBNAIL if THUMBNAIL in presets else next(iter(presets), ORIGINAL)

    def small(self, source_url: str) -> str:
        """Return the address of a small picture; empty when it cannot be shown."""
        return self._address(source_url, self._small)

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
            return native_address("", options, Source.parse(source_url), signer=self._signer)
        except MirrorError:
            return ""
