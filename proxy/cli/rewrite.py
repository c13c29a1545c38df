"""`imgmirror rewrite PATH…`: replace wrapper addresses in articles, show what would change, or put them back.

Changes nothing without `--write` or `--undo`. Exit codes: 0 done; 1 an address is left (`--check`) or could not be put
back (`--undo`), or an article could not be read or written; 2 wrong use.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from cache.base.errors import CacheError
from cache.base.layout import MARKER
from proxy.cli.base.lookup import StoreLookUp
from proxy.cli.base.manifest import add_manifest_argument, manifest_problem, manifest_written
from proxy.cli.output.rewritereport import Report
from proxy.cli.output.terminal import (
    complain,
    own_files,
    progress_bar,
    safe,
    say,
    say_no_article,
    say_passed_by,
)
from proxy.config import Config, ConfigError, base_url_problem
from proxy.rewrite.base.globs import Globs
from proxy.rewrite.base.kept import LookUp
from proxy.rewrite.ondisk.apply import journaled_elsewhere
from proxy.rewrite.ondisk.files import ArticleFile, article_names, find_articles, find_texts
from proxy.rewrite.ondisk.journal import Journal, JournalError
from proxy.rewrite.ondisk.moved import moved_articles
from proxy.rewrite.rewriter import kind_of
from proxy.rewrite.site.sitetext import SITE_KINDS, site_kind
from proxy.services.articles.article_use import Articles, RewriteSettings
from proxy.services.articles.rewritetree import Run
from proxy.services.articles.shown import ShownSources
from proxy.services.articles.treekept import outcomes_with_kept
from proxy.services.articles.treework import ArticleJob, ArticleOutcome, Task, label, put_back_items
from proxy.services.articles.usedsources import UsedSource
from proxy.services.warm.former import with_former_bases

Used = tuple[ArticleFile, tuple[UsedSource, ...], float | None]
"""An article, the sources that it uses, and its date."""


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
        "--base-url", metavar="U", help="the base URL that articles point at (default: server.public_url)"
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--write", action="store_true", help="write the articles; .imgmirror/ keeps an undo journal"
    )
    mode.add_argument("--diff", action="store_true", help="show what would change as a unified diff")
    mode.add_argument("--check", action="store_true", help="exit 1 when something is left to rewrite")
    parser.add_argument("--all-images", action="store_true", help="include pictures without a wrapper")
    parser.add_argument("--undo", action="store_true", help="put the original addresses back")
    parser.add_argument(
        "--responsive", action="store_true", help="add sizes, srcset and similar attributes to kept pictures"
    )
    add_manifest_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace, config: Config) -> int:
    """Rewrite, show, check or undo."""
    base_url = (args.base_url or config.server.public_url).rstrip("/")
    if problem := _misuse(args, base_url):
        return complain(problem)
    shown_url = base_url or f"http://{config.server.host}:{config.server.port}"
    report = _report(args)
    try:
        paths = _remembered(args.paths) if args.undo else args.paths
        articles = _articles(paths, args, config, report)
    except (OSError, ValueError) as error:
        return complain(error)
    settings = RewriteSettings.of(
        with_former_bases(config, paths),
        base_url=shown_url,
        all_images=args.all_images,
        responsive=args.responsive,
    )
    writes = _writes(args)
    records = writes and (config.store.dir / MARKER).is_file()
    task = Task(
        "undo" if args.undo else "rewrite",
        os.getcwd(),  # noqa: PTH109 - a text is wanted
        write=writes,
        diffs=args.diff,
        records=records,
        all_images=args.all_images,
    )
    try:
        with Run(settings, task) as run_, StoreLookUp(config) as look_up:
            run_.prepare(articles)
            if args.undo:
                used = _undo(articles, args, run_, report)
            else:
                used = _rewrite(articles, config, run_, report, look_up)
    except (CacheError, ConfigError) as error:
        return complain(f"the store cannot be used: {error}")
    if records:
        _record(used, config, only_lines=args.undo)
    report.finish()
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
        return "--write needs --base-url or server.public_url, the base URL that articles point at"
    if args.manifest and args.undo:
        return "--manifest does not go with --undo"
    if args.manifest and (problem := manifest_problem(args.manifest)):
        return f"--manifest {problem}"
    return ""


def _report(args: argparse.Namespace) -> Report:
    return Report(
        _verb(args), "json" if args.json else "diffs" if args.diff else "lines", goes_on=_writes(args)
    )


def _writes(args: argparse.Namespace) -> bool:
    """Return whether the run writes articles."""
    return bool(args.write or (args.undo and not (args.diff or args.check)))


def _record(used: list[Used], config: Config, *, only_lines: bool) -> None:
    """Record in the store which article uses which source, and in which lines, as `warm` does.

    With `only_lines`, change nothing in the record of an article except the lines of its sources.
    """
    # Most runs need no store.
    import asyncio  # noqa: PLC0415 - see above

    from cache.durable_tier import Originals  # noqa: PLC0415 - see above
    from cache.originals.articles import KeptArticle  # noqa: PLC0415 - see above

    name_of = article_names()
    articles = [
        KeptArticle(
            name_of(article), tuple(url for url, _ in uses), date, str(article.path.resolve()), dict(uses)
        )
        for article, uses, date in used
    ]

    async def record() -> None:
        kept = await Originals.open(config.store.dir, tidy=False)
        try:
            of_store = Articles(kept.articles)
            await (of_store.record_lines(articles) if only_lines else of_store.record(articles))
        finally:
            await kept.close()

    try:
        asyncio.run(record())
    except (CacheError, OSError) as error:
        say(f"imgmirror: the use of sources by articles cannot be recorded: {safe(str(error))}", error=True)


def _verb(args: argparse.Namespace) -> str:
    if args.undo:
        return "to put back" if args.diff or args.check else "put back"
    return "replaced" if args.write else "to replace"


def _remembered(paths: Iterable[Path]) -> list[Path]:
    """Return the paths without those of deleted articles that still have a journal; these are reported separately."""
    return [path for path in paths if path.exists() or not any(journaled_elsewhere([_absolute(path)], ()))]


def _articles(
    paths: list[Path], args: argparse.Namespace, config: Config, report: Report
) -> list[ArticleFile]:
    """Return the articles of `paths`, then the other text.

    Raises:
        OSError, ValueError: a path does not exist, or folders contain no text.
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


