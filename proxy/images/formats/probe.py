"""Examines a picture file before it is decoded: its structure, and whether the file is complete.

Reads files, decodes nothing. Runs in threads of the service (`has_proper_end`) and in render processes.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from proxy.images.files import structure
from proxy.images.files.structure import Buffer, Structure
from proxy.images.formats import BY_NAME
from proxy.prolog import RootFinder

_BLOCK_BYTES = 64 * 1024


def walked(data: Buffer, picture_format: str, *, max_frames: int) -> Structure:
    """Return the structure of `data`. Counting stops when there are more than `max_frames` frames.

    A format without a reader of ours has an empty structure.
    """
    record = BY_NAME.get(picture_format)
    return record.walk(data, max_frames) if record and record.walk else Structure(complete=False)


@contextmanager
def mapped(path: str | Path) -> Iterator[Buffer]:
    """Yield the bytes of a file without reading them into memory; an empty file gives empty bytes."""
    with Path(path).open("rb") as file:
        try:
            view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            yield b""
            return
        with view:
            yield view


@dataclass(frozen=True, slots=True)
class Looked:
    """A body to be given to a decoder. source: its path, or the bytes of a mended file."""

    source: str | bytes
    structure: Structure


def looked_at(path: str | Path, picture_format: str, *, max_frames: int) -> Looked:
    """Return what to decode of a file. Counting stops when there are more than `max_frames` frames.

    `complete` refers to the file on the disk: an end that mending added proves nothing.
    """
    with mapped(path) as data:
        seen = walked(data, picture_format, max_frames=max_frames)
        record = BY_NAME.get(picture_format)
        mend = record.mend if record and seen.blocks <= structure.MAX_BLOCKS else None
        body = mend(data) if mend is not None else None
        if body is None:
            return Looked(str(path), seen)
        now = walked(body, picture_format, max_frames=max_frames)
        return Looked(body, replace(now, complete=seen.complete))


def structure_of(path: str | Path, picture_format: str, *, max_frames: int) -> Structure:
    """Return the structure of a file. Counting stops when there are more than `max_frames` frames."""
    with mapped(path) as data:
        return walked(data, picture_format, max_frames=max_frames)


def root_of_file(path: str | Path) -> str:
    """Return the name of the root element of an XML document in a file, or an empty text."""
    finder = RootFinder()
    with Path(path).open("rb") as file:
        while finder.searching and (block := file.read(_BLOCK_BYTES)):
            finder.feed(block)
    return finder.root


def has_proper_end(path: str | Path, picture_format: str) -> bool:
    """Return whether the file contains the end of its format, which proves that a download without a length is
    complete.

    Return False if the format has no end of its own, or none that can be found without decoding.
    """
    return structure_of(path, picture_format, max_frames=structure.MAX_STEPS).complete
