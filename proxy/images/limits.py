"""What is refused before it is decoded (docs/pictures.md). Pure; runs in render processes."""

from __future__ import annotations

from proxy.errors import PictureError, TooManyFrames, TooManyPixels
from proxy.images.files.structure import Structure
from proxy.images.formats import PictureFacts
from proxy.images.pool.jobs import Settings

MAX_SCANS = 500
"""Of a JPEG. libjpeg-turbo's advice against progressive files that take minutes (djpeg -maxscans, "Two Issues with the
JPEG Standard"); encoders write about ten."""
USUAL_SCANS = 20
"""As many scans count as one picture; each further 20 as another."""


def beyond_limits(
    facts: PictureFacts, structure: Structure, settings: Settings, *, frames: int
) -> PictureError | None:
    """Return why so many frames of a picture are not decoded, None when they may be."""
    if frames > settings.max_frames:
        return TooManyFrames(f"The picture has more than {settings.max_frames} frames.")
    if structure.scans > MAX_SCANS:
        return TooManyPixels(f"The picture has more than {MAX_SCANS} scans.")
    if _pixels(facts, structure, frames) > settings.max_pixels:
        return TooManyPixels(f"The picture has more than {settings.max_pixels} pixels in all its frames.")
    return None


def _pixels(facts: PictureFacts, structure: Structure, frames: int) -> int:
    """Return how many pixels are decoded for so many frames."""
    size = (facts.width, facts.height)
    if frames > 1:
        # Pillow makes the screen of a GIF as large as its frames reach.
        size = max(size[0], structure.extent[0]), max(size[1], structure.extent[1])
    # Each scan of a JPEG goes over all of the picture's coefficients again.
    return size[0] * size[1] * frames * max(1, structure.scans // USUAL_SCANS)
