"""The configuration as types: one frozen section per table of `config.toml`, every key with its default.

Pure: knows nothing of files or the environment (that is `proxy.configfile`). Sizes are bytes, times are
seconds; both are written as text in the file ("32 MiB", "10s"). The comment on every key for operators stands
in `config.toml`; a test holds the two together.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import ada_url
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB|KB|kB|MB|GB|TB)?\s*")
_SIZE_UNITS = {
    None: 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
    "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
}  # fmt: skip
_TIME = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d|w|y)?\s*")
_TIME_UNITS = {
    None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0,
    "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0,
}  # fmt: skip

FOREVER = math.inf

_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[^\s\x00-\x20\x7f/?#\"'<>()\\@:\[\]]+)(?::[0-9]{1,5})?"
_REST = r"[^\s\x00-\x20\x7f\"'<>()\\#]*"
_MAX_BASE_URL = 2000
_MAX_HOST = 255
_BASE_URL = re.compile(rf"https?://{_HOST}(?:/[^\s\x00-\x20\x7f?#\"'<>()\\]*)?", re.IGNORECASE)
_WRAPPER = re.compile(rf"(?:(?:https?:)?//{_HOST}|(?=[^/?]*\.){_HOST})(?:[/?]{_REST})?", re.IGNORECASE)


def base_url_problem(text: str) -> str:
    """Return what is wrong with an address that others are appended to, and written into articles; else nothing."""
    if len(text) <= _MAX_BASE_URL and _BASE_URL.fullmatch(text) and _has_host_and_port(text):
        return ""
    return "must be an http(s) address without a query or quotes, such as https://img.example.org"


def _has_host_and_port(text: str) -> bool:
    if not ada_url.check_url(text):
        return False
    parts = ada_url.URL(text)
    # As for the address of a picture (proxy.source), which it becomes part of.
    return len(parts.hostname) <= _MAX_HOST and parts.port != "0"


def parse_size(value: object) -> int:
    """Return the bytes that `"32 MiB"`, `"1.5 GB"` or a whole number mean."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a size is written like "32 MiB" or "2 GiB"')
    return int(float(match[1]) * _SIZE_UNITS[match[2]])


