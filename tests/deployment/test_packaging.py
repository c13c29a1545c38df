"""What `make release` builds: installed in a clean environment, it is the whole program."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = [pytest.mark.deployment, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]


def release_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("imgmirror_release", ROOT / ".ci" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RELEASE = release_script()


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel, which is built from the source distribution, and that."""
    built: tuple[Path, Path] = RELEASE.build(tmp_path_factory.mktemp("dist"))
    return built


@pytest.fixture(scope="module", params=["wheel", "sources"])
def command(
    request: pytest.FixtureRequest, distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The command in an environment into which pip installed nothing else, with the locked versions."""
    folder = tmp_path_factory.mktemp("environment")
    versions = re.findall(
        r"^[\w.-]+==\S+(?: ; .*?)?(?= \\$)",
        (ROOT / "requirements-dev.lock").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    (folder / "constraints.txt").write_text("\n".join(versions), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    chosen = distributions[0 if request.param == "wheel" else 1]
    python = str(folder / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "-q", "install"]
    done = subprocess.run(
        [*pip, "--constraint", str(folder / "constraints.txt"), f"{chosen}[all]"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return folder / "venv" / "bin" / "imgmirror"


def run(command: Path, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command far away from the checkout, with nothing of this environment."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder)}
    return subprocess.run(
        [command, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_nothing_is_wrong_with_the_distributions(distributions: tuple[Path, Path]) -> None:
    """The sources hold every module of the wheel, and the files of deploy/."""
    assert RELEASE.problems(*distributions) == []


def test_installed_program_tells_the_whole_story(command: Path, tmp_path: Path) -> None:
    """The demo rewrites, warms, serves and compares, from the installed files alone."""
    done = run(command, "demo", "--once", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 of 7 wrapper addresses replaced" in done.stdout
    assert "FAILED" not in done.stdout


def test_installed_program_has_its_configuration_codecs_and_completion(command: Path, tmp_path: Path) -> None:
    """`[all]` brings libvips and OpenTelemetry."""
    assert run(command, "config", folder=tmp_path).stdout == (ROOT / "config.toml").read_text(
        encoding="utf-8"
    )
    doctor = run(command, "doctor", "--offline", folder=tmp_path)
    assert doctor.returncode == 0
    assert "libvips" in doctor.stdout
    for shell in RELEASE.SHELLS:
        assert "imgmirror" in run(command, "completion", shell, folder=tmp_path).stdout


def test_manual_page_names_every_command_and_is_well_formed(tmp_path: Path) -> None:
    """mandoc finds no error in it."""
    page: str = RELEASE.manual_page()
    plain = re.sub(r"\\(f[A-Z]|[,/])", "", page)
    for name in ("serve", "rewrite", "warm", "store", "doctor", "completion"):
        assert f"imgmirror {name}" in plain
    if shutil.which("mandoc"):
        (tmp_path / "imgmirror.1").write_text(page, encoding="utf-8")
        told = subprocess.run(
            ["mandoc", "-T", "lint", "-W", "error", tmp_path / "imgmirror.1"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.stdout == ""


def test_changelog_has_every_version_newest_first(tmp_path: Path) -> None:
    """0.10 comes before 0.9; links lead from the top folder."""
    for name, text in (("unreleased", "U"), ("0.9.0", "N [a](../docs/api.md)"), ("0.10.0", "T\n\n## Part")):
        (tmp_path / f"{name}.md").write_text(f"# {name}\n\n{text}\n", encoding="utf-8")
    page: str = RELEASE.changelog(tmp_path)
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        "# Changelog",
        "## unreleased",
        "## 0.10.0",
        "### Part",
        "## 0.9.0",
    ]
    assert "[a](docs/api.md)" in page
