"""`make audit`: an affected floor or pin is found, an accepted fault needs its reason. Offline."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = '[project]\ndependencies = ["{}"]\n[project.optional-dependencies]\nextra = ["{}"]\n'
TABLE = """updated = 2026-01-02
[[advisory]]
package = "Bad_Package"
affected = "<2.1"
ids = ["CVE-1"]
note = "runs what it reads"
[[advisory]]
package = "never-fixed"
affected = ">=0"
ids = ["CVE-2"]
note = "no release without it"
accepted = "docs/why.md"
"""


def audited(
    folder: Path, *, floor: str = "bad.package>=2.1", extra: str = "other", pin: str = "bad-package==2.1"
) -> tuple[int, str]:
    """Return exit code and output of an audit of a project with these requirements."""
    (folder / "docs").mkdir(exist_ok=True)
    (folder / "docs" / "advisories.toml").write_text(TABLE)
    if not (folder / "docs" / "why.md").exists():
        (folder / "docs" / "why.md").write_text("CVE-2 does not reach us.")
    (folder / "pyproject.toml").write_text(PROJECT.format(floor, extra))
    (folder / "requirements.lock").write_text(f"{pin} \\\n    --hash=sha256:0\nnever-fixed==1.0\n")
    (folder / "requirements-dev.lock").write_text("other==1.0 ; python_version < '4'\n")
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "audit.py", folder], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_floors_and_pins_without_faults_pass_and_the_date_is_told(tmp_path: Path) -> None:
    assert audited(tmp_path) == (0, "no known fault in floors and locks (table of 2026-01-02)\n")


@pytest.mark.parametrize(
    "wrong",
    [
        {"floor": "bad-package>=2.0,<3"},
        {"floor": "bad-package"},
        {"extra": "BAD_package~=2.0; python_version > '3'"},
        {"pin": "bad.package==2.0.9"},
    ],
)
def test_affected_floor_or_pin_exits_1_and_is_named(wrong: dict[str, str], tmp_path: Path) -> None:
    code, told = audited(tmp_path, **wrong)
    assert code == 1
    assert "CVE-1" in told
    assert "requirements.lock" in told if "pin" in wrong else "pyproject.toml" in told


def test_accepted_fault_whose_page_does_not_name_it_exits_1(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "why.md").write_text("Nothing to see.")
    code, told = audited(tmp_path)
    assert code == 1
    assert "docs/why.md does not say why" in told


def test_project_itself_passes() -> None:
    done = subprocess.run([sys.executable, ROOT / ".ci" / "audit.py"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_page_for_scanners_names_every_accepted_fault_and_how_many_there_are() -> None:
    """It promises one finding for any installation."""
    table = tomllib.loads((ROOT / "docs" / "advisories.toml").read_text(encoding="utf-8"))
    accepted = [row["ids"] for row in table["advisory"] if "accepted" in row]
    assert accepted == [["CVE-2025-69872"]]
    assert "The table holds one fault" in (ROOT / "docs" / "security-scanners.md").read_text(encoding="utf-8")
