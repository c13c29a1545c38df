"""The playground: one picture with options, beside its original, and all presets beside each other. Event loop."""

from __future__ import annotations

from aiohttp import web

from proxy.errors import MirrorError
from proxy.web.desk.controls import controls, transform_of
from proxy.web.desk.pages import DeskRequest, page
from proxy.web.desk.trying import Trial, Trying

FIRST_CONTROLS = ("width", "height", "fit", "gravity", "quality", "format")
"""The controls that are shown without opening the others."""


async def playground(desk: DeskRequest) -> web.StreamResponse:
    """Answer the playground. The form sends by GET, so a trial has an address that can be kept and sent."""
    source = desk.text("source")
    trial, problem = None, ""
    if source:
        try:
            trial = await Trying(desk).trial(source, transform_of(desk.asked))
        except MirrorError as error:
            problem = error.message
    fields = controls(desk.asked)
    config = desk.context.config
    return page(
        desk,
        "playground.html",
        title="Playground",
        source=source,
        preset=desk.text("preset"),
        presets=config.presets,
        first=[field for field in fields if field.name in FIRST_CONTROLS],
        others=[field for field in fields if field.name not in FIRST_CONTROLS],
        has_others=any(field.value for field in fields if field.name not in FIRST_CONTROLS),
        trial=trial,
        problem=problem,
        needs_signature=bool(config.sources.keys) and not desk.visitor.may_act,
    )


async def presets(desk: DeskRequest) -> web.StreamResponse:
    """Answer the presets: the options of each and, for a picture, the result of each."""
    source = desk.text("source")
    trials: dict[str, Trial] = {}
    problem = ""
    if source:
        try:
            trials = await Trying(desk).by_preset(source)
        except MirrorError as error:
            problem = error.message
    return page(
        desk,
        "presets.html",
        title="Presets",
        source=source,
        presets=desk.context.config.presets,
        trials=trials,
        problem=problem,
    )
