"""Prints the progress report of `imgmirror rewrite`: lines, JSON or diffs for each article, and totals at the end.

Nothing is collected in memory. While articles are being written, a failing output does not stop the run.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, Literal

from proxy.cli.output.terminal import safe, say

Form = Literal["lines", "json", "diffs"]
_DIFF_STYLES = {b"@": b"\x1b[36m", b"-": b"\x1b[31m", b"+": b"\x1b[32m"}


class Report:
    """Prints outcomes as they arrive. `verb` says what happens to an address: `to replace`.

    through_us collects the URLs of the sources that the articles request through us; unread counts articles read only
    in part.
    """

    def __init__(self, verb: str, form: Form, *, goes_on: bool) -> None:
        self.replaced = 0
        self.added = 0
        self.left = 0
        self.unfinished = 0
        self.failed = 0
        self.unread = 0
        self.through_us: set[str] = set()
        self._verb = verb
        self._goes_on = goes_on
        self._articles = 0
        self._broken: OSError | None = None
        self._form = _form(form, verb)

    def add(self, article: dict[str, Any], *, count: int, unfinished: int = 0, diff: bytes = b"") -> None:
        """Print the outcome of an article: its path, `replaced` (items or a number), `left`, and perhaps `added`."""
        self.replaced += count
        self.added += len(article.get("added", ()))
        self.left += len(article["left"])
        self.unfinished += unfinished
        self._articles += 1
        self._say(lambda: self._form.article(article, diff))

    def fail(self, problem: object) -> None:
        """Print why an article or folder failed; the others are not affected."""
        self.failed += 1
        say(f"imgmirror: {safe(str(problem))}", error=True)

    @property
    def leaves_room(self) -> bool:
        """Whether a progress bar may be shown, which requires that only whole lines are printed to the terminal."""
        return isinstance(self._form, _Lines) or not sys.stdout.isatty()

    def finish(self) -> None:
        """Print the totals.

        Raises:
            OSError: earlier output could not be written.
        """
        sums = {
            self._verb.replace(" ", "_"): self.replaced,
            "added": self.added,
            "left": self.left,
            "failed": self.failed,
        }
        self._say(lambda: self._form.sums(self._articles, sums))
        if self._broken is not None:
            raise self._broken

    def _say(self, speak: Callable[[], None]) -> None:
        if self._broken is not None:
            return
        try:
            speak()
        except OSError as error:
            if not self._goes_on:
                raise
            self._broken = error


def _form(form: Form, verb: str) -> _Lines | _Json | _Diffs:
    if form == "lines":
        return _Lines(verb)
    return _Json() if form == "json" else _Diffs()


class _Lines:
    """Prints a line for each article with results, for each address that is left, and for each kind of option of
    wrappers that our addresses cannot express; then the totals."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._tell = _teller()
        self._dropped: dict[str, tuple[int, str]] = {}

    def article(self, article: dict[str, Any], _diff: bytes) -> None:
        replaced = () if isinstance(article["replaced"], int) else article["replaced"]
        count = article["replaced"] if isinstance(article["replaced"], int) else len(replaced)
        added = f", {len(article['added'])} additions" if article.get("added") else ""
        if count or added or article["left"]:
            left = f", {len(article['left'])} left" if article["left"] else ""
            self._tell(f"{article['path']}: {count} {self._verb}{added}{left}", "")
        for item in replaced:
            for option in item["dropped"]:
                times, first = self._dropped.get(option, (0, f"{article['path']}:{item['line']}"))
                self._dropped[option] = times + 1, first
        for item in article["left"]:
            place = f"{article['path']}:{item['line']}" if "line" in item else article["path"]
            context = item.get("context", "")
            reason = item["reason"] if context in item["reason"] else f"{context}: {item['reason']}"
            text = f"  {place}: left, {reason}: {item['address']}".rstrip(": ")
            self._tell(text, "dim" if item.get("on_purpose") else "yellow")

    def sums(self, articles: int, sums: dict[str, int]) -> None:
        for option, (times, first) in sorted(self._dropped.items()):
            self._tell(f"  dropped {times} times: {option} (first at {first})", "yellow")
        replaced, added, left, failed = sums.values()
        additions = f", {added} additions" if added else ""
        told = f"{articles} articles, {replaced} addresses {self._verb}{additions}, {left} left"
        self._tell(told + (f", {failed} failed" if failed else ""), "bold")


class _Json:
    """Prints one JSON document, an article at a time."""

    def __init__(self) -> None:
        self._begun = False

    def article(self, article: dict[str, Any], _diff: bytes) -> None:
        text = json.dumps(printable(article), indent=1).replace("\n", "\n  ")
        print('{\n "articles": [\n  ' if not self._begun else ",\n  ", text, sep="", end="", flush=True)
        self._begun = True

    def sums(self, _articles: int, sums: dict[str, int]) -> None:
        head = "\n ],\n" if self._begun else '{\n "articles": [],\n'
        print(head + ",\n".join(f" {json.dumps(name)}: {count}" for name, count in sums.items()) + "\n}")


class _Diffs:
    """Prints diffs as bytes, because articles need not be UTF-8 and `git apply` must accept the output."""

    def __init__(self) -> None:
        self._coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def article(self, _article: dict[str, Any], diff: bytes) -> None:
        sys.stdout.flush()
        out = sys.stdout.buffer
        for line in diff.splitlines(keepends=True) if self._coloured else [diff]:
            style = _DIFF_STYLES.get(line[:1]) if self._coloured else None
            out.write(style + line.rstrip(b"\n") + b"\x1b[0m\n" if style else line)
        out.flush()

    def sums(self, _articles: int, _sums: dict[str, int]) -> None:
        pass


def _teller() -> Callable[[str, str], None]:
    """Return a function that prints a line in a style: in colour on a terminal, plain in a pipe."""
    if not sys.stdout.isatty():
        return lambda text, _style: say(printable(text))
    from rich.console import Console  # noqa: PLC0415 - as in `proxy.cli.output.terminal`

    console = Console(highlight=False, soft_wrap=True, emoji=False)
    return lambda text, style: console.print(printable(text), markup=False, style=style or None)


def printable(value: Any) -> Any:
    """Replace characters that a terminal cannot show: surrogates (bytes that are not UTF-8) and control characters."""
    if isinstance(value, str):
        text = value.encode("utf-8", "backslashreplace").decode()
        return (
            text
            if text.isprintable()
            else "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
        )
    if isinstance(value, Iterable) and not isinstance(value, dict):
        return [printable(item) for item in value]
    return {key: printable(item) for key, item in value.items()} if isinstance(value, dict) else value
