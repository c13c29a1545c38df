"""Recognizes our own addresses in articles, below the current base URL and below former ones. Pure.

When addresses are signed, one that the first key did not sign is signed again, because the other keys will be removed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from proxy.dialects import native
from proxy.dialects.grammars import worker
from proxy.errors import MirrorError
from proxy.source import Source

Sign = Callable[[str, Source, int | None], str]
"""Returns the first key's signature of options as written, a source and an expiry.

Raises `MirrorError` for invalid options.
"""


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """One of our addresses: its request, and the length of its base URL.

    `worker_form` is `/?URL`. At the host of a known worker, such an address is still a wrapper.
    """

    source: Source
    preset: str
    base_length: int
    worker_form: bool = False
    sig: str | None = None
    exp: int | None = None

    def is_signed(self, sign: Sign) -> bool:
        """Return whether the first key signed the address, or its options are invalid and cannot be signed."""
        if self.worker_form:
            return False
        try:
            return self.sig == sign(self.preset, self.source, self.exp)
        except MirrorError:
            return True

    def signed(self, path: str, sign: Sign) -> str:
        """Return `path`, the address without its base URL, with the first key's signature and otherwise unchanged."""
        segment, _, source = path.removeprefix(native.MOUNT).partition("/")
        items = native.items(segment)
        options = [item for item in items if not item.startswith(("sig=", "exp="))]
        expiry = [item for item in items if item.startswith("exp=")]
        signature = f"sig={sign(self.preset, self.source, self.exp)}"
        return f"{native.MOUNT}{','.join((*options, signature, *expiry))}/{source}"


_FORM = re.compile(
    r"(?:https?:)?//[^/?#\s]+(?:/[^/?#\s]+){0,3}?/image/"
    r"(?:[a-z][a-z0-9_@-]*|[a-z-]+=[^/?#,\s]*)(?:,[a-z-]+=[^/?#,\s]*)*/(?:https?(?::|%3A)|b64:)",
    re.IGNORECASE,
)


def looks_like_ours(text: str) -> bool:
    """Return whether an address has our form at any host. It may have a base URL that is no longer configured."""
    # Search for a part of the form first: that is quick, and most addresses lack it.
    return "mage/" in text.lower() and _FORM.match(text) is not None


class OwnBase:
    """One base URL. Comparisons ignore the scheme, whether there is one, and the case of the host."""

    def __init__(self, base_url: str) -> None:
        bare = base_url.split("//", 1)[-1].rstrip("/")
        host, slash, path = bare.partition("/")
        self._pattern = re.compile(
            rf"(?:https?:)?//(?i:{re.escape(host)}){re.escape(slash + path)}(?=[/?#]|\Z)", re.I
        )

    def covers(self, text: str) -> bool:
        """Return whether an address is below this base URL."""
        return self._pattern.match(text) is not None

    def read(self, text: str) -> OwnAddress | None:
        """Parse one of our addresses; return None when it is not a picture's."""
        match = self._pattern.match(text)
        if match is None:
            return None
        rest = text[match.end() :]
        try:
            if rest.startswith(native.MOUNT):
                request = native.parse(rest)
                return OwnAddress(
                    request.source, request.options, match.end(), sig=request.sig, exp=request.exp
                )
            if rest.startswith("/?") and worker.is_worker(rest[2:]):
                return OwnAddress(worker.parse(rest[2:]), native.ORIGINAL, match.end(), worker_form=True)
        except MirrorError:
            return None
        return None
