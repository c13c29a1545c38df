"""Jobs: the reports of long pieces of work about themselves, visible to every process of a store. Blocking.

    jobs/<id>.json       the record of a job, replaced as a whole when it changes
    jobs/<id>.lock       locked (flock) by the process that does the work, for as long as it lives
    jobs/<id>.stop       somebody wants it to stop
    jobs/<kind>.only     locked by the one job of its kind that a service runs

The kernel releases the lock of a process that dies. A record that says "running" without a lock belongs to a process
that was killed, and is shown as `lost`. Records are never the truth about what is kept, and may be deleted at any time.
Knows nothing of the work itself.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from cache.base.durable import PRIVATE, Durable, Modes, abandoned
from cache.base.errors import CacheError
from cache.base.opening import open_regular, read_regular

log = logging.getLogger(__name__)

JobState = Literal["running", "done", "failed", "stopped", "lost"]
"""`failed`: an error ended it. `stopped`: somebody stopped it, or its process was told to end. `lost`: its process died
without writing an end."""

JOBS = "jobs"
"""The folder of the records, in the folder of the store."""

STATES = ("running", "done", "failed", "stopped", "lost")
MAX_RECORDS = 50
"""How many ended jobs are remembered."""

MAX_RECORD_BYTES = 256 * 1024
_ID = re.compile(r"[0-9]{13}-[0-9a-f]{8}")
_LOCK_FILE = 0o600


class JobRunning(CacheError):
    """A job of this kind is running already."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What is known about a job.

    started_by: `api` or `command`. detail: what it works on, in words. done, total: its progress; total is None while
    it is unknown. note: a word about the present step. message: why it ended, empty if it did its work. result: its
    figures. may_stop: whether somebody else may stop it. Times are Unix seconds; ended_at is None while it runs.
    """

    id: str
    kind: str
    started_by: str
    started_at: float
    updated_at: float
    detail: str = ""
    state: JobState = "running"
    ended_at: float | None = None
    done: int = 0
    total: int | None = None
    note: str = ""
    message: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    may_stop: bool = False

    @property
    def is_over(self) -> bool:
        """Whether the job has ended and will not change any more."""
        return self.state != "running"


class OwnedJob:
    """A job of this process. Its record changes by `note` and `end`; `write` makes the change visible to others."""

    def __init__(self, jobs: JobFiles, record: JobRecord, descriptors: tuple[int, ...]) -> None:
        self.record = record
        self._jobs = jobs
        self._descriptors = descriptors
        self._written: JobRecord | None = None

    def note(self, done: int, total: int | None = None, note: str = "") -> None:
        """Change the progress. Costs nothing but memory; may be called from any thread."""
        known = self.record.total if total is None else total
        self.record = replace(self.record, done=done, total=known, note=note)

    def write(self) -> None:
        """Make the present record visible if it has changed. An error of the disk is not an error of the work."""
        if self.record != self._written:
            self._written = self.record = replace(self.record, updated_at=self._jobs.now())
            self._jobs.write(self.record)

    def is_to_stop(self) -> bool:
        """Return whether somebody wants the job to stop."""
        return self.record.may_stop and self._jobs.is_asked_to_stop(self.record.id)

    def end(self, state: JobState, message: str = "", result: Mapping[str, Any] | None = None) -> None:
        """Write how the job ended, and release its locks."""
        now = self._jobs.now()
        ended = replace(self.record, state=state, message=message, result=result or {}, ended_at=now, note="")
        self.record = replace(ended, updated_at=now)
        self._jobs.write(self.record)
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = ()
        self._jobs.forget(self.record.id, ".stop", ".lock")


class JobFiles:
    """The records of jobs in one folder. The folder is made when the first job begins."""

    def __init__(self, folder: Path, *, now: Callable[[], float], modes: Modes = PRIVATE) -> None:
        self.now = now
        self._folder = folder
        self._durable = Durable(folder, modes)
        self._modes = modes

    def begin(
        self, kind: str, *, started_by: str, detail: str = "", may_stop: bool = False, only: bool = False
    ) -> OwnedJob:
        """Begin a job. With `only`, there is at most one such job of this kind at a time.

        Raises:
            JobRunning: there is one.
            OSError: the folder cannot be written.
        """
        self._make_folder()
        self._prune()
        moment = self.now()
        name = f"{int(moment * 1000):013d}-{os.urandom(4).hex()}"
        record = JobRecord(name, kind, started_by, moment, moment, detail=detail, may_stop=may_stop)
        descriptors: list[int] = []
        try:
            if only:
                descriptors.append(_locked(self._file(kind, ".only"), kind))
            # The lock comes before the record, so that a reader of the record can tell whether its process lives.
            descriptors.append(_locked(self._file(name, ".lock"), kind))
            job = OwnedJob(self, record, tuple(descriptors))
            self._write(record)
        except BaseException:
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        return job

    def listed(self) -> list[JobRecord]:
        """Return every job, the newest first."""
        return [record for name in self._ids() if (record := self.get(name)) is not None]

    def get(self, name: str) -> JobRecord | None:
        """Return a job by its id, or None if it is not known."""
        if not _ID.fullmatch(name):
            return None
        record = self._read(name)
        if record is None or record.is_over or self._lives(name):
            return record
        # The job may have ended between the two checks.
        record = self._read(name)
        if record is None or record.is_over:
            return record
        return replace(record, state="lost", message="Its process ended without a word.", may_stop=False)

    def ask_to_stop(self, name: str) -> None:
        """Ask a job to stop. It does so at its next step.

        Raises:
            OSError: the disk refused.
        """
        os.close(open_regular(self._file(name, ".stop"), os.O_WRONLY | os.O_CREAT))

    def write(self, record: JobRecord) -> None:
        """Replace the record of a job. If the disk refuses, others do not see the change, and nothing else is lost."""
        try:
            self._write(record)
        except OSError as error:
            log.warning("the progress of a job cannot be written: %s", error)

    def is_asked_to_stop(self, name: str) -> bool:
        """Return whether somebody wants a job to stop."""
        return self._file(name, ".stop").exists()

    def forget(self, name: str, *suffixes: str) -> None:
        """Delete files of a job, if the disk permits."""
        for suffix in suffixes:
            with contextlib.suppress(OSError):
                self._file(name, suffix).unlink(missing_ok=True)

    def _file(self, name: str, suffix: str) -> Path:
        return self._folder / f"{name}{suffix}"

    def _make_folder(self) -> None:
        if not self._folder.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "there is no store", str(self._folder.parent))
        self._modes.make_folder(self._folder)

    def _write(self, record: JobRecord) -> None:
        values = {name: getattr(record, name) for name in JobRecord.__slots__}
        text = json.dumps({**values, "result": dict(record.result)}, indent=1, default=str)
        self._durable.write_unsynced(self._file(record.id, ".json"), text.encode("ascii"))

    def _ids(self) -> list[str]:
        try:
            names = [name for name in os.listdir(self._folder) if name.endswith(".json")]  # noqa: PTH208 - names only
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted((name[:-5] for name in names if _ID.fullmatch(name[:-5])), reverse=True)

    def _read(self, name: str) -> JobRecord | None:
        try:
            return _record(json.loads(read_regular(self._file(name, ".json"), MAX_RECORD_BYTES)), name)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError, KeyError, TypeError, OverflowError) as error:
            log.warning("the record of the job %s cannot be read: %s", name, error)
            return None

    def _lives(self, name: str) -> bool:
        """Return whether the process of a job holds its lock."""
        try:
            descriptor = open_regular(self._file(name, ".lock"), os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            # Without locks this cannot be known. A job that has ended says so in its record.
            return True
        finally:
            os.close(descriptor)
        return False

    def _prune(self) -> None:
        """Forget the oldest ended jobs, and leftovers of records from killed processes."""
        abandoned(self._folder, remove=True, suffix=".part")
        for name in self._ids()[MAX_RECORDS:]:
            record = self.get(name)
            if record is None or record.is_over:
                self.forget(name, ".json", ".lock", ".stop")


def _locked(path: Path, kind: str) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _LOCK_FILE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise JobRunning(f"a {kind} is running") from error
    except OSError:
        # A network disk without locks: the job cannot show that it lives, and nothing else is lost.
        log.warning("%s cannot be locked", path)
    return descriptor


def _record(known: Mapping[str, Any], name: str) -> JobRecord:
    """Return the record in a file of this or another version.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: it is not a record.
    """
    if known["id"] != name or known["state"] not in STATES or not isinstance(known.get("result"), dict):
        raise ValueError("it is not a record of this job")
    ended_at, total = known.get("ended_at"), known.get("total")
    return JobRecord(
        id=name,
        kind=str(known["kind"]),
        started_by=str(known["started_by"]),
        started_at=_moment(known["started_at"]),
        updated_at=_moment(known["updated_at"]),
        detail=str(known.get("detail", "")),
        state=known["state"],
        ended_at=None if ended_at is None else _moment(ended_at),
        done=int(known.get("done", 0)),
        total=None if total is None else int(total),
        note=str(known.get("note", "")),
        message=str(known.get("message", "")),
        result=dict(known["result"]),
        may_stop=known.get("may_stop") is True,
    )


def _moment(value: Any) -> float:
    # Our JSON can hold NaN and infinity, which are not times.
    moment = float(value)
    if not math.isfinite(moment):
        raise ValueError("it is no moment")
    return moment
