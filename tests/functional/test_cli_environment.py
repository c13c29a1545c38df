"""An environment without other distributions called `proxy` or `cache`; the default configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli import main
from proxy.cli.base.environment import environment_problem
from proxy.config.file import load

ROOT = Path(__file__).parents[2]


def installed(folder: Path, name: str, *files: str, top_level: str = "") -> None:
    """Put the metadata of a distribution into `folder`, as pip does."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text("".join(f"{file},sha256=x,1\n" for file in files))
    if top_level:
        (info / "top_level.txt").write_text(top_level)


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the real command in an environment that also has the packages in `folder`."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "PYTHONDEVMODE": ""}
    return subprocess.run(
        [sys.executable, "-m", "proxy", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("name", "files", "top_level"),
    [
        ("proxy.py", ("proxy/__init__.py", "proxy/http/parser.py"), ""),
        ("cache", ("cache.py",), ""),
        ("old-cache", (), "cache\n"),
        ("Some_Proxy", ("docs/a.txt", "proxy/common.py"), ""),
    ],
)
def test_other_distribution_with_our_package_names_is_refused_by_name(
    name: str, files: tuple[str, ...], top_level: str, tmp_path: Path
) -> None:
    installed(tmp_path, name, *files, top_level=top_level)
    done = run(tmp_path, "serve")
    assert done.returncode == 2
    assert name.lower().replace("_", "-").replace(".", "-") in done.stderr
    assert "environment of its own" in done.stderr


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("diskcache", ("diskcache/cache.py", "diskcache/__init__.py")),
        ("requests-cache", ("requests_cache/cache/__init__.py",)),
        ("proxy-tools", ("proxy_tools/__init__.py", "proxyscrape.py")),
        ("imgmirror", ("proxy/__init__.py", "cache/__init__.py")),
    ],
)
def test_distribution_with_similar_names_is_no_problem(
    name: str, files: tuple[str, ...], tmp_path: Path
) -> None:
    installed(tmp_path, name, *files)
    assert run(tmp_path, "url", "build", "headimg", "http://h.test/a.png").returncode == 0


def test_environment_of_the_tests_is_ours_alone() -> None:
    assert environment_problem() == ""


def test_config_prints_the_commented_defaults_and_they_load(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config"]) == 0
    printed = capsys.readouterr().out
    assert printed == (ROOT / "config.toml").read_text(encoding="utf-8")
    path = tmp_path / "config.toml"
    path.write_text(printed, encoding="utf-8")
    defaults = load(None, {"IMGMIRROR_STORE_DIR": str(tmp_path / "var" / "store")}).config
    assert load(str(path), {}).config.server == defaults.server


def test_config_beside_a_broken_file_still_prints_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is when a good one is wanted most."""
    monkeypatch.chdir(tmp_path)
    Path("config.toml").write_text("[server\n")
    assert main(["config"]) == 0
    assert capsys.readouterr().out.startswith("# imgmirror configuration.")
