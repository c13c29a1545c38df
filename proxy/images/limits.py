"""Checks the limits of a picture before it is decoded (docs/pictures.md). Pure; runs in render processes."""

from __future__ import annotations

from proxy.errors import PictureError, TooManyFrames, TooManyPixels
from proxy.images.files.structure import Structure
from proxy.images.formats import PictureFacts
from proxy.images.jobs import Settings

MAX_SCANS = 500
"""The most scans of a JPEG. libjpeg-turbo advises a limit, because progressive files can take minutes (djpeg -maxscans,
"Two Issues with the JPEG Standard"); encoders write about ten."""
USUAL_SCANS = 20
"""Every 20 scans count as one picture; fewer count as one too."""


def beyond_limits(
    facts: PictureFacts, structure: Structure, settings: Settings, *, frames: int
) -> PictureError | None:
    """Return why this many frames of a picture must not be decoded, or None if they may be."""
    if frames > settings.max_frames:
        return TooManyFrames(f"The picture has more than {settings.max_frames} frames.")
    if structure.scans > MAX_SCANS:
        return TooManyPixels(f"The picture has more than {MAX_SCANS} scans.")
    if _pixels(facts, structure, frames) > settings.max_pixels:
        return TooManyPixels(f"The picture has more than {settings.max_pixels} pixels in all its frames.")
    return None


def _pixels(facts: PictureFacts, structure: Structure, frames: int) -> int:
    """Return the number of pixels to decode for this many frames."""
    size = (facts.width, facts.height)
    if frames > 1:
        # Pillow makes the screen of a GIF large enough for all of its frames.
        size = max(size[0], structure.extent[0]), max(size[1], structure.extent[1])
    # Each scan of a JPEG processes all coefficients of the picture again.
    return size[0] * size[1] * frames * max(1, structure.scans // USUAL_SCANS)
