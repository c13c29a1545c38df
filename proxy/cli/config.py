"""`imgmirror config`: print the commented default configuration, to be saved as config.toml and edited."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import proxy
from proxy.config import Config

NAME = "config.toml"


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """Add no options: the command takes none."""


def run(_args: argparse.Namespace, _config: Config) -> int:
    """Print the file."""
    sys.stdout.write(default_text())
    return 0


def default_text() -> str:
    """Return the commented default configuration."""
    package = Path(proxy.__file__).parent
    # The wheel has a copy of the checkout's top-level file inside the package.
    inside = package / NAME
    return (inside if inside.exists() else package.parent / NAME).read_text(encoding="utf-8")
