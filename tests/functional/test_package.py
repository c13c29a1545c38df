"""The wheel: what a stranger installs holds both packages, their data, and nothing else."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
        env=os.environ | {"PYTHONWARNINGS": "default", "PYTHONDEVMODE": ""},
    )
    (built,) = folder.glob("imgmirror-*.whl")
    return zipfile.ZipFile(built)


def test_wheel_holds_every_module(wheel: zipfile.ZipFile) -> None:
    """`cache/` in particular: an ignore rule without an anchor removes it in silence."""
    inside = set(wheel.namelist())
    for package in ("cache", "proxy"):
        for path in (ROOT / package).rglob("*.py"):
            assert str(path.relative_to(ROOT)) in inside
    assert "cache/durable_tier.py" in inside


def test_wheel_holds_the_data_files(wheel: zipfile.ZipFile) -> None:
    inside = set(wheel.namelist())
    data = [
        path for path in (ROOT / "proxy").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    for path in data:
        assert str(path.relative_to(ROOT)) in inside
    assert "proxy/py.typed" in inside
    assert "proxy/web/templates/home.html" in inside


def test_wheel_holds_the_default_configuration_of_the_checkout(wheel: zipfile.ZipFile) -> None:
    assert wheel.read("proxy/config.toml") == (ROOT / "config.toml").read_bytes()


def test_wheel_carries_its_licence(wheel: zipfile.ZipFile) -> None:
    (licence,) = [name for name in wheel.namelist() if name.endswith("/licenses/LICENSE")]
    assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()
    (metadata,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    assert b"License-Expression: MIT" in wheel.read(metadata)


def test_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"cache", "proxy"}


def test_wheel_names_the_command(wheel: zipfile.ZipFile) -> None:
    (entry,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert b"imgmirror = proxy.cli:main" in wheel.read(entry)
