"""Articles: what rewrites them with the service's own addresses, and remembering which article uses which source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cache.articles import ArticleIndex
from proxy.config import Config, RewriteConfig
from proxy.dialects import Unwrapper, native
from proxy.images.transform import Transform
from proxy.rewrite.own import Sign
from proxy.rewrite.rewriter import Rewriter
from proxy.signing import Signer
from proxy.source import Source


def unwrapper_of(config: Config) -> Unwrapper:
    """Return the reader of wrappers: the built-in ones, the configured ones and our own addresses."""
    own = tuple(filter(None, (config.server.public_url, *config.rewrite.former_urls)))
    return Unwrapper(config.rewrite.wrappers, own=own)


@dataclass(frozen=True, slots=True)
class RewriteSettings:
    """What a rewriter is made of: a part of the configuration, and what its caller wants."""

    config: RewriteConfig
    base_url: str
    keys: tuple[str, ...] = ()
    types: tuple[str, ...] = ("image/*",)
    all_images: bool = False
    any_transform: bool = True

    @classmethod
    def of(cls, config: Config, *, base_url: str, all_images: bool = False) -> RewriteSettings:
        """Return the settings that a configuration means."""
        return cls(
            config.rewrite,
            base_url,
            config.sources.keys,
            config.fetch.types,
            all_images,
            config.any_transform,
        )

    def rewriter(self) -> Rewriter:
        """Return a rewriter whose links point at `base_url`, signed when there are keys."""
        return Rewriter(
            self.config,
            base_url=self.base_url,
            sign=_sign_with(Signer(self.keys)) if self.keys else None,
            all_images=self.all_images,
            types=self.types,
            any_transform=self.any_transform,
        )


def _sign_with(signer: Signer) -> Sign:
    def sign(options: str, source: Source, exp: int | None) -> str:
        canonical = options if options.startswith(native.ORIGINAL) else Transform.parse(options).canonical()
        return signer.sign(canonical, source.url, exp=exp)

    return sign


class Articles:
    """The articles that a service or a command has seen."""

    def __init__(self, index: ArticleIndex) -> None:
        self._index = index

    async def record(self, article: str, sources: Iterable[str], *, date: float | None = None) -> None:
        """Remember that `article` uses `sources`, instead of those it was known to use, and its date."""
        await self._index.record(article, sources, date=date)
