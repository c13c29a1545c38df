"""Records in `.imgmirror/export.json` and a journal what runs wrote into an exported site. Blocking.

The state file also marks a folder as ours. It is replaced by rename at the end of a run. A run adds each path to the
journal before it writes the file, so that after a kill the next run knows our files that the state does not list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from proxy.errors import MirrorError
from proxy.rewrite.exporting.pictures import Candidate, ExportedFiles, Want
from proxy.rewrite.exporting.rules import LeftInPage
from proxy.rewrite.ondisk.files import write_durably
from proxy.source import Source

FOLDER = ".imgmirror"
NAME = "export.json"
JOURNAL = "export.journal"
VERSION = 1
_KIND = "export"


class StateError(Exception):
    """The state cannot be read; the message names the file and says what to do."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file as we wrote it. `origin` has size and times of the site's file, to tell whether it has changed."""

    sha256: str
    size: int
    mtime_ns: int
    origin: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PageRecord:
    """A document of the site: its digest, the settings it was read with, its wants, and their files."""

    sha256: str
    settings: str
    wants: tuple[tuple[int, Want], ...] = ()
    left: tuple[LeftInPage, ...] = ()
    shown: str = ""


@dataclass(frozen=True, slots=True)
class PictureRecord:
    """The files made of an original whose body has the digest `body`."""

    body: str
    settings: str
    shown: dict[Want, ExportedFiles] = field(default_factory=dict)


@dataclass(slots=True)
class State:
    """Everything that earlier runs wrote. `unfinished` holds the paths of a run that was interrupted."""

    files: dict[str, FileRecord] = field(default_factory=dict)
    pages: dict[str, PageRecord] = field(default_factory=dict)
    pictures: dict[str, PictureRecord] = field(default_factory=dict)
    unfinished: set[str] = field(default_factory=set)


def is_marked(folder: Path) -> bool:
    """Return whether a folder holds an exported site."""
    return (folder / FOLDER / NAME).is_file()


def load(folder: Path) -> State:
    """Return the state of an exported site, empty when there is none.

    Raises:
        StateError: the state cannot be read, or a newer version wrote it.
    """
    path = folder / FOLDER / NAME
    try:
        state = _read(json.loads(path.read_bytes()))
    except FileNotFoundError:
        state = State()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, MirrorError) as error:
        raise StateError(f"{path}: cannot be read ({error}); export into an empty folder") from error
    state.unfinished = {name for name in _journaled(folder) if is_inside(name)}
    return state


def _read(content: dict[str, Any]) -> State:
    if content["imgmirror"] != _KIND or content["version"] > VERSION:
        raise ValueError("not the state of an export, or from a newer imgmirror")
    return State(
        {name: _file(item) for name, item in content["files"].items() if is_inside(name)},
        {name: _page(item) for name, item in content["pages"].items()},
        {name: _picture(item) for name, item in content["pictures"].items()},
    )


def save(folder: Path, state: State) -> None:
    """Replace the state and empty the journal, whose paths the state now lists.

    Raises:
        OSError: the state cannot be written.
    """
    content = {
        "imgmirror": _KIND,
        "version": VERSION,
        "files": {
            name: [one.sha256, one.size, one.mtime_ns, one.origin]
            for name, one in sorted(state.files.items())
        },
        "pages": {name: _page_json(one) for name, one in sorted(state.pages.items())},
        "pictures": {name: _picture_json(one) for name, one in sorted(state.pictures.items())},
    }
    write_durably(folder / FOLDER / NAME, json.dumps(content, separators=(",", ":")).encode("ascii") + b"\n")
    (folder / FOLDER / JOURNAL).unlink(missing_ok=True)


def is_inside(name: str) -> bool:
    """Return whether a path of a state stays below the folder. The state is untrusted: it comes with the copy."""
    parts = PurePosixPath(name).parts
    return (
        bool(parts)
        and not name.startswith("/")
        and ".." not in parts
        and "\0" not in name
        and parts[0] != FOLDER
    )


def _journaled(folder: Path) -> Iterator[str]:
    try:
        lines = (folder / FOLDER / JOURNAL).read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            name = json.loads(line)
        except ValueError:
            # A killed run left its last line incomplete.
            continue
        if isinstance(name, str):
            yield name


def _file(item: list[Any]) -> FileRecord:
    sha256, size, mtime_ns, origin = item
    return FileRecord(str(sha256), int(size), int(mtime_ns), tuple(map(int, origin)))


def _want_json(want: Want) -> list[Any]:
    return [want.source.url, want.options, want.spread, want.written]


def _want(item: list[Any]) -> Want:
    return Want(Source.parse(item[0]), str(item[1]), bool(item[2]), tuple(map(str, item[3])))


def _page_json(one: PageRecord) -> list[Any]:
    wants = [[line, _want_json(want)] for line, want in one.wants]
    return [one.sha256, one.settings, wants, [list(asdict(left).values()) for left in one.left], one.shown]


def _page(item: list[Any]) -> PageRecord:
    sha256, settings, wants, left, shown = item
    return PageRecord(
        sha256,
        settings,
        tuple((int(line), _want(want)) for line, want in wants),
        tuple(LeftInPage(*values) for values in left),
        shown,
    )


def shown_json(shown: ExportedFiles) -> list[Any]:
    """Return the files of a want as JSON values."""
    return [
        [[list(asdict(file).values()) for file in files] for files in shown.offers],
        [list(asdict(file).values()) for file in shown.plain],
        list(asdict(shown.one).values()),
    ]


def _shown(item: list[Any]) -> ExportedFiles:
    offers, plain, one = item
    return ExportedFiles(
        tuple(tuple(_candidate(file) for file in files) for files in offers),
        tuple(_candidate(file) for file in plain),
        _candidate(one),
    )


def _candidate(values: list[Any]) -> Candidate:
    found = Candidate(str(values[0]), str(values[1]), int(values[2]), int(values[3]))
    if "/" in found.name or not is_inside(found.name):
        raise ValueError("a name that is not ours")
    return found


def _picture_json(one: PictureRecord) -> list[Any]:
    return [
        one.body,
        one.settings,
        [[_want_json(want), shown_json(shown)] for want, shown in one.shown.items()],
    ]


def _picture(item: list[Any]) -> PictureRecord:
    body, settings, shown = item
    return PictureRecord(body, settings, {_want(want): _shown(files) for want, files in shown})
