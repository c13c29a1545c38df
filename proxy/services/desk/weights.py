"""Weighs the pictures of an article: their originals, and what a visitor loads instead. Event loop.

A visitor loads each picture at one of the addresses that `rewrite` writes. We know which variants are stored for these
addresses, but not which address a browser chooses. The weight of a picture is therefore that of its heaviest stored
address, in the lightest format that is stored of it:

    width=320     avif 6 kB, jpeg 14 kB     ->  6 kB
    content       avif 40 kB, jpeg 90 kB    ->  40 kB, the weight of this picture

An SVG is answered as it is. A picture of which no such address is stored is not rendered yet and has no weight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cache.catalogue.questions import PictureRow
from cache.variants.bounded_tier import Variants
from proxy.config import Config
from proxy.services.upkeep.storedlist import VariantListed, VariantNames, listed

THUMBNAIL = "thumbnail"
"""The preset with which the desk shows small pictures. It does not count, because looking at a list makes no article
lighter."""

AT_A_TIME = 8
_UNCHANGED = "image/svg+xml"


@dataclass(frozen=True, slots=True)
class ArticleWeight:
    """Bytes of the pictures of an article.

    original_bytes: of all kept originals. rendered: how many pictures have a weight; rendered_bytes: their weights;
    rendered_original_bytes: their originals. not_rendered: how many have none yet.
    """

    original_bytes: int
    rendered: int
    rendered_bytes: int
    rendered_original_bytes: int
    not_rendered: int


async def weigh(variants: Variants, pictures: Sequence[PictureRow], config: Config) -> ArticleWeight:
    """Return the weight of kept pictures. Nothing is rendered for it."""
    names = await asyncio.to_thread(VariantNames, config, presets_of_articles(config))
    places = asyncio.Semaphore(AT_A_TIME)

    async def one(picture: PictureRow) -> int | None:
        if picture.media_type == _UNCHANGED:
            return picture.size
        async with places:
            return loaded(await listed(variants, picture.sha256, names))

    weights = await asyncio.gather(*map(one, pictures))
    rendered = [
        (weight, picture.size)
        for weight, picture in zip(weights, pictures, strict=True)
        if weight is not None
    ]
    return ArticleWeight(
        original_bytes=sum(picture.size for picture in pictures),
        rendered=len(rendered),
        rendered_bytes=sum(weight for weight, _ in rendered),
        rendered_original_bytes=sum(size for _, size in rendered),
        not_rendered=len(pictures) - len(rendered),
    )


def presets_of_articles(config: Config) -> frozenset[str]:
    """Return the presets that `rewrite` writes into articles, except the one of the desk."""
    rewrite = config.rewrite
    written = {rewrite.body, rewrite.front, *rewrite.fields.values()}
    return frozenset(written - {THUMBNAIL}) & config.presets.keys()


def loaded(stored: Iterable[VariantListed]) -> int | None:
    """Return the weight of one picture; None if nothing is stored of its addresses."""
    lightest: dict[str, int] = {}
    for item in stored:
        if item.options:
            lightest[item.options] = min(item.bytes, lightest.get(item.options, item.bytes))
    return max(lightest.values(), default=None)
