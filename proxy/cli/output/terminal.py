"""Prints the output of commands: tables and colour on a terminal, plain lines in a pipe, progress on standard error."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.config.file import find_file

if TYPE_CHECKING:
    from proxy.config import Config

MAX_NAMED = 10


def safe(text: str) -> str:
    """Return text without terminal control characters. File names and answers of origins may contain some."""
    shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in shown)


def say(text: str = "", *, error: bool = False) -> None:
    """Print a plain line."""
    stream = sys.stderr if error else sys.stdout
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def complain(problem: object) -> int:
    """Print why a command cannot run; return the exit code for wrong use."""
    say(f"imgmirror: {safe(str(problem))}", error=True)
    return 2


def say_no_article(path: Path) -> None:
    """Say that a named file is skipped. This is not wrong use, because a shell's `*` names such files too."""
    say(f"imgmirror: {safe(str(path))}: not a text file, skipped", error=True)


def say_passed_by(folders: Sequence[Path]) -> None:
    """Say in one line which folders were skipped because Git ignores them."""
    if folders:
        names = ", ".join(safe(os.path.relpath(folder)) for folder in folders[:MAX_NAMED])
        more = ", …" if len(folders) > MAX_NAMED else ""
        say(f"imgmirror: skipped {len(folders)} folders that .gitignore names: {names}{more}", error=True)


def own_files(args: argparse.Namespace, config: Config) -> tuple[Path, ...]:
    """Return the configuration file and the manifests of this run, which are not part of the site."""
    found = (find_file(args.config, os.environ), args.manifest, config.sources.manifest)
    # As `find_articles` names files: without following links.
    return tuple(Path(os.path.abspath(path)) for path in found if path)  # noqa: PTH100 - see above


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return a type of argparse: a whole number from `low` to `high`."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number between {low} and {high}")
        return number

    return read


def quiet_log() -> None:
    """Log errors only, unless `IMGMIRROR_LOG` asks for more. Commands report their findings themselves."""
    if "IMGMIRROR_LOG" not in os.environ:
        logging.getLogger().setLevel(logging.ERROR)


def show_rows(rows: Sequence[tuple[str, str]], *, title: str = "", error: bool = False) -> None:
    """Show names and values: a table on a terminal, `name: value` lines in a pipe."""
    stream = sys.stderr if error else sys.stdout
    if not stream.isatty():
        for name, value in rows:
            say(f"{name}: {value}", error=error)
        return
    # Importing rich takes a third of a command's start time, and a pipe does not need it.
    from rich.console import Console  # noqa: PLC0415 - see above
    from rich.table import Table  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415 - see above

    table = Table(title=title or None, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(justify="left")
    for name, value in rows:
        table.add_row(name, Text(value))
    Console(stderr=error).print(table)


def show_table(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: int = 1) -> None:
    """Show a table; columns from number `right` on are numbers. In a pipe, columns are aligned with spaces."""
    if sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415 - as in `show_rows`
        from rich.table import Table  # noqa: PLC0415 - as in `show_rows`
        from rich.text import Text  # noqa: PLC0415 - as in `show_rows`

        table = Table(title=title, title_justify="left")
        for number, header in enumerate(headers):
            table.add_column(header, justify="right" if number >= right else "left", no_wrap=number >= right)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        Console().print(table)
        return
    widths = [max(len(row[number]) for row in (headers, *rows)) for number in range(len(headers))]
    say(title)
    for row in (headers, *rows):
        cells = [
            cell.rjust(width) if number >= right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        say("  " + "  ".join(cells).rstrip())


@contextmanager
def progress_bar(
    title: str, *, total: int | None = None, shown: bool = True
) -> Iterator[Callable[..., None]]:
    """Show progress on standard error while the block runs, if standard error is a terminal.

    Yields a function that takes `done`, and optionally `total` and `note`.
    """
    if not (shown and sys.stderr.isatty()):
        yield lambda *_args, **_words: None
        return
    from proxy.cli.output.bars import bar  # noqa: PLC0415 - as in `show_rows`

    with bar(title, total) as update:
        yield update
