"""What the documents say is true: tables, signatures, commands, targets and links are compared with the code."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from proxy import errors
from proxy.cli import COMMANDS
from proxy.images.transforms.transform import Transform, options_table
from proxy.services.serving.values import PROXY_ERRORS
from proxy.services.troubles.negatives import KINDS
from proxy.signing import Signer

ROOT = Path(__file__).parents[2]
API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "changes").glob("*.md"))]


def rows(section: str) -> list[list[str]]:
    """Return the cells of the table under a heading of docs/api.md, without its head."""
    text = re.split(r"^## ", API.split(f"## {section}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]


def every_error(kind: type[errors.MirrorError] = errors.MirrorError) -> list[type[errors.MirrorError]]:
    own = [kind] if "code" in vars(kind) else []
    return [*own, *(found for child in kind.__subclasses__() for found in every_error(child))]


def test_options_table_is_the_one_of_the_code() -> None:
    there = f"<!-- options -->\n{options_table()}\n<!-- /options -->" in API
    assert there, (
        f"put this between <!-- options --> and <!-- /options --> of docs/api.md:\n{options_table()}"
    )


def test_errors_table_has_every_code_with_its_status_and_no_other() -> None:
    documented = {code: int(status) for code, status, *_ in rows("Errors")}
    coded = {kind.code: kind.status for kind in every_error()}
    assert documented == coded, 'each code and its status is a row of the table "Errors" in docs/api.md'


@pytest.mark.parametrize("row", rows("Signatures"), ids=lambda row: row[1])
def test_signature_vector_verifies(row: list[str]) -> None:
    key, options, source, exp, signature = row
    canonical = options if options == "original" else Transform.parse(options).canonical()
    assert Signer((key,)).sign(canonical, source, exp=int(exp) if exp else None) == signature


def test_three_signature_vectors_are_given() -> None:
    assert len(rows("Signatures")) >= 3


def test_kinds_of_failure_have_the_times_of_the_code() -> None:
    text = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")
    table = text.split("<!-- kinds -->\n", 1)[1].split("<!-- /kinds -->", 1)[0].splitlines()[2:]
    cells = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table]
    units = {"s": 1, "min": 60}
    documented = {
        kind: (code, int(time.split()[0]) * units[time.split()[1]], dead)
        for kind, code, time, dead, _when in cells
    }
    assert documented == {
        kind: (found.error.code, found.seconds, "yes" if found.is_dead else "no")
        for kind, found in KINDS.items()
    }, "each kind of KINDS has a row of the table between <!-- kinds --> in docs/failures.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_page_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_targets_of_page_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    # In running text, `make` and `imgmirror` also are plain words: only code is looked at.
    code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"^    (.+)$", text, re.MULTILINE)
    for line in code:
        for command in re.findall(r"\bimgmirror ([a-z]+)\b", line):
            assert command in COMMANDS, line
        for target in re.findall(r"^make ([a-z-]+)\b", line):
            assert target in targets, line


CACHING = (ROOT / "docs" / "caching.md").read_text(encoding="utf-8")
RULES = [
    line for line in CACHING.partition("## Rules")[2].partition("\n## ")[0].splitlines() if "`test_" in line
]


def names_below(folder: str) -> set[str]:
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "tests" / folder).glob("test_*.py"))
    return {name for text in texts for name in re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE)}


def test_rules_of_caching_are_shown_by_tests_that_exist() -> None:
    """Every name is a test, and a rule has one of a pure function or one through a real service, most have both."""
    unit, functional = names_below("unit"), names_below("functional")
    named = {row: set(re.findall(r"`(test_\w+)`", row)) for row in RULES}
    assert len(named) > 30
    assert not {name for names in named.values() for name in names} - unit - functional
    assert sum(bool(names & unit and names & functional) for names in named.values()) > len(named) / 2


def test_every_code_is_an_error_of_the_proxy_or_an_answer_of_the_origin() -> None:
    """RFC 9209: what has no error type in Proxy-Status is told by `received-status` and `details`."""
    of_the_origin = {"source_not_found", "source_refused", "source_failed"}
    of_the_picture = {kind.code for kind in every_error(errors.PictureError)} - {"render_timeout"}
    codes = {kind.code for kind in every_error()}
    undecided = (codes - PROXY_ERRORS.keys()) ^ (of_the_origin | of_the_picture)
    assert not undecided, (
        f"{undecided}: an answer of the origin belongs to of_the_origin here; "
        "every other failure has its error type in PROXY_ERRORS of proxy/services/serving/values.py"
    )
    assert codes >= PROXY_ERRORS.keys(), "PROXY_ERRORS has a code that no error has"


def test_unit_that_filters_system_calls_allows_landlock_by_name(tmp_path: Path) -> None:
    """The advice names the calls, and the systemd of this machine, if there is one, knows every word of it."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    advice = [line for line in text.splitlines() if line.startswith("SystemCall")]
    named = {word for line in advice for word in line.partition("=")[2].split()}
    assert named >= {
        "@system-service",
        "landlock_create_ruleset",
        "landlock_add_rule",
        "landlock_restrict_self",
    }
    assert "SystemCallErrorNumber=EPERM" in advice
    if analyze := shutil.which("systemd-analyze"):
        unit = tmp_path / "tried.service"
        unit.write_text("\n".join(["[Service]", "ExecStart=/bin/true", *advice, ""]), encoding="utf-8")
        told = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
        assert "SystemCall" not in told.stderr
        assert "nknown" not in told.stderr
