"""Lists the variants that are stored of one picture, with the options that name them. Event loop.

A key of the variant store is a digest, so options cannot be read from it. We make the keys of all presets, of all
widths for articles and of presets with these widths, and recognise those. Other variants are listed without options.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


class VariantNames:
    """The options and formats that keys of variants stand for under one configuration.

    `presets` limits them to these presets, alone and with a width, and to bare widths; None means all.
    """

    def __init__(self, config: Config, presets: Iterable[str] | None = None) -> None:
        self._looks = _looks(config, sorted(config.presets if presets is None else presets))

    def of(self, sha256: str) -> dict[str, tuple[str, str]]:
        """Return options and format by key, for the original with this digest."""
        return dict(_names(sha256, self._looks))


async def variants_of(variants: Variants, entry: Entry, config: Config) -> list[VariantListed]:
    """Return the stored variants of the current bytes of a picture, by options and size."""
    return await listed(variants, entry.body_sha256, VariantNames(config))


async def listed(variants: Variants, sha256: str, names: VariantNames) -> list[VariantListed]:
    """Return the stored variants of the original with a digest, by options and size."""
    rows = await variants.tagged(sha256)
    # Some hundred digests take a millisecond or two.
    known = await asyncio.to_thread(names.of, sha256) if rows else {}
    found = []
    for row in rows:
        options, output_format = known.get(row.key, ("", ""))
        if output_format != NOTE:
            found.append(VariantListed(options, output_format, row.size_bytes, row.used_at))
    return sorted(found, key=lambda item: (item.options, item.bytes))


def _names(sha256: str, looks: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, str]]]:
    formats = (*MEDIA_TYPES, ORIGINAL, NOTE)
    for (options, text), output_format in itertools.product(looks.items(), formats):
        key = variant_key(
            body_sha256=sha256,
            resolved=text,
            output_format=output_format,
            render_version=RENDER_VERSION,
        )
        yield key, (options, "original" if output_format == ORIGINAL else output_format)


def _looks(config: Config, presets: Sequence[str]) -> Mapping[str, str]:
    """Return the text of the resolved options by the options as written. Presets come last, so that they win."""
    widths = [f"width={width}" for width in config.rewrite.widths]
    both = [f"{preset},{width}" for preset in presets for width in widths]
    by_text: dict[str, str] = {}
    for options in (*both, *widths, *presets):
        by_text[Transform.parse(options).resolved(config.presets).text] = options
    return {options: text for text, options in by_text.items()}
