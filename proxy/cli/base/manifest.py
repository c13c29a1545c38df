"""Implements `--manifest F` of `rewrite` and `warm`: lists the sources that a site shows through us. Blocking.

`sources.manifest` reads the file (`proxy.policy.load_manifest`). It has one canonical source per line, sorted, without
comments, so that two manifests of the same articles have the same bytes.
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
    """Write the requested manifest and say so; return whether that succeeded or none was requested.

    `complete`: every article was read. Visitors are refused pictures that the manifest lacks, so an incomplete one is
    not written.
    """
    if args.manifest is None:
        return True
    name = safe(str(args.manifest))
    if not complete:
        say(f"imgmirror: {name} was not written, because not everything could be read", error=True)
        return False
    try:
        count = write_manifest(args.manifest, urls)
    except OSError as error:
        say(f"imgmirror: {name} cannot be written: {safe(str(error))}", error=True)
        return False
    say(f"imgmirror: {name}: {count} sources", error=True)
    return True


def manifest_problem(path: Path) -> str:
    """Return why a manifest may not be written to `path`, or an empty text.

    An existing file that is not a manifest is kept, so that an article named by mistake is not lost.
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
    """Replace the file at `path` durably by rename; return the number of sources. `urls` are canonical.

    If `path` is a symbolic link, its target is replaced.

    Raises:
        OSError: the file cannot be written; the former file is unchanged.
    """
    lines = sorted(set(urls))
    write_durably(Path(os.path.realpath(path)), "".join(f"{line}\n" for line in lines).encode("ascii"))
    return len(lines)
