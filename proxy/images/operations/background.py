"""Background: the colour under transparent pixels and around a padded picture. Runs in a render process."""

from __future__ import annotations

import re

from PIL import Image, ImageColor

from proxy.images.operations.scene import Scene
from proxy.images.options.readers import Option, Value
from proxy.images.options.wanted import Wanted

Colour = tuple[int, int, int, int]

WHITE: Colour = (255, 255, 255, 255)
_HEX = re.compile(r"#[0-9a-f]{6}([0-9a-f]{2})?")


def read_colour(text: str) -> Value:
    """Parse a CSS colour. Every spelling of a colour becomes the same `#rrggbb` or `#rrggbbaa`."""
    if len(text) > 64:
        raise ValueError
    if text == "transparent":
        return "#00000000"
    # CSS allows spaces as separators and fractions for alpha. Pillow expects commas and bytes.
    colour = ImageColor.getrgb(_plain(text.lower()))
    if not all(0 <= part <= 255 for part in colour):
        raise ValueError
    digits = "".join(f"{part:02x}" for part in colour)
    return "#" + (digits[:6] if digits.endswith("ff") and len(digits) == 8 else digits)


def _plain(text: str) -> str:
    match = re.fullmatch(r"(rgb|hsl)a?\(([^()]*)\)", text)
    if match is None:
        return text
    parts = [part for part in re.split(r"[\s,/]+", match[2].strip()) if part]
    if len(parts) != 4:
        return f"{match[1]}({','.join(parts)})"
    alpha = float(parts[3][:-1]) / 100 if parts[3].endswith("%") else float(parts[3])
    if not 0 <= alpha <= 1:
        raise ValueError
    opaque = ImageColor.getrgb(f"{match[1]}({','.join(parts[:3])})")
    return "#" + "".join(f"{part:02x}" for part in (*opaque[:3], round(alpha * 255)))


OPTIONS = (
    Option(
        "background",
        read_colour,
        "a CSS colour such as white, rgb(255 0 0), %23ff0000 or %23ff000080",
        "colour under transparent parts and around a picture with fit=pad (white there when absent)",
    ),
)


def colour_of(text: str) -> Colour:
    """Return red, green, blue and alpha (0-255) of a colour from `read_colour`."""
    if not _HEX.fullmatch(text):
        raise ValueError(text)
    parts = bytes.fromhex(text[1:])
    return parts[0], parts[1], parts[2], parts[3] if len(parts) == 4 else 255


def fill_colour(background: str | None) -> Colour:
    """Return the colour around a padded picture."""
    return WHITE if background is None else colour_of(background)


def apply(picture: Image.Image, wanted: Wanted, scene: Scene) -> Image.Image:
    """Return `picture` on its background; unchanged without a background or without transparency."""
    if wanted.background is None or picture.mode != "RGBA":
        return picture
    colour = colour_of(wanted.background)
    ground = Image.new("RGBA", picture.size, colour)
    ground.alpha_composite(picture)
    return ground if colour[3] < 255 else ground.convert("RGB")
