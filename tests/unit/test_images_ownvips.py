"""Which libvips is loaded: that of the extra, whatever lies in the way. Each try runs in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.images.pixels.libvips import find_libvips, has_libvips
from proxy.images.pixels.ownvips import bundled_library, is_overwritten

ROOT = Path(__file__).parents[2]
TRY = """
import sys
from PIL import Image
from proxy.images.decode.vips import VipsDecoder
from proxy.images.pixels.ownvips import pyvips
small = pyvips.Image.black(300, 200).resize(0.5)
print(pyvips.version(0), pyvips.version(1), small.width, pyvips.API_mode)
"""

pytestmark = pytest.mark.skipif(bundled_library() is None, reason="pyvips-binary is not installed")


def tried(first: Path) -> list[str]:
    """Return version, width and mode of a process that finds `first` before all other folders."""
    path = os.pathsep.join([str(first), str(ROOT), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", TRY],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": path, "PYTHONDEVMODE": ""},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    "module",
    [
        "raise ImportError('libvips.so.42: cannot open shared object file')\n",
        "raise SystemExit('the module that was compiled against the system was run')\n",
        "ffi = lib = None\n",
    ],
)
def test_library_of_the_extra_is_used_where_its_module_was_overwritten(module: str, tmp_path: Path) -> None:
    """A module that is not linked to it is not even imported."""
    (tmp_path / "_libvips.py").write_text(module)
    major, minor, width, api = tried(tmp_path)
    assert (int(major), int(minor)) >= (8, 16)
    assert (width, api) == ("150", "False")


def test_compiled_module_of_the_extra_is_used_where_it_is_whole(tmp_path: Path) -> None:
    library = bundled_library()
    assert library is not None
    assert not is_overwritten(library)
    assert tried(tmp_path)[3] == "True"


def test_found_library_is_named_with_its_version() -> None:
    assert has_libvips()
    assert find_libvips().bundled
    assert "of the vips extra" in str(find_libvips())
