"""Types of configuration values: sizes, times, networks, addresses, and their parsers. Pure."""

from __future__ import annotations

import ipaddress
import math
import re
from contextlib import suppress
from typing import Annotated

import ada_url
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

from proxy.patterns import pattern_problem


class Section(BaseModel):
    """A table of the file: immutable, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


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
WRAPPER_PREFIX = re.compile(rf"(?:(?:https?:)?//{_HOST}|(?=[^/?]*\.){_HOST})(?:[/?]{_REST})?", re.IGNORECASE)


def base_url_problem(text: str) -> str:
    """Return what is wrong with a base URL that is written into articles, or an empty text."""
    if len(text) <= _MAX_BASE_URL and _BASE_URL.fullmatch(text) and _has_host_and_port(text):
        return ""
    return "must be an http(s) address without a query or quotes, such as https://img.example.org"


def _has_host_and_port(text: str) -> bool:
    if not ada_url.check_url(text):
        return False
    parts = ada_url.URL(text)
    # The same limits as for the address of a picture (proxy.source), because it becomes part of one.
    return len(parts.hostname) <= _MAX_HOST and parts.port != "0"


def parse_size(value: object) -> int:
    """Parse `"32 MiB"`, `"1.5 GB"` or a whole number; return bytes."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a size is written like "32 MiB" or "2 GiB"')
    return int(float(match[1]) * _SIZE_UNITS[match[2]])


def parse_duration(value: object) -> float:
    """Parse `"10s"`, `"1h"`, `"1d"`, `"forever"` or a number; return seconds."""
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


def readable_patterns(value: tuple[str, ...]) -> tuple[str, ...]:
    problems = [problem for pattern in value if (problem := pattern_problem(pattern))]
    if problems:
        raise ValueError("; ".join(problems))
    return value


def host_name(text: str) -> str:
    """Return the host of a `Host` field in the form to compare: lower case, A-labels, without port and final dot."""
    host = text.strip().lower()
    host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    if not host.isascii():
        with suppress(ValueError):
            host = ada_url.URL(f"http://{host}/").hostname
    return host.rstrip(".")


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
