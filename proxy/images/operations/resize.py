"""Resize: width, height, fit, upscale, gravity and dpr form one operation. Pure; runs in a render process.

`geometry` computes the plan. This module applies it to pixels: it crops and resamples in one step, then adds the
canvas.
"""

from __future__ import annotations

import re

from PIL import Image

from proxy.images.geometry import FITS, SIDES, ResizePlan, focus_of, make_plan
from proxy.images.operations import attention
from proxy.images.operations.background import fill_colour
from proxy.images.operations.scene import Scene
from proxy.images.options.readers import (
    Option,
    Value,
    choice,
    decimal,
    flag,
    whole,
    word_for_none,
    word_or,
)
from proxy.images.options.wanted import Wanted
from proxy.images.pixels.resampling import Resample

AUTO = "auto"
"""The value of width and dpr that stands for the hints of a request; see `proxy.images.transforms.resolved`."""
MAX_ASKED_PX = 32767
"""The largest size that an address can ask for. The configuration sets the limit that matters
(`render.max_output_side`)."""

_POINT = re.compile(r"([01](?:\.[0-9]{1,4})?)x([01](?:\.[0-9]{1,4})?)")


def read_gravity(text: str) -> Value:
    """Parse a side, a corner, `auto`, or a point such as `0.5x0.2`. Equal places get the same spelling."""
    word = {"centre": "center"}.get(text, text)
    if word == "auto" or word in SIDES:
        return word
    match = _POINT.fullmatch(text)
    if match is None or float(match[1]) > 1 or float(match[2]) > 1:
        raise ValueError
    point = float(match[1]), float(match[2])
    named = [name for name, place in SIDES.items() if place == point]
    return named[0] if named else f"{_short(point[0])}x{_short(point[1])}"


def _short(number: float) -> str:
    return f"{number:.4f}".rstrip("0").rstrip(".")


OPTIONS = (
    Option(
        "width",
        word_or(AUTO, whole(1, MAX_ASKED_PX)),
        f"a whole number of pixels from 1 to {MAX_ASKED_PX}, or auto",
        "width in CSS pixels (multiplied by dpr); auto: the browser's hint if hints are enabled, else as absent",
        short="w",
    ),
    Option(
        "height",
        whole(1, MAX_ASKED_PX, unset="auto"),
        f"a whole number of pixels from 1 to {MAX_ASKED_PX}, or auto",
        "height in CSS pixels (multiplied by dpr)",
        short="h",
        write=word_for_none("auto"),
    ),
    Option(
        "dpr",
        word_or(AUTO, decimal(1, 8)),
        "a number from 1 to 8, or auto",
        "device pixels per CSS pixel; auto: the browser's hint if hints are enabled, else 1",
        default=1.0,
    ),
    Option(
        "fit",
        choice(*FITS),
        f"one of {', '.join(FITS)}",
        "how the picture fits into the area",
        default="scale-down",
    ),
    Option(
        "upscale",
        flag,
        "true or false",
        "whether contain, cover, crop, pad and squeeze may enlarge; when absent, only contain may not",
    ),
    Option(
        "gravity",
        read_gravity,
        f"auto, {', '.join(SIDES)}, or a point XxY with X and Y from 0 to 1",
        "which part stays visible when the picture is cut; auto: the part with striking edges, colours or skin",
        default="center",
        short="g",
    ),
)


def settle(picture: Image.Image, wanted: Wanted, scene: Scene) -> Wanted:
    """Replace gravity=auto by the point that keeps the most interesting part of `picture` visible."""
    if wanted.gravity != "auto":
        return wanted
    plan = make_plan(scene.natural_size(picture, wanted), wanted, limits=scene.limits)
    left, top, right, bottom = plan.crop
    x, y = attention.focus(picture, (right - left) / plan.natural[0], (bottom - top) / plan.natural[1])
    return wanted.replaced(gravity=f"{_short(x)}x{_short(y)}")


def apply(picture: Image.Image, wanted: Wanted, scene: Scene) -> Image.Image:
    """Return `picture` cropped, resampled and put on its canvas."""
    natural = scene.natural_size(picture, wanted)
    plan = make_plan(natural, wanted, limits=scene.limits)
    scale = (picture.width / natural[0], picture.height / natural[1])
    resized = _resampled(picture, plan, scale, scene.resample)
    if plan.canvas == plan.size:
        return resized
    return _on_canvas(resized, plan, wanted)


def _resampled(
    picture: Image.Image, plan: ResizePlan, scale: tuple[float, float], resample: Resample
) -> Image.Image:
    left, top, right, bottom = plan.crop
    box = (
        left * scale[0],
        top * scale[1],
        min(right * scale[0], picture.width),
        min(bottom * scale[1], picture.height),
    )
    if plan.size == picture.size and box == (0.0, 0.0, float(picture.width), float(picture.height)):
        return picture
    return resample(picture, plan.size, box)


def _on_canvas(picture: Image.Image, plan: ResizePlan, wanted: Wanted) -> Image.Image:
    colour = fill_colour(wanted.background)
    mode = "RGBA" if picture.mode == "RGBA" or colour[3] < 255 else "RGB"
    canvas = Image.new(mode, plan.canvas, colour if mode == "RGBA" else colour[:3])
    focus = focus_of(wanted.gravity)
    place = tuple(
        round((outer - inner) * at) for outer, inner, at in zip(plan.canvas, plan.size, focus, strict=True)
    )
    if picture.mode == "RGBA":
        canvas.alpha_composite(picture, (place[0], place[1]))
    else:
        canvas.paste(picture, (place[0], place[1]))
    return canvas
