"""Compare the floors of pyproject.toml and the pins of the locks with the table of public faults. Asks nobody.

Exit 1 when a floor admits, or a lock pins, a version with a known fault that is not accepted with a reason.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

LOCKS = ("requirements.lock", "requirements-dev.lock")
TABLE = Path("docs/advisories.toml")
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)
_FLOORS = frozenset({">=", "==", "~="})


def main(root: Path) -> int:
    """Print what is wrong below `root`; return the exit code."""
    table = tomllib.loads((root / TABLE).read_text(encoding="utf-8"))
    problems = [*_unexplained(root, table["advisory"])]
    for place, name, version in (*_floors(root), *_pins(root)):
        problems += [
            f"{place}: {name} {version}: {fault}" for fault in _faults(table["advisory"], name, version)
        ]
    for problem in problems:
        print(problem, file=sys.stderr)  # noqa: T201 - it is what the program is for
    if not problems:
        print(f"no known fault in floors and locks (table of {table['updated']})")  # noqa: T201 - as above
    return int(bool(problems))


def _faults(advisories: list[dict[str, Any]], name: str, version: Version) -> Iterator[str]:
    for advisory in advisories:
        concerned = canonicalize_name(advisory["package"]) == name and "accepted" not in advisory
        if concerned and SpecifierSet(advisory["affected"]).contains(version, prereleases=True):
            yield f"{', '.join(advisory['ids'])} (affected: {advisory['affected']}; {advisory['note']})"


def _unexplained(root: Path, advisories: list[dict[str, Any]]) -> Iterator[str]:
    for advisory in advisories:
        page = advisory.get("accepted")
        if page is None:
            continue
        text = (root / page).read_text(encoding="utf-8") if (root / page).exists() else ""
        missing = [name for name in advisory["ids"] if name not in text]
        if missing:
            yield f"{TABLE}: {', '.join(missing)} is accepted, but {page} does not say why"


def _floors(root: Path) -> Iterator[tuple[str, str, Version]]:
    """Yield the oldest version that each dependency admits; 0 for one without a floor."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project.get("optional-dependencies", {}).values()
    for text in [*project["dependencies"], *(text for extra in extras for text in extra)]:
        wanted = Requirement(text)
        floors = [Version(one.version) for one in wanted.specifier if one.operator in _FLOORS]
        yield "pyproject.toml", canonicalize_name(wanted.name), max(floors, default=Version("0"))


def _pins(root: Path) -> Iterator[tuple[str, str, Version]]:
    for lock in LOCKS:
        for name, version in _PIN.findall((root / lock).read_text(encoding="utf-8")):
            yield lock, canonicalize_name(name), Version(version)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]))
