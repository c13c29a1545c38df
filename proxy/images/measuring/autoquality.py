"""quality=auto: the lowest quality that looks as the fixed one does. Pure; runs in render processes.

The fixed quality is tried first. Its mean SSIM of luminance (`proxy.images.measuring.similarity`) with the picture
before encoding sets the target for this picture: the result may lack 6 % more of a perfect SSIM. Where the fixed
quality does not reach an SSIM of 0.96, the target is 0.96, and more bytes are spent. One target for all pictures would
not do: in smooth pictures a high SSIM hides artefacts that everybody sees.

The qualities tried are two steps apart, from 8 below the fixed one to 90, so that a binary search ends after six
encodes at most. It takes for granted that more quality is more alike, which holds for these encoders but for the third
decimal. A picture that no quality keeps gets the highest one tried.
"""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image

from proxy.images.measuring.similarity import Yardstick

TARGET_SSIM = 0.96
"""What every picture gets at least, if any quality tried reaches it."""
ALLOWANCE = 1.06
"""How much less alike than with the fixed quality: 2 points of SSIMULACRA2 at most (docs/benchmarks.md)."""
STEP = 2
MAX_BELOW = 8
HIGHEST = 90
MAX_ENCODES = 6


def qualities(usual: int) -> range:
    """Return the qualities that are tried where `usual` is the fixed one."""
    return range(usual - MAX_BELOW, HIGHEST + 1, STEP)


def target(usual_ssim: float) -> float:
    """Return the SSIM to hold where the fixed quality has `usual_ssim`."""
    return max(TARGET_SSIM, 1 - (1 - usual_ssim) * ALLOWANCE)


def lowest_quality(picture: Image.Image, encoded: Callable[[int], bytes], *, usual: int) -> tuple[int, bytes]:
    """Return the lowest quality whose `encoded` bytes hold the target for `picture`, and those bytes.

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
