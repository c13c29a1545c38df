"""The table of endpoints: routing, validation and the OpenAPI document follow from it. Pure."""

from __future__ import annotations

import functools
from typing import Any

from aiohttp import web

from proxy.web.api.endpoints import Call, Endpoint, Nothing
from proxy.web.api.openapi import openapi_document
from proxy.web.api.resources.health import HealthAnswer, show_health
from proxy.web.api.resources.options import OptionsAnswer, PresetsAnswer, show_options, show_presets
from proxy.web.api.resources.overview import Overview, show_overview
from proxy.web.api.values import PRIVATE_HEADERS, as_json


@functools.cache
def _document() -> bytes:
    return as_json(openapi_document(ENDPOINTS))


async def show_document(_call: Call[Nothing, Nothing]) -> web.Response:
    """Answer this description of the API."""
    return web.Response(body=_document(), headers={**PRIVATE_HEADERS, "Content-Type": "application/json"})


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/openapi.json", "document", "This document", show_document, dict[str, Any]),
    Endpoint("GET", "/health", "health", "Health in words", show_health, HealthAnswer),
    Endpoint("GET", "/overview", "overview", "What is kept, budgets, warnings", show_overview, Overview),
    Endpoint("GET", "/options", "options", "Options of addresses", show_options, OptionsAnswer),
    Endpoint("GET", "/presets", "presets", "Presets", show_presets, PresetsAnswer),
)
