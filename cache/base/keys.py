"""Names of kept things: pure functions from text and bytes to SHA-256 hex digests."""

from __future__ import annotations

import hashlib


def source_key(url: str) -> str:
    """Return the key of the entry of a canonical source URL: 64 hex digits."""
    return hashlib.sha256(url.encode("ascii")).hexdigest()


def variant_key(*, body_sha256: str, resolved: str, output_format: str, render_version: str) -> str:
    """Return the key of a variant: 64 hex digits.

    `resolved` is the text of the resolved transform. A line feed separates the parts, because no part can contain one.
    An edited preset, a changed original or a new encoder setting gives a different key, so a variant from before the
    change is never served.
    """
    text = "\n".join((body_sha256, resolved, output_format, render_version))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
