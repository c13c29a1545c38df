"""Accepts connections so that every worker gets its share. Event loop.

All workers wait on one listening socket, which stays open in their parent. A connection in its queue is therefore
never lost when a worker dies. Without coordination, the worker that wakes first empties the queue, and sixteen
simultaneous visitors may all land on one worker. So a worker accepts one connection at a time. A worker that holds more
connections than another leaves the next one to it for a moment. It accepts the connection itself if no other worker
did, because the other may be busy or dead.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import MutableSequence

from aiohttp import web

from proxy.web.connections.server import Connection, Server

log = logging.getLogger(__name__)

GONE = -1
"""The count of a worker that accepts nothing, because it is starting, ending or dead."""

LEAVE_SECONDS = 0.002
"""How long a connection is left to workers that hold fewer. An idle worker accepts it in a tenth of that time."""

RETRY_SECONDS = 1.0
"""Pause when the process has no file descriptor left. asyncio uses the same value."""


class OpenConnections:
    """The number of open connections of every worker, in memory that all workers share."""

    def __init__(self, counts: MutableSequence[int], worker: int) -> None:
        self._counts = counts
        self._worker = worker

    def publish(self, count: int) -> None:
        """Publish how many connections this worker holds, or `GONE` when it accepts nothing."""
        self._counts[self._worker] = count

    def others_hold_fewer(self, count: int) -> bool:
        """Return whether another accepting worker holds fewer than `count` connections."""
        return any(GONE < held < count for number, held in enumerate(self._counts) if number != self._worker)


class SharedSite(web.BaseSite):
    """A listening socket that several workers accept on."""

    __slots__ = ("_accepting", "_arriving", "_connecting", "_listener", "_loop", "_open", "_web")

    def __init__(
        self,
        runner: web.ServerRunner,
        listener: socket.socket,
        *,
        server: Server,
        connections: OpenConnections,
    ) -> None:
        super().__init__(runner)
        self._listener = listener
        self._web = server
        self._open = connections
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[None]] = set()
        # Accepted connections that the server does not count yet.
        self._arriving: set[socket.socket] = set()
        self._accepting = False

    @property
    def name(self) -> str:
        """The address of the site, in aiohttp's form."""
        host, port = self._listener.getsockname()[:2]
        return f"http://{host}:{port}"

    async def start(self) -> None:
        """Start accepting connections."""
        await super().start()
        self._web.on_count = self._publish
        self._accepting = True
        self._publish()
        self._watch()

    async def stop(self) -> None:
        """Stop accepting. Connections in the queue are left to the other workers."""
        self._accepting = False
        self._open.publish(GONE)
        self._loop.remove_reader(self._listener)
        self._listener.close()
        if self._connecting:
            await asyncio.wait(self._connecting)
        await super().stop()

    @property
    def _held(self) -> int:
        return self._web.held + len(self._arriving)

    def _publish(self) -> None:
        if self._accepting:
            self._open.publish(self._held)

    def _watch(self) -> None:
        if self._accepting:
            self._loop.add_reader(self._listener, self._knocked)

    def _knocked(self) -> None:
        if self._open.others_hold_fewer(self._held):
            self._loop.remove_reader(self._listener)
            self._loop.call_later(LEAVE_SECONDS, self._left)
        else:
            self._accept()

    def _left(self) -> None:
        if self._accepting:
            self._watch()
            self._accept()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            log.error("connections cannot be accepted: %s", error)
            self._loop.remove_reader(self._listener)
            self._loop.call_later(RETRY_SECONDS, self._watch)
            return
        connection.setblocking(False)
        self._arriving.add(connection)
        task = self._loop.create_task(self._connect(connection))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        self._publish()

    async def _connect(self, connection: socket.socket) -> None:
        def arrived() -> Connection:
            self._arriving.discard(connection)
            return self._web()

        try:
            await self._loop.connect_accepted_socket(arrived, connection)
        except OSError as error:
            # The client closed the connection before it sent anything.
            log.debug("a connection was lost immediately: %s", error)
            connection.close()
        finally:
            self._arriving.discard(connection)
