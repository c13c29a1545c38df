"""Builds rewriters from the configuration, and remembers which article uses which source."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxy.config import Config, PresetOptions, RewriteConfig
from proxy.dialects import Unwrapper, native
from proxy.errors import InvalidTransform
from proxy.images.geometry import OutputLimits, Size, make_plan, require_within
from proxy.images.transforms.transform import Resolved, Transform
from proxy.rewrite.attributes.candidates import SrcsetCandidates
from proxy.rewrite.attributes.responsive import Responsive
from proxy.rewrite.base.kept import Shape
from proxy.rewrite.deciding.own import Sign
from proxy.rewrite.deciding.sizes import Canonical, Sizes
from proxy.rewrite.quicklook import QuickLook
from proxy.rewrite.rewriter import Rewriter
from proxy.signing import Signer
from proxy.source import Source, base_in_a_labels, base_spellings

if TYPE_CHECKING:
    # Importing the store takes a while, and a rewrite process does not need it.
    from cache.durable_tier import Originals
    from cache.originals.articles import ArticleIndex, KeptArticle


def unwrapper_of(config: Config) -> Unwrapper:
    """Return the unwrapper for requests. It knows built-in and configured wrappers, and our own addresses.

    In requests an address at an unlisted host is never a wrapper, so that existing addresses keep their meaning.
    """
    own = base_spellings((config.server.public_url, *config.rewrite.former_urls))
    return Unwrapper(config.rewrite.prefixes, own=own, forms=False)


async def kept_source(unwrapper: Unwrapper, kept: Originals, source: Source) -> Source:
    """Return the source under which the store keeps an address.

    This is the wrapped source, unless the picture was kept under the wrapper's own address before we knew its grammar.

    Raises:
        InvalidSource, SourceNotAllowed: the wrapped source is invalid or cannot be served.
    """
    way = unwrapper.way(source)
    for candidate in (way.source, *way.written):
        if await kept.get(candidate.url) is not None:
            return candidate
    return way.source


@dataclass(frozen=True, slots=True)
class RewriteSettings:
    """The settings of a rewriter: a part of the configuration, and the wishes of the caller."""

    config: RewriteConfig
    base_url: str
    keys: tuple[str, ...] = ()
    types: tuple[str, ...] = ("image/*",)
    all_images: bool = False
    any_transform: bool = True
    preset_widths: tuple[tuple[str, int], ...] = ()
    limits: tuple[int, int] = (OutputLimits().max_side, OutputLimits().max_pixels)
    responsive: bool = False
    presets: Mapping[str, PresetOptions] = field(default_factory=dict)

    @classmethod
    def of(
        cls, config: Config, *, base_url: str, all_images: bool = False, responsive: bool = False
    ) -> RewriteSettings:
        """Return the settings for a configuration. A host that is not ASCII is written in A-labels."""
        written, rewrite = base_in_a_labels(base_url), config.rewrite
        # Addresses with another spelling of this base URL, or of a former one, are re-pointed.
        former = base_spellings((*rewrite.former_urls, *(() if base_url.isascii() else (base_url,))))
        if former != rewrite.former_urls:
            rewrite = rewrite.model_copy(update={"former_urls": former})
        return cls(
            rewrite,
            written,
            config.sources.keys,
            config.fetch.types,
            all_images,
            config.any_transform,
            _preset_widths(config),
            (config.render.max_output_side, config.render.max_output_pixels),
            responsive,
            config.presets if responsive else {},
        )

    def rewriter(self) -> Rewriter:
        """Return a rewriter whose links point at `base_url` and are signed when there are keys."""
        canonical = _canonical_within(OutputLimits(*self.limits))
        return Rewriter(
            self.config,
            base_url=self.base_url,
            sign=_sign_with(Signer(self.keys)) if self.keys else None,
            all_images=self.all_images,
            types=self.types,
            any_transform=self.any_transform,
            preset_widths=dict(self.preset_widths),
            canonical=canonical,
            responsive=self._responsive(canonical) if self.responsive else None,
        )

    def quick_look(self) -> QuickLook:
        """Return the test for texts that the rewriter need not read."""
        return QuickLook(self.config, base_url=self.base_url, all_images=self.all_images)

    def sizes(self) -> Sizes:
        """Return the chooser of options for places. It ignores which options visitors may ask for."""
        return Sizes(
            any_transform=True,
            widths=self.config.widths,
            canonical=_canonical_within(OutputLimits(*self.limits)),
            preset_widths=dict(self.preset_widths),
        )

    def _responsive(self, canonical: Canonical) -> Responsive:
        shape = _shape_with(self.presets, OutputLimits(*self.limits))
        config = self.config
        candidates = SrcsetCandidates(config.widths, config.body, self.any_transform, canonical, shape)
        return Responsive(candidates, shape, sizes=config.sizes)


def _preset_widths(config: Config) -> tuple[tuple[str, int], ...]:
    """Return the maximum width of each preset that has one."""
    found = ((name, Transform.parse(name).resolved(config.presets).width) for name in config.presets)
    return tuple((name, width) for name, width in found if width is not None)


def _canonical_within(limits: OutputLimits) -> Canonical:
    # The pictures of an article usually have the same options.
    @functools.lru_cache(maxsize=1024)
    def canonical(options: str) -> str | None:
        try:
            transform = Transform.parse(options)
            if transform.preset is None:
                require_within(transform.resolved({}), limits)
        except InvalidTransform:
            return None
        return transform.canonical()

    return canonical


def _shape_with(presets: Mapping[str, PresetOptions], limits: OutputLimits) -> Shape:
    @functools.lru_cache(maxsize=1024)
    def resolved_of(options: str) -> Resolved:
        return Transform.parse(options).resolved(presets)

    def shape(options: str, natural: Size) -> Size | None:
        if options.startswith(native.ORIGINAL):
            # A later version of the original may have another size.
            return natural if options == native.ORIGINAL else None
        try:
            resolved = resolved_of(options)
            # The trimmed size depends on the pixels.
            turned = natural[::-1] if resolved.rotate in {90, 270} else natural
            is_told = not resolved.trim and resolved.format != "json"
            return make_plan(turned, resolved, limits=limits).canvas if is_told else None
        except InvalidTransform:
            return None

    return shape


def _sign_with(signer: Signer) -> Sign:
    def sign(options: str, source: Source, exp: int | None) -> str:
        canonical = options if options.startswith(native.ORIGINAL) else Transform.parse(options).canonical()
        return signer.sign(canonical, source.url, exp=exp)

    return sign


class Articles:
    """The articles that a service or a command has seen."""

    def __init__(self, index: ArticleIndex) -> None:
        self._index = index

    async def record(self, articles: Iterable[KeptArticle]) -> None:
        """Remember the sources that each article uses. Replaces its earlier sources, also under another name.

        Raises:
            StoreFull, StoreUnwritable: the disk refused.
        """
        names = [
            await self._index.record(
                item.name, item.sources, date=item.date, path=item.path, lines=item.lines
            )
            for item in articles
        ]
        await self._index.heal(names)

    async def record_lines(self, articles: Iterable[KeptArticle]) -> None:
        """Remember in which lines the known ones of these articles show their sources, and change nothing else.

        Raises:
            StoreFull, StoreUnwritable: the disk refused.
        """
        for item in articles:
            await self._index.record_lines(item.name, item.lines)
