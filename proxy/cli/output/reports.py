"""Prints the report of a warming: a summary on the terminal, and a page or JSON as a file. Blocking."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from proxy.cli.output.terminal import safe, say, show_rows
from proxy.cli.output.warmpage import BROWSER_NAMES, as_html, share
from proxy.rewrite.ondisk.files import write_durably
from proxy.services.checks.sizes import readable
from proxy.services.warm.fates import DEAD
from proxy.services.warm.warming import WarmOutcome
from proxy.services.warm.warmreport import WarmReport, Weight, by_code

_MAX_LINES = 50


def report_problem(path: Path) -> str:
    """Return why a report cannot be written to `path`, or an empty text."""
    if path.suffix.lower() not in {".html", ".htm", ".json"}:
        return f"--report {path}: name a file that ends in .html or .json"
    if path.is_dir() or not path.absolute().parent.is_dir():
        return f"--report {path}: there is no such folder"
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        return f"--report {path}: cannot be written"
    return ""


def write_report(path: Path, report: WarmReport) -> None:
    """Write the report as HTML or JSON, depending on the file name.

    Raises:
        OSError: the file cannot be written.
    """
    if path.suffix.lower() == ".json":
        text = json.dumps(report.to_json(), indent=1)
    else:
        text = as_html(report, made_at=datetime.now(UTC), folder=path.absolute().parent)
    write_durably(path.absolute(), text.encode("utf-8", "backslashreplace") + b"\n")


def show_summary(report: WarmReport, *, error: bool = False) -> None:
    """Print the figures, then the pictures that need attention."""
    for word, outcomes in report.listed.items():
        _list(word, outcomes, error=error)
    _list("not kept", report.not_kept, error=error)
    for one in [one for one in report.recovered if one.kept and one.kept.new][:_MAX_LINES]:
        say(f"recovered: {one.work.source.url} from {one.kept.recovered if one.kept else ''}", error=error)
    for one, made in list(report.troubled())[:_MAX_LINES]:
        word = "original instead of" if made.redirected else "no"
        code = made.failure.code if made.failure else ""
        say(f"{code}: {word} {made.options} of {one.work.source.url}", error=error)
    for item in report.unread:
        say(f"unread: {safe(item.article)}: {safe(item.reason)}", error=error)
    show_rows(summary_rows(report), title="Warmed", error=error)


def summary_rows(report: WarmReport) -> list[tuple[str, str]]:
    """Return the figures as labelled rows; uninteresting zeros are left out."""
    counts = report.counts()
    rows = [
        (name.replace("_", " "), str(counts[name]))
        for name in ("articles", "pictures", "kept", "already_kept")
    ]
    rows += [
        (word, _with_codes(outcomes)) for word, outcomes in report.listed.items() if outcomes or word == DEAD
    ]
    rows += [
        (name.replace("_", " "), str(counts[name]))
        for name in (
            "not_kept",
            "damaged",
            "recovered",
            "variants_failed",
            "variants_redirected",
            "not_begun",
        )
        if counts[name]
    ]
    rows.append(("originals", readable(counts["originals_bytes"])))
    rows.append(("variants", f"{counts['variants']} ({readable(counts['variants_bytes'])})"))
    rows += [(f"saved for {BROWSER_NAMES.get(w.browser, w.browser)}", saved(w)) for w in report.weights()]
    if report.stopped:
        rows.append(("stopped", f"{report.stopped}; no picture was begun"))
    rows.append(("time", f"{report.seconds:.1f} s" + (", interrupted" if report.interrupted else "")))
    return rows


def _with_codes(outcomes: list[WarmOutcome]) -> str:
    codes = ", ".join(f"{code} {count}" for code, count in by_code(outcomes).items())
    return f"{len(outcomes)} ({codes})" if codes else "0"


def saved(weight: Weight) -> str:
    """Return the saving in words."""
    less = readable(weight.before_bytes - weight.after_bytes)
    return f"{less} of {readable(weight.before_bytes)} ({share(weight.saved_share)})"


def _list(title: str, outcomes: list[WarmOutcome], *, error: bool) -> None:
    for one in outcomes[:_MAX_LINES]:
        code = one.failure.code if one.failure else ""
        articles = ", ".join(safe(name) for name in one.work.articles[:3])
        more = len(one.work.articles) - 3
        places = articles + (f" and {more} more" if more > 0 else "")
        say(f"{title}: {code}: {one.work.source.url} ({places})", error=error)
    if len(outcomes) > _MAX_LINES:
        say(f"{title}: {len(outcomes) - _MAX_LINES} more; --report lists them all", error=error)