def parse_duration(value: object) -> float:
    """Return the seconds that `"10s"`, `"1h"`, `"1d"`, `"forever"` or a number mean."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    if value == "forever":
        return FOREVER
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a time is written like "10s", "5m", "1h" or "1d"')
    return float(match[1]) * _TIME_UNITS[match[2]]


def _optional_size(value: object) -> int | None:
    return None if value in ("", None) else parse_size(value)


def _network(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError('a network is written like "10.0.0.0/8"')  # noqa: TRY004 - pydantic wants ValueError
    return ipaddress.ip_network(value, strict=False)


Size = Annotated[int, BeforeValidator(parse_size)]
OptionalSize = Annotated[int | None, BeforeValidator(_optional_size)]
Duration = Annotated[float, BeforeValidator(parse_duration)]
PositiveDuration = Annotated[float, BeforeValidator(parse_duration), Field(gt=0)]
Network = Annotated[ipaddress.IPv4Network | ipaddress.IPv6Network, BeforeValidator(_network)]
Count = Annotated[int, Field(ge=1)]


def _readable_patterns(value: tuple[str, ...]) -> tuple[str, ...]:
    from proxy.policy import pattern_problem  # noqa: PLC0415 - policy imports this module

    problems = [problem for pattern in value if (problem := pattern_problem(pattern))]
    if problems:
        raise ValueError("; ".join(problems))
    return value


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


class Section(BaseModel):
    """A table of the file: immutable, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class ServerConfig(Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    workers: Count = 1
    public_url: str = ""
    admin_token: str = Field(default="", repr=False)
    trusted_proxies: tuple[Network, ...] = ()
    read_timeout: PositiveDuration = 30.0
    write_timeout: PositiveDuration = 60.0
    shutdown_timeout: Duration = 30.0
    max_body: Size = 16 * 2**20
    min_max_age: Duration = 3600.0
    client_rate: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = 0.0
    client_burst: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    client_streams: Annotated[int, Field(ge=0, le=1_000_000)] = 128
    purge_hooks: tuple[str, ...] = Field(default=(), repr=False)
    accel: Literal["", "nginx", "sendfile"] = ""

    @field_validator("public_url")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if value and (problem := base_url_problem(value)):
            raise ValueError(problem)
        return value.rstrip("/")

    @field_validator("purge_hooks")
    @classmethod
    def _callable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for hook in value:
            parts = urlsplit(hook)
            is_web = parts.scheme in {"http", "https"} and parts.hostname and hook.isprintable()
            if not is_web or not ada_url.check_url(hook):
                raise ValueError("each is an address that begins with http:// or https://")
        return value

    @property
    def is_public(self) -> bool:
        """Whether `public_url` leads here from other machines, so that a proxy may stand before us."""
        return bool(self.public_url) and not _is_loopback(urlsplit(self.public_url).hostname or "")


class StoreConfig(Section):
    dir: Path = Path("var/store")
    min_free: Size = 2**30
    originals_max_bytes: OptionalSize = None
    variants_dir: Path | None = None
    variants_max_bytes: Size = 2 * 2**30
    memory_max_bytes: Size = 128 * 2**20
    scrub_rate: Size = 2**20
    mode: Literal["private", "group"] = "private"

    @field_validator("variants_dir", mode="before")
    @classmethod
    def _empty_means_default(cls, value: object) -> object:
        return None if value == "" else value

    @property
    def variants_path(self) -> Path:
        """Where variants lie, whether named or not."""
        return self.variants_dir if self.variants_dir is not None else self.dir / "variants"


class SourcesConfig(Section):
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    open: bool = True
    open_to_world: bool = False
    manifest: Path | None = None
    keys: tuple[str, ...] = Field(default=(), repr=False)
    transforms: Literal["", "any", "presets"] = ""

    @field_validator("manifest", mode="before")
    @classmethod
    def _empty_means_none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("allow", "deny")
    @classmethod
    def _patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _readable_patterns(value)

    @field_validator("keys")
    @classmethod
    def _long_enough(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(len(key) < 16 for key in value):
            raise ValueError("a signing key has at least 16 characters")
        return value


class ProfileConfig(Section):
    """How to ask hosts that refuse strangers (hotlink protection)."""

    hosts: tuple[str, ...]
    referer: str = ""
    user_agent: str = ""
    headers: dict[str, str] = {}

    @field_validator("hosts")
    @classmethod
    def _patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _readable_patterns(value)

    @field_validator("referer", "user_agent")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not value.isprintable() or not value.isascii():
            raise ValueError("must be one line of printable ASCII")
        return value

    @field_validator("headers")
    @classmethod
    def _sendable(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not (
                text.isascii() and text.isprintable()
            ):
                raise ValueError(f"{name!r} is not a header that can be sent")
            if name.lower() in {
                "host",
                "cookie",
                "content-length",
                "transfer-encoding",
                "connection",
                "via",
                "cdn-loop",
            }:
                raise ValueError(f"the header {name!r} is ours to send")
        return value


class FetchConfig(Section):
    allow_networks: tuple[Network, ...] = ()
    timeout: Duration = 15.0
    idle_timeout: Duration = 5.0
    max_bytes: Size = 32 * 2**20
    max_redirects: Annotated[int, Field(ge=0, le=20)] = 5
    per_origin: Count = 4
    origin_rate: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = 0.0
    queue: Count = 1024
    max_connections: Count = 128
    user_agent: str = "imgmirror (+https://imgmirror.example/contact)"
    types: tuple[str, ...] = ("image/*",)
    min_fresh: Duration = 86400.0
    stale_if_error: Duration = FOREVER
    remember_failures: Duration = 3600.0
    stable_after: Duration = 7 * 86400.0
    wayback: str = ""
    recover_wrappers: tuple[str, ...] = ()
    profiles: dict[str, ProfileConfig] = {}

    @field_validator("types")
    @classmethod
    def _media_ranges(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if not re.fullmatch(r"(\*/\*|[\w.+-]+/(\*|[\w.+-]+))", text):
                raise ValueError(f"{text!r} is not a media type such as image/* or text/css")
        return tuple(text.lower() for text in value)

    @field_validator("wayback")
    @classmethod
    def _base(cls, value: str) -> str:
        if value and (problem := base_url_problem(value)):
            raise ValueError(problem)
        return value.rstrip("/")

    @field_validator("recover_wrappers")
    @classmethod
    def _absolute(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for prefix in value:
            if not _WRAPPER.fullmatch(prefix) or not prefix.lower().startswith(("http://", "https://")):
                raise ValueError(f"{prefix!r} is not the beginning of an http(s) address")
        return value

    @field_validator("user_agent")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not value or not value.isprintable() or not value.isascii():
            raise ValueError("must be one line of printable ASCII")
        return value


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
"""Options of a preset by name, and `on_error`; read by `proxy.images.transform`."""

_SHIPPED_PRESETS: dict[str, PresetOptions] = {
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
    """A wrapper that has a grammar of its own: what its addresses begin with, and which grammar that is."""

    prefix: str
    dialect: WrapperDialect

    @field_validator("prefix")
    @classmethod
    def _beginning(cls, value: str) -> str:
        return _wrapper_prefix(value)


def _wrapper_prefix(value: str) -> str:
    if not _WRAPPER.fullmatch(value.strip()):
        raise ValueError(f"{value!r} is not the beginning of an http(s) address")
    return value


def _kind_of_wrapper(value: object) -> str:
    return "table" if isinstance(value, dict | WrapperConfig) else "text"


# Told apart by its form, so that what is wrong with one is said once.
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
        """The wrappers as `proxy.dialects` takes them: a prefix, or prefix and dialect."""
        return tuple(item if isinstance(item, str) else (item.prefix, item.dialect) for item in self.wrappers)


ServedDialect = Literal[
    "imgproxy", "thumbor", "imagor", "weserv", "cloudflare", "imageproxy", "photon", "camo", "next", "ipx",
    "cors-anywhere", "miniflux",
]  # fmt: skip
"""The names of `proxy.dialects.mounts.SERVED`."""


class DialectConfig(Section):
    """A dialect that has signatures of its own."""

    keys: tuple[str, ...] = Field(default=(), repr=False)


_HEX_PAIR = re.compile(r"(?:[0-9A-Fa-f]{2})+:(?:[0-9A-Fa-f]{2})*")
_MAX_KEY_LENGTH = 4096


def _key_problem(dialect: str, text: str) -> str:
    """Return what is wrong with a key of a dialect, without saying the key; else nothing."""
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


def host_name(text: str) -> str:
    """Return the host of a `Host` field as it is compared: lower case, in A-labels, without port and final dot."""
    host = text.strip().lower()
    host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    if not host.isascii():
        with suppress(ValueError):
            host = ada_url.URL(f"http://{host}/").hostname
    return host.rstrip(".")


class LogConfig(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"
    access: Literal["off", "combined", "json"] = "off"


def accel_problems(accel: object, mode: object) -> list[str]:
    """Return what is wrong with `server.accel` beside `store.mode`, as they were read."""
    if not accel or mode == "group":
        return []
    return ['server.accel: needs store.mode = "group", so that the web server in front can read the files']


def preset_problems_of_rewrite(
    body: object, front: object, fields: object, *, presets: Mapping[str, object]
) -> list[str]:
    """Return a line for each preset that the section `rewrite` names and that does not exist."""
    named = {"rewrite.body": body, "rewrite.front": front}
    if isinstance(fields, dict):
        named |= {f"rewrite.fields.{key}": preset for key, preset in fields.items()}
    return [
        f"{key}: there is no preset {preset!r}"
        for key, preset in named.items()
        if isinstance(preset, str) and preset != "original" and preset not in presets
    ]


class Config(Section):
    """Everything that `config.toml` can say. `Config()` holds the built-in defaults."""

    server: ServerConfig = ServerConfig()
    store: StoreConfig = StoreConfig()
    sources: SourcesConfig = SourcesConfig()
    fetch: FetchConfig = FetchConfig()
    render: RenderConfig = Field(default_factory=RenderConfig)
    presets: dict[str, PresetOptions] = Field(
        default_factory=lambda: {k: dict(v) for k, v in _SHIPPED_PRESETS.items()}
    )
    rewrite: RewriteConfig = RewriteConfig()
    hosts: dict[str, ServedDialect] = {}
    dialects: DialectsConfig = DialectsConfig()
    log: LogConfig = LogConfig()

    @field_validator("hosts")
    @classmethod
    def _names(cls, value: dict[str, ServedDialect]) -> dict[str, ServedDialect]:
        for name in value:
            if not ada_url.check_url(f"http://{host_name(name)}/") or re.search(r"[/?#@*\s]", name):
                raise ValueError(f"{name!r} is not the name of a host")
        return {host_name(name): dialect for name, dialect in value.items()}

    @field_validator("presets")
    @classmethod
    def _readable(cls, value: dict[str, PresetOptions]) -> dict[str, PresetOptions]:
        from proxy.images.transform import preset_problems  # noqa: PLC0415 - transform reads this module

        problems = [problem for name, options in value.items() for problem in preset_problems(name, options)]
        if problems:
            raise ValueError("; ".join(problems))
        return value

    @model_validator(mode="after")
    def _sections_agree(self) -> Config:
        problems = preset_problems_of_rewrite(
            self.rewrite.body, self.rewrite.front, self.rewrite.fields, presets=self.presets
        )
        if self.server.accel and self.store.mode != "group":
            problem = (
                'server.accel: needs store.mode = "group", so that the web server in front can read the files'
            )
            problems = [*problems, problem]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def on_loopback(self) -> bool:
        """Whether the service listens where only this machine can reach it."""
        return _is_loopback(self.server.host)

    @property
    def any_transform(self) -> bool:
        """Whether a request may ask for any options, not only for presets."""
        if self.sources.transforms:
            return self.sources.transforms == "any"
        return self.on_loopback or bool(self.sources.keys)
