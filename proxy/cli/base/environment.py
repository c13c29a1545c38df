"""Checks that no other distribution in this Python environment installs packages with our names. Blocking.

Our packages are called `proxy` and `cache`. If another distribution uses these names, pip mixes the files of both, and
either program may run the other's code.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable
from pathlib import PurePosixPath

OURS = "imgmirror"
_PACKAGES = frozenset({"proxy", "cache"})
_RECORDED = tuple(
    f"\n{quote}{name}{rest}" for quote in ("", '"') for name in sorted(_PACKAGES) for rest in ("/", ".py,")
)
"""How a line of RECORD begins that names a file of such a package."""


def environment_problem(
    distributions: Iterable[importlib.metadata.Distribution] | None = None,
) -> str:
    """Return why imgmirror must not run in this environment, or an empty text.

    distributions: those to check; by default all that this interpreter can import.
    """
    found = importlib.metadata.distributions() if distributions is None else distributions
    others = sorted({name for one in found if _clashes(one) and (name := _name(one)) != OURS})
    if not others:
        return ""
    return (
        f"{', '.join(others)} in this Python environment also installs a package called proxy or cache, and pip "
        "mixes its files with ours: install imgmirror in an environment of its own (pipx, or python -m venv)"
    )


def _name(distribution: importlib.metadata.Distribution) -> str:
    return re.sub(r"[-_.]+", "-", str(distribution.metadata["Name"])).lower()


def _clashes(distribution: importlib.metadata.Distribution) -> bool:
    # Search the text of RECORD: parsing every file name of an environment takes 0.2 s.
    record = f"\n{distribution.read_text('RECORD') or ''}"
    if any(start in record for start in _RECORDED):
        return True
    named = (distribution.read_text("top_level.txt") or "").split()
    return not _PACKAGES.isdisjoint(PurePosixPath(name).name for name in named)
