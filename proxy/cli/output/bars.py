"""The progress bar of commands on a terminal; loaded when one is shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text


class RateColumn(ProgressColumn):
    """Shows the rate per second."""

    def render(self, task: Task) -> Text:
        """Return the rate, empty until it is known."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "", style="dim")


class TimeLeftColumn(ProgressColumn):
    """Shows the estimated time left."""

    def render(self, task: Task) -> Text:
        """Return the time left, empty until it is known."""
        left = task.time_remaining
        return Text(f"{timedelta(seconds=int(left))} left" if left else "", style="dim")


@contextmanager
def bar(title: str, total: int | None) -> Iterator[Callable[..., None]]:
    """Show a bar on standard error; yields what `proxy.cli.output.terminal.progress_bar` yields."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeLeftColumn(),
        TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    # On a terminal, printed lines scroll above the bar. Lines for a pipe must not pass through the bar.
    lines_too = sys.stdout.isatty()
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=lines_too) as progress:
        task = progress.add_task(title, total=total, note="")

        def update(done: int, total: int | None = None, note: str = "") -> None:
            progress.update(task, completed=done, total=total, note=note)

        yield update
