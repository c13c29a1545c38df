"""Logging: one line per event on standard error, times in UTC, as text or JSON. Blocking.

Every record passes through `redaction`, including those of libraries, so no secret and no forged line reaches a log.
Details of an event are passed as `extra={"fields": {...}}` and become `name=value` or keys of the JSON object.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TextIO

from proxy.observe.redaction import hidden, hideable, plain

Form = Literal["text", "json"]

ACCESS = "imgmirror.access"
"""The logger of the access log. Its lines are complete: the formatter adds no time and no level."""

_BARE = re.compile(r"[\w.:/-]+")


class _Formatter(logging.Formatter):
    """Formats records. `secrets` are texts of the configuration that must not appear in a log."""

    def __init__(self, form: Form, secrets: Iterable[str]) -> None:
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime
        self._form = form
        self._secrets = hideable(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """Return the finished line; a traceback follows it, indented, in text."""
        if record.name == ACCESS:
            return plain(self._hidden(record.getMessage()))
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        shown = {name: self._shown(value) for name, value in fields.items()}
        message = plain(self._hidden(record.getMessage()))
        trace = self._trace(record)
        if self._form == "json":
            head = {
                "time": self.formatTime(record, self.datefmt) + "Z",
                "level": record.levelname.lower(),
                "logger": record.name,
                "message": message,
            }
            return json.dumps({**shown, **head, **({"traceback": trace} if trace else {})})
        details = "".join(f" {name}={_quoted(value)}" for name, value in shown.items())
        lines = "".join(f"\n    {plain(line)}" for line in trace.splitlines())
        return f"{self.formatTime(record, self.datefmt)}Z {record.levelname} {record.name}: {message}{details}{lines}"

    def _hidden(self, text: str) -> str:
        return hidden(text, self._secrets)

    def _shown(self, value: Any) -> Any:
        return plain(self._hidden(value)) if isinstance(value, str) else value

    def _trace(self, record: logging.LogRecord) -> str:
        return self._hidden(self.formatException(record.exc_info)) if record.exc_info else ""


class _StandardError(logging.StreamHandler[TextIO]):
    """Looks up `sys.stderr` for every record, because it may be replaced after the handler is created."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override] # as logging's own handler of last resort does it
        return sys.stderr


def set_up(*, level: str = "info", form: Form = "text", secrets: Iterable[str] = ()) -> None:
    """Send the program's log to standard error; may be called again with other settings.

    `IMGMIRROR_LOG` in the environment names another level for one run.
    """
    wanted = os.environ.get("IMGMIRROR_LOG", level).upper()
    handler = _StandardError()
    handler.setFormatter(_Formatter(form, secrets))
    logging.basicConfig(
        level=wanted if wanted in logging.getLevelNamesMapping() else logging.INFO,
        handlers=[handler],
        force=True,
    )
    # The key `log.access` decides which lines are written, not the level.
    logging.getLogger(ACCESS).setLevel(logging.INFO)


def _quoted(value: Any) -> str:
    text = str(value)
    if not isinstance(value, str) or _BARE.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
