"""Reads from rewrite journals which wrapper addresses the articles used before. Synchronous; reads files.

A rewritten article names only the source. Its journal still names the wrapper, which may have a copy of a picture
whose origin is dead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from proxy.config import Config, base_url_problem
from proxy.dialects import Unwrapper
from proxy.errors import MirrorError
from proxy.rewrite.base.layers import decode_attribute
from proxy.rewrite.base.spot import address_text
from proxy.rewrite.ondisk.journal import JournalError, former_bases, journal_for
from proxy.services.warm.warming import PictureToWarm
from proxy.source import Source

_IMAGE = re.compile(rb"\A!\[.*\]\([ \t]*<?([^\s<>]+?)>?(?:[ \t].*)?\)\Z", re.DOTALL)
"""A Markdown image that the rewrite replaced by an HTML tag."""


def with_former_bases(config: Config, paths: Iterable[Path]) -> Config:
    """Return the configuration with the base URLs in the journals around `paths` added to the former base URLs."""
    # Journals name articles without following links, so the paths are made absolute without resolving them.
    absolute = (Path(os.path.abspath(path)) for path in paths)  # noqa: PTH100 - see above
    urls = [base for base in former_bases(absolute) if not base_url_problem(base)]
    former = tuple(dict.fromkeys((*config.rewrite.former_urls, *urls)))
    return config.model_copy(update={"rewrite": config.rewrite.model_copy(update={"former_urls": former})})


def with_former_wrappers(
    works: Iterable[PictureToWarm], files: Iterable[Path], unwrapper: Unwrapper
) -> list[PictureToWarm]:
    """Return the works, each with the wrapper addresses that the journals of `files` list for its source."""
    former: dict[Source, dict[Source, None]] = {}
    for path in files:
        for source, written in _wrappers_of(path, unwrapper):
            former.setdefault(source, {})[written] = None
    return [
        replace(work, written=tuple(dict.fromkeys((*work.written, *former.get(work.source, ())))))
        for work in works
    ]


def _wrappers_of(path: Path, unwrapper: Unwrapper) -> Iterator[tuple[Source, Source]]:
    try:
        entries = journal_for(path, path.parent).read(path)
    except JournalError:
        # `rewrite` reports a broken journal.
        return
    for old in {entry.old for entry in entries if entry.old}:
        image = _IMAGE.search(old)
        text = address_text(decode_attribute((image[1] if image else old).decode("latin-1")))
        try:
            unwrapped = unwrapper.unwrap(text)
        except MirrorError:
            continue
        if unwrapped is not None:
            yield from ((unwrapped.source, written) for written in unwrapped.written(text))
