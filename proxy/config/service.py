"""Configuration sections for the service: the server, the store, its sources, fetching, the log. Pure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import ada_url
from pydantic import (
    Field,
    field_validator,
)

from proxy.config.values import (
    FOREVER,
    WRAPPER_PREFIX,
    Count,
    Duration,
    Network,
    OptionalSize,
    PositiveDuration,
    Section,
    Size,
    base_url_problem,
    is_loopback,
    readable_patterns,
)


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
        """Whether other machines reach us by `public_url`, so that a proxy may stand before us."""
        return bool(self.public_url) and not is_loopback(urlsplit(self.public_url).hostname or "")


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
        """The folder of variants: the configured one, or the default below the store."""
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
        return readable_patterns(value)

    @field_validator("keys")
    @classmethod
    def _long_enough(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(len(key) < 16 for key in value):
            raise ValueError("a signing key must have at least 16 characters")
        return value


class ProfileConfig(Section):
    """The request headers for hosts with hotlink protection."""

    hosts: tuple[str, ...]
    referer: str = ""
    user_agent: str = ""
    headers: dict[str, str] = Field(default_factory=dict)

    @field_validator("hosts")
    @classmethod
    def _patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return readable_patterns(value)

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
    profiles: dict[str, ProfileConfig] = Field(default_factory=dict)

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
            if not WRAPPER_PREFIX.fullmatch(prefix) or not prefix.lower().startswith(("http://", "https://")):
                raise ValueError(f"{prefix!r} is not the beginning of an http(s) address")
        return value

    @field_validator("user_agent")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not value or not value.isprintable() or not value.isascii():
            raise ValueError("must be one line of printable ASCII")
        return value


class TelemetryConfig(Section):
    otlp: bool = False
    to_origins: bool = False


class LogConfig(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"
    access: Literal["off", "combined", "json"] = "off"
