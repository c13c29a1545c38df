"""Brightness, contrast, saturation and gamma: factors, where 1 changes nothing. Runs in a render process.

As in Cloudflare's service, 0 is ignored, except for saturation, where it means grey. Transparency does not change.
"""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image, ImageEnhance

from proxy.images.operations.scene import Scene
from proxy.images.options.readers import Option, decimal
from proxy.images.options.wanted import Wanted

_RANGE = "a number from 0 to 10 ({} nothing)"


def _factor(name: str, meaning: str) -> Option:
    return Option(
        name, decimal(0.0001, 10, zero_means=1.0), _RANGE.format("0 and 1 change"), meaning, default=1.0
    )


OPTIONS = (
    _factor("brightness", "0.5 is half as bright, 2 twice as bright"),
    _factor("contrast", "0.5 is half the contrast, 2 twice; middle grey stays"),
    Option(
        "saturation",
        decimal(0, 10),
        _RANGE.format("1 changes"),
        "0 is grey, 2 twice as colourful",
        default=1.0,
    ),
    _factor("gamma", "0.5 darkens, 2 lightens the middle tones"),
)


def apply(picture: Image.Image, wanted: Wanted, scene: Scene) -> Image.Image:
    """Return `picture` with adjusted tones."""
    steps = [step for step in _steps(wanted) if step is not None]
    if not steps:
        return picture
    alpha = picture.getchannel("A") if picture.mode == "RGBA" else None
    colours = picture.convert("RGB") if picture.mode == "RGBA" else picture
    for step in steps:
        colours = step(colours)
    if alpha is not None:
        colours = colours.convert("RGBA")
        colours.putalpha(alpha)
    return colours


def _steps(wanted: Wanted) -> list[Callable[[Image.Image], Image.Image] | None]:
    return [
        _enhanced(ImageEnhance.Brightness, wanted.brightness),
        _contrast(wanted.contrast),
        _enhanced(ImageEnhance.Color, wanted.saturation),
        _gamma(wanted.gamma),
    ]


def _enhanced(
    kind: Callable[[Image.Image], ImageEnhance._Enhance], factor: float
) -> Callable[[Image.Image], Image.Image] | None:
    if factor == 1.0:
        return None
    return lambda picture: kind(picture).enhance(factor)


def _contrast(factor: float) -> Callable[[Image.Image], Image.Image] | None:
    """Return the contrast function of CSS (Filter Effects Module Level 1), which pivots on middle grey.

    A contrast around the picture's own mean would depend on colours that are hidden under transparency, and on the
    frame.
    """
    if factor == 1.0:
        return None
    table = [min(255, max(0, round(127.5 + (step - 127.5) * factor))) for step in range(256)]
    return lambda picture: picture.point(table * len(picture.getbands()))


def _gamma(gamma: float) -> Callable[[Image.Image], Image.Image] | None:
    if gamma == 1.0:
        return None
    table = [round(255 * (step / 255) ** (1 / gamma)) for step in range(256)]
    return lambda picture: picture.point(table * len(picture.getbands()))
