"""Lists the variants that are stored of one picture, with the options that name them. Event loop.

A key of the variant store is a digest, so options cannot be read from it. We make the keys of all presets, of all
widths for articles and of presets with these widths, and recognise those. Other variants are listed without options.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cache.base.entry import Entry
from cache.base.keys import variant_key
from cache.variants.bounded_tier import Variants
from proxy.config import Config
from proxy.images.choice import ORIGINAL
from proxy.images.encode import RENDER_VERSION
from proxy.images.formats import MEDIA_TYPES
from proxy.images.transforms.transform import Transform
from proxy.services.serving.stored import NOTE


@dataclass(frozen=True, slots=True)
class VariantListed:
    """A stored variant. options: as in an address, empty if they are not known. format: empty if not known; `original`
    if the original's own bytes were smaller. used_at: when its use was last recorded, Unix seconds."""

    options: str
    format: str
    bytes: int
    used_at: float


async def variants_of(variants: Variants, entry: Entry, config: Config) -> list[VariantListed]:
    """Return the stored variants of the current bytes of a picture, by options and size."""
    names = dict(_names(entry, config))
    found = []
    for row in await variants.tagged(entry.body_sha256):
        options, output_format = names.get(row.key, ("", ""))
        if output_format != NOTE:
            found.append(VariantListed(options, output_format, row.size_bytes, row.used_at))
    return sorted(found, key=lambda item: (item.options, item.bytes))


def _names(entry: Entry, config: Config) -> Iterator[tuple[str, tuple[str, str]]]:
    formats = (*MEDIA_TYPES, ORIGINAL, NOTE)
    for (options, text), output_format in itertools.product(_looks(config).items(), formats):
        key = variant_key(
            body_sha256=entry.body_sha256,
            resolved=text,
            output_format=output_format,
            render_version=RENDER_VERSION,
        )
        yield key, (options, "original" if output_format == ORIGINAL else output_format)


def _looks(config: Config) -> Mapping[str, str]:
    """Return the text of the resolved options by the options as written. Presets come last, so that they win."""
    widths = [f"width={width}" for width in config.rewrite.widths]
    presets = sorted(config.presets)
    both = [f"{preset},{width}" for preset in presets for width in widths]
    by_text: dict[str, str] = {}
    for options in (*both, *widths, *presets):
        by_text[Transform.parse(options).resolved(config.presets).text] = options
    return {options: text for text, options in by_text.items()}
