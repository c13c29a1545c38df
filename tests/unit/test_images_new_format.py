"""Adding an output format is three edits by hand (docs/architecture.md): made here on a copy, then looked at."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

TOY = """
from proxy.images.formats.record import PictureFormat, Written
from proxy.images.operations.background import WHITE


def _write(result):
    picture = result.picture.convert("RGB")
    return b"TOY\\x01" + b"%d %d\\n" % picture.size + picture.tobytes()


TOY = PictureFormat(
    "toy", "Toy", "image/x-toy", is_decoded=False, written=Written(_write, 3, effort=3, max_side_px=90)
)
"""

LOOK = """
from PIL import Image
from proxy.dialects import GRAMMARS
from proxy.errors import InvalidTransform, TooManyPixels
from proxy.fetch.media import decide
from proxy.images import memory_budget
from proxy.images.pool.shared_decodes import deal
from proxy.images.choice import EncodeFinding
from proxy.images.decode.pillow import PillowDecoder
from proxy.images.formats import MEDIA_TYPES, RENDERABLE, sniff
from proxy.images.jobs import Job, Settings, Wish
from proxy.images.pipeline import inspect
from proxy.images.decode.registered import SAVED
from proxy.images.transforms.transform import Transform, options_table

# Other dialects cannot ask for it before their words (`FORMATS` of proxy/dialects/base/asked.py) say so.
for grammar in GRAMMARS.values():
    try:
        if grammar.build:
            raise AssertionError(grammar.build("", "https://h.example/a", {"width": "20", "format": "toy"}))
    except InvalidTransform:
        pass

resolved = Transform.parse("f=toy,w=20").resolved({})
assert resolved.format == "toy"
assert "one of auto, avif, webp, toy, jpeg" in options_table()
assert MEDIA_TYPES["toy"] == "image/x-toy" and "toy" not in RENDERABLE and "TOY" in SAVED
assert sniff(b"TOY\\x01...") == "toy" and decide(b"TOY\\x01...", None) == "image/x-toy"
assert memory_budget.results([memory_budget.ExpectedResult((10, 10), ("toy",))]) > 0
assert EncodeFinding.from_dict({"sizes": {"toy": 5}, "smallest": True}).sizes == {"toy": 5}

Image.new("RGB", (100, 40), (200, 100, 150)).save("picture.png")
wishes = (Wish(resolved, ("toy",)), Wish(Transform.parse("f=toy").resolved({}), ("toy",)))
assert len(deal(wishes, 2)) == 2
small, large = inspect(
    Job("picture.png", wishes), Settings(), decoder=PillowDecoder(), on_facts=lambda _: None
).outputs
assert small.body == b"TOY\\x0120 8\\n" + bytes((200, 100, 150)) * 160, small.body
assert isinstance(large, TooManyPixels) and "A Toy picture has at most 90 pixels" in large.message, large
print("all there")
"""


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path.name} has {old!r} {text.count(old)} times"
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_three_edits_add_an_output_format_everywhere(tmp_path: Path) -> None:
    """A toy format is recognised, asked for, budgeted, dealt, written, limited and described."""
    for package in ("proxy", "cache"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    formats = tmp_path / "proxy" / "images" / "formats"
    (formats / "toy.py").write_text(TOY, encoding="utf-8")
    _replace(
        formats / "__init__.py",
        "FORMATS = (AVIF, WEBP,",
        "from proxy.images.formats.toy import TOY\nFORMATS = (AVIF, WEBP, TOY,",
    )
    _replace(
        tmp_path / "proxy" / "signatures.py",
        '    (b"GIF87a", "image/gif"),\n',
        '    (b"GIF87a", "image/gif"),\n    (b"TOY\\x01", "image/x-toy"),\n',
    )
    looked = subprocess.run(
        [sys.executable, "-c", LOOK],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert looked.stdout == "all there\n", looked.stderr
