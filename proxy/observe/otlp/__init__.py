"""Sends traces and metrics to an OpenTelemetry collector: `spans`, `figures` and, around both, `sending`.

The extra `otel` installs the libraries. Only `sending` is imported from outside, and only when `telemetry.otlp` is
set. Pure.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

_UNDERSTOOD = {
    "OTEL_TRACES_EXPORTER": ("otlp", "none"),
    "OTEL_METRICS_EXPORTER": ("otlp", "none"),
    "OTEL_EXPORTER_OTLP_PROTOCOL": ("http/protobuf",),
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": ("http/protobuf",),
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": ("http/protobuf",),
}
"""Variables with values that we cannot obey. The libraries would ignore them without a word."""


def otlp_problem(environ: Mapping[str, str]) -> str:
    """Return why nothing can be sent over OTLP, or an empty text."""
    try:
        is_installed = importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        is_installed = False
    if not is_installed:
        return "telemetry.otlp needs OpenTelemetry, which is not installed: install imgmirror[otel]"
    for variable, values in _UNDERSTOOD.items():
        if environ.get(variable, "").strip() not in {"", *values}:
            return f"{variable} is {environ[variable]!r}; imgmirror knows {' and '.join(values)}"
    return ""


def is_on(environ: Mapping[str, str], signal: str) -> bool:
    """Return whether the variables of the environment let `signal`, "TRACES" or "METRICS", be sent."""
    is_disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return not is_disabled and environ.get(f"OTEL_{signal}_EXPORTER", "").strip() != "none"
