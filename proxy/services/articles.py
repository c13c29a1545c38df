"""Articles: rewriting with the service's own addresses, and remembering which article uses which source."""

from __future__ import annotations

from collections.abc import Iterable

from cache.articles import ArticleIndex
from proxy.config import Config
from proxy.dialects import Unwrapper
from proxy.rewrite.rewriter import Rewriter, RewriteResult
from proxy.signing import Signer
from proxy.source import Source


def unwrapper_of(config: Config) -> Unwrapper:
    """Return the reader of wrappers: the built-in ones, the configured ones and our own addresses."""
    own = tuple(filter(None, (config.server.public_url, *config.rewrite.former_urls)))
    return Unwrapper(config.rewrite.wrappers, own=own)


def make_rewriter(config: Config, *, base_url: str, all_images: bool = False) -> Rewriter:
    """Return a rewriter whose links point at `base_url`, signed when the configuration has keys."""
    signer = Signer(config.sources.keys) if config.sources.keys else None

    def link(preset: str, source: Source) -> str:
        if not config.any_transform:
            # Options behind a preset would be refused.
            preset = preset.partition(",")[0]
        options = preset
        if signer:
            options += ",sig=" + signer.sign(preset, source.url)
        return f"{base_url}/image/{options}/{source.url}"

    return Rewriter(
        config.rewrite, base_url=base_url, link=link, all_images=all_images, types=config.fetch.types
    )


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
