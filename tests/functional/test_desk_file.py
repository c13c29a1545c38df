"""The list of missing pictures as a file that is interrupted: by its reader, or by the catalogue."""

from __future__ import annotations

import asyncio
import csv
import io
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from desk import TOKEN, DeskVisitor, signed_in
from service import Service, write_config

from cache.durable_tier import Originals
from proxy.services.desk.asking import CatalogueNotReady

LAST = b"0\r\n\r\n"
"""The end of a body in chunks (RFC 9112 section 7.1)."""
SOURCES = [f"http://127.0.0.1:1/{'long' * 120}/{number:05}.png" for number in range(20_000)]
"""More than the buffers of both ends of a connection hold."""


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    kept = await Originals.open(tmp_path / "store")
    await kept.articles.record("post.md", SOURCES)
    await kept.catalogue.catch_up()
    await kept.close()
    with Service(write_config(tmp_path, {"server": {"admin_token": TOKEN}})) as found:
        yield found
        assert "Traceback" not in found.log(), found.log()
        assert "internal" not in found.log()


@pytest.fixture
async def owner(http: aiohttp.ClientSession, service: Service) -> DeskVisitor:
    return await signed_in(http, service.base)


@asynccontextmanager
async def reading(owner: DeskVisitor) -> AsyncIterator[asyncio.StreamReader]:
    """Ask for the file with a small buffer, and yield the answer behind its head."""
    host, _, port = owner.client.base.rpartition("//")[2].partition(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=connection, limit=4096)
    cookie = "; ".join(f"{name}={value}" for name, value in owner.cookies.items())
    lines = (
        "GET /desk/missing.csv HTTP/1.1",
        f"Host: {host}:{port}",
        "Accept: text/html",
        f"Cookie: {cookie}",
    )
    writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        yield reader
    finally:
        writer.transport.abort()


def whole_lines(body: bytes) -> list[str]:
    """Return the sources of the lines that came as a whole in a body of chunks, the last of which may be cut."""
    text, rest = b"", body
    while (mark := rest.find(b"\r\n")) > 0:
        size = int(rest[:mark], 16)
        text += rest[mark + 2 : mark + 2 + size]
        rest = rest[mark + 4 + size :]
    rows = csv.DictReader(io.StringIO(text[: text.rfind(b"\r\n")].decode()))
    return [row["source"] for row in rows]


async def test_reader_who_leaves_in_the_middle_costs_nothing(owner: DeskVisitor) -> None:
    """The next one gets the whole file, and no fault is logged."""
    for _ in range(3):
        async with reading(owner) as reader:
            await reader.readexactly(2000)
    answer = await owner.open("/desk/missing.csv")
    assert [row["source"] for row in csv.DictReader(io.StringIO(answer.body.decode()))] == SOURCES


@pytest.mark.parametrize("damage", ["deleted", "unnamed", "replaced"])
async def test_file_is_cut_when_the_catalogue_fails_in_the_middle(
    owner: DeskVisitor, tmp_path: Path, damage: str
) -> None:
    """The connection ends without the end of the body, so no client takes the lines that came for all."""
    catalogue = tmp_path / "store" / "catalogue"
    async with reading(owner) as reader:
        body = await reader.readexactly(2000)
        if damage == "deleted":
            shutil.rmtree(catalogue)
        elif damage == "unnamed":
            (catalogue / "current").unlink()
        else:
            # As when another process has found damage and makes the catalogue again.
            (catalogue / "current").unlink()
            other = await Originals.open(tmp_path / "store")
            await asyncio.to_thread(other.catalogue.notes.create)
            await other.close()
        try:
            while piece := await reader.read(1 << 16):
                body += piece
        except ConnectionError:
            pass
    found = whole_lines(body)
    assert not body.endswith(LAST)
    assert 0 < len(found) < len(SOURCES)
    assert found == SOURCES[: len(found)]


async def test_file_is_refused_while_the_catalogue_does_not_know_everything(
    owner: DeskVisitor, tmp_path: Path
) -> None:
    (tmp_path / "store" / "catalogue" / "current").unlink()
    answer = await owner.open("/desk/missing.csv")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
    assert CatalogueNotReady.public_message.encode() in answer.body
