"""The protocol between a connection and aiohttp's parser: tidies the bytes that real servers send. Event loop.

aiohttp's parser still builds the answer. It gets a head that `proxy.fetch.answers.heads` has tidied, and exactly the
bytes of one body. It gets no bytes after the body, and a connection with anything unusual is closed after its answer.
No byte of one answer can therefore become part of the next one.
"""

from __future__ import annotations

from typing import Any

from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import BadHttpMessage

from proxy.fetch.answers.chunks import Chunks
from proxy.fetch.answers.heads import MAX_HEAD_BYTES, Head, HeadBytes, tidied

_MAX_INTERIM = 32
"""The most 1xx answers before the final one."""


class TidyingHandler(ResponseHandler):
    """One connection.

    1. `set_response_params`: a request is about to be sent; a head is expected.
    2. Bytes of a head are collected up to its blank line. If they are too long or no head, the answer fails.
    3. The tidied head goes to the parser. After a 1xx, the next head is expected.
    4. The body goes to the parser, up to its end and no further.
    5. Bytes after the end close the connection.
    """

    def set_response_params(self, **params: Any) -> None:
        """Expect an answer. aiohttp calls this before each request."""
        self._head: Head | None = None
        self._coming = HeadBytes()
        self._interim = 0
        self._left = 0
        self._chunks = Chunks()
        params["max_line_size"] = params["max_field_size"] = MAX_HEAD_BYTES
        params["max_headers"] = MAX_HEAD_BYTES
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the connection. Empty bytes let the parser continue with the bytes that it holds."""
        if not data or self._parser is None:
            super().data_received(data)
            return
        try:
            if self._head is None or not self._head.final:
                data = self._take_heads(data)
            if data and self._head is not None and self._head.final:
                self._take_body(self._head, data)
        except ValueError as error:
            self._fail(error)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End a body whose last chunk has arrived. Only trailers are missing (RFC 9112 §8)."""
        if self._parser is not None and self._chunks.in_trailers and not self._chunks.ended:
            self.force_close()
            super().data_received(self._chunks.feed(b"\n\n"))
        super().connection_lost(exc)

    def _take_heads(self, data: bytes) -> bytes:
        """Pass the heads on; return the bytes after the final one."""
        while data and (self._head is None or not self._head.final):
            whole = self._coming.feed(data)
            if whole is None:
                return b""
            raw, data = whole
            self._coming = HeadBytes()
            self._head = tidied(raw)
            self._begin(self._head)
        return data

    def _begin(self, head: Head) -> None:
        self._interim += not head.final
        if self._interim > _MAX_INTERIM:
            raise ValueError(f"more than {_MAX_INTERIM} answers before the answer")
        self._left = head.length
        if head.doubtful:
            self.force_close()
        super().data_received(head.data)

    def _take_body(self, head: Head, data: bytes) -> None:
        if head.end in {"close", "upgrade"}:
            super().data_received(data)
            return
        body, rest = self._split(head, data)
        if rest:
            # Do this before the parser sees the end and the connection is released.
            self.force_close()
        if body:
            super().data_received(body)
        elif rest and self.transport is not None and (self._payload is None or self._payload.is_eof()):
            # The connection is idle. Otherwise the answer may still be read, and aiohttp closes the connection after
            # it.
            self.transport.close()

    def _split(self, head: Head, data: bytes) -> tuple[bytes, bytes]:
        if head.end == "chunked":
            if self._chunks.ended:
                return b"", data
            return self._chunks.feed(data), self._chunks.rest
        body = data[: self._left]
        self._left -= len(body)
        return body, data[len(body) :]

    def _fail(self, error: ValueError) -> None:
        self._chunks = Chunks()
        self.set_exception(BadHttpMessage(str(error)), error)
        if self.transport is not None:
            self.transport.close()
