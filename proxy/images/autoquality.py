"""quality=auto: the lowest quality that still looks like the picture. Pure; runs in render processes.

The target is a mean SSIM of luminance (`proxy.images.similarity`) between the picture before and after encoding. The
qualities tried are 31, two steps apart, so that a binary search ends after five encodes whatever happens. It takes for
granted that more quality is more alike, which holds for these encoders but for the third decimal. A picture that no
quality keeps, such as noise, gets the highest tried.

What was found for an original is remembered by each render process: another size of it needs about the same, so the
search begins there and mostly ends after two or three encodes. It ends where it would have ended anyway: results must
not depend on what was asked for before. Of pictures below 200 px, one of fifty has a quality that is less alike than a
lower one, and with it two places to end; these always begin in the middle, as they cost little.
"""

from __future__ import annotations

import io
import itertools
from collections import OrderedDict
from collections.abc import Callable, MutableMapping

from PIL import Image

from proxy.images.similarity import Yardstick

TARGET_SSIM = 0.96
"""What the fixed qualities hold on average: 80, 78 and 50 give 0.974, 0.969 and 0.958 for photos of 512 px."""
QUALITIES = range(30, 91, 2)
MAX_ENCODES = len(QUALITIES).bit_length()
MAX_ENCODES_NEAR = MAX_ENCODES + 2
"""When the search begins at a quality that turns out to be far off."""
MAX_REMEMBERED = 1024
_NEAR_FROM_PIXELS = 1 << 15
"""None of 270 larger results (27 photos, JPEG, WebP, AVIF) fell below the target again at a higher quality."""


class Remembered:
    """What was found for the originals seen last, by format."""

    def __init__(self) -> None:
        self._found: OrderedDict[str, dict[str, int]] = OrderedDict()

    def of(self, original: str) -> MutableMapping[str, int]:
        """Return the qualities found for the original of this name; what is put there is remembered."""
        found = self._found.setdefault(original, {})
        self._found.move_to_end(original)
        if len(self._found) > MAX_REMEMBERED:
            self._found.popitem(last=False)
        return found


def lowest_quality(
    picture: Image.Image, encoded: Callable[[int], bytes], *, near: int | None = None
) -> tuple[int, bytes]:
    """Return the lowest quality whose `encoded` bytes hold the target for `picture`, and those bytes.

    near: one of `QUALITIES` to begin with; ignored for small pictures.
    """
    if picture.width * picture.height < _NEAR_FROM_PIXELS:
        near = None
    yardstick = Yardstick(picture)
    best: tuple[int, bytes] | None = None
    holds = False
    low, high = 0, len(QUALITIES)
    for number in itertools.count():
        if low >= high:
            break
        middle = (low + high) // 2
        if near is not None and number < 2:
            # Its neighbour comes second: mostly that is the end.
            middle = QUALITIES.index(near) if number == 0 else high - 1 if holds else low
        quality = QUALITIES[middle]
        body = encoded(quality)
        with Image.open(io.BytesIO(body)) as shown:
            holds = yardstick.ssim(shown) >= TARGET_SSIM
        if holds:
            high = middle
        else:
            low = middle + 1
        if holds or high == len(QUALITIES):
            best = quality, body
    assert best is not None  # noqa: S101 - there are qualities to try
    return best
