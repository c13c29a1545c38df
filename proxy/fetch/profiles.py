"""Profiles for hosts that refuse strangers: the shipped ones, and those of the configuration before them. Pure data."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib.resources import files

from proxy.config import ProfileConfig


@functools.cache
def shipped() -> Mapping[str, ProfileConfig]:
    """Return the profiles of `profiles.toml` by name."""
    text = files("proxy.fetch").joinpath("profiles.toml").read_text(encoding="utf-8")
    return {name: ProfileConfig.model_validate(table) for name, table in tomllib.loads(text).items()}


def in_order(configured: Mapping[str, ProfileConfig]) -> list[ProfileConfig]:
    """Return the profiles as they are tried: the operator's own, then the shipped ones that those do not replace."""
    rest = (profile for name, profile in shipped().items() if name not in configured)
    return [*configured.values(), *rest]
