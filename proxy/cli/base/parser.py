"""The argument parser of every command: requires exact option names and suggests one for a mistyped name. Pure."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any


class Parser(argparse.ArgumentParser):
    """A parser that accepts no abbreviated options and suggests a name for an unknown command or option."""

    def __init__(self, **words: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **words})

    def parse_args(  # type: ignore[override] # one signature for argparse's four overloads
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """Return the arguments; exit with 2 when one is unknown."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            options = set(_option_names(self, getattr(parsed, "command", None)))
            hints = "".join(_hint(word.partition("=")[0], options) for word in unknown[:1])
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hints}")
        return parsed

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        what = "command" if isinstance(action, argparse._SubParsersAction) else "value"  # noqa: SLF001 - the only name argparse has for it
        hint = _hint(str(value), known) or f"; choose from {', '.join(known)}"
        raise argparse.ArgumentError(None, f"no such {what}: {value!r}{hint}")


def _hint(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _option_names(parser: argparse.ArgumentParser, command: str | None) -> Iterator[str]:
    """Yield the options of `parser` and of the given command's subcommands."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list of its options
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            for name, below in action.choices.items():
                if command in (None, name):
                    yield from _option_names(below, None)
