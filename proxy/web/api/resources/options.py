"""`/options` and `/presets`: the options of addresses, from the table of the operations."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.images.transforms.resolved import OPTIONS
from proxy.images.transforms.transform import Transform
from proxy.web.api.endpoints import Call, Nothing


@dataclass(frozen=True, slots=True)
class OptionAnswer:
    """An option of an address. short: its second name, or empty. default: as text, empty if the option is absent."""

    name: str
    short: str
    takes: str
    default: str
    meaning: str


@dataclass(frozen=True, slots=True)
class OptionsAnswer:
    """The options, and what limits them. formats: those that `format=auto` may choose, best first. any: whether
    visitors may combine options freely; otherwise they may ask for presets and `widths` only."""

    options: list[OptionAnswer]
    formats: list[str]
    widths: list[int]
    any: bool
    signed: bool
    max_side: int
    max_pixels: int


@dataclass(frozen=True, slots=True)
class PresetAnswer:
    """A preset. options: as in an address. resolved: with a value for every option."""

    name: str
    options: dict[str, str]
    resolved: str
    on_error: str


@dataclass(frozen=True, slots=True)
class PresetsAnswer:
    """The presets of the configuration, by name."""

    presets: list[PresetAnswer]


async def show_options(call: Call[Nothing, Nothing]) -> OptionsAnswer:
    """List every option with its range and meaning."""
    config = call.context.config
    return OptionsAnswer(
        options=[
            OptionAnswer(item.name, item.short, item.allowed, item.write(item.default), item.meaning)
            for item in OPTIONS.values()
        ],
        formats=list(config.render.formats),
        widths=list(config.rewrite.widths),
        any=config.any_transform,
        signed=bool(config.sources.keys),
        max_side=config.render.max_output_side,
        max_pixels=config.render.max_output_pixels,
    )


async def show_presets(call: Call[Nothing, Nothing]) -> PresetsAnswer:
    """List the presets with their options."""
    presets = call.context.config.presets
    found = []
    for name in sorted(presets):
        resolved = Transform.parse(name).resolved(presets)
        options = {key: _text(key, value) for key, value in presets[name].items() if key in OPTIONS}
        found.append(PresetAnswer(name, options, resolved.text, resolved.on_error))
    return PresetsAnswer(found)


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
