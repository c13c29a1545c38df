"""The command `imgmirror`: one file per command, each with `add_arguments(parser)` and `run(args, config)`.

Exit codes: 0 done, 1 problems found, 2 wrong use or invalid configuration.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Sequence

from proxy.cli.base.environment import environment_problem
from proxy.cli.base.parser import Parser
from proxy.config import Config, ConfigError
from proxy.config.file import load, secret_texts
from proxy.observe.logs import set_up
from proxy.process import signals_waiting
from proxy.version import __version__

COMMANDS = {
    "serve": "run the service",
    "rewrite": "replace wrapper addresses in articles",
    "warm": "fetch and keep the pictures of articles before the first visitor comes",
    "export": "copy a built site with its pictures inside",
    "url": "build, explain, sign and unwrap addresses",
    "config": "print the commented default configuration",
    "store": "maintain the store",
    "doctor": "check configuration, store, codecs, DNS and disk",
    "health": "check whether a running service is healthy",
    "completion": "print a script that completes commands in a shell",
    "demo": "show every step on the sample article",
}

CONFIG_HELP = "configuration file (else IMGMIRROR_CONFIG, else config.toml)"


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """Return the parser; with `only`, the other commands are named but not loaded, which starts faster."""
    parser = Parser(prog="imgmirror", description="An image proxy and asset mirror.")
    parser.add_argument("--version", action="version", version=f"imgmirror {__version__}")
    parser.add_argument("--config", metavar="F", help=CONFIG_HELP)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        # Suppressed, so that an absent option does not override one given before the command.
        command.add_argument("--config", metavar="F", default=argparse.SUPPRESS, help=CONFIG_HELP)
        if only is None or name == only:
            importlib.import_module(f"proxy.cli.{name}").add_arguments(command)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    named = _command_of(given)
    # A signal to reload or stop may arrive while the service is being loaded, which takes a second.
    with signals_waiting() if named == "serve" else contextlib.nullcontext():
        return _run(given, named)


def _run(given: list[str], named: str) -> int:
    args = build_parser(named).parse_args(given)
    set_up()
    if problem := environment_problem():
        print(f"imgmirror: {problem}", file=sys.stderr)
        return 2
    try:
        # `config` prints the defaults. It must work when the current file is broken. `completion` reads no file.
        config = (
            Config() if args.command in {"config", "completion"} else load(args.config, os.environ).config
        )
        set_up(level=config.log.level, form=config.log.format, secrets=secret_texts(config))
        code = int(importlib.import_module(f"proxy.cli.{args.command}").run(args, config))
        print(end="", flush=True)
    except ConfigError as error:
        # The problem may also be outside the file: a manifest or a decoder that it names is missing.
        for problem in error.problems:
            print(f"imgmirror: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has closed the pipe, as `| head` does.
        _say_nothing_more()
        return 0
    except OSError as error:
        # An unexpected error, such as a full disk under our output. Commands handle expected ones themselves.
        print(f"imgmirror: {error}", file=sys.stderr)
        _say_nothing_more()
        return 1
    return code


def _command_of(given: Sequence[str]) -> str:
    """Return the first word that is neither an option nor the value of `--config`, or an empty text."""
    words = iter(given)
    for word in words:
        if word == "--config":
            next(words, "")
        elif not word.startswith("-"):
            return word
    return ""


def _say_nothing_more() -> None:
    """Discard buffered output. Python would otherwise try to flush it at exit and print an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
