"""`imgmirror completion SHELL`: prints a script that completes commands, options and file names."""

from __future__ import annotations

import argparse

import shtab

from proxy.config import Config

SHELLS = ("bash", "zsh", "fish")

_FILES = frozenset({"PATH", "F", "F.html|F.json", "SITE", "OUT", "DEST"})
"""The words by which options and arguments name a file or a folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help="bash, zsh or fish")


def run(args: argparse.Namespace, _config: Config) -> int:
    """Print the script."""
    from proxy.cli import build_parser  # noqa: PLC0415 - it imports the commands, of which this is one

    parser = build_parser()
    _complete_files(parser)
    print(shtab.complete(parser, shell=args.shell))
    return 0


def _complete_files(parser: argparse.ArgumentParser) -> None:
    """Mark each action of a parser, and of those below it, whose value is a file."""
    for action in parser._actions:  # noqa: SLF001 - argparse lists its actions nowhere else
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - the only name argparse has for it
            for below in action.choices.values():
                _complete_files(below)
        elif action.metavar in _FILES and action.choices is None:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # where shtab looks for it
