"""Compares Pillow, libvips and `auto` as decoders: `python benchmarks/images_decoders.py FOLDER_OF_PHOTOS`.

Every photo is resized to 2040 px and saved as JPEG, PNG, WebP and AVIF. Every decoder then renders each file to fit
512 x 512 as JPEG. The decoders take turns, so a busy machine affects all of them. Read the ratios.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageOps

from proxy.images.decode.choice import decoder_for
from proxy.images.decode.pillow import prepare
from proxy.images.jobs import Job, Rendered, Settings, Wish
from proxy.images.pipeline import inspect
from proxy.images.pixels.libvips import has_libvips
from proxy.images.transforms.transform import Transform

DECODERS = ("pillow", "libvips", "auto")
SAVED = {"JPEG": {"quality": 88}, "PNG": {}, "WEBP": {"quality": 80}, "AVIF": {"quality": 65, "speed": 8}}
ROUNDS = 5
WISH = Wish(Transform.parse("width=512,height=512,format=jpeg").resolved({}), ("jpeg",))


def sources(photos: Path, folder: Path) -> dict[str, list[Path]]:
    """Return the files to render by format."""
    found: dict[str, list[Path]] = {name: [] for name in SAVED}
    for photo in sorted(photos.glob("*.[jJ][pP]*[gG]")):
        picture = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
        picture.thumbnail((2040, 2040), Image.Resampling.LANCZOS)
        for name, options in SAVED.items():
            path = folder / f"{photo.stem}.{name}"
            picture.save(path, name, **options)
            found[name].append(path)
    return found


def seconds(path: Path, decoder: str) -> float:
    """Return the time to render a file, with a full check."""
    begun = time.process_time()
    job = Job(str(path), (WISH,), check=True)
    made = inspect(job, Settings(), decoder=decoder_for(decoder), on_facts=lambda _: None).outputs[0]
    taken = time.process_time() - begun
    assert isinstance(made, Rendered), made
    return taken


def main() -> None:
    """Print pictures per second of processor time, and the ratio of each decoder to Pillow."""
    if len(sys.argv) != 2 or not has_libvips():
        sys.exit(f"{__doc__}\nIt needs imgmirror[vips].")
    prepare(max_pixels=50_000_000)
    with tempfile.TemporaryDirectory() as folder:
        for name, paths in sources(Path(sys.argv[1]), Path(folder)).items():
            taken: dict[str, list[float]] = {decoder: [] for decoder in DECODERS}
            for path in paths:
                runs: dict[str, list[float]] = {decoder: [] for decoder in DECODERS}
                for _ in range(ROUNDS):
                    for decoder in DECODERS:
                        runs[decoder].append(seconds(path, decoder))
                for decoder in DECODERS:
                    taken[decoder].append(min(runs[decoder]))
            mean = {decoder: statistics.mean(times) for decoder, times in taken.items()}
            shown = (f"{who} {1 / mean[who]:6.1f}/s {mean['pillow'] / mean[who]:5.2f}" for who in DECODERS)
            print(f"{name:5s} {len(paths)} photos  ", "   ".join(shown), flush=True)


if __name__ == "__main__":
    main()
