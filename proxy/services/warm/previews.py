"""Small copies of kept pictures for the page of a report, from variants that `warm` renders anyway. Pure.

A preview is the smallest variant of the picture when that is small enough, else its ThumbHash. Nothing is rendered for
it, and a report keeps a bounded number of bytes.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from proxy.errors import MirrorError
from proxy.images.formats import JSON, MEDIA_TYPES
from proxy.images.jobs import Rendered
from proxy.images.measuring.unhashed import unhashed

MAX_PREVIEW_BYTES = 12 << 10
"""The largest variant that serves as a preview: one of a few hundred pixels."""
MAX_PREVIEWS = 300
MAX_PREVIEWS_BYTES = 3 << 19
"""The previews of one report, and their bytes: as Base64 they add two megabytes to the page."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A small copy of a picture: the file, or with `is_hash` its ThumbHash in Base64."""

    body: bytes
    media_type: str = ""
    is_hash: bool = False

    @property
    def address(self) -> str:
        """The preview as a `data:` address; empty when its hash is none."""
        body, media_type = self.body, self.media_type
        if self.is_hash:
            try:
                body, _, _ = unhashed(base64.b64decode(self.body, validate=True))
            except (ValueError, binascii.Error):
                return ""
            media_type = "image/png"
        return f"data:{media_type};base64,{base64.b64encode(body).decode('ascii')}"


def preview_of(results: Iterable[Rendered | MirrorError]) -> Preview | None:
    """Return the preview of a picture from the variants and the description that were made of it, if there is one."""
    rendered = [one for one in results if isinstance(one, Rendered)]
    small = [one for one in rendered if one.output_format != JSON and len(one.body) <= MAX_PREVIEW_BYTES]
    if small:
        smallest = min(small, key=lambda one: len(one.body))
        return Preview(smallest.body, MEDIA_TYPES[smallest.output_format])
    for one in rendered:
        if one.output_format == JSON:
            with suppress(ValueError, KeyError, TypeError, AttributeError):
                return Preview(json.loads(one.body)["thumbhash"].encode("ascii"), is_hash=True)
    return None


@dataclass(slots=True)
class Previews:
    """The previews of a report by source, within bounds. left_out: how many found no room."""

    found: dict[str, Preview] = field(default_factory=dict)
    size_bytes: int = 0
    left_out: int = 0

    def add(self, url: str, preview: Preview | None) -> None:
        """Take the preview of a source if there is room."""
        if preview is None:
            return
        size = len(preview.body)
        if len(self.found) >= MAX_PREVIEWS or self.size_bytes + size > MAX_PREVIEWS_BYTES:
            self.left_out += 1
            return
        self.found[url] = preview
        self.size_bytes += size
