"""The photos and what is made of them: the same picture at 2040 px as JPEG, PNG, WebP and AVIF.

Photos come from a folder that the user names, else from a package of the distribution, else they are generated.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path

from PIL import ExifTags, Image, PngImagePlugin
from service import photo

from peers import EXTENSIONS
from peers.origin import MARK

LONGEST_SIDE_PX = 2040
SMALLEST_PX = 1200
PACKAGES = ("lomiri-wallpapers-16.04", "ubuntu-wallpapers", "kodak-images")
GENERATED = 6
_SETTINGS: dict[str, dict[str, int]] = {
    "jpeg": {"quality": 90},
    "png": {"compress_level": 6},
    "webp": {"quality": 90, "method": 4},
    "avif": {"quality": 80, "speed": 8},
}


def photos(folder: Path | None, *, at_most: int | None) -> tuple[list[bytes], str]:
    """Return photos and where they come from, in words."""
    if folder is not None:
        found, origin = _large(sorted(folder.glob("*.jpg"))), f"folder {folder.name}"
        if not found:
            raise SystemExit(f"no JPEG of {SMALLEST_PX} px and more in {folder}")
    else:
        found, origin = _of_packages()
    bodies = [path.read_bytes() for path in found[:at_most]]
    if not bodies:
        count = min(at_most or GENERATED, GENERATED)
        return [photo(seed) for seed in range(count)], "generated, 2040x1360"
    return bodies, origin


def _of_packages() -> tuple[list[Path], str]:
    for package in PACKAGES:
        try:
            command = ["dpkg", "-L", package]
            listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
        found = _large(sorted(Path(line) for line in listed.splitlines() if line.endswith(".jpg")))
        if found:
            return found, f"package {package}"
    return [], ""


def _large(paths: Iterable[Path]) -> list[Path]:
    found = []
    for path in paths:
        with Image.open(path) as picture:
            if max(picture.size) >= SMALLEST_PX:
                found.append(path)
    return found


def make(bodies: list[bytes], formats: Iterable[str], folder: Path) -> dict[str, list[Path]]:
    """Write every photo in every format below `folder`; return the files of each format in the photos' order."""
    made: dict[str, list[Path]] = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for name in formats:
            (folder / name).mkdir()
            paths = [folder / name / f"{number}.{EXTENSIONS[name]}" for number in range(len(bodies))]
            list(pool.map(_write, bodies, paths, [name] * len(bodies)))
            made[name] = paths
    return made


def _write(body: bytes, path: Path, name: str) -> None:
    with Image.open(BytesIO(body)) as opened:
        opened.draft("RGB", (LONGEST_SIDE_PX, LONGEST_SIDE_PX))
        picture = opened.convert("RGB")
    picture.thumbnail((LONGEST_SIDE_PX, LONGEST_SIDE_PX), Image.Resampling.LANCZOS)
    marked: dict[str, object]
    if name == "png":
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", MARK.decode("ascii"))
        marked = {"pnginfo": text}
    else:
        exif = Image.Exif()
        exif[ExifTags.Base.ImageDescription] = MARK.decode("ascii")
        marked = {"exif": exif.tobytes()}
    picture.info = {}
    picture.save(path, name.upper(), **_SETTINGS[name], **marked)
