"""The origin of the benchmark, a separate process: bodies from memory, a new picture in each answer.

Every body holds `MARK` once (`sources.py` puts it into EXIF data or a PNG text). Each answer has a running number in
its place, so no peer can answer from results kept under a hash of the bytes, as imgmirror keeps its variants.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
import sys
import zlib
from pathlib import Path

MARK = b"bench-mark-000000000000"
TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "avif": "image/avif"}


class Picture:
    """A body that is different each time it is sent."""

    def __init__(self, path: Path) -> None:
        self.body = path.read_bytes()
        self.type = TYPES[path.suffix[1:]]
        self.place = self.body.index(MARK)
        self.numbers = itertools.count(1)

    def fresh(self) -> list[bytes]:
        """Return the body in pieces, with the next number in it."""
        mark = MARK[:11] + b"%012d" % next(self.numbers)
        end = self.place + len(MARK)
        if self.type != "image/png":
            return [self.body[: self.place], mark, self.body[end:]]
        # PNG §5.3: a chunk ends in the CRC of its type and data; the mark ends the data of a tEXt chunk.
        chunk = self.body.rindex(b"tEXt", 0, self.place)
        crc = struct.pack(">I", zlib.crc32(mark, zlib.crc32(self.body[chunk : self.place])))
        return [self.body[: self.place], mark, crc, self.body[end + 4 :]]


async def _serve(pictures: dict[str, Picture]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            keep = True
            while keep:
                head = await reader.readuntil(b"\r\n\r\n")
                method, target, version = head.split(b"\r\n", 1)[0].split(b" ")
                keep = version == b"HTTP/1.1" and b"connection: close" not in head.lower()
                picture = pictures.get(target.split(b"?")[0].decode("ascii"))
                _write(writer, picture, with_body=method == b"GET", keep=keep)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(f"origin:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def _write(writer: asyncio.StreamWriter, picture: Picture | None, *, with_body: bool, keep: bool) -> None:
    connection = b"" if keep else b"Connection: close\r\n"
    if picture is None:
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n" + connection + b"\r\n")
        return
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {picture.type}\r\nContent-Length: {len(picture.body)}\r\n"
    writer.write(head.encode("ascii") + connection + b"\r\n")
    if with_body:
        writer.writelines(picture.fresh())


if __name__ == "__main__":
    found = sorted(path for path in Path(sys.argv[1]).rglob("*.*") if path.suffix[1:] in TYPES)
    asyncio.run(_serve({f"/{path.relative_to(sys.argv[1])}": Picture(path) for path in found}))
