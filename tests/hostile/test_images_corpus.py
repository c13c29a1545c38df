"""Other people's pictures, good and bad: good ones are rendered correctly, and bad ones get an error of the
contract."""

from __future__ import annotations

import configparser
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from proxy.config import RenderConfig
from proxy.images.decode.pillow import PillowDecoder, prepare
from proxy.images.formats import PictureFacts
from proxy.images.formats.probe import structure_of
from proxy.images.jobs import Inspection, Job, Rendered, Settings, Wish
from proxy.images.pipeline import inspect
from proxy.images.pixels.libvips import has_libvips
from proxy.images.pool.workers import RenderPool
from proxy.images.transforms.transform import Transform

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
WISH = Wish(Transform.parse("width=64").resolved({}), ("webp", "fallback"))
CODES = {"not_an_image", "unsupported_format", "decode_failed", "too_many_pixels", "too_many_frames"}
# What these GIFs promise cannot be decoded by Pillow: no picture in them, or codes beyond the table.
UNREADABLE_GIFS = {
    "image-zero-height", "image-zero-size", "image-zero-width", "invalid-code", "max-size", "no-data",
    "overflow-codes", "overflow-codes-max", "zero-height", "zero-size", "zero-width",
}  # fmt: skip

# Pictures put together from several without delay: browsers, and we, show them one after the other.
PUT_TOGETHER = {
    "animation-multi-image", "animation-multi-image-explicit-zero-delay", "dispose-restore-previous", "high-color",
    "images-combine", "images-overlap",
}  # fmt: skip

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the picture corpus is not beside the project"),
]


def inspected(path: Path, *, max_pixels: int = 20_000_000) -> Inspection:
    prepare(max_pixels=max_pixels)
    settings = Settings(max_pixels=max_pixels)
    return inspect(
        Job(str(path), (WISH,), check=True), settings, decoder=PillowDecoder(), on_facts=lambda _: None
    )


def facts_of(path: Path) -> PictureFacts:
    inspection = inspected(path)
    assert inspection.verdict == "whole", (path.name, inspection.error and inspection.error.detail)
    assert inspection.facts is not None
    return inspection.facts


def files(folder: str, pattern: str) -> list[Path]:
    return sorted((CORPUS / folder).rglob(pattern))


def test_camera_orientations_are_undone() -> None:
    """Landscapes come out wide and portraits tall; an invalid tag changes nothing."""
    for path in files("orientation", "*.jpg"):
        facts = facts_of(path)
        upright = (1800, 1200) if path.name.startswith("Landscape") else (1200, 1800)
        assert (facts.width, facts.height) == upright, path.name


def test_orientations_in_png_are_undone() -> None:
    """Tags 5 to 8 swap the sides, wherever the eXIf chunk stands."""
    for path in files("orientation-png", "*.png"):
        facts = facts_of(path)
        reader = Image.Exif()
        reader.load(structure_of(path, "png", max_frames=1).exif)
        swapped = reader.get(274) in {5, 6, 7, 8}
        assert (facts.width, facts.height) == ((100, 200) if swapped else (200, 100)), path.name


def test_valid_png_are_whole_and_damaged_ones_are_not() -> None:
    """Every valid file of the suite is rendered, and every damaged one gets an error, except one that is readable."""
    paths = files("pngsuite", "*.png")
    verdicts = {path.name: inspected(path).verdict for path in paths}
    assert {
        name for name, verdict in verdicts.items() if verdict != "whole" and not name.startswith("x")
    } == set()
    bad = Counter(verdict for name, verdict in verdicts.items() if name.startswith("x"))
    assert bad["whole"] <= 1
    assert len(paths) > 150


def test_gifs_have_the_frames_and_size_they_promise() -> None:
    """Size and number of frames are those in the configuration of each file."""
    checked = 0
    for path in files("gif", "*.conf"):
        promised = configparser.ConfigParser()
        promised.read_string(path.read_text(encoding="utf-8"))
        settings = promised["config"]
        if path.stem in UNREADABLE_GIFS:
            continue
        facts = facts_of(path.with_name(settings["input"]))
        frames = [name for name in settings.get("frames", "").split(",") if name]
        assert facts.frames == max(1, len(frames)) or path.stem in PUT_TOGETHER, path.name
        assert facts.width >= int(settings["width"]), path.name
        checked += 1
    assert checked > 60


@pytest.mark.parametrize("folder", ["bad-images", "hostile-fuzz", "apng", "gif"])
def test_any_file_is_answered(folder: str) -> None:
    """Any file gets a result or an error of the contract."""
    paths = [path for path in files(folder, "*") if path.is_file()]
    for path in paths:
        inspection = inspected(path)
        output = inspection.outputs[0]
        assert isinstance(output, Rendered) or output.code in CODES, path.name
    assert paths


def answered(inspection: Inspection) -> tuple[str, str]:
    """Return the values that a client and the store would get."""
    output = inspection.outputs[0]
    return inspection.verdict, output.output_format if isinstance(output, Rendered) else output.code


CAGED_FOLDERS = ("bad-images", "hostile-fuzz", "apng", "gif", "pngsuite", "orientation-png")


async def test_cage_changes_no_answer_and_no_file_ends_a_process() -> None:
    """A system call that a codec needs and the cage refuses would show as damage, or as a dead process."""
    pool = RenderPool(RenderConfig(decoder="pillow"), processes=2, readable=(CORPUS,))
    await pool.start()
    paths = [path for folder in CAGED_FOLDERS for path in files(folder, "*") if path.is_file()]
    max_pixels = RenderConfig().max_pixels
    for path in paths:
        caged = await pool.run(Job(str(path), (WISH,), check=True))
        assert not caged.killed, (path.name, caged.error and caged.error.detail)
        assert answered(caged) == answered(inspected(path, max_pixels=max_pixels)), path.name
    assert len(paths) > 500
    await pool.close()


@pytest.mark.skipif(not has_libvips(), reason="libvips is not installed (imgmirror[vips])")
async def test_no_file_ends_a_caged_process_of_libvips() -> None:
    """libvips is stricter, so its verdicts may differ, but its process must survive."""
    pool = RenderPool(RenderConfig(decoder="libvips"), processes=2, readable=(CORPUS,))
    await pool.start()
    for path in (path for folder in CAGED_FOLDERS for path in files(folder, "*") if path.is_file()):
        caged = await pool.run(Job(str(path), (WISH,), check=True))
        assert not caged.killed, (path.name, caged.error and caged.error.detail)
        output = caged.outputs[0]
        assert isinstance(output, Rendered) or output.code in CODES, path.name
    await pool.close()
