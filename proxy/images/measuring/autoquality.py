"""quality=auto: finds the lowest quality that looks like the fixed one. Pure; runs in render processes.

The picture is first encoded with the fixed quality. The mean SSIM of luminance (`proxy.images.measuring.similarity`)
with the unencoded picture sets the target: the distance from a perfect SSIM may grow by 6 %. If the fixed quality does
not reach an SSIM of 0.96, the target is 0.96, which takes more bytes. A common target for all pictures would not work,
because a high SSIM hides visible artefacts in smooth pictures.

The candidates are two steps apart, from 8 below the fixed quality up to 90, so a binary search needs at most six
encodes. The search assumes that a higher quality gives a higher SSIM. For these encoders this is true except for the
third decimal. If no candidate reaches the target, the highest one is used.
"""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image

from proxy.images.measuring.similarity import Yardstick

TARGET_SSIM = 0.96
"""The SSIM that every picture gets if any candidate reaches it."""
ALLOWANCE = 1.06
"""The factor by which the distance from a perfect SSIM may grow. It costs at most 2 points of SSIMULACRA2
(docs/benchmarks.md)."""
STEP = 2
MAX_BELOW = 8
HIGHEST = 90
MAX_ENCODES = 6


def qualities(usual: int) -> range:
    """Return the candidates for the fixed quality `usual`."""
    return range(usual - MAX_BELOW, HIGHEST + 1, STEP)


def target(usual_ssim: float) -> float:
    """Return the SSIM to reach if the fixed quality has `usual_ssim`."""
    return max(TARGET_SSIM, 1 - (1 - usual_ssim) * ALLOWANCE)


def lowest_quality(picture: Image.Image, encoded: Callable[[int], bytes], *, usual: int) -> tuple[int, bytes]:
    """Return the lowest quality that reaches the target for `picture`, and the bytes that `encoded` gives for it.

    usual: the fixed quality.
    """
    yardstick, tried = Yardstick(picture), qualities(usual)

    def shown(quality: int) -> tuple[bytes, float]:
        body = encoded(quality)
        with Image.open(io.BytesIO(body)) as result:
            return body, yardstick.ssim(result)

    body, ssim = shown(usual)
    best, wanted, middle = (usual, body), target(ssim), tried.index(usual)
    low, high = (0, middle) if ssim >= wanted else (middle + 1, len(tried))
    while low < high:
        middle = (low + high) // 2
        body, ssim = shown(tried[middle])
        if ssim >= wanted:
            high = middle
        else:
            low = middle + 1
        if ssim >= wanted or high == len(tried):
            best = tried[middle], body
    return best
