"""Writes the access log: one line per answer, in the combined format of Apache and nginx or as JSON. Blocking.

The formatter in `logs` hides secrets, as in every log.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass
from typing import Literal

from proxy.observe.logs import ACCESS
from proxy.observe.redaction import plain

AccessForm = Literal["combined", "json"]

_LOG = logging.getLogger(ACCESS)


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer. `target` is the address as asked; `bytes` counts
    head and body; `at` is in unix seconds."""

    at: float
    client: str
    method: str
    target: str
    version: str
    status: int
    bytes: int
    seconds: float
    referer: str
    user_agent: str
    request_id: str
    cache: str


def write(form: AccessForm, answered: Answered) -> None:
    """Write the line of one answer."""
    _LOG.info("%s", _json(answered) if form == "json" else _combined(answered))


def _json(answered: Answered) -> str:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(answered.at))
    fields = asdict(answered) | {"seconds": round(answered.seconds, 6)}
    del fields["at"]
    return json.dumps({"time": moment, **fields})


def _combined(answered: Answered) -> str:
    moment = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(answered.at))
    line = f"{answered.method} {answered.target} {answered.version}"
    quoted = " ".join(f'"{_escaped(text)}"' for text in (answered.referer or "-", answered.user_agent or "-"))
    return f'{answered.client or "-"} - - [{moment}] "{_escaped(line)}" {answered.status} {answered.bytes} {quoted}'


def _escaped(text: str) -> str:
    # nginx escapes quotes the same way.
    return plain(text).replace('"', r"\x22")
