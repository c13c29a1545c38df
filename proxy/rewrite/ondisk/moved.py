"""Articles that were moved or renamed since they were rewritten, found again by the addresses in them. Synchronous."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from proxy.rewrite.ondisk.files import ArticleFile
from proxy.rewrite.ondisk.journal import Journal, JournalError
from proxy.rewrite.ondisk.occurrences import RewrittenAddress, locate

_ADDRESS = re.compile(rb"[^\s\"'()<>\[\]|]*/image/[^\s\"'()<>\[\]|]+")
_TRIED = 5
"""Articles with the most addresses of a journal in common that are compared with it entry by entry."""


def moved_articles(
    gone: Iterable[tuple[Journal, Path]], articles: Sequence[ArticleFile]
) -> dict[Path, ArticleFile]:
    """Return the article that each journal without one belongs to now, by the name that the journal knows.

    It is the one of `articles` that holds most of what the journal says was written; without a single one, none is. Of
    equals the one with the same file name counts, then the first. Journals and articles that cannot be read are passed
    over: whoever needs them says so.
    """
    journals = {name: (journal, entries) for journal, name in gone if (entries := _entries(journal, name))}
    wanted = {address for _, entries in journals.values() for address in _addresses(entries)}
    holders = _holders(articles, wanted) if wanted else {}
    found: dict[Path, ArticleFile] = {}
    for name, (journal, entries) in journals.items():
        votes = Counter(holder for address in _addresses(entries) for holder in holders.get(address, ()))
        tried = [articles[index] for index, _ in votes.most_common(_TRIED)]
        counts = [(_count(article, entries), article.path.name == name.name, article) for article in tried]
        best = max(counts, key=lambda item: item[:2], default=None)
        if best is not None and best[0]:
            found[name] = ArticleFile(best[2].path, journal.root, best[2].kind, known_as=name)
    return found


def _entries(journal: Journal, name: Path) -> list[RewrittenAddress]:
    try:
        return journal.read(name)
    except JournalError:
        return []


def _addresses(entries: Iterable[RewrittenAddress]) -> set[bytes]:
    return {address for entry in entries for address in _ADDRESS.findall(entry.new)}


def _holders(articles: Sequence[ArticleFile], wanted: set[bytes]) -> dict[bytes, list[int]]:
    """Return the numbers of the articles that hold each of the addresses."""
    holders: defaultdict[bytes, list[int]] = defaultdict(list)
    for number, article in enumerate(articles):
        try:
            data = article.path.read_bytes()
        except OSError:
            continue
        for address in wanted.intersection(_ADDRESS.findall(data)):
            holders[address].append(number)
    return holders


def _count(article: ArticleFile, entries: Sequence[RewrittenAddress]) -> int:
    try:
        return len(locate(article.path.read_bytes(), entries)[0])
    except OSError:
        return 0
