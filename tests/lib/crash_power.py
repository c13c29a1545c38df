"""Power cuts: computes from the recorded changes which folders a disk may show after the power failed.

The model is a disk that keeps the promise of fsync and no other (ext4, XFS and btrfs promise more):

    bytes of a file         as at its last fsync; later writes are there fully, partly, as zeros, or not at all
    names of a folder       as at its last fsync; of the later changes of one name, the first few may have happened,
                            whatever happened to other names and in other folders
    a rename                is never seen as "gone from the old place and not at the new one"
    a folder                exists if its name does; fsynced contents are lost with it if its name is lost
    a new name              may exist without the bytes of its file, unless those were fsynced
"""

from __future__ import annotations

import builtins
import os
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from crash_files import Step


@dataclass(slots=True, eq=False)
class File:
    """A file. `synced`: its bytes at the last fsync. `versions`: its later states, oldest first.

    After a failed fsync the next one may succeed and lie. `lost` says that no byte is certain any more.
    """

    synced: bytes = b""
    versions: list[bytes] = field(default_factory=list)
    lost: bool = False

    @property
    def content(self) -> bytes:
        return self.versions[-1] if self.versions else self.synced

    def write(self, offset: int, data: bytes) -> None:
        before = self.content.ljust(offset, b"\0")
        self.versions.append(before[:offset] + data + before[offset + len(data) :])

    def truncate(self, size: int) -> None:
        self.versions.append(self.content[:size].ljust(size, b"\0"))

    def sync(self) -> None:
        if not self.lost:
            self.synced, self.versions = self.content, []

    def lose(self) -> None:
        self.lost = True


@dataclass(slots=True, eq=False)
class Change:
    """A name now means `node` (None: nothing). `after`: the new name in a rename, which is seen first."""

    node: File | Folder | None
    after: tuple[Folder, str, Change] | None = None


@dataclass(slots=True, eq=False)
class Folder:
    """A folder. `synced`: its names at the last fsync. `changes`: what happened to each name since."""

    synced: dict[str, File | Folder] = field(default_factory=dict)
    changes: dict[str, list[Change]] = field(default_factory=dict)

    def get(self, name: str) -> File | Folder | None:
        changes = self.changes.get(name)
        return changes[-1].node if changes else self.synced.get(name)

    def change(self, name: str, node: File | Folder | None) -> Change:
        made = Change(node)
        self.changes.setdefault(name, []).append(made)
        return made

    def sync(self) -> None:
        for name, changes in self.changes.items():
            node = changes[-1].node
            if node is None:
                self.synced.pop(name, None)
            else:
                self.synced[name] = node
        self.changes.clear()

    def names(self) -> list[str]:
        return sorted({*self.synced, *self.changes})


