"""The lines at which the known articles show their pictures, read again from their files. Event loop.

The command `warm` records them as it reads articles. A job knows articles by their records, which name the files. An
article whose file is gone, or cannot be read by this process, keeps the lines that were recorded before.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cache.base.errors import CacheError
from cache.base.opening import open_regular
from cache.originals.articles import ArticleIndex, KeptArticle
from proxy.errors import MirrorError
from proxy.rewrite.base.masking import is_wide
from proxy.rewrite.ondisk.files import find_articles, find_texts
from proxy.rewrite.rewriter import TextKind
from proxy.services.articles.article_use import Articles, RewriteSettings
from proxy.services.articles.rewritepool import RewritePool
from proxy.services.jobs.running import JobProgress

log = logging.getLogger(__name__)

READING = "reading the lines of articles"


@dataclass(frozen=True, slots=True)
class LineReader:
    """Reads articles in the processes of a pool. max_bytes: of a file; longer ones are left out."""

    index: ArticleIndex
    pool: RewritePool
    settings: RewriteSettings
    max_bytes: int

    async def record(self, articles: Sequence[KeptArticle], progress: JobProgress) -> int:
        """Record the lines of articles whose files can be read; return their number. A disk that refuses ends it."""
        recorded = 0
        for number, article in enumerate(articles):
            progress(number, len(articles), READING)
            lines = await self._lines(article)
            if not lines:
                continue
            try:
                await Articles(self.index).record_lines([replace(article, lines=lines)])
            except CacheError as error:
                log.warning("the lines of articles cannot be recorded: %s", error)
                break
            recorded += 1
        return recorded

    async def _lines(self, article: KeptArticle) -> dict[str, tuple[int, ...]]:
        """Return the lines of the recorded sources that the file still shows."""
        try:
            kind, data = await asyncio.to_thread(self._read, article.path)
            if kind is None:
                return {}
            result = await self.pool.rewrite(data, kind=kind, settings=self.settings)
        except (OSError, ValueError, MirrorError) as error:
            log.info("the lines of the article %a cannot be read: %s", article.name, error)
            return {}
        lines = {picture.source.url: picture.lines for picture in result.pictures}
        return {url: lines[url] for url in article.sources if lines.get(url)}

    def _read(self, name: str) -> tuple[TextKind | None, bytes]:
        path = Path(name)
        # A folder, which an edited record may name, would be searched with everything below it.
        if not (path.is_absolute() and path.is_file()):
            return None, b""
        found = itertools.chain(find_articles([path]), find_texts([path], max_bytes=self.max_bytes))
        text = next((item for item in found if item.path == path), None)
        if text is None:
            return None, b""
        with os.fdopen(open_regular(path), "rb") as file:
            data = file.read(self.max_bytes + 1)
        return (None if is_wide(data) or len(data) > self.max_bytes else text.kind), data
