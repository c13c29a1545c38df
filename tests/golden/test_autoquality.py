"""quality=auto against the fixed qualities, on the photos of the corpus."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image

from proxy.images.encode import Result, encode
from proxy.images.measuring.autoquality import ALLOWANCE, TARGET_SSIM, qualities
from proxy.images.measuring.similarity import Yardstick
from proxy.images.transforms.resolved import Resolved

ROOT = Path(__file__).parents[2]
PHOTOS = sorted((ROOT.parent / "shared" / "corpus" / "photos").glob("*.jpg"))
USUAL = {"jpeg": 80, "webp": 78, "avif": 50}
MAX_LOSS = 3.0
"""Points of SSIMULACRA2."""

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not PHOTOS, reason="the picture corpus is not beside the project"),
]

sys.path.insert(0, str(ROOT / "benchmarks"))
from autoquality import compared, made_smaller  # noqa: E402 - benchmarks are no package


@pytest.mark.parametrize("output_format", USUAL)
@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_photo_lacks_hardly_more_than_with_the_fixed_quality(path: Path, output_format: str) -> None:
    """By the measure of the search itself, the found quality is one of the candidates and holds its target."""
    picture = made_smaller(path)
    yardstick = Yardstick(picture)

    def ssim(quality: int | Literal["auto"] | None) -> float:
        result = Result(((picture, 0),), 0, b"", Resolved(quality=quality))
        with Image.open(io.BytesIO(encode(result, output_format))) as shown:
            return yardstick.ssim(shown)

    fixed, auto = ssim(None), ssim("auto")
    assert auto >= max(TARGET_SSIM, 1 - (1 - fixed) * ALLOWANCE) or auto == ssim(
        qualities(USUAL[output_format])[-1]
    )


@pytest.mark.parametrize("output_format", USUAL)
@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_photo_scores_at_most_three_points_below_the_fixed_quality(path: Path, output_format: str) -> None:
    """SSIMULACRA2 sees differences that a mean of luminance does not."""
    pytest.importorskip("ssimulacra2", reason="the package ssimulacra2 is not installed")
    fixed, auto, _ = compared(made_smaller(path), output_format)
    assert auto >= fixed - MAX_LOSS
