"""Responsive markup for tests: a rewriter with given kept originals, and the attributes of the resulting `<img>`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from typing import Any

from rewriting import BASE

from proxy.config import Config
from proxy.rewrite.base.kept import Kept, Known, Wanted
from proxy.rewrite.ondisk.apply import rewritten
from proxy.rewrite.rewriter import RewriteResult, TextKind
from proxy.services.articles.article_use import RewriteSettings

PHOTO = Kept(1000, 500, colour="#aabbcc")


def enriched(
    article: str | bytes,
    kept: Mapping[str, Kept] | Kept = PHOTO,
    *,
    kind: TextKind = "html",
    base: str = BASE,
    all_images: bool = False,
    **sections: Mapping[str, Any],
) -> RewriteResult:
    """Rewrite with `--responsive`; `kept` maps sources to originals, or is one original for all sources."""

    def look_up(asked: Iterable[Wanted]) -> Known:
        def found(source: str) -> Kept | None:
            return kept if isinstance(kept, Kept) else kept.get(source)

        return {wanted[0]: found(wanted[0].url) for wanted in asked}

    config = Config.model_validate(sections)
    settings = RewriteSettings.of(config, base_url=base, all_images=all_images, responsive=True)
    data = article.encode() if isinstance(article, str) else article
    rewriter = settings.rewriter()
    return rewritten(data, rewriter, kind=kind, kept=look_up(rewriter.rewrite(data, kind=kind).asked))


class _Images(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            # Browsers take the first of two attributes with the same name.
            self.found.append(dict(reversed(attrs)))


def images(html: str | bytes) -> list[dict[str, str | None]]:
    """Return the attributes of every `<img>`, as an independent parser reads them."""
    parser = _Images()
    parser.feed(html if isinstance(html, str) else html.decode())
    return parser.found


def candidates(srcset: str | None) -> dict[int, str]:
    """Return the addresses of a srcset by their widths."""
    words = (srcset or "").split()
    pairs = zip(words[::2], words[1::2], strict=True)
    return {int(width.rstrip(",").removesuffix("w")): address for address, width in pairs}
