"""Configuration sections for pictures and articles: rendering, rewriting, grammars of other proxies. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from proxy.config.values import WRAPPER_PREFIX, Count, Duration, OptionalSize, Section, Size, base_url_problem


class RenderConfig(Section):
    processes: Count = Field(default_factory=lambda: os.cpu_count() or 1)
    decoder: Literal["auto", "pillow", "libvips"] = "auto"
    timeout: Duration = 20.0
    drawing_timeout: Duration = 5.0
    max_pixels: Count = 50_000_000
    max_frames: Count = 200
    queue: Count = 256
    max_output_side: Count = 8192
    max_output_pixels: Count = 40_000_000
    memory_max_bytes: Size = 2 * 2**30
    decoded_max_bytes: OptionalSize = None
    formats: tuple[Literal["avif", "webp"], ...] = ("avif", "webp")
    client_hints: bool = False


PresetOptions = dict[str, Any]
"""The options of a preset by name, and `on_error`; parsed by `proxy.images.transforms.transform`."""

SHIPPED_PRESETS: dict[str, PresetOptions] = {
    "headimg": {"width": 1200, "height": 630, "fit": "cover", "upscale": False, "on_error": "original"},
    "thumbnail": {"width": 400, "height": 300, "fit": "cover", "upscale": False, "on_error": "original"},
    "content": {"width": 1200, "fit": "scale-down", "upscale": False, "on_error": "original"},
}


WrapperDialect = Literal[
    "worker", "prefix", "cors-anywhere", "weserv", "imgproxy", "thumbor", "imagor", "cloudflare", "imageproxy",
    "photon", "camo", "next", "vercel", "netlify", "astro", "ipx", "miniflux", "imageflow", "hive",
    "cloudinary", "statically",
]  # fmt: skip
"""The names of `proxy.dialects.GRAMMARS`."""

DEFAULT_WIDTHS = (320, 480, 640, 800, 960, 1280, 1600, 1920)


class WrapperConfig(Section):
    """A wrapper with its own grammar: the prefix of its addresses and the name of the grammar."""

    prefix: str
    dialect: WrapperDialect

    @field_validator("prefix")
    @classmethod
    def _beginning(cls, value: str) -> str:
        return _wrapper_prefix(value)


def _wrapper_prefix(value: str) -> str:
    if not WRAPPER_PREFIX.fullmatch(value.strip()):
        raise ValueError(f"{value!r} is not the beginning of an http(s) address")
    return value


def _kind_of_wrapper(value: object) -> str:
    return "table" if isinstance(value, dict | WrapperConfig) else "text"


# A discriminated union, so that pydantic reports a problem once and not once per alternative.
Wrapper = Annotated[
    Annotated[str, Tag("text")] | Annotated[WrapperConfig, Tag("table")], Discriminator(_kind_of_wrapper)
]


_SHIPPED_FIELDS: dict[str, str] = {
    **dict.fromkeys(
        (
            "headimg", "cover*", "banner*", "top_img", "image", "images", "img", "featured*", "feature",
            "feature_image", "featureimage", "hero*", "header.*", "og_image", "ogimage", "twitter_image",
            "social_image", "socialimage", "social_preview_image", "share_image", "teaser", "poster", "background*",
            "page_background",
        ),
        "headimg",
    ),
    **dict.fromkeys(("thumb*", "index_img"), "thumbnail"),
    **dict.fromkeys(("photos", "gallery", "image_path", "image_url", "pictures"), "content"),
    **dict.fromkeys(("avatar", "avatar.*", "author.image", "authors.image_url", "icon", "logo", "favicon"), "original"),
}  # fmt: skip


class RewriteConfig(Section):
    wrappers: tuple[Wrapper, ...] = ()
    widths: tuple[Annotated[int, Field(ge=1, le=32767)], ...] = DEFAULT_WIDTHS
    sizes: str = "100vw"
    markdown_images: bool = False
    fields: dict[str, str] = Field(default_factory=lambda: dict(_SHIPPED_FIELDS))
    front: str = "content"
    body: str = "content"
    former_urls: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    @field_validator("former_urls")
    @classmethod
    def _absolute(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            if problem := base_url_problem(url):
                raise ValueError(f"{url!r} {problem}")
        return value

    @field_validator("wrappers")
    @classmethod
    def _prefixes(cls, value: tuple[str | WrapperConfig, ...]) -> tuple[str | WrapperConfig, ...]:
        for item in value:
            if isinstance(item, str):
                _wrapper_prefix(item)
        return value

    @field_validator("sizes")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not value.strip() or not value.isprintable() or not value.isascii():
            raise ValueError('must be one line of printable ASCII, such as "(max-width: 800px) 100vw, 800px"')
        if value.strip().lower().startswith("auto"):
            raise ValueError("`auto` is written by itself, for lazy pictures only")
        return value.strip()

    @field_validator("widths")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(value)))

    @property
    def prefixes(self) -> tuple[str | tuple[str, str], ...]:
        """The wrappers in the form that `proxy.dialects` takes: a prefix, or prefix and dialect."""
        return tuple(item if isinstance(item, str) else (item.prefix, item.dialect) for item in self.wrappers)


ServedDialect = Literal[
    "imgproxy", "thumbor", "imagor", "weserv", "cloudflare", "imageproxy", "photon", "camo", "next", "ipx",
    "cors-anywhere", "miniflux",
]  # fmt: skip
"""The names of `proxy.dialects.mounts.SERVED`."""


class DialectConfig(Section):
    """A dialect with its own signatures."""

    keys: tuple[str, ...] = Field(default=(), repr=False)


_HEX_PAIR = re.compile(r"(?:[0-9A-Fa-f]{2})+:(?:[0-9A-Fa-f]{2})*")
_MAX_KEY_LENGTH = 4096


def _key_problem(dialect: str, text: str) -> str:
    """Return what is wrong with a dialect's key, or an empty text. The message does not contain the key."""
    if not text or len(text) > _MAX_KEY_LENGTH:
        return "a key is empty or too long"
    if dialect == "imgproxy" and not _HEX_PAIR.fullmatch(text):
        return 'imgproxy\'s keys are written "<key in hex>:<salt in hex>"'
    return ""


class DialectsConfig(Section):
    imgproxy: DialectConfig = DialectConfig()
    thumbor: DialectConfig = DialectConfig()
    imagor: DialectConfig = DialectConfig()
    imageproxy: DialectConfig = DialectConfig()
    camo: DialectConfig = DialectConfig()
    miniflux: DialectConfig = DialectConfig()

    def keys_by_name(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield each dialect with its keys."""
        for name in type(self).model_fields:
            yield name, getattr(self, name).keys

    @model_validator(mode="after")
    def _readable(self) -> DialectsConfig:
        problems = {
            f"{name}.keys: {problem}"
            for name, keys in self.keys_by_name()
            for text in keys
            if (problem := _key_problem(name, text))
        }
        if problems:
            raise ValueError("; ".join(sorted(problems)))
        return self
