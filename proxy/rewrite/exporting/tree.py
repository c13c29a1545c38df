"""The site's own addresses: the file each one leads to, and its spelling relative to another file. Pure.

Pages that open from a folder cannot have addresses that begin at the root of a host, nor addresses of folders: a
browser shows the list of a folder and not its `index.html`. All text is byte text (`proxy.rewrite.base.spot`).

    good   /css/a.css        from posts/x/index.html   ->  ../../css/a.css
    good   /posts/y/?q#top   from posts/x/index.html   ->  ../../posts/y/index.html?q#top
    bad    /api/             no such file              ->  stays, and is named
    bad    b.png             leads there already       ->  stays
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
"""Segments that browsers take for dots (WHATWG URL §4.1), by how many."""
INDEX = "index.html"
MISSING = "404.html"


@dataclass(frozen=True, slots=True)
class Here:
    """From where a document's relative addresses count: a folder of the site.

    root: an address of the site's root with its host, where a relative one would not do.
    """

    folder: tuple[str, ...]
    root: str = ""

    @classmethod
    def of(cls, path: str, *, site_url: str = "") -> Here:
        """Return the place of a file by its path in the site.

        Hosts answer `404.html` at any depth, so that it needs the site's whole address.
        """
        root = f"{site_url}/" if site_url and path == MISSING else ""
        return cls(tuple(path.split("/")[:-1]), root)

    @property
    def up(self) -> str:
        """What leads to the root: `../../`; empty there."""
        return self.root or "../" * len(self.folder)

    def to(self, path: str) -> str:
        """Return the address of a path below the root, which is spelled as an address."""
        # A colon in the first segment would make a scheme of it.
        return self.up + path or "./" if self.up or ":" not in path.partition("/")[0] else f"./{path}"


@dataclass(frozen=True, slots=True)
class Local:
    """An address of the site's own. `path` is the file it leads to, None when there is none.

    `address` is how it is to be written. rooted: it was written from the root of the site, or with its host.
    """

    path: str | None
    address: str
    rooted: bool


class Tree:
    """The files of a site, by their paths below its root, and the address it was built for, if that is known."""

    def __init__(self, paths: Collection[str], *, site_url: str = "") -> None:
        self._paths = paths
        self._folders: set[str] | None = None
        bare = site_url.partition("//")[2].rstrip("/")
        self._host, slash, prefix = bare.partition("/")
        self._prefix = f"/{prefix}/" if slash and prefix else "/"

    def __contains__(self, path: str) -> bool:
        return path in self._paths

    def read(self, text: str, here: Here, *, encoding: str = "") -> Local | None:
        """Return what an address means when it is the site's own and does not lead to `here` itself, else None."""
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
        """Tell whether the site has files below a folder."""
        if self._folders is None:
            self._folders = {str(folder) for name in self._paths for folder in PurePosixPath(name).parents}
        return path in self._folders or not path

    def base(self, text: str, here: Here) -> tuple[str, ...] | None:
        """Return the folder that a `<base href>` names, None when it is not the site's own.

        A page's own base is nearly always its site's address; without a known one, the host is not looked at.
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
        """Return an address behind the root of the site, None when it does not begin there."""
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
        """Return the file that hosts answer for a path, None when there is none, and what its address lacks."""
        if path in self._paths and not closed:
            return path, ""
        index = f"{path}/{INDEX}".lstrip("/")
        if index in self._paths:
            return index, f"/{INDEX}"
        page = f"{path}.html"
        return (page, ".html") if path and not closed and page in self._paths else (None, "")


def _names(segments: Sequence[str], folder: Sequence[str], encoding: str) -> list[str]:
    """Return the names of files that the segments of an address lead through."""
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