def _rewrite(
    articles: list[ArticleFile], config: Config, run_: Run, report: Report, look_up: LookUp
) -> list[Used]:
    """Rewrite the articles, then the other text; return the sources that each uses, if they are recorded."""
    shown, used = ShownSources(run_.outcomes), []
    name_of, ignored = article_names(), Globs(config.rewrite.ignore)
    jobs = (
        ArticleJob(article, ignored=bool(ignored) and ignored.name(name_of(article))) for article in articles
    )
    outcomes = outcomes_with_kept(jobs, run_.outcomes, look_up) if run_.asks else run_.outcomes(jobs)
    for job, first in _each(outcomes, len(articles), report):
        is_article = job.article.kind not in SITE_KINDS
        if is_article:
            shown.add(job, first)
        outcome = _settled(job, first, run_, shown) if first.unsure else first
        report.through_us.update(outcome.through_us)
        report.unread += bool(outcome.unread)
        if outcome.failure:
            report.fail(outcome.failure)
            continue
        if not (is_article or outcome.replaced or outcome.added or outcome.left or outcome.sources):
            continue
        report.add(
            {
                "path": _label(job.article.path),
                "replaced": outcome.replaced,
                "added": outcome.added,
                "left": outcome.left,
            },
            count=outcome.count,
            unfinished=sum(not item["on_purpose"] for item in outcome.left),
            diff=outcome.diff,
        )
        if run_.task.records:
            used.append((job.article, outcome.used, outcome.date))
    return used


def _settled(job: ArticleJob, outcome: ArticleOutcome, run_: Run, shown: ShownSources) -> ArticleOutcome:
    """Return the outcome of a text after looking up whether articles show the pictures in its wrappers."""
    known = shown.known(outcome.unsure)
    if not known and not (run_.task.write and outcome.count):
        return outcome
    ((_, settled),) = run_.outcomes([replace(job, shown=known)])
    return settled


def _undo(articles: list[ArticleFile], args: argparse.Namespace, run_: Run, report: Report) -> list[Used]:
    """Put the articles back; return the sources that the changed ones show, if these are recorded."""
    used: list[Used] = []
    elsewhere = list(journaled_elsewhere(map(_absolute, args.paths), articles))
    moved = moved_articles([item for item in elsewhere if not item[1].is_file()], articles)
    others: list[ArticleFile] = []
    for journal, name in elsewhere:
        if name.is_file():
            # The file was an article but no longer looks like one, such as a text file without front matter.
            kind = kind_of(name) or site_kind(name) or "markdown"
            others.append(ArticleFile(name, journal.root, kind, known_as=name))
        elif name in moved:
            others.append(moved[name])
        else:
            _report_gone(journal, name, report)
    # A moved article's own journal is the later one, so it is put back first. Not in parallel: two journals may belong
    # to the same article.
    moved_back = chain.from_iterable(run_.outcomes([ArticleJob(article)]) for article in others)
    outcomes = chain(run_.outcomes(map(ArticleJob, articles)), moved_back)
    for job, outcome in _each(outcomes, len(articles) + len(others), report):
        item = {"path": _label(job.article.path), "replaced": outcome.count, "left": outcome.left}
        report.add(item, count=outcome.count, diff=outcome.diff)
        if outcome.used:
            used.append((job.article, outcome.used, None))
    return used


def _report_gone(journal: Journal, name: Path, report: Report) -> None:
    try:
        entries = journal.read(name)
    except JournalError as error:
        report.fail(error)
        return
    left = put_back_items(entries, reason="the article is no longer there")
    report.add({"path": _label(name), "replaced": 0, "left": left}, count=0)


def _each(
    outcomes: Iterable[tuple[ArticleJob, ArticleOutcome]], total: int, report: Report
) -> Iterator[tuple[ArticleJob, ArticleOutcome]]:
    """Yield the outcome of each article. A failed one is reported and does not stop the others."""
    with progress_bar("Articles", total=total, shown=report.leaves_room) as progress:
        for number, (job, outcome) in enumerate(outcomes, start=1):
            progress(number)
            if outcome.failure:
                place = f"{_label(job.article.path)}: " if outcome.too_costly else ""
                report.fail(place + outcome.failure)
            else:
                yield job, outcome


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links


def _label(path: Path) -> str:
    return label(path, ".")
