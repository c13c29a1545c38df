"""`--manifest F` of `rewrite` and `warm`: the sources that a site shows through us, for `sources.manifest`. Blocking.

The file is what `proxy.policy.load_manifest` reads: one canonical source a line, sorted, no comments, so that two
manifests of the same articles are the same bytes.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from proxy.cli.output.terminal import safe, say
from proxy.config import ConfigError
from proxy.policy import load_manifest
from proxy.rewrite.ondisk.files import write_durably


def add_manifest_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument(
        "--manifest",
        metavar="F",
        type=Path,
        help="write the sources that the articles show through us, for sources.manifest",
    )


def manifest_written(args: argparse.Namespace, urls: Iterable[str], *, complete: bool) -> bool:
    """Write the manifest that was asked for and say so; return whether all is well.

    `complete`: everything was read. A manifest that lacks a source refuses visitors a picture, so none is written
    where something was not read.
    """
    if args.manifest is None:
        return True
    name = safe(str(args.manifest))
    if not complete:
        say(f"imgmirror: {name} was not written: not everything could be read", error=True)
        return False
    try:
        count = write_manifest(args.manifest, urls)
    except OSError as error:
        say(f"imgmirror: {name} cannot be written: {safe(str(error))}", error=True)
        return False
    say(f"imgmirror: {name}: {count} sources", error=True)
    return True


def manifest_problem(path: Path) -> str:
    """Return why a manifest may not be written to `path`, empty when it may.

    A file that is there and is no manifest stays: an article named by mistake must not be lost.
    """
    if not path.parent.is_dir():
        return f"{path}: there is no folder {path.parent}"
    if not path.exists():
        return ""
    if not path.is_file():
        return f"{path}: not a regular file"
    try:
        load_manifest(path)
    except ConfigError:
        return f"{path}: exists and is not a manifest (one source a line); name another file or remove it"
    return ""


def write_manifest(path: Path, urls: Iterable[str]) -> int:
    """Replace the file at `path` by rename, durably; return how many sources it names. `urls` are canonical.

    A symbolic link stays one: its target is replaced.

    Raises:
        OSError: it cannot be written; the former file is still there.
    """
    lines = sorted(set(urls))
    write_durably(Path(os.path.realpath(path)), "".join(f"{line}\n" for line in lines).encode("ascii"))
    return len(lines)
