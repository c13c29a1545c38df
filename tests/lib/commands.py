"""Runs commands in the test's process, with their own parser and a real configuration file. Does not set up the log."""

from __future__ import annotations

import importlib
from pathlib import Path

from proxy.cli import build_parser
from proxy.config.file import load

WRAPPER = "https://cors.zfour.workers.dev/?"


def invoke(command: str, *words: str | Path, config: Path) -> int:
    """Run a command; return its exit code."""
    args = build_parser(command).parse_args([command, "--config", str(config), *map(str, words)])
    return int(importlib.import_module(f"proxy.cli.{command}").run(args, load(str(config), {}).config))


def markdown(*sources: str) -> str:
    """Return an article that shows `sources` through the wrapper."""
    return "\n\n".join(f"![]({WRAPPER}{source})" for source in sources) + "\n"
