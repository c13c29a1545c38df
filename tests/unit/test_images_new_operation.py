"""Adding an operation is three edits by hand (docs/architecture.md): made here on a copy, then looked at."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

TOY = """
from PIL import ImageOps
from proxy.images.options.readers import Option, whole

OPTIONS = (Option("toy", whole(0, 8), "a whole number from 0 to 8", "keeps so many bits", default=8, short="ty"),)


def apply(picture, wanted, scene):
    return ImageOps.posterize(picture, wanted.toy) if wanted.toy < 8 else picture
"""

LOOK = """
import io, sys
from PIL import Image
from proxy.errors import InvalidTransform
from proxy.images.decode.pillow import PillowDecoder
from proxy.images.jobs import Job, Settings, Wish
from proxy.images.pipeline import inspect
from proxy.images.transforms.transform import Transform, options_table, preset_problems

transform = Transform.parse("ty=1,w=20")
assert transform.canonical() == "toy=1,width=20"
assert Transform.parse(transform.canonical()) == transform
assert Transform.parse("toy=8,w=20").canonical() == "width=20"
try:
    Transform.parse("toy=9")
except InvalidTransform as error:
    assert "toy" in error.message and "from 0 to 8" in error.message
else:
    raise AssertionError("9 was taken")
assert "| `toy`, `ty` | a whole number from 0 to 8 | 8 | keeps so many bits |" in options_table()
assert not preset_problems("dull", {"toy": 2}) and preset_problems("dull", {"toy": 20})
resolved = transform.resolved({})
assert type(resolved).from_wire(resolved.to_wire()) == resolved
assert resolved.text != Transform.parse("w=20").resolved({}).text, "it would be served the other's variant"

Image.new("RGB", (40, 40), (200, 100, 150)).save("picture.png")
wishes = tuple(Wish(Transform.parse(text).resolved({}), ("png",)) for text in ("toy=1,w=20", "w=20"))
outputs = inspect(Job("picture.png", wishes), Settings(), decoder=PillowDecoder(), on_facts=lambda _: None).outputs
pixels = [Image.open(io.BytesIO(output.body)).convert("RGB").getpixel((5, 5)) for output in outputs]
assert pixels == [(128, 0, 128), (200, 100, 150)], pixels
print("all there")
"""


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path.name} has {old!r} {text.count(old)} times"
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_three_edits_add_an_operation_everywhere(tmp_path: Path) -> None:
    """A toy operation is parsed, refused, written canonically, listed, keyed and done on pixels."""
    for package in ("proxy", "cache"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    images = tmp_path / "proxy" / "images"
    (images / "operations" / "toy.py").write_text(TOY, encoding="utf-8")
    operations = images / "operations" / "__init__.py"
    _replace(
        operations, "OPERATIONS = (trim,", "from proxy.images.operations import toy\nOPERATIONS = (toy, trim,"
    )
    _replace(
        images / "options" / "wanted.py",
        '    format: str = "auto"\n',
        '    toy: int = 8\n    format: str = "auto"\n',
    )
    looked = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert looked.stdout == "all there\n", looked.stderr
