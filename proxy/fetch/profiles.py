"""Profiles for hosts that refuse strangers: those of the configuration first, then the shipped ones. Pure data."""

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
    """Return the profiles in the order of trying: the operator's own, then the shipped ones that these do not
    replace."""
    rest = (profile for name, profile in shipped().items() if name not in configured)
    return [*configured.values(), *rest]
