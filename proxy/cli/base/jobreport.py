"""Shows the progress of a command to everybody who looks at the store, as a job (`cache.across.jobs`). Blocking.

A record that cannot be written is no error of the command. None is written in a store of another user: the service
could not write its own records into a folder that we have made.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cache.across.jobs import JOBS, JobFiles, JobState, OwnedJob
from cache.base.errors import CacheError
from cache.base.layout import MARKER
from proxy.app import modes_of
from proxy.config import Config

WRITE_SECONDS = 0.5
"""The shortest time between two writes of the record."""

LOOK_SECONDS = 10.0
"""How long a command that changes nothing may take before others want to see its progress."""


class CommandJob:
    """A progress function that also writes the record of a job. `result` holds the figures of its end."""

    def __init__(self, begin: Callable[[], OwnedJob | None], shown: Callable[..., None], wait: float) -> None:
        self.result: Mapping[str, Any] = {}
        self._begin = begin
        self._shown = shown
        self._job = None if wait else begin()
        self._next = time.monotonic() + (wait or WRITE_SECONDS)
        self._has_begun = not wait

    def __call__(self, done: int, total: int | None = None, note: str = "") -> None:
        """Show how much is done."""
        self._shown(done, total, note)
        is_due = time.monotonic() >= self._next
        if is_due and not self._has_begun:
            self._job, self._has_begun = self._begin(), True
        if self._job is None:
            return
        self._job.note(done, total, note)
        if is_due:
            self._next = time.monotonic() + WRITE_SECONDS
            self._job.write()

    def end(self, state: JobState, message: str = "") -> None:
        """Write how the work ended, if there is a record."""
        if self._job is not None:
            self._job.end(state, message, self.result)


@contextlib.contextmanager
def as_job(
    config: Config | None, kind: str, shown: Callable[..., None], *, detail: str = "", looks: bool = False
) -> Iterator[CommandJob]:
    """Yield a progress function for the work of a command. `shown` is the one of the terminal.

    Without `config`, the work is not about a store of this machine, and no record is written. A command that only
    `looks` at a store changes nothing in it, so its record is written only once it takes long.
    """

    def begin() -> OwnedJob | None:
        return _begun(config, kind, detail) if config is not None else None

    job = CommandJob(begin, shown, LOOK_SECONDS if looks else 0.0)
    try:
        yield job
    except (KeyboardInterrupt, asyncio.CancelledError):
        job.end("stopped", "The command was interrupted.")
        raise
    except BaseException as error:
        job.end("failed", str(error) or type(error).__name__)
        raise
    else:
        job.end("done")


def _begun(config: Config, kind: str, detail: str) -> OwnedJob | None:
    folder = config.store.dir
    try:
        if not (folder / MARKER).is_file() or folder.stat().st_uid != os.geteuid():
            return None
        files = JobFiles(folder / JOBS, now=time.time, modes=modes_of(config))
        return files.begin(kind, started_by="command", detail=detail)
    except (OSError, CacheError):
        return None
