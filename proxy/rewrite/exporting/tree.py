"""Resolves a site's own addresses to files, and writes them relative to another file. Pure.

A page opened from a folder cannot use addresses from the root of a host. Nor can it use addresses of folders, because a
browser lists a folder instead of opening its `index.html`. All text is byte text (`proxy.rewrite.base.spot`).

    good   /css/a.css        from posts/x/index.html   ->  ../../css/a.css
    good   /posts/y/?q#top   from posts/x/index.html   ->  ../../posts/y/index.html?q#top
    bad    /api/             no such file              ->  stays and is reported
    bad    b.png             is already relative       ->  stays
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote_to_bytes

from proxy.rewrite.base.charset import as_utf8

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_PARTS = re.compile(r"([^?#]*+)(.*)", re.DOTALL)
_DOTS = {".": 1, "%2e": 1, "..": 2, ".%2e": 2, "%2e.": 2, "%2e%2e": 2}
"""Segments that browsers read as one or two dots (WHATWG URL §4.1)."""
INDEX = "index.html"
MISSING = "404.html"


@dataclass(frozen=True, slots=True)
class Here:
    """The folder of the site to which a document's relative addresses refer.

    root: the absolute address of the site's root, for documents in which relative addresses would not work; else empty.
    """

    folder: tuple[str, ...]
    root: str = ""

    @classmethod
    def of(cls, path: str, *, site_url: str = "") -> Here:
        """Return the place of a file by its path in the site.

        Hosts answer `404.html` for addresses at any depth, so it needs absolute addresses.
        """
        root = f"{site_url}/" if site_url and path == MISSING else ""
        return cls(tuple(path.split("/")[:-1]), root)

    @property
    def up(self) -> str:
        """The relative address of the root, such as `../../`; empty at the root."""
        return self.root or "../" * len(self.folder)

    def to(self, path: str) -> str:
        """Return the address of a path below the root. `path` is escaped like an address."""
        # A first segment with a colon would be read as a scheme.
        return self.up + path or "./" if self.up or ":" not in path.partition("/")[0] else f"./{path}"


@dataclass(frozen=True, slots=True)
class Local:
    """One of the site's own addresses.

    path: the file it leads to, or None when there is no such file. address: its new spelling. rooted: whether the old
    spelling began at the root of the site or with its host.
    """

    path: str | None
    address: str
    rooted: bool


class Tree:
    """The files of a site by their paths below its root, and the address it was built for, if known."""

    def __init__(self, paths: Collection[str], *, site_url: str = "") -> None:
        self._paths = paths
        self._folders: set[str] | None = None
        bare = site_url.partition("//")[2].rstrip("/")
        self._host, slash, prefix = bare.partition("/")
        self._prefix = f"/{prefix}/" if slash and prefix else "/"

    def __contains__(self, path: str) -> bool:
        return path in self._paths

    def read(self, text: str, here: Here, *, encoding: str = "") -> Local | None:
        """Resolve an address. Return None when it is not the site's own, or leads to the document itself."""
        match = _PARTS.match(text)
        head, tail = (match[1], match[2]) if match else (text, "")
        if not head:
            return None
        rooted = self._from_root(head)
        if rooted is None and (head.startswith(("/", "\\")) or _SCHEME.match(head)):
            return None
        segments = (head if rooted is None else rooted).split("/")
        names = _names(segments, here.folder if rooted is None else (), encoding)
        path, added = self._file("/".join(names), closed=not segments[-1])
        if path is None:
            return Local(None, text, rooted is not None)
        if rooted is None:
            return Local(path, _joined(head, added) + tail, rooted=False)
        plain = "/".join(_without_dots(segments))
        return Local(path, here.to(_joined(plain, added)) + tail, rooted=True)

    def is_folder(self, path: str) -> bool:
        """Return whether the site has files below a folder."""
        if self._folders is None:
            self._folders = {str(folder) for name in self._paths for folder in PurePosixPath(name).parents}
        return path in self._folders or not path

    def base(self, text: str, here: Here) -> tuple[str, ...] | None:
        """Return the folder that a `<base href>` names, or None when it is not the site's own.

        If the site's address is unknown, the host of the base is ignored, because it nearly always is the site's.
        """
        head = _PARTS.match(text.strip())[1]  # type: ignore[index]  # it matches anything
        rooted = self._from_root(head)
        if rooted is None and not self._host and (found := re.match(r"(?i:https?:)?//[^/?#]*", head)):
            rooted = head[found.end() :].lstrip("/")
        if rooted is None and _SCHEME.match(head):
            return None
        segments = (head if rooted is None else rooted).split("/")
        folder = _names([*segments[:-1], ""], here.folder if rooted is None else (), "")
        return tuple(folder) if self.is_folder("/".join(folder)) else None

    def _from_root(self, head: str) -> str | None:
        """Return an address relative to the root of the site, or None when it does not begin there."""
        match = re.match(r"(?i:https?:)?//([^/?#]*)", head)
        if match:
            if not self._host or match[1].lower() != self._host.lower():
                return None
            head = head[match.end() :] or "/"
        elif not head.startswith("/"):
            return None
        if head + "/" == self._prefix:
            return ""
        return head[len(self._prefix) :] if head.startswith(self._prefix) else None

    def _file(self, path: str, *, closed: bool) -> tuple[str | None, str]:
        """Return the file that hosts answer for a path, or None, and the text that the address lacks to name it."""
        if path in self._paths and not closed:
            return path, ""
        index = f"{path}/{INDEX}".lstrip("/")
        if index in self._paths:
            return index, f"/{INDEX}"
        page = f"{path}.html"
        return (page, ".html") if path and not closed and page in self._paths else (None, "")


def _names(segments: Sequence[str], folder: Sequence[str], encoding: str) -> list[str]:
    """Resolve the segments of an address from `folder` to a list of decoded file names."""
    names = list(folder)
    for segment in segments:
        dots = _DOTS.get(segment.lower(), 0)
        if dots == 2:
            del names[-1:]
        elif not dots and segment:
            spelled = as_utf8(segment, encoding) if encoding else segment
            names.append(os.fsdecode(unquote_to_bytes(spelled.encode("latin-1"))))
    return names


def _without_dots(segments: Sequence[str]) -> list[str]:
    found: list[str] = []
    for number, segment in enumerate(segments):
        dots = _DOTS.get(segment.lower(), 0)
        if dots == 2:
            del found[-1:]
        if dots and number == len(segments) - 1:
            found.append("")
        elif not dots:
            found.append(segment)
    return found


def _joined(address: str, added: str) -> str:
    if added.startswith("/") and (not address or address.endswith("/")):
        added = added[1:]
    return address + added
