"""Lists the regular files of a built site by their paths below its root. Reads folders only. Blocking.

Only version control folders and our own journal are skipped. Links are followed inside the site. A link that leads out
of the site, or back into its own folder, is reported and not followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

NOT_OF_THE_SITE = frozenset({".git", ".hg", ".svn", ".imgmirror"})
LEADS_OUT = "a link that leads out of the site; not followed"
LEADS_BACK = "a link to a folder that it lies in, or below another such link; not followed"
LEADS_NOWHERE = "a link that leads nowhere"
NO_FILE = "neither a file nor a folder; omitted"
MAX_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem with a path of the site or of the copy."""

    path: str
    reason: str


@dataclass(slots=True)
class Site:
    """The files of a site by path, in order, with the file to read for each; the problems, and the skipped paths.

    unread: the folders that could not be listed.
    """

    root: Path
    files: dict[str, Path] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def walk(root: Path) -> Site:
    """List the site below the folder `root`.

    Raises:
        OSError: the root cannot be read.
    """
    site = Site(root, {})
    real = root.resolve()
    os.scandir(root).close()
    _SiteWalk(site, real).folder(root, "", linked=False)
    site.files = dict(sorted(site.files.items()))
    return site


class _SiteWalk:
    def __init__(self, site: Site, real: Path) -> None:
        self._site = site
        self._real = real

    def folder(self, folder: Path, prefix: str, *, linked: bool) -> None:
        """Add the files of a folder. `linked`: the folder was reached by a link."""
        if prefix.count("/") > MAX_DEPTH:
            self._say(prefix, f"more than {MAX_DEPTH} folders deep; omitted")
            return
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            self._site.unread.append(prefix)
            self._say(prefix.rstrip("/"), error.strerror or str(error))
            return
        for entry in entries:
            path = prefix + entry.name
            if entry.name in NOT_OF_THE_SITE:
                self._site.left_out.append(path)
            elif entry.is_symlink():
                self._link(Path(entry), path, linked=linked)
            elif entry.is_dir(follow_symlinks=False):
                self.folder(Path(entry), f"{path}/", linked=linked)
            elif entry.is_file(follow_symlinks=False):
                self._site.files[path] = Path(entry)
            else:
                self._say(path, NO_FILE)

    def _link(self, link: Path, path: str, *, linked: bool) -> None:
        try:
            target = link.resolve(strict=True)
            mode = target.stat().st_mode
        except (OSError, RuntimeError):
            self._say(path, LEADS_NOWHERE)
            return
        if not target.is_relative_to(self._real) or self._is_no_part(target):
            self._say(path, LEADS_OUT)
        elif stat.S_ISREG(mode):
            self._site.files[path] = target
        elif not stat.S_ISDIR(mode):
            self._say(path, NO_FILE)
        elif linked or link.parent.resolve().is_relative_to(target):
            self._say(path, LEADS_BACK)
        else:
            self.folder(target, f"{path}/", linked=True)

    def _is_no_part(self, target: Path) -> bool:
        return bool(NOT_OF_THE_SITE & set(target.relative_to(self._real).parts))

    def _say(self, path: str, reason: str) -> None:
        self._site.problems.append(Problem(path, reason))


def documents(site: Site) -> Iterator[str]:
    """Yield the paths of a site in the order of writing: files that pages load come before the pages."""
    yield from sorted(site.files, key=lambda path: (path.endswith((".html", ".htm", ".xhtml")), path))
