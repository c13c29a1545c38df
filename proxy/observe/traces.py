"""Says which steps a request takes, for a trace. `Traces` records nothing; `otlp.spans` has one that sends spans.

Facts have the names of OpenTelemetry's semantic conventions. Nothing here knows OpenTelemetry, so a service without
traces does not load it. Event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context

Facts = Mapping[str, str | int]

TARGET = "url.target"
"""The fact that becomes `url.path` and `url.query`."""


class Step:
    """A step that is being taken. This one is not recorded."""

    def note(self, facts: Facts) -> None:
        """Add facts."""

    def fail(self, kind: str) -> None:
        """Say that the step failed. `kind` is the code of an error."""

    def split(self, first: str, second: str, *, first_seconds: float) -> None:
        """Say at the end that the step consisted of two: of `first` for so many seconds, then of `second`."""


class RequestStep(Step):
    """A whole request, which ends when its answer was sent. is_recorded: whether facts about it are of any use."""

    is_recorded = False

    def current(self) -> AbstractContextManager[object]:
        """Return a context in which all steps belong to this request, those of tasks started in it included."""
        return nullcontext()

    def end(self, name: str, facts: Facts, *, failure: str, is_ours: bool) -> None:
        """End the request. failure: the code of its error, or empty. is_ours: whether the client is not to blame."""


_UNRECORDED = RequestStep()
_NOWHERE = nullcontext(_UNRECORDED)


class Traces:
    """Records nothing."""

    def hide(self, secrets: Iterable[str]) -> None:
        """Name the texts of the configuration that must not be recorded from now on."""

    def request(self, headers: Mapping[str, str], *, is_trusted: bool) -> RequestStep:
        """Begin a request. If it `is_trusted`, it continues the trace that its header `traceparent` names."""
        return _UNRECORDED

    def step(self, name: str, *, url: str = "") -> AbstractContextManager[Step]:
        """Return a context for one step. An exception is noted as its failure. url: the address that it asks."""
        return _NOWHERE

    def join(self, leader: Context | None) -> None:
        """Say that the present step waits for work that was begun in the context `leader`, if there is such work."""

    def headers(self) -> Mapping[str, str]:
        """Return the headers that tell another service which step asks it."""
        return {}


NOT_TRACED = Traces()
