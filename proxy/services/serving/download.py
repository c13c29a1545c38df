"""Downloads an original from its origin to a separate file, and hashes and examines it as it arrives. Event loop.

Knows the fetcher, the file and the metrics of fetching. `judging` decides what the bytes are, and `keeping` whether
they are kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from cache.base.entry import Entry
from cache.base.errors import StoreUnwritable
from cache.base.opening import LocalFile
from cache.originals.incoming import Incoming
from proxy.errors import MirrorError, QueueFull, SourceFailed, SourceTimeout, SourceUnreachable
from proxy.fetch.fetcher import Fetched, Fetcher, NotModified, Validators
from proxy.fetch.wayback import Copy
from proxy.images.formats.probe import root_of_file
from proxy.observe.metrics import Metrics
from proxy.observe.traces import Facts, Traces
from proxy.prolog import RootFinder
from proxy.services.serving.values import SourceOrder
from proxy.source import Source

SNIFF_BYTES = 4096
"""Enough bytes for every signature and for the start of an HTML document (WHATWG MIME Sniffing: 1445)."""

LATELY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A complete download that has not been judged yet.

    source: the source asked for. answer: the origin's answer, or for a copy what its keeper reported of the origin's
    answer.
    incoming: the complete bytes. head: their first `SNIFF_BYTES`. stamp: the generation of the source before the fetch.
    previous: the kept entry of the source. lost: the same if its body is gone. recovered: where a copy came from.
    """

    source: Source
    answer: Fetched
    incoming: Incoming
    head: bytes
    stamp: int
    previous: Entry | None = None
    lost: Entry | None = None
    recovered: Mapping[str, Any] | None = None

    @property
    def claimed_type(self) -> str | None:
        """The media type as the origin wrote it."""
        return dict(self.answer.headers).get("content-type")


class _HeadKeeper:
    """A sink that passes everything on and remembers the first bytes, which determine the type."""

    def __init__(self, incoming: Incoming) -> None:
        self.head = b""
        self._incoming = incoming

    async def write(self, chunk: bytes) -> None:
        if len(self.head) < SNIFF_BYTES:
            self.head += chunk[: SNIFF_BYTES - len(self.head)]
        await self._incoming.write(chunk)


class Downloads:
    """Downloads originals and copies of them, and records how the downloads end."""

    def __init__(
        self, fetcher: Fetcher, metrics: Metrics, traces: Traces, *, now: Callable[[], float]
    ) -> None:
        self._fetcher = fetcher
        self._metrics = metrics
        self._traces = traces
        self._now = now
        self._last_good = self._last_bad = float("-inf")
        self._seconds_ok = metrics.fetch_seconds.labels("ok")

    @property
    def fail(self) -> bool:
        """Whether some downloads of the last minutes failed and none succeeded."""
        since = self._now() - LATELY_SECONDS
        return self._last_bad > since >= self._last_good

    async def original(self, order: SourceOrder, incoming: Incoming, *, stamp: int) -> Arrival | NotModified:
        """Request the source of `order` from its origin and write the bytes to `incoming`.

        Raises:
            MirrorError: the source is not available (the table of docs/api.md), or there is no room to receive it.
        """
        sink = _HeadKeeper(incoming)
        given = order.last_given
        validators = Validators(given.etag, given.last_modified, given.final_url) if given else None
        with (
            room_required(),
            self._noted() as note,
            self._traces.step("download", url=order.source.url) as step,
        ):
            answer = await self._fetcher.fetch(
                order.source, sink, validators=validators, patient=order.patient
            )
            note(answer)
            step.note(_answered(answer))
        if isinstance(answer, NotModified):
            return answer
        await _finished(incoming)
        return Arrival(order.source, answer, incoming, sink.head, stamp, order.entry, order.lost)

    async def copy(self, order: SourceOrder, copy: Copy, incoming: Incoming, *, stamp: int) -> Arrival:
        """Fetch a copy of the source of `order` from another place than its origin.

        Raises:
            MirrorError: as for `original`.
        """
        sink = _HeadKeeper(incoming)
        with room_required(), self._traces.step("download", url=copy.source.url) as step:
            answer = await self._fetcher.fetch(
                copy.source, sink, patient=order.patient, check_hop=copy.check_hop
            )
            step.note(_answered(answer))
        if isinstance(answer, NotModified):
            raise SourceUnreachable(detail="304 to a request without validators")
        await _finished(incoming)
        return Arrival(
            order.source,
            _as_original(answer),
            incoming,
            sink.head,
            stamp,
            lost=order.lost,
            recovered=copy.provenance(answer.final_url),
        )

    @contextmanager
    def _noted(self) -> Iterator[Callable[[Fetched | NotModified], None]]:
        """Count one fetch by its result, and measure its time."""
        begun = time.perf_counter()
        outcome = "internal"

        def note(answer: Fetched | NotModified) -> None:
            nonlocal outcome
            outcome = "not_modified" if isinstance(answer, NotModified) else "ok"
            self._last_good = self._now()

        try:
            yield note
        except MirrorError as error:
            outcome = error.code
            if isinstance(error, SourceUnreachable | SourceTimeout | SourceFailed):
                self._last_bad = self._now()
            raise
        finally:
            seconds = self._seconds_ok if outcome == "ok" else self._metrics.fetch_seconds.labels(outcome)
            seconds.observe(time.perf_counter() - begun)


def _answered(answer: Fetched | NotModified) -> Facts:
    """Return the facts of an answer for a trace."""
    if isinstance(answer, NotModified):
        return {"http.response.status_code": 304}
    return {
        "http.response.status_code": answer.status,
        "http.response.body.size": answer.size,
        "imgmirror.redirects": answer.redirects,
    }


@contextmanager
def room_required() -> Iterator[None]:
    """Raise `QueueFull` if neither the store nor the temporary folder accepts the bytes of a body."""
    try:
        yield
    except StoreUnwritable as error:
        # Neither the store nor the temporary folder accepts a byte: disk space or descriptors are exhausted.
        raise QueueFull("There is no room to receive the picture; try again soon.") from error


async def _finished(incoming: Incoming) -> None:
    with room_required():
        await incoming.finish()


def _as_original(answer: Fetched) -> Fetched:
    """Return an archive's answer with the headers that the origin had sent. Its own headers describe the archive.

    None of the original headers determine freshness: `fetch.min_fresh` does, and then the origin is tried again.
    """
    known = dict(answer.headers)
    kept = {
        "cache-control": "max-age=0",
        "content-type": known.get("x-archive-orig-content-type") or known.get("content-type"),
        "content-language": known.get("x-archive-orig-content-language"),
        "last-modified": known.get("x-archive-orig-last-modified"),
    }
    return replace(answer, headers=tuple((name, value) for name, value in kept.items() if value))


async def root_of_body(head: bytes, file: LocalFile) -> str:
    """Return the name of the root element of the body in `file` that begins with `head`, or an empty text.

    For nearly all bodies the first bytes suffice. Only for a document with a long prolog does a thread read on.
    """
    finder = RootFinder()
    finder.feed(head)
    return await asyncio.to_thread(root_of_file, file) if finder.searching else finder.root
