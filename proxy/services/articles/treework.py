"""Does one article of a run, in any process: rewrite it, put it back, or gather its pictures. Blocking.

A task applies to the whole run, a job to one article. A command reports the outcome. Outcomes travel between processes
as JSON; those of skipped articles take a few bytes.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from proxy.rewrite.base.kept import Known
from proxy.rewrite.base.masking import is_wide
from proxy.rewrite.base.result import ArticlePicture, RewriteResult
from proxy.rewrite.base.spot import address_text
from proxy.rewrite.diff import unified_diff
from proxy.rewrite.front.dates import article_date
from proxy.rewrite.ondisk.apply import ArticleReader, Rewritten, Undone, rewrite_file, rewritten, undo_file
from proxy.rewrite.ondisk.files import ArticleFile
from proxy.rewrite.ondisk.journal import JournalError, RewrittenAddress
from proxy.rewrite.quicklook import QuickLook, may_name
from proxy.rewrite.site.sitetext import SITE_KINDS
from proxy.services.articles.rewritejobs import known_from_wire, known_to_wire, picture_from_wire
from proxy.services.articles.rewriteprocess import TooCostly
from proxy.services.articles.usedsources import UsedSource, shown_sources, used_sources
from proxy.source import Source

Action = Literal["rewrite", "undo", "gather"]
WIDE = "it is UTF-16 or UTF-32; save it as UTF-8"


@dataclass(frozen=True, slots=True)
class Task:
    """What a run does.

    folder: the working folder; diffs name files relative to it. write: whether articles are written. diffs: whether
    outcomes include them. records: whether outcomes include what the store remembers of articles: their dates and the
    sources that they use. all_images: whether pictures without a wrapper are included.
    """

    action: Action
    folder: str
    write: bool = False
    diffs: bool = False
    records: bool = False
    all_images: bool = False


@dataclass(frozen=True, slots=True)
class ArticleJob:
    """An article of the run.

    ignored: list the article and do not write it. shown: those of its unsure sources (URLs) that articles show; None
    on the first pass. kept: facts of the pictures that it asked for; None on the first pass. shows_at: only find what
    the article shows, if it may name one of these hosts; empty for any host.
    """

    article: ArticleFile
    ignored: bool = False
    shown: tuple[str, ...] | None = None
    kept: Known | None = None
    shows_at: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ArticleOutcome:
    """The outcome of an article.

    passed: the article was skipped unread, because nothing in it can be ours. failure: why nothing was done; `reason`
    is the short form. replaced, left: the listed addresses. added: the attributes given to pictures. count: addresses
    replaced or put back. asked: URLs of pictures whose facts are needed, each with its wrappers' URLs; until they are
    known, nothing is written. sources: URLs of the pictures it shows. used: the sources remembered for it, with their
    lines in the finished article; after `undo`, all that it shows. pictures: the sources gathered, in full.
    through_us: URLs of sources that the finished article requests through us. unread: why a part was not read.
    unsure: sources that change the outcome if an article shows them; until that is known, nothing is written.
    """

    passed: bool = False
    failure: str = ""
    reason: str = ""
    too_costly: bool = False
    count: int = 0
    replaced: tuple[dict[str, Any], ...] = ()
    added: tuple[dict[str, Any], ...] = ()
    asked: tuple[tuple[str, ...], ...] = ()
    left: tuple[dict[str, Any], ...] = ()
    sources: tuple[str, ...] = ()
    used: tuple[UsedSource, ...] = ()
    pictures: tuple[ArticlePicture, ...] = ()
    through_us: tuple[str, ...] = ()
    unread: str = ""
    unsure: tuple[str, ...] = ()
    date: float | None = None
    diff: bytes = b""


def work(task: Task, job: ArticleJob, rewriter: ArticleReader, look: QuickLook) -> ArticleOutcome:
    """Do one job.

    Raises:
        TooCostly: raised by `rewriter`.
    """
    try:
        if job.shows_at is not None:
            return _sources_of(job, rewriter)
        if task.action == "undo":
            return _undone(task, job, rewriter)
        data = job.article.path.read_bytes()
        if not look.sees(data):
            return ArticleOutcome(passed=True, date=_date(task, data, job.article.path.name))
        return (
            _gathered(task, job, data, rewriter)
            if task.action == "gather"
            else _rewritten(task, job, rewriter)
        )
    except TooCostly:
        raise
    except JournalError as error:
        return ArticleOutcome(failure=str(error))
    except OSError as error:
        return ArticleOutcome(failure=str(error), reason=error.strerror or str(error))


def _rewritten(task: Task, job: ArticleJob, rewriter: ArticleReader) -> ArticleOutcome:
    # An unsure article is written in a later pass.
    done = rewrite_file(
        job.article,
        rewriter,
        write=task.write and not job.ignored,
        shown=_parsed(job.shown or ()),
        ignored=job.ignored,
        settled=job.shown is not None,
        kept=job.kept,
    )
    result, is_article = done.result, job.article.kind not in SITE_KINDS
    used = [item for item in result.pictures if item.wrapped or (task.all_images and is_article)]
    return ArticleOutcome(
        count=len(result.replaced),
        replaced=tuple(_replaced_items(result)),
        added=tuple(_added_items(result)),
        asked=tuple(tuple(source.url for source in wanted) for wanted in result.asked)
        if job.kept is None
        else (),
        left=tuple(_left_items(result)),
        sources=tuple(picture.source.url for picture in result.pictures),
        used=used_sources(used, result, rewriter, kind=job.article.kind) if task.records else (),
        through_us=_through_us(result),
        unread=result.unread,
        unsure=_unsure(job, result),
        date=_date(task, done.data, job.article.path.name),
        diff=_diff(task, done, result.data),
    )


def _undone(task: Task, job: ArticleJob, rewriter: ArticleReader) -> ArticleOutcome:
    done = undo_file(job.article, rewriter, write=task.write)
    return ArticleOutcome(
        count=done.count,
        left=tuple(put_back_items(done.missing, reason="no longer in the article")),
        used=shown_sources(done.new_data, rewriter, kind=job.article.kind)
        if task.records and done.count
        else (),
        diff=_diff(task, done, done.new_data),
    )


def put_back_items(missing: Iterable[RewrittenAddress], *, reason: str) -> list[dict[str, Any]]:
    """Return the list items for addresses that could not be put back."""
    return [{"address": entry.new.decode("utf-8", "replace"), "reason": reason} for entry in missing]


def _gathered(task: Task, job: ArticleJob, data: bytes, rewriter: ArticleReader) -> ArticleOutcome:
    if is_wide(data):
        return ArticleOutcome(failure=WIDE, reason=WIDE)
    is_article = job.article.kind not in SITE_KINDS
    result = rewritten(
        data, rewriter, kind=job.article.kind, shown=_parsed(job.shown or ()), ignored=job.ignored
    )
    pictures = tuple(item for item in result.pictures if item.wrapped or (task.all_images and is_article))
    date = _date(task, data, job.article.path.name)
    return ArticleOutcome(
        pictures=pictures,
        through_us=_through_us(result),
        unread=result.unread,
        unsure=_unsure(job, result),
        date=date,
    )


def _sources_of(job: ArticleJob, rewriter: ArticleReader) -> ArticleOutcome:
    data = job.article.path.read_bytes()
    if job.shows_at and not may_name(data, job.shows_at):
        return ArticleOutcome(passed=True)
    pictures = rewriter.rewrite(data, kind=job.article.kind, ignored=job.ignored).pictures
    return ArticleOutcome(sources=tuple(picture.source.url for picture in pictures))


def _through_us(result: RewriteResult) -> tuple[str, ...]:
    return tuple(source.url for source in result.through_us)


def _unsure(job: ArticleJob, result: RewriteResult) -> tuple[str, ...]:
    return tuple(source.url for source in result.unsure) if job.shown is None else ()


def _parsed(urls: Collection[str]) -> list[Source]:
    return [Source.parse(url) for url in urls]


def _date(task: Task, data: bytes, name: str) -> float | None:
    return article_date(data, name=name) if task.records else None


def _diff(task: Task, done: Rewritten | Undone, new_data: bytes) -> bytes:
    if not task.diffs:
        return b""
    # A link is shown as its target, the file that changes.
    return unified_diff(done.data, new_data, name=label(done.article.path.resolve(), task.folder).lstrip("/"))


def label(path: Path, folder: str) -> str:
    """Return a path relative to `folder` if it lies below it, else unchanged."""
    relative = os.path.relpath(path, folder)
    return str(path) if relative.startswith("..") else relative


def _replaced_items(result: RewriteResult) -> list[dict[str, Any]]:
    return [
        {
            "line": item.line,
            "context": item.context,
            "preset": item.preset,
            "source": item.source.url,
            "old": address_text(item.old.decode("latin-1")),
            "new": address_text(item.new.decode("latin-1")),
            "dropped": list(item.dropped),
        }
        for item in result.replaced
    ]


def _added_items(result: RewriteResult) -> list[dict[str, Any]]:
    return [
        {
            "line": item.line,
            "context": item.context,
            "source": item.source.url,
            "attributes": list(item.attributes),
            "text": address_text(item.new.decode("latin-1")),
        }
        for item in result.added
    ]


def _left_items(result: RewriteResult) -> list[dict[str, Any]]:
    return [
        {
            "line": item.line,
            "context": item.context,
            "address": item.text,
            "reason": item.reason,
            "on_purpose": item.on_purpose,
        }
        for item in result.left
    ]


def job_to_wire(job: ArticleJob) -> dict[str, Any]:
    """Return a job as JSON values."""
    article = job.article
    known_as = os.fspath(article.known_as) if article.known_as else None
    words = {"path": os.fspath(article.path), "root": os.fspath(article.root), "kind": article.kind}
    return words | {
        "known_as": known_as,
        "ignored": job.ignored,
        "shown": job.shown,
        "kept": known_to_wire(job.kept),
        "shows_at": job.shows_at,
    }


def job_from_wire(words: dict[str, Any]) -> ArticleJob:
    """Return a job from JSON values."""
    known_as = Path(words["known_as"]) if words["known_as"] else None
    article = ArticleFile(Path(words["path"]), Path(words["root"]), words["kind"], known_as)
    shown, hosts = words["shown"], words["shows_at"]
    return ArticleJob(
        article,
        words["ignored"],
        None if shown is None else tuple(shown),
        known_from_wire(words["kept"]),
        None if hosts is None else tuple(hosts),
    )


_PLAIN = ArticleOutcome()
_FIELDS = tuple(field.name for field in dataclasses.fields(ArticleOutcome) if field.name != "diff")


def outcome_to_wire(outcome: ArticleOutcome) -> dict[str, Any]:
    """Return an outcome as JSON values without its diff, which is the frame's body. Default values are left out."""
    words = {
        name: getattr(outcome, name) for name in _FIELDS if getattr(outcome, name) != getattr(_PLAIN, name)
    }
    if outcome.pictures:
        words["pictures"] = [dataclasses.asdict(picture) for picture in outcome.pictures]
    return words


def outcome_from_wire(words: dict[str, Any], diff: bytes) -> ArticleOutcome:
    """Return an outcome from JSON values and the frame's body."""
    pictures = tuple(map(picture_from_wire, words.pop("pictures", ())))
    lists = {name: tuple(value) for name, value in words.items() if isinstance(value, list)}
    lists["asked"] = tuple(map(tuple, words.get("asked", ())))
    lists["used"] = tuple((url, tuple(lines)) for url, lines in words.get("used", ()))
    return ArticleOutcome(**(words | lists), pictures=pictures, diff=diff)
