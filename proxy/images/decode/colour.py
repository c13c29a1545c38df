"""Converts pictures of any kind to sRGB in mode L, RGB or RGBA. Pure; runs in render processes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageChops, ImageCms

_GREY_16 = {"I;16": "L;16", "I;16L": "L;16", "I;16N": "L;16", "I;16B": "L;16B"}
_USUAL_EXPONENT = 2.2
_SAME_GAMMA = 0.05
"""libpng's threshold (PNG_GAMMA_THRESHOLD): a smaller difference between two gammas is invisible."""
_LEAST_GAMMA = 0.05
"""A smaller gamma, or a larger one than its inverse, is a mistake: hardly anything but black or white would be left."""
_PROFILE_SPACES = {"L": "GRAY", "RGB": "RGB", "RGBA": "RGB", "CMYK": "CMYK"}


def has_transparency(picture: Image.Image) -> bool:
    """Return whether pixels may be transparent, judging by the header alone."""
    return picture.mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in picture.info


def plain(picture: Image.Image) -> Image.Image:
    """Return `picture` in mode L, RGB, RGBA or CMYK with eight bits for each channel and unchanged colours."""
    if picture.mode in _GREY_16:
        return _from_16_bits(picture)
    if picture.mode in {"I", "F"}:
        return _from_wide_numbers(picture)
    if picture.mode == "La":
        # Pillow converts this mode to one other mode only.
        picture = picture.convert("LA")
    if has_transparency(picture):
        return picture if picture.mode == "RGBA" else picture.convert("RGBA")
    if picture.mode == "1":
        return picture.convert("L")
    return picture if picture.mode in {"L", "RGB", "CMYK"} else picture.convert("RGB")


def _from_16_bits(picture: Image.Image) -> Image.Image:
    # convert("L") would clip every value above 255 to white. The raw decoder takes the high byte.
    grey = Image.frombytes("L", picture.size, picture.tobytes(), "raw", _GREY_16[picture.mode])
    transparent = picture.info.get("transparency")
    if not isinstance(transparent, int):
        return grey
    return Image.merge("RGBA", (grey, grey, grey, _differs(picture.convert("I"), transparent)))


def _differs(wide: Image.Image, value: int) -> Image.Image:
    """Return a mask that is 0 where the 32-bit picture equals `value`, else 255. Clipping does the comparison."""
    above = wide.point(lambda number: number * 255 + -255 * value).convert("L")
    below = wide.point(lambda number: number * -255 + 255 * value).convert("L")
    return ImageChops.lighter(above, below)


def _from_wide_numbers(picture: Image.Image) -> Image.Image:
    extrema = picture.getextrema()
    low, high = float(extrema[0]), float(extrema[1])  # type: ignore[arg-type]  # one band: two numbers
    if not (-1e30 < low <= high < 1e30):
        raise ValueError("numbers without measure")
    if low >= 0 and high <= 65535:
        steps = 1.0 if picture.mode == "F" and high <= 1 else 255.0 if high <= 255 else 65535.0
        low, high = 0.0, steps
    scale = 255 / (high - low) if high > low else 0.0
    return picture.point(lambda value: value * scale + -low * scale).convert("L")


def to_srgb(picture: Image.Image, info: Mapping[str | tuple[int, int], Any]) -> Image.Image:
    """Return `picture` (mode L, RGB, RGBA or CMYK) in sRGB.

    `info` holds what Pillow read from the file. Its profile, or else its gamma, gives the meaning of the numbers. A
    profile that cannot be used is ignored.
    """
    profile = info.get("icc_profile")
    converted = _by_profile(picture, profile) if profile else _by_gamma(picture, info)
    if converted is not None:
        return converted
    return picture.convert("RGB") if picture.mode == "CMYK" else picture


def unusual_gamma(info: Mapping[str | tuple[int, int], Any]) -> float | None:
    """Return the gamma of the numbers in a file, or None if they count as sRGB.

    PNG third edition §11.3.2.2: gAMA applies if there is neither a profile nor sRGB. We ignore cHRM.
    """
    gamma = info.get("gamma")
    if not isinstance(gamma, float) or "srgb" in info or info.get("icc_profile"):
        return None
    usual = abs(gamma * _USUAL_EXPONENT - 1) < _SAME_GAMMA
    return gamma if _LEAST_GAMMA <= gamma <= 1 / _LEAST_GAMMA and not usual else None


def _by_gamma(picture: Image.Image, info: Mapping[str | tuple[int, int], Any]) -> Image.Image | None:
    gamma = unusual_gamma(info)
    if gamma is None or picture.mode == "CMYK":
        return None
    table = [round(255 * _srgb_encoded((step / 255) ** (1 / gamma))) for step in range(256)]
    alpha = list(range(256)) if picture.mode == "RGBA" else []
    return picture.point(table * (1 if picture.mode == "L" else 3) + alpha)


def _srgb_encoded(light: float) -> float:
    """IEC 61966-2-1: the encoded number (0-1) for an amount of light (0-1)."""
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def _by_profile(picture: Image.Image, profile: bytes) -> Image.Image | None:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if space == "GRAY" and picture.mode == "RGBA":
            return _grey_with_alpha(picture, profile)
        if space != _PROFILE_SPACES[picture.mode] or _is_srgb(source):
            return None
        mode = "RGBA" if picture.mode == "RGBA" else "RGB"
        return ImageCms.profileToProfile(
            picture,
            source,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode=mode,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError, UnicodeError, AttributeError):
        # Browsers show such a picture as if it had no profile.
        return None


def _grey_with_alpha(picture: Image.Image, profile: bytes) -> Image.Image | None:
    """Grey with transparency has three equal channels at this point, but its profile has only one."""
    red, green, blue, alpha = picture.split()
    if red.tobytes() != green.tobytes() or red.tobytes() != blue.tobytes():
        return None
    converted = _by_profile(red, profile)
    if converted is not None:
        converted.putalpha(alpha)
    return converted


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    description = profile.profile.profile_description or ""
    return description.startswith(("sRGB", "IEC 61966-2.1", "IEC61966-2.1", "c2"))
