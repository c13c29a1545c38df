"""Adding a dialect is two edits by hand, and one to configure it (docs/architecture.md): made here on a copy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.dialects.base.grammar import Grammar

ROOT = Path(__file__).parents[2]

TOY = '''
"""Addresses of a toy: `/toy/w300/<source>`."""

import re

from proxy.dialects.base.grammar import Grammar, written
from proxy.dialects.base.opened import OpenedWrapper
from proxy.dialects.base.serving import Served
from proxy.errors import InvalidSource

_REST = re.compile(r"(?:w(\\d+)/)?(https?://.+)", re.DOTALL)


def read(rest, site):
    match = _REST.fullmatch(rest)
    return OpenedWrapper(match[2], {"width": match[1]} if match[1] else {}) if match else None


def serve(rest):
    if (match := _REST.fullmatch(rest)) is None:
        raise InvalidSource("No picture.")
    return Served(match[2], {"width": match[1]} if match[1] else {})


def build(mount, source, options):
    return "/".join([mount, *written(options, {"width": lambda value: f"w{value}"}, "toy"), source])


GRAMMAR = Grammar("toy", read, build=build, serve=serve, mount="/toy/", pictures_only=True)
'''

LOOK = """
from proxy.config import RewriteConfig, WrapperConfig
from proxy.dialects import GRAMMARS, Unwrapper
from proxy.dialects.mounts import mounted
from proxy.errors import InvalidTransform
from proxy.rewrite.base.spot import Spot, Use
from proxy.rewrite.deciding.classify import AddressKind, Classifier

address = GRAMMARS["toy"].build("https://toy.example", "http://h.example/a.png?b=c", {"width": "300"})
assert address == "https://toy.example/w300/http://h.example/a.png?b=c", address
found = Unwrapper([("https://toy.example/", "toy")]).unwrap(address)
assert found.source.url == "http://h.example/a.png?b=c"
assert (found.options, found.dropped) == ({"width": "300"}, ())
around = Unwrapper([("https://toy.example/", "toy")]).unwrap("https://wsrv.nl/?url=" + address.replace("?", "%3F"))
assert around.source.url == "http://h.example/a.png?b=c", around
try:
    GRAMMARS["toy"].build("", "http://h.example/a.png", {"quality": "70"})
except InvalidTransform:
    pass
else:
    raise AssertionError("it cannot carry a quality")
there = mounted("/toy/w300/http://h.example/a.png")
assert there is not None and there.grammar.name == "toy"
served = there.grammar.serve_rest("w300/http://h.example/a.png")
assert (served.source, served.options) == ("http://h.example/a.png", {"width": "300"})
for dialect, is_picture in (("toy", True), ("prefix", False)):
    wrapper = WrapperConfig(prefix="https://toy.example/", dialect=dialect)
    classifier = Classifier(RewriteConfig(wrappers=(wrapper,)), base_url="")
    found = classifier.classify(Spot(0, 0, Use.MAY_SHOW, "text"), "https://toy.example/http://h.example/page")
    assert found.kind is AddressKind.WRAPPER and found.is_picture is is_picture, (dialect, found)
print("all there")
"""


def test_two_edits_add_a_dialect_that_is_opened_built_and_served(tmp_path: Path) -> None:
    """A toy dialect is unwrapped, also inside another wrapper, built, refuses what it cannot say, and has its mount.

    With a word in the configuration, articles may name it, and an address of it is a picture's as its record says.
    """
    for package in ("proxy", "cache"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    dialects = tmp_path / "proxy" / "dialects"
    (dialects / "grammars" / "toy.py").write_text(TOY, encoding="utf-8")
    known = dialects / "known.py"
    text = known.read_text(encoding="utf-8")
    changed = text.replace("    thumbor,\n", "    thumbor,\n    toy,\n", 1)
    changed = changed.replace(
        "        worker.GRAMMAR,\n", "        worker.GRAMMAR,\n        toy.GRAMMAR,\n", 1
    )
    assert changed.count("toy") == 2
    known.write_text(changed, encoding="utf-8")
    words = tmp_path / "proxy" / "config" / "pictures.py"
    text = words.read_text(encoding="utf-8")
    assert text.count('    "cloudinary", "statically",\n') == 1
    words.write_text(text.replace('"statically",\n', '"statically", "toy",\n', 1), encoding="utf-8")
    looked = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert looked.stdout == "all there\n", looked.stderr


def test_dialect_says_whether_its_services_carry_only_pictures() -> None:
    """No default: who adds a dialect decides it."""
    with pytest.raises(TypeError, match="pictures_only"):
        Grammar("toy", lambda rest, site: None)  # type: ignore[call-arg]
