"""The service's end of the socket to a render process: it sends and receives frames. Event loop.

A protocol replaces the usual stream. Messages before the answer are processed as they arrive, and the task that waits
for the answer wakes up once, when the answer is complete.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from proxy.images import jobs
from proxy.images.jobs import WireError

Message = dict[str, Any]


class Conversation(asyncio.Protocol):
    """One question and its answer at a time. After an error, all further input is ignored."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._answer: asyncio.Future[tuple[Message, list[bytes]]] | None = None
        self._message: Message | None = None
        self._sizes: deque[int] = deque()
        self._bodies: list[bytes] = []
        self._sizes_of: Callable[[Message], list[int] | None] = jobs.body_sizes

    def expect(
        self, sizes_of: Callable[[Message], list[int] | None]
    ) -> asyncio.Future[tuple[Message, list[bytes]]]:
        """Return a future of the message that ends the answer, with its bodies.

        sizes_of: called with each message. Returns the sizes in bytes of the bodies after the last message, or None for
        a message that others follow.

        Raises, when awaited:
            OSError: the process closed its end.
            WireError: the process sent an invalid frame or one without a question; also any exception of `sizes_of`.
        """
        answer = self._answer = asyncio.get_running_loop().create_future()
        self._sizes_of = sizes_of
        if self._transport is None or self._transport.is_closing():
            self._fail(ConnectionResetError("the socket is closed"))
        elif self._buffer:
            self._fail(WireError("it sent bytes without a question"))
        return answer

    def say(self, message: Message) -> None:
        """Send a message."""
        # uvloop refuses to write to a socket that the process has closed; whoever expects the answer learns of it.
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(jobs.frame(message))

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Receive bytes. Bytes without a question are kept, and make the next question fail."""
        self._buffer += data
        if self._answer is None:
            if self._transport is not None:
                self._transport.pause_reading()
            return
        try:
            self._read()
        except Exception as error:  # noqa: BLE001 - whoever waits for the answer gets it
            self._fail(error)

    def connection_lost(self, error: Exception | None) -> None:
        """Raise the error in the waiting task."""
        self._fail(error or ConnectionResetError("the socket was closed"))

    def _read(self) -> None:
        while self._message is None:
            if (message := self._next_message()) is None:
                return
            if (sizes := self._sizes_of(message)) is not None:
                self._message, self._sizes, self._bodies = message, deque(sizes), []
        # One by one, so that an answer is not in memory twice.
        while self._sizes and len(self._buffer) >= self._sizes[0]:
            self._bodies.append(self._taken(self._sizes.popleft()))
        if not self._sizes:
            message, self._message = self._message, None
            self._settle(message, self._bodies)

    def _next_message(self) -> Message | None:
        if len(self._buffer) < jobs.LENGTH_BYTES:
            return None
        end = jobs.LENGTH_BYTES + jobs.header_length(bytes(self._buffer[: jobs.LENGTH_BYTES]))
        if len(self._buffer) < end:
            return None
        return jobs.read_header(self._taken(end)[jobs.LENGTH_BYTES :])

    def _taken(self, size: int) -> bytes:
        with memoryview(self._buffer) as view:
            taken = bytes(view[:size])
        del self._buffer[:size]
        return taken

    def _settle(self, message: Message, bodies: list[bytes]) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result((message, bodies))

    def _fail(self, error: Exception) -> None:
        answer, self._answer = self._answer, None
        self.close()
        if answer is not None and not answer.done():
            answer.set_exception(error)
