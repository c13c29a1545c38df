"""Articles: what rewrites them with the service's own addresses, and remembering which article uses which source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cache.articles import Article, ArticleIndex
from proxy.config import Config, RewriteConfig
from proxy.dialects import Unwrapper, native
from proxy.images.transform import Transform
from proxy.rewrite.own import Sign
from proxy.rewrite.rewriter import Rewriter
from proxy.signing import Signer
from proxy.source import Source, base_in_a_labels, base_spellings


def unwrapper_of(config: Config) -> Unwrapper:
    """Return the reader of wrappers: the built-in ones, the configured ones and our own addresses."""
    own = (config.server.public_url, *config.rewrite.former_urls)
    return Unwrapper(config.rewrite.wrappers, own=base_spellings(own))


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
        """Return the settings that a configuration means; a host that is not ASCII is written in A-labels."""
        written, rewrite = base_in_a_labels(base_url), config.rewrite
        # What articles have in another spelling of this base, or of a former one, is re-pointed.
        former = base_spellings((*rewrite.former_urls, *(() if base_url.isascii() else (base_url,))))
        if former != rewrite.former_urls:
            rewrite = rewrite.model_copy(update={"former_urls": former})
        return cls(
            rewrite, written, config.sources.keys, config.fetch.types, all_images, config.any_transform
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

    async def record(self, articles: Iterable[Article]) -> None:
        """Remember what each article uses, instead of what it was known to use, by this name or another one.

        Raises:
            StoreFull, StoreUnwritable: the disk refused.
        """
        names = [
            await self._index.record(item.name, item.sources, date=item.date, path=item.path)
            for item in articles
        ]
        await self._index.heal(names)
