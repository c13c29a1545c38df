"""Prints the report of an export: figures and problems for people, JSON for programs."""

from __future__ import annotations

import json
from collections import Counter

from proxy.cli.output.terminal import safe, say, show_rows
from proxy.services.exporting.report import Dead, ExportReport, Note

_MAX_LINES = 50


def show_report(report: ExportReport, *, as_json: bool) -> None:
    """Print the report on standard output."""
    if as_json:
        print(json.dumps(report.to_json(), indent=1))
        return
    _lines([_dead(one) for one in report.dead], "dead")
    _lines(
        [f"earlier export: {url}: is no longer available; its files stay" for url in report.earlier],
        "earlier",
    )
    _lines(
        [f"{code}: original instead of {options} of {source}" for source, options, code in report.instead],
        "originals",
    )
    _lines([f"problem: {safe(one.path)}: {safe(one.reason)}" for one in report.problems], "problems")
    _lines([_note(note) for note in report.unfinished()], "left")
    _purposes(report)
    if report.left_out:
        say(
            f"left out: {', '.join(map(safe, report.left_out[:10]))}{', …' if len(report.left_out) > 10 else ''}"
        )
    rows = [(name.replace("_", " "), str(count)) for name, count in report.counts().items()]
    rows.append(("time", f"{report.seconds:.1f} s" + (", interrupted" if report.interrupted else "")))
    show_rows(rows, title="Exported")


def _lines(lines: list[str], title: str) -> None:
    for line in lines[:_MAX_LINES]:
        say(line)
    if len(lines) > _MAX_LINES:
        say(f"{title}: {len(lines) - _MAX_LINES} more; --json lists them all")


def _dead(one: Dead) -> str:
    first, more = one.places[0], len(one.places) - 1
    where = f"{safe(first.path)}:{first.line}" + (f" and {more} more" if more else "")
    return f"dead: {one.code}: {one.source} ({where})"


def _note(note: Note) -> str:
    text = f"left: {safe(note.place.path)}:{note.place.line}: {safe(note.reason)}"
    return f"{text}: {safe(note.text)}" if note.text else text


def _purposes(report: ExportReport) -> None:
    """Print what stays on purpose: one line per reason, with the first place."""
    notes = [note for note in report.notes if note.on_purpose]
    first: dict[str, Note] = {}
    for note in notes:
        first.setdefault(note.reason, note)
    for reason, count in Counter(note.reason for note in notes).most_common():
        note = first[reason]
        text = f": {safe(note.text)}" if note.text else ""
        say(f"note: {count} times: {safe(reason)} (first at {safe(note.place.path)}:{note.place.line}{text})")