class Disk:
    """The disk below a folder that was empty and durable when the recording began."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._top = Folder()
        self._files: dict[int, File] = {}

    def take(self, step: Step) -> None:
        """Apply one step."""
        match step.kind:
            case "create":
                self._files[step.node] = File()
                self._put(step.path, self._files[step.node])
            case "write":
                self._files[step.node].write(step.offset, step.data)
            case "truncate":
                self._files[step.node].truncate(step.offset)
            case "sync":
                self._files[step.node].sync()
            case "sync_failed":
                self._files[step.node].lose()
            case "sync_folder":
                self._folder(step.path).sync()
            case "mkdir":
                self._put(step.path, Folder())
            case "delete" | "rmdir":
                self._put(step.path, None)
            case "link":
                self._put(step.target, self._node(step.path))
            case "rename":
                self._rename(step)

    def show(self, target: Path, choice: Choice) -> None:
        """Write one folder that a power cut at this moment may leave."""
        chosen: dict[tuple[int, str], int] = {}
        self._choose(self._top, choice, chosen)
        self._write(self._top, target, choice, chosen)

    def _rename(self, step: Step) -> None:
        node = self._node(step.path)
        folder, name = self._parent(step.target)
        came = folder.change(name, node)
        old, old_name = self._parent(step.path)
        old.change(old_name, None).after = (folder, name, came)

    def _choose(self, folder: Folder, choice: Choice, chosen: dict[tuple[int, str], int]) -> None:
        for name in folder.names():
            changes = folder.changes.get(name, [])
            chosen[id(folder), name] = choice.names(len(changes))
            for node in {id(item): item for item in self._nodes(folder, name)}.values():
                if isinstance(node, Folder):
                    self._choose(node, choice, chosen)

    def _nodes(self, folder: Folder, name: str) -> Iterable[File | Folder]:
        first = folder.synced.get(name)
        return [
            node
            for node in (first, *(item.node for item in folder.changes.get(name, [])))
            if node is not None
        ]

    def _write(
        self, folder: Folder, target: Path, choice: Choice, chosen: dict[tuple[int, str], int]
    ) -> None:
        target.mkdir()
        for name in folder.names():
            node = self._seen(folder, name, chosen)
            if isinstance(node, Folder):
                self._write(node, target / name, choice, chosen)
            elif node is not None:
                (target / name).write_bytes(choice.bytes(node))

    def _seen(self, folder: Folder, name: str, chosen: dict[tuple[int, str], int]) -> File | Folder | None:
        changes = folder.changes.get(name, [])
        count = chosen[id(folder), name]
        # The old name of a rename stays until the new one exists.
        while count and (after := changes[count - 1].after) and not self._came(after, chosen):
            count -= 1
        return changes[count - 1].node if count else folder.synced.get(name)

    @staticmethod
    def _came(after: tuple[Folder, str, Change], chosen: dict[tuple[int, str], int]) -> bool:
        folder, name, change = after
        changes = folder.changes.get(name, [])
        if change not in changes:
            return True  # made durable by an fsync
        return changes.index(change) < chosen.get((id(folder), name), len(changes))

    def _put(self, path: str, node: File | Folder | None) -> None:
        folder, name = self._parent(path)
        folder.change(name, node)

    def _parent(self, path: str) -> tuple[Folder, str]:
        parent, name = os.path.split(path)
        return self._folder(parent), name

    def _folder(self, path: str) -> Folder:
        node = self._node(path)
        if not isinstance(node, Folder):
            raise TypeError(f"{path} is no folder")
        return node

    def _node(self, path: str) -> File | Folder:
        node: File | Folder | None = self._top
        for name in Path(path).relative_to(self._root).parts:
            node = node.get(name) if isinstance(node, Folder) else None
        if node is None:
            raise FileNotFoundError(path)
        return node


class Choice:
    """Which changes without an fsync last: none, all, names without bytes, bytes without names, or a random choice."""

    def __init__(self, kind: str, rng: random.Random) -> None:
        self._kind = kind
        self._rng = rng
        self._drawn: dict[File, bytes] = {}

    def names(self, count: int) -> int:
        """Return how many of the `count` changes of a name lasted."""
        match self._kind:
            case "nothing" | "bytes only":
                return 0
            case "all" | "names only":
                return count
        return self._rng.choice((0, count, self._rng.randint(0, count)))

    def bytes(self, file: File) -> builtins.bytes:
        """Return the bytes that a reader finds in a file."""
        match self._kind:
            case "nothing" | "names only":
                return file.synced
            case "all" | "bytes only":
                return file.content
        # A file with two names has the same bytes under both.
        return self._drawn.setdefault(file, self._draw(file))

    def _draw(self, file: File) -> builtins.bytes:
        if not file.versions:
            return file.synced
        full = self._rng.choice([file.synced, *file.versions])
        cut = self._rng.randint(0, len(full))
        return self._rng.choice(
            (full, file.synced, full[:cut], full[:cut].ljust(len(full), b"\0"), bytes(len(full)))
        )


KINDS = ("nothing", "all", "names only", "bytes only")
