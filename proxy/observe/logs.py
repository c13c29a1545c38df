"""Logging: one line an event on standard error, times in UTC, level from `IMGMIRROR_LOG`."""

from __future__ import annotations

import logging
import os
import time

FORMAT = "%(asctime)sZ %(levelname)s %(name)s: %(message)s"


def set_up() -> None:
    """Send the program's log to standard error; the level is `info` unless `IMGMIRROR_LOG` names another."""
    level = logging.getLevelNamesMapping().get(os.environ.get("IMGMIRROR_LOG", "info").upper(), logging.INFO)
    formatter = logging.Formatter(FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # aiohttp logs what its parser refuses with a traceback; product.md, section 6 wants one line.
    logging.getLogger("aiohttp.server").addFilter(_without_traceback)


def _without_traceback(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        first_line = (str(error) or repr(error)).splitlines()[0]
        record.msg, record.args = "%s: %s", (record.getMessage(), first_line[:200])
        record.exc_info = None
        record.exc_text = None
    return True
