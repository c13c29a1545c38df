"""Reframes chunked bodies of real servers for a strict parser (RFC 9112 §7.1). Pure.

Drops everything that does not affect the bytes: extensions, trailers, spaces after a size, bare line feeds. A size that
cannot be read is an error. Knows nothing of heads and connections.
"""

from __future__ import annotations

import re

_SIZE_LINE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\n]*)?\r?")
_MAX_LINE_BYTES = 16_384
_MAX_TRAILER_BYTES = 65_536
_END = b"0\r\n\r\n"


class Chunks:
    """One chunked body while it arrives.

    ended: the last chunk and its trailers are complete. in_trailers: only trailers are missing, which have no effect.
    rest: the bytes after the end.
    """

    def __init__(self) -> None:
        self.ended = self.in_trailers = False
        self.rest = b""
        self._line = b""
        self._left = 0
        self._needs_line_end = False
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> bytes:
        """Return the contents of `data` as standard chunks. The last chunk is returned after the trailers.

        Raises:
            ValueError: `data` does not continue a chunked body.
        """
        out: list[bytes] = []
        at = 0
        while at < len(data) and not self.ended:
            if self._left:
                piece = data[at : at + self._left]
                out.append(b"%x\r\n%s\r\n" % (len(piece), piece))
                at += len(piece)
                self._left -= len(piece)
                self._needs_line_end = not self._left
                continue
            end = data.find(b"\n", at) + 1
            self._line += data[at : end or len(data)]
            if len(self._line) > _MAX_LINE_BYTES:
                raise ValueError("a chunk's size line has no end")
            if not end:
                break
            at = end
            line, self._line = self._line[:-1], b""
            self._read_line(line)
        if self.ended:
            self.rest = data[at:]
            out.append(_END)
        return b"".join(out)

    def _read_line(self, line: bytes) -> None:
        if self.in_trailers:
            self._trailer_bytes += len(line) + 1
            if self._trailer_bytes > _MAX_TRAILER_BYTES:
                raise ValueError("the trailers have no end")
            self.ended = line in {b"", b"\r"}
        elif self._needs_line_end:
            if line not in {b"", b"\r"}:
                raise ValueError("a chunk is longer than its size")
            self._needs_line_end = False
        else:
            match = _SIZE_LINE.fullmatch(line)
            if match is None:
                raise ValueError(f"no chunk size: {line[:40]!r}")
            self._left = int(match[1], 16)
            self.in_trailers = not self._left
