"""Articles: records which article uses which sources, so that a purge by article spares sources that others still need.

There is one JSON file for each article, named by the digest of its name, and written so that it survives power loss:
unlike the indexes, only the owner of the articles can restore it. Runs on the event loop, files in threads.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Protocol

from cache.across.seams import ChangeNotes
from cache.across.source_locks import Exclusion
from cache.base.durable import Durable, refusal
from cache.base.layout import Layout
from cache.base.opening import read_regular
from cache.base.spelling import present_spelling
from cache.base.threads import StoreThreads

log = logging.getLogger(__name__)

MAX_ARTICLE_BYTES = 64 << 20
"""The maximum size of an index file, which lists URLs. A larger one is not ours."""

MAX_LINES = 20
"""The most lines that are recorded for one source of one article."""


@dataclass(frozen=True, slots=True)
class KeptArticle:
    """An article by its recorded name, the sources it uses, and when it was written (Unix seconds).

    `path` is the place of its file at that time, without links; empty if unknown. `lines` says in which lines of the
    file a source stands, from 1, the first `MAX_LINES`; a source whose lines are not known is left out.
    """

    name: str
    sources: tuple[str, ...]
    date: float | None = None
    path: str = ""
    lines: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def is_same_file(self, other: KeptArticle) -> bool:
        """Return whether `other` is this article under another name.

        Records without a path were named as the user typed PATH: absolute, or relative to some working folder. That
        folder is not known, so a relative name must fit and the sources must be the same.
        """
        mine, theirs = self._file(), other._file()
        if mine and theirs:
            return mine == theirs
        if not mine and not theirs:
            return False
        relative = self.name if theirs else other.name
        parts = [part for part in PurePath(os.path.normpath(relative)).parts if part != ".."]
        fits = PurePath(mine or theirs).parts[-len(parts) :] == tuple(parts)
        return os.path.realpath(relative) == (mine or theirs) or (fits and self.sources == other.sources)

    def _file(self) -> str:
        return self.path or (os.path.realpath(self.name) if self.name.startswith("/") else "")


class ArticleFinder(Protocol):
    """Knows which records are worth reading."""

    async def showing(self, sources: Collection[str]) -> list[str] | None:
        """Return the keys of the articles that may show any of the sources; None if all records must be read."""


class ArticleIndex:
    """The articles known to a store. Every look-up reads the files, because other processes write them too.

    finder: spares a look-up by source the files of other articles; None reads all of them.
    """

    finder: ArticleFinder | None = None

    def __init__(
        self,
        layout: Layout,
        durable: Durable,
        threads: StoreThreads,
        exclusion: Exclusion,
        notes: ChangeNotes,
    ) -> None:
        self._notes = notes
        self._layout = layout
        self._durable = durable
        self._threads = threads
        self._exclusion = exclusion

    async def record(
        self,
        article: str,
        sources: Iterable[str],
        *,
        date: float | None = None,
        path: str = "",
        lines: Mapping[str, Sequence[int]] | None = None,
    ) -> str:
        """Record the sources that `article` uses, its date, its file and the lines, and replace what was recorded
        before.

        Return the recorded name: the article's path, if another file that still exists has the name.

        Raises:
            StoreFull, StoreUnwritable, StoreBusy: as for `record_lines`.
        """
        wanted = tuple(sorted(set(sources)))
        item = KeptArticle(article, wanted, date, path, _places(wanted, lines or {}))
        async with self._changing(article, path or article):
            return await self._threads.write(self._record, item)

    async def record_lines(self, article: str, lines: Mapping[str, Sequence[int]]) -> None:
        """Record in which lines an article shows its recorded sources, and change nothing else. Lines of other
        articles and other sources are ignored.

        Raises:
            StoreFull, StoreUnwritable: the disk refused.
            StoreBusy: another process holds the record for too long.
        """
        async with self._changing(article):
            await self._threads.write(self._record_lines, article, lines)

    async def add(self, more: KeptArticle) -> None:
        """Record that an article uses further sources. Its date, file and lines stay if they are known.

        Raises:
            StoreFull, StoreUnwritable, StoreBusy: as for `record_lines`.
        """
        async with self._changing(more.name):
            await self._threads.write(self._add, more)

    async def heal(self, names: Iterable[str]) -> None:
        """Forget what was recorded for the files of the articles `names` under other names.

        Raises:
            StoreFull, StoreUnwritable: the disk refused.
        """
        await self._threads.write(self._heal, frozenset(names))

    async def forget(self, article: str) -> bool:
        """Forget an article under every name of its file; return whether it was known."""
        return await self._threads.write(self._forget_file, article)

    async def articles(self) -> list[str]:
        """Return the names of all known articles, sorted."""
        return sorted(item.name for item in await self._threads.read(lambda: list(self._all())))

    async def everything(self) -> dict[str, KeptArticle]:
        """Return all known articles by name."""
        return {item.name: item for item in await self._threads.read(lambda: list(self._all()))}

    async def get(self, article: str) -> KeptArticle | None:
        """Return the record of an article, or None if it is not known."""
        return await self._threads.read(read_article, self._path(article))

    async def sources_of(self, article: str) -> tuple[str, ...]:
        """Return the sources of an article, sorted; none if it is not known."""
        found = await self.get(article)
        return found.sources if found else ()

    async def articles_of(self, url: str) -> list[str]:
        """Return the names of the articles that use a source, sorted."""
        return sorted(item.name for item in await self._showing((url,)) if url in item.sources)

    async def date_of(self, url: str) -> float | None:
        """Return when the first article that uses a source was written, Unix seconds; None if unknown."""
        found = [item for item in await self._showing((url,)) if url in item.sources]
        return min((item.date for item in found if item.date is not None), default=None)

    async def sources_only_in(self, article: str) -> tuple[list[str], list[str]]:
        """Return the sources that only this article uses, and those that other articles use as well."""
        own = await self.get(article)
        wanted = set(own.sources) if own else set()
        elsewhere: set[str] = set()
        for item in await self._showing(wanted):
            if item.name != article and not (own and own.is_same_file(item)):
                elsewhere.update(wanted.intersection(item.sources))
        return sorted(wanted - elsewhere), sorted(elsewhere)

    def _changing(self, *names: str) -> AbstractAsyncContextManager[None]:
        """Exclude other changes of the records of these names, because a change depends on what was recorded before."""
        return self._exclusion.held(
            *(f"article {key}" for key in sorted({article_key(name) for name in names}))
        )

    async def _showing(self, sources: Collection[str]) -> list[KeptArticle]:
        """Return the articles that show any of the sources, and maybe others."""
        keys = await self.finder.showing(sources) if self.finder is not None else None
        if keys is None:
            return await self._threads.read(lambda: list(self._all()))
        return await self._threads.read(lambda: list(self._read_all(keys)))

    def _read_all(self, keys: Iterable[str]) -> Iterator[KeptArticle]:
        for key in keys:
            if found := read_article(self._layout.article(key)):
                yield found

    def _record(self, item: KeptArticle) -> str:
        path = self._path(item.name)
        known = read_article(path)
        if (
            known is not None
            and item.path
            and known.path not in ("", item.path)
            and Path(known.path).exists()
        ):
            item = replace(item, name=item.path)
            path = self._path(item.name)
            known = read_article(path)
        if known == item:
            self._settle(path)
            return item.name
        content = {"article": item.name, "sources": item.sources, "date": item.date, "path": item.path}
        text = json.dumps(content | ({"lines": item.lines} if item.lines else {}), indent=2)
        try:
            with self._notes.changing("article", article_key(item.name)):
                self._durable.write(path, text.encode("ascii") + b"\n")
        except OSError as error:
            raise refusal(error) from error
        return item.name

    def _record_lines(self, article: str, lines: Mapping[str, Sequence[int]]) -> None:
        known = read_article(self._path(article))
        if known is not None:
            self._record(replace(known, lines=_places(known.sources, lines)))

    def _add(self, more: KeptArticle) -> None:
        known = read_article(self._path(more.name)) or KeptArticle(more.name, ())
        sources = tuple(sorted({*known.sources, *more.sources}))
        self._record(
            KeptArticle(
                more.name,
                sources,
                more.date if known.date is None else known.date,
                known.path,
                _places(sources, {**more.lines, **known.lines}),
            )
        )

    def _heal(self, names: frozenset[str]) -> None:
        everything = list(self._all())
        healed = [item for item in everything if item.name in names]
        by_file: dict[str, list[KeptArticle]] = {}
        for item in healed:
            by_file.setdefault(PurePath(item.path).name, []).append(item)
        for old in everything:
            # Only articles whose files have the same name can be the same article.
            alike = by_file.get(PurePath(old.path or old.name).name, ())
            if old.name not in names and any(item.is_same_file(old) for item in alike):
                self._forget(old.name)

    def _settle(self, path: Path) -> None:
        try:
            self._durable.settle(path.parent)
        except OSError as error:
            raise refusal(error) from error

    def _forget_file(self, article: str) -> bool:
        if own := read_article(self._path(article)):
            for item in list(self._all()):
                if item.name != article and own.is_same_file(item):
                    self._forget(item.name)
        return self._forget(article)

    def _forget(self, article: str) -> bool:
        try:
            with self._notes.changing("article", article_key(article)):
                return self._durable.remove(self._path(article))
        except OSError as error:
            raise refusal(error) from error

    def _all(self) -> Iterator[KeptArticle]:
        for path in self._layout.root.glob("articles/??/*.json"):
            if found := read_article(path):
                yield found

    def _path(self, article: str) -> Path:
        return self._layout.article(article_key(article))


def article_key(article: str) -> str:
    """Return the digest under which an article is recorded."""
    # A name may be a path with bytes that are not UTF-8, or text with lone surrogates.
    return hashlib.sha256(article.encode("utf-8", "surrogatepass")).hexdigest()


def read_article(path: Path) -> KeptArticle | None:
    """Return the record in a file; None if there is none, or it cannot be read, which is logged."""
    try:
        known = json.loads(read_regular(path, MAX_ARTICLE_BYTES))
        match known:
            case {"article": str(name), "sources": [*sources]} if all(
                isinstance(url, str) for url in sources
            ):
                return KeptArticle(
                    name,
                    tuple(map(present_spelling, sources)),
                    moment_or_none(known.get("date")),
                    str(known.get("path") or ""),
                    _lines(known.get("lines")),
                )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        log.warning("the article file %s cannot be read: %s", path, error)
        return None
    log.warning("the article file %s holds something else", path)
    return None


def _places(sources: Sequence[str], lines: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    return {url: tuple(sorted(set(lines[url])))[:MAX_LINES] for url in sources if url in lines}


def _lines(value: object) -> dict[str, tuple[int, ...]]:
    if not isinstance(value, dict):
        return {}
    return {
        present_spelling(url): tuple(line for line in lines[:MAX_LINES] if isinstance(line, int) and line > 0)
        for url, lines in value.items()
        if isinstance(lines, list)
    }


def moment_or_none(value: object) -> float | None:
    """Return a date from a file in Unix seconds, or None if it is invalid."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if abs(value) < 1 << 53 else None
