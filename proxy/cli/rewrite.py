"""`imgmirror rewrite PATH…`: replace wrapper addresses in articles, show what would change, or put them back.

Changes nothing unless `--write` or `--undo` is given. Exit codes: 0 done; 1 something is left (`--check`), could
not be put back (`--undo`), or an article could not be read or written; 2 wrong use.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from cache.layout import MARKER
from proxy.cli.rewritereport import Report
from proxy.cli.terminal import (
    complain,
    own_configuration,
    progress_bar,
    safe,
    say,
    say_no_article,
    say_passed_by,
)
from proxy.config import Config, base_url_problem
from proxy.rewrite.apply import journaled_elsewhere
from proxy.rewrite.files import ArticleFile, article_names, find_articles, find_texts
from proxy.rewrite.globs import Globs
from proxy.rewrite.journal import Journal, JournalError, former_bases
from proxy.rewrite.rewriter import kind_of
from proxy.rewrite.sitetext import SITE_KINDS, site_kind
from proxy.services.articles import Articles, RewriteSettings
from proxy.services.rewritetree import Run
from proxy.services.shown import Shown
from proxy.services.treework import Job, Outcome, Task, label, put_back_items

Used = tuple[ArticleFile, tuple[str, ...], float | None]
"""An article, the URLs of what is kept of it, and its date."""


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
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace, config: Config) -> int:
    """Rewrite, show, check or undo."""
    base_url = (args.base_url or config.server.public_url).rstrip("/")
    if args.base_url and (problem := base_url_problem(args.base_url)):
        return complain(f"--base-url {problem}")
    if args.write and not args.undo and not base_url:
        return complain("--write needs --base-url or server.public_url: what shall the articles point at?")
    shown_url = base_url or f"http://{config.server.host}:{config.server.port}"
    report = _report(args)
    try:
        paths = _remembered(args.paths) if args.undo else args.paths
        articles = _articles(paths, args, config, report)
    except (OSError, ValueError) as error:
        return complain(error)
    former = former_bases(map(_absolute, paths))
    settings = RewriteSettings.of(
        _with_former(config, former), base_url=shown_url, all_images=args.all_images
    )
    records = args.write and not args.undo and (config.store.dir / MARKER).is_file()
    task = Task(
        "undo" if args.undo else "rewrite",
        os.getcwd(),  # noqa: PTH109 - a text is wanted
        write=not (args.diff or args.check) if args.undo else args.write,
        diffs=args.diff,
        dates=records,
        all_images=args.all_images,
    )
    with Run(settings, task) as run_:
        run_.prepare(articles)
        if args.undo:
            _undo(articles, args, run_, report)
        else:
            used = _rewrite(articles, config, run_, report)
    if records:
        _record(used, config)
    report.finish()
    if report.failed:
        return 1
    if args.undo:
        return 1 if report.left else 0
    return 1 if args.check and (report.replaced or report.unfinished) else 0


def _report(args: argparse.Namespace) -> Report:
    writes = args.write or (args.undo and not (args.diff or args.check))
    return Report(_verb(args), "json" if args.json else "diffs" if args.diff else "lines", goes_on=writes)


def _with_former(config: Config, bases: Iterable[str]) -> Config:
    """Return the configuration with the base URLs that the journals know among the former ones."""
    urls = [base for base in bases if not base_url_problem(base)]
    former = tuple(dict.fromkeys((*config.rewrite.former_urls, *urls)))
    return config.model_copy(update={"rewrite": config.rewrite.model_copy(update={"former_urls": former})})


def _record(used: list[Used], config: Config) -> None:
    """Note in the store which article uses what, as `warm` does."""
    # Most runs have no store to load.
    import asyncio  # noqa: PLC0415 - see above

    from cache.articles import Article  # noqa: PLC0415 - see above
    from cache.errors import CacheError  # noqa: PLC0415 - see above
    from cache.originals import Originals  # noqa: PLC0415 - see above

    name_of = article_names()
    articles = [
        Article(name_of(article), urls, date, str(article.path.resolve())) for article, urls, date in used
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
    paths: list[Path], args: argparse.Namespace, config: Config, report: Report
) -> list[ArticleFile]:
    """Return the articles of `paths`, then the other text.

    Raises:
        OSError, ValueError: a path does not exist, or folders hold nothing to look at.
    """
    passed_by: list[Path] = []
    articles = list(
        find_articles(paths, unreadable=report.fail, no_article=say_no_article, passed_by=passed_by.append)
    )
    articles += find_texts(
        paths, max_bytes=config.server.max_body, skipped=own_configuration(args), unreadable=report.fail
    )
    say_passed_by(passed_by)
    if not (articles or args.undo or report.failed) and any(path.is_dir() for path in paths):
        raise ValueError(f"nothing to look at in {', '.join(map(str, paths))}")
    return articles


def _rewrite(articles: list[ArticleFile], config: Config, run_: Run, report: Report) -> list[Used]:
    """Rewrite the articles, which come first, and the other text; return what each uses, where that is recorded."""
    shown, used = Shown(run_.outcomes), []
    name_of, ignored = article_names(), Globs(config.rewrite.ignore)
    jobs = (Job(article, ignored=bool(ignored) and ignored.name(name_of(article))) for article in articles)
    for job, first in _each(jobs, len(articles), run_, report):
        is_article = job.article.kind not in SITE_KINDS
        if is_article:
            shown.add(job, first)
        outcome = _settled(job, first, run_, shown) if first.unsure else first
        if outcome.failure:
            report.fail(outcome.failure)
            continue
        if not (is_article or outcome.replaced or outcome.left or outcome.sources):
            continue
        report.add(
            {"path": _label(job.article.path), "replaced": outcome.replaced, "left": outcome.left},
            count=outcome.count,
            unfinished=sum(not item["on_purpose"] for item in outcome.left),
            diff=outcome.diff,
        )
        if run_.task.dates:
            used.append((job.article, outcome.used, outcome.date))
    return used


def _settled(job: Job, outcome: Outcome, run_: Run, shown: Shown) -> Outcome:
    """Return the outcome of a text whose wrappers may hold pictures that articles show."""
    known = shown.known(outcome.unsure)
    if not known and not (run_.task.write and outcome.count):
        return outcome
    ((_, settled),) = run_.outcomes([replace(job, shown=known)])
    return settled


def _undo(articles: list[ArticleFile], args: argparse.Namespace, run_: Run, report: Report) -> None:
    for journal, name in list(journaled_elsewhere(map(_absolute, args.paths), articles)):
        if name.is_file():
            # It does not look like an article any more, as a text file without front matter, but it was one.
            kind = kind_of(name) or site_kind(name) or "markdown"
            articles.append(ArticleFile(name, journal.root, kind, known_as=name))
        else:
            _report_gone(journal, name, report)
    for job, outcome in _each(map(Job, articles), len(articles), run_, report):
        item = {"path": _label(job.article.path), "replaced": outcome.count, "left": outcome.left}
        report.add(item, count=outcome.count, diff=outcome.diff)


def _report_gone(journal: Journal, name: Path, report: Report) -> None:
    try:
        entries = journal.read(name)
    except JournalError as error:
        report.fail(error)
        return
    left = put_back_items(entries, reason="the article is no longer there")
    report.add({"path": _label(name), "replaced": 0, "left": left}, count=0)


def _each(jobs: Iterable[Job], total: int, run_: Run, report: Report) -> Iterator[tuple[Job, Outcome]]:
    """Yield what becomes of each article; one that fails is said and does not stop the others."""
    with progress_bar("Articles", total=total, shown=report.leaves_room) as progress:
        for number, (job, outcome) in enumerate(run_.outcomes(jobs), start=1):
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
