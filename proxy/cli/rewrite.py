"""`imgmirror rewrite PATH…`: replace wrapper addresses in articles, show what would change, or put them back.

Changes nothing unless `--write` or `--undo` is given. Exit codes: 0 done; 1 something is left (`--check`), could
not be put back (`--undo`), or an article could not be read or written; 2 wrong use.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track

from cache.articles import Article
from cache.errors import CacheError
from cache.layout import MARKER
from cache.originals import Originals
from proxy.cli.lookup import StoreLookUp
from proxy.cli.manifest import add_manifest_argument, manifest_problem, manifest_written
from proxy.cli.rewritewords import label, put_back_words, rewritten_words, undone_words
from proxy.cli.terminal import complain, own_files, safe, say, say_no_article, say_passed_by
from proxy.config import Config, base_url_problem
from proxy.configfile import ConfigError
from proxy.rewrite.apply import Rewritten, Undone, journaled_elsewhere, rewrite_file, undo_file
from proxy.rewrite.dates import article_date
from proxy.rewrite.diff import unified_diff
from proxy.rewrite.files import ArticleFile, article_names, find_articles, find_texts
from proxy.rewrite.globs import Globs
from proxy.rewrite.journal import Journal, JournalError, former_bases
from proxy.rewrite.kept import LookUp
from proxy.rewrite.moved import moved_articles
from proxy.rewrite.rewriter import kind_of
from proxy.rewrite.sitetext import SITE_KINDS, site_kind
from proxy.services.articles import Articles, RewriteSettings
from proxy.services.rewriteprocess import GuardedRewriter, TooCostly
from proxy.source import Source

Done = TypeVar("Done", Rewritten, Undone)
_DIFF_STYLES = {b"@": b"\x1b[36m", b"-": b"\x1b[31m", b"+": b"\x1b[32m"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="articles and other text of a site, or folders of them",
    )
    parser.add_argument(
        "--base-url", metavar="U", help="what the articles shall point at (default: server.public_url)"
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--write", action="store_true", help="write the articles; .imgmirror/ keeps the way back"
    )
    mode.add_argument("--diff", action="store_true", help="show what would change as a unified diff")
    mode.add_argument("--check", action="store_true", help="exit 1 when something is left to rewrite")
    parser.add_argument("--all-images", action="store_true", help="also pictures that no wrapper shows")
    parser.add_argument("--undo", action="store_true", help="put the original addresses back")
    parser.add_argument(
        "--responsive", action="store_true", help="add sizes, srcset and the like to pictures that are kept"
    )
    add_manifest_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


@dataclass(slots=True)
class _Report:
    """What was done: articles in order, and those that failed."""

    verb: str
    articles: list[dict[str, Any]] = field(default_factory=list)
    diffs: list[bytes] = field(default_factory=list)
    replaced: int = 0
    added: int = 0
    left: int = 0
    unfinished: int = 0
    failed: int = 0
    used: list[tuple[ArticleFile, tuple[str, ...], float | None]] = field(default_factory=list)
    through_us: set[Source] = field(default_factory=set)
    unread: int = 0

    def add_diff(self, done: Rewritten | Undone, new_data: bytes) -> None:
        """Keep what changes in an article; a link is shown as its target, which is what changes."""
        name = label(done.article.path.resolve()).lstrip("/")
        self.diffs.append(unified_diff(done.data, new_data, name=name))

    def fail(self, problem: object) -> None:
        """Say why an article or folder cannot be done; the others are not affected."""
        self.failed += 1
        say(f"imgmirror: {safe(str(problem))}", error=True)


def run(args: argparse.Namespace, config: Config) -> int:
    """Rewrite, show, check or undo."""
    base_url = (args.base_url or config.server.public_url).rstrip("/")
    if problem := _misuse(args, base_url):
        return complain(problem)
    shown_url = base_url or f"http://{config.server.host}:{config.server.port}"
    report = _Report(_verb(args))
    try:
        paths = _remembered(args.paths) if args.undo else args.paths
        articles = _articles(paths, args, config, report)
    except (OSError, ValueError) as error:
        return complain(error)
    former = former_bases(map(_absolute, paths))
    settings = RewriteSettings.of(
        _with_former(config, former),
        base_url=shown_url,
        all_images=args.all_images,
        responsive=args.responsive,
    )
    try:
        with GuardedRewriter(settings) as rewriter, StoreLookUp(config) as look_up:
            if args.undo:
                _undo(articles, args, rewriter, report)
            else:
                _rewrite(articles, args, config, rewriter, report, look_up=look_up)
    except (CacheError, ConfigError) as error:
        return complain(f"the store cannot be used: {error}")
    if args.write and not args.undo:
        _record(report, config)
    _print(report, args)
    complete = not (report.failed or report.unread)
    if not manifest_written(args, report.through_us, complete=complete) or report.failed:
        return 1
    if args.undo:
        return 1 if report.left else 0
    return 1 if args.check and (report.replaced or report.added or report.unfinished) else 0


def _misuse(args: argparse.Namespace, base_url: str) -> str:
    if args.base_url and (problem := base_url_problem(args.base_url)):
        return f"--base-url {problem}"
    if args.write and not args.undo and not base_url:
        return "--write needs --base-url or server.public_url: what shall the articles point at?"
    if args.manifest and args.undo:
        return "--manifest does not go with --undo"
    if args.manifest and (problem := manifest_problem(args.manifest)):
        return f"--manifest {problem}"
    return ""


def _with_former(config: Config, bases: Iterable[str]) -> Config:
    """Return the configuration with the base URLs that the journals know among the former ones."""
    urls = [base for base in bases if not base_url_problem(base)]
    former = tuple(dict.fromkeys((*config.rewrite.former_urls, *urls)))
    return config.model_copy(update={"rewrite": config.rewrite.model_copy(update={"former_urls": former})})


def _record(report: _Report, config: Config) -> None:
    """Note in the store which article uses what, as `warm` does; where there is no store, none is made."""
    if not (config.store.dir / MARKER).is_file():
        return
    name_of = article_names()
    articles = [
        Article(name_of(article), urls, date, str(article.path.resolve()))
        for article, urls, date in report.used
    ]

    async def record() -> None:
        kept = await Originals.open(config.store.dir, tidy=False)
        try:
            await Articles(kept.articles).record(articles)
        finally:
            await kept.close()

    try:
        asyncio.run(record())
    except (CacheError, OSError) as error:
        say(f"imgmirror: the articles cannot be recorded: {safe(str(error))}", error=True)


def _verb(args: argparse.Namespace) -> str:
    if args.undo:
        return "to put back" if args.diff or args.check else "put back"
    return "replaced" if args.write else "to replace"


def _remembered(paths: Iterable[Path]) -> list[Path]:
    """Return the paths without those of articles that are gone but have a journal: these are reported."""
    return [path for path in paths if path.exists() or not any(journaled_elsewhere([_absolute(path)], ()))]


def _articles(
    paths: list[Path], args: argparse.Namespace, config: Config, report: _Report
) -> list[ArticleFile]:
    """Return the articles of `paths`, then the other text.

    Raises:
        OSError, ValueError: a path does not exist, or folders hold nothing to look at.
    """
    passed_by: list[Path] = []
    own = own_files(args, config)
    found = find_articles(
        paths, unreadable=report.fail, no_article=say_no_article, passed_by=passed_by.append
    )
    articles = [article for article in found if article.path not in own]
    articles += find_texts(paths, max_bytes=config.server.max_body, skipped=own, unreadable=report.fail)
    say_passed_by(passed_by)
    if not (articles or args.undo or report.failed) and any(path.is_dir() for path in paths):
        raise ValueError(f"nothing to look at in {', '.join(map(str, paths))}")
    return articles


def _rewrite(  # noqa: PLR0913 - a run
    articles: list[ArticleFile],
    args: argparse.Namespace,
    config: Config,
    rewriter: GuardedRewriter,
    report: _Report,
    *,
    look_up: LookUp,
) -> None:
    shown: set[Source] = set()
    name_of, ignored = article_names(), Globs(config.rewrite.ignore)

    def rewrite(article: ArticleFile) -> Rewritten:
        is_ignored = ignored.name(name_of(article))
        return rewrite_file(
            article,
            rewriter,
            write=args.write and not is_ignored,
            shown=shown,
            ignored=is_ignored,
            look_up=look_up,
        )

    for done in _each(articles, rewrite, report):
        result = done.result
        report.through_us |= result.through_us
        report.unread += bool(result.unread)
        is_article = done.article.kind not in SITE_KINDS
        if not (is_article or result.changes or result.left or result.pictures):
            continue
        if is_article:
            # Articles come first.
            shown.update(picture.source for picture in result.pictures)
        report.replaced += len(result.replaced)
        report.added += len(result.added)
        report.left += len(result.left)
        report.unfinished += sum(not item.on_purpose for item in result.left)
        report.articles.append(rewritten_words(done))
        wanted = (item for item in result.pictures if item.wrapped or (args.all_images and is_article))
        date = article_date(done.data, name=done.article.path.name)
        report.used.append((done.article, tuple(item.source.url for item in wanted), date))
        if args.diff:
            report.add_diff(done, result.data)


def _undo(
    articles: list[ArticleFile], args: argparse.Namespace, rewriter: GuardedRewriter, report: _Report
) -> None:
    write = not (args.diff or args.check)
    elsewhere = list(journaled_elsewhere(map(_absolute, args.paths), articles))
    moved = moved_articles([item for item in elsewhere if not item[1].is_file()], articles)
    for journal, name in elsewhere:
        if name.is_file():
            # It does not look like an article any more, as a text file without front matter, but it was one.
            kind = kind_of(name) or site_kind(name) or "markdown"
            articles.append(ArticleFile(name, journal.root, kind, known_as=name))
        elif name in moved:
            # Behind what its own journal says, which was written later.
            articles.append(moved[name])
        else:
            _report_gone(journal, name, report)
    for done in _each(articles, lambda article: undo_file(article, rewriter, write=write), report):
        report.replaced += done.count
        report.left += len(done.missing)
        report.articles.append(undone_words(done))
        if args.diff:
            report.add_diff(done, done.new_data)


def _report_gone(journal: Journal, name: Path, report: _Report) -> None:
    try:
        entries = journal.read(name)
    except JournalError as error:
        report.fail(error)
        return
    report.left += len(entries)
    report.articles.append(put_back_words(name, 0, entries, reason="the article is no longer there"))


def _each(
    articles: list[ArticleFile], work: Callable[[ArticleFile], Done], report: _Report
) -> Iterator[Done]:
    """Yield what `work` makes of each article; one that fails is said and does not stop the others."""
    console = Console(stderr=True)
    shown = track(
        articles, description="articles", console=console, transient=True, disable=not console.is_terminal
    )
    for article in shown:
        try:
            yield work(article)
        except TooCostly as error:
            report.fail(f"{label(article.path)}: {error}")
        except (OSError, JournalError) as error:
            report.fail(error)


def _print(report: _Report, args: argparse.Namespace) -> None:
    if args.json:
        summary = {
            "articles": report.articles,
            report.verb.replace(" ", "_"): report.replaced,
            "added": report.added,
            "left": report.left,
        }
        print(json.dumps(_printable(summary | {"failed": report.failed}), indent=1))
    elif args.diff:
        _print_diffs(report.diffs)
    else:
        _print_summary(report)


def _print_summary(report: _Report) -> None:
    """Print a line for each article with something to say, one for each address that is left, one for each kind of
    option that wrappers asked and our addresses do not say, and the sums."""
    tell = _teller()
    dropped: dict[str, list[str]] = {}
    for article in report.articles:
        replaced = article["replaced"] if isinstance(article["replaced"], list) else []
        count = article["replaced"] if isinstance(article["replaced"], int) else len(replaced)
        if count or article["left"] or article.get("added"):
            left = f", {len(article['left'])} left" if article["left"] else ""
            added = f", {len(article['added'])} additions" if article.get("added") else ""
            tell(f"{article['path']}: {count} {report.verb}{added}{left}", "")
        for item in replaced:
            for option in item["dropped"]:
                dropped.setdefault(option, []).append(f"{article['path']}:{item['line']}")
        for item in article["left"]:
            place = f"{article['path']}:{item['line']}" if "line" in item else article["path"]
            context = item.get("context", "")
            reason = item["reason"] if context in item["reason"] else f"{context}: {item['reason']}"
            text = f"  {place}: left, {reason}: {item['address']}".rstrip(": ")
            tell(text, "dim" if item.get("on_purpose") else "yellow")
    for option, places in sorted(dropped.items()):
        tell(f"  dropped {len(places)} times: {option} (first at {places[0]})", "yellow")
    added = f", {report.added} additions" if report.added else ""
    sums = f"{len(report.articles)} articles, {report.replaced} addresses {report.verb}{added}, {report.left} left"
    failed = f", {report.failed} failed" if report.failed else ""
    tell(sums + failed, "bold")


def _teller() -> Callable[[str, str], None]:
    """Return what prints a line in a style: with colour on a terminal, plain and stable in a pipe."""
    if not sys.stdout.isatty():
        return lambda text, _style: say(_printable(text))
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    return lambda text, style: console.print(_printable(text), markup=False, style=style or None)


def _print_diffs(diffs: Iterable[bytes]) -> None:
    """Write diffs as bytes: articles need not be UTF-8, and `git apply` has to take what is printed."""
    sys.stdout.flush()
    out = sys.stdout.buffer
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for diff in diffs:
        if not coloured:
            out.write(diff)
            continue
        for line in diff.splitlines(keepends=True):
            style = _DIFF_STYLES.get(line[:1])
            out.write(style + line.rstrip(b"\n") + b"\x1b[0m\n" if style else line)
    out.flush()


def _printable(value: Any) -> Any:
    """Replace what no terminal shows: bytes that are no UTF-8 (surrogates) and control characters."""
    if isinstance(value, str):
        text = value.encode("utf-8", "backslashreplace").decode()
        return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return {key: _printable(item) for key, item in value.items()} if isinstance(value, dict) else value


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links
