"""Checks by its real path and its content whether a folder may take an exported site. Reads only. Blocking."""

from __future__ import annotations

from pathlib import Path

from proxy.services.exporting.state import FOLDER, is_marked


def overlap_problem(site: Path, out: Path, *, store: Path) -> str:
    """Return why `out` cannot take the copy of `site`; empty when it can.

    Folders are compared by device and inode, so that neither links nor the case of letters hide that one contains the
    other.
    """
    if not site.is_dir():
        return f"{site}: no such folder"
    if out.exists() and not out.is_dir():
        return f"{out}: not a folder"
    return _overlap(site, out, store) or _foreign_content(out)


def _overlap(site: Path, out: Path, store: Path) -> str:
    if _same(site, out):
        return f"{out}: SITE and OUT are one folder"
    if _lies_in(out, site):
        return f"{out}: lies in SITE; the copy would be copied again"
    if _lies_in(site, out):
        return f"{out}: holds SITE; exporting would write among its files"
    if store.is_dir() and (_same(store, out) or _lies_in(out, store) or _lies_in(store, out)):
        return f"{out}: is, holds or lies in the store (store.dir)"
    return ""


def _foreign_content(out: Path) -> str:
    if not out.is_dir() or is_marked(out) or all(path.name == FOLDER for path in out.iterdir()):
        return ""
    return f"{out}: not empty, and no earlier export wrote it; name a new or empty folder"


def _lies_in(inner: Path, outer: Path) -> bool:
    return any(_same(parent, outer) for parent in inner.resolve().parents)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return one.resolve() == other.resolve()
