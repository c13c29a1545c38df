"""The configuration as types: one frozen section per table of `config.toml`, every key with its default.

Sizes are bytes and times are seconds; the file spells both as text ("32 MiB", "10s"). `config.toml` explains every
key to operators; a test compares it with these types. `proxy.config.file` reads files and the environment. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import ada_url
from pydantic import Field, field_validator, model_validator

from proxy.config.pictures import (
    DEFAULT_WIDTHS,
    SHIPPED_PRESETS,
    DialectsConfig,
    PresetOptions,
    RenderConfig,
    RewriteConfig,
    ServedDialect,
    WrapperConfig,
    WrapperDialect,
)
from proxy.config.service import (
    FetchConfig,
    LogConfig,
    ProfileConfig,
    ServerConfig,
    SourcesConfig,
    StoreConfig,
    TelemetryConfig,
)
from proxy.config.values import (
    FOREVER,
    Network,
    Section,
    base_url_problem,
    host_name,
    is_loopback,
    parse_duration,
    parse_size,
)

__all__ = [
    "DEFAULT_WIDTHS",
    "FOREVER",
    "Config",
    "ConfigError",
    "DialectsConfig",
    "FetchConfig",
    "LogConfig",
    "Network",
    "PresetOptions",
    "ProfileConfig",
    "RenderConfig",
    "RewriteConfig",
    "ServedDialect",
    "ServerConfig",
    "SourcesConfig",
    "StoreConfig",
    "TelemetryConfig",
    "WrapperConfig",
    "WrapperDialect",
    "accel_problems",
    "base_url_problem",
    "host_name",
    "parse_duration",
    "parse_size",
    "preset_problems_of_rewrite",
]


class ConfigError(Exception):
    """The configuration is invalid. `problems` has one line for each problem."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


def accel_problems(accel: object, mode: object) -> list[str]:
    """Return what is wrong with `server.accel` beside `store.mode`, as they were read."""
    if not accel or mode == "group":
        return []
    return ['server.accel: needs store.mode = "group", so that the web server in front can read the files']


def preset_problems_of_rewrite(
    body: object, front: object, fields: object, *, presets: Mapping[str, object]
) -> list[str]:
    """Return a line for each preset that the section `rewrite` names but that does not exist."""
    named = {"rewrite.body": body, "rewrite.front": front}
    if isinstance(fields, dict):
        named |= {f"rewrite.fields.{key}": preset for key, preset in fields.items()}
    return [
        f"{key}: there is no preset {preset!r}"
        for key, preset in named.items()
        if isinstance(preset, str) and preset != "original" and preset not in presets
    ]


class Config(Section):
    """The whole configuration. `Config()` holds the built-in defaults."""

    server: ServerConfig = ServerConfig()
    store: StoreConfig = StoreConfig()
    sources: SourcesConfig = SourcesConfig()
    fetch: FetchConfig = FetchConfig()
    render: RenderConfig = Field(default_factory=RenderConfig)
    presets: dict[str, PresetOptions] = Field(
        default_factory=lambda: {k: dict(v) for k, v in SHIPPED_PRESETS.items()}
    )
    rewrite: RewriteConfig = RewriteConfig()
    hosts: dict[str, ServedDialect] = Field(default_factory=dict)
    dialects: DialectsConfig = DialectsConfig()
    log: LogConfig = LogConfig()
    telemetry: TelemetryConfig = TelemetryConfig()

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
        from proxy.images.transforms.transform import preset_problems  # noqa: PLC0415 - it loads Pillow

        problems = [problem for name, options in value.items() for problem in preset_problems(name, options)]
        if problems:
            raise ValueError("; ".join(problems))
        return value

    @model_validator(mode="after")
    def _sections_agree(self) -> Config:
        problems = preset_problems_of_rewrite(
            self.rewrite.body, self.rewrite.front, self.rewrite.fields, presets=self.presets
        )
        problems += accel_problems(self.server.accel, self.store.mode)
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def on_loopback(self) -> bool:
        """Whether the service listens on a loopback address."""
        return is_loopback(self.server.host)

    @property
    def any_transform(self) -> bool:
        """Whether a request may ask for any options, not only for presets."""
        if self.sources.transforms:
            return self.sources.transforms == "any"
        return self.on_loopback or bool(self.sources.keys)
