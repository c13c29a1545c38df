"""Articles: rewriting with the service's own addresses, and remembering which article uses which source."""

from __future__ import annotations

from collections.abc import Iterable

from cache.articles import ArticleIndex
from proxy.config import Config
from proxy.dialects import Unwrapper, native
from proxy.images.transform import Transform
from proxy.rewrite.own import Sign
from proxy.rewrite.rewriter import Rewriter, RewriteResult
from proxy.signing import Signer
from proxy.source import Source


def unwrapper_of(config: Config) -> Unwrapper:
    """Return the reader of wrappers: the built-in ones, the configured ones and our own addresses."""
    own = tuple(filter(None, (config.server.public_url, *config.rewrite.former_urls)))
    return Unwrapper(config.rewrite.wrappers, own=own)


def make_rewriter(config: Config, *, base_url: str, all_images: bool = False) -> Rewriter:
    """Return a rewriter whose links point at `base_url`, signed when the configuration has keys."""
    sign = _sign_with(Signer(config.sources.keys)) if config.sources.keys else None
    return Rewriter(
        config.rewrite,
        base_url=base_url,
        sign=sign,
        all_images=all_images,
        types=config.fetch.types,
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

    def rewrite(self, data: bytes, *, kind: str, base_url: str, config: Config) -> RewriteResult:
        """Return the article with its pictures pointing at `base_url`; CPU-bound, call it in a thread."""
        return make_rewriter(config, base_url=base_url).rewrite(
            data, kind="html" if kind == "html" else "markdown"
        )

    async def record(self, article: str, sources: Iterable[str], *, date: float | None = None) -> None:
        """Remember that `article` uses `sources`, instead of those it was known to use, and its date."""
        await self._index.record(article, sources, date=date)
