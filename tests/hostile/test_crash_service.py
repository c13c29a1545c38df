"""A running service with a failing disk: it serves pictures, loses nothing kept, and recovers with the disk."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import faulty_service
import pytest
from commands import invoke
from crash_files import ERRORS
from faulty_service import give_orders
from http_client import Answer, Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, write_config

from cache.base.keys import source_key
from proxy.errors import MirrorError

PATH = os.pathsep.join([str(Path(__file__).parents[1] / "lib"), str(Path(__file__).parents[2])])
KEPT, NEW = 4, 4


def codes(kind: type[MirrorError] = MirrorError) -> set[str]:
    """Return every code of docs/api.md, "Errors", but `internal`."""
    found = {kind.code} if "code" in vars(kind) else set()
    return found.union(*map(codes, kind.__subclasses__())) - {"internal"}


class Trouble:
    """A service, its origin, the file of orders to its disk, and pictures that it kept before the trouble."""

    def __init__(self, client: Client, origin: ScriptedOrigin, store: Path, orders: Path) -> None:
        self.client, self.origin, self.store, self.orders = client, origin, store, orders
        self._next = 0

    def url(self, number: int) -> str:
        return self.origin.url(f"/{number}.png")

    def body(self, number: int) -> bytes:
        return chart_png(40 + number, 30, seed=number)

    async def fill(self) -> None:
        for number in range(KEPT):
            await self.ask_new()
            await self.until_kept(number)

    async def ask_new(self) -> list[Answer]:
        """Request a new picture, as it is and at a smaller size."""
        number, self._next = self._next, self._next + 1
        self.origin.serve(f"/{number}.png", self.body(number))
        return await self.ask(number)

    async def ask(self, number: int) -> list[Answer]:
        paths = (f"/?{self.url(number)}", f"/image/width=20,format=png/{self.url(number)}", "/readyz")
        original, variant, _ = answers = [await self.client.get(path) for path in paths]
        for answer in answers:
            require_documented(answer)
        if original.status == 200:
            assert original.body == self.body(number)
        if variant.status == 200:
            assert variant.body.startswith(b"\x89PNG")
        return [original, variant]

    async def purge(self, number: int) -> Answer:
        body = json.dumps({"source": self.url(number)}).encode()
        answer = await self.client.get(
            "/purge", method="POST", data=body, headers={"Content-Type": "application/json"}
        )
        # The administrator's request could not be done, and the answer says why.
        if answer.status != 200:
            assert (answer.status, answer.code) == (503, "queue_full"), answer.body
            assert f"Not purged: {self.url(number)}".encode() in answer.body, answer.body
            assert int(answer.headers["Retry-After"]) > 0
        return answer

    def is_kept(self, number: int) -> bool:
        key = source_key(self.url(number))
        digest = hashlib.sha256(self.body(number)).hexdigest()
        body = self.store / "bodies" / digest[:2] / digest
        entry = self.store / "entries" / key[:2] / f"{key}.json"
        return entry.exists() and body.exists() and body.read_bytes() == self.body(number)

    async def until_kept(self, number: int) -> None:
        for _ in range(500):
            if self.is_kept(number):
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{number} is not kept")

    async def require_recovered(self) -> None:
        """The disk works again: kept pictures are there and served, and new ones are kept."""
        for number in range(KEPT):
            assert self.is_kept(number), number
            assert [answer.status for answer in await self.ask(number)] == [200, 200]
        number = self._next
        assert [answer.status for answer in await self.ask_new()] == [200, 200]
        await self.until_kept(number)


def require_documented(answer: Answer) -> None:
    """The answer belongs to the contract: a picture, a report, or an error of docs/api.md, never `internal`."""
    if answer.status >= 400 and answer.headers.get("Content-Type", "").startswith("application/json"):
        known = json.loads(answer.body)
        assert "status" in known or known["code"] in codes(), known
    else:
        assert answer.status < 400, (answer.status, answer.body[:200])


@pytest.fixture(scope="module")
def faulty_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Path, Path]]:
    folder = tmp_path_factory.mktemp("faulty")
    store, orders = folder / "store", folder / "orders"
    program = (str(faulty_service.__file__), str(orders), str(store))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", PATH)
        with Service(write_config(folder, {"fetch": {"min_fresh": "1h"}}), program=program) as service:
            yield service, store, orders
            give_orders(orders)
            assert "Traceback" not in service.log(), service.log()


@pytest.fixture
async def trouble(
    faulty_one: tuple[Service, Path, Path], http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> AsyncIterator[Trouble]:
    service, store, orders = faulty_one
    give_orders(orders)
    found = Trouble(Client(http, service.base), origin, store, orders)
    await found.fill()
    yield found
    give_orders(orders)


FAILING = {
    "fsync fails": (("sync", "sync_folder"), 1.0),
    "nothing can be written": (("write",), 1.0),
    "nothing can be made": (("create", "mkdir"), 1.0),
    "rename fails": (("rename", "link"), 1.0),
    "nothing can be deleted": (("delete",), 1.0),
    "everything fails": (tuple(ERRORS), 1.0),
    "everything fails now and then": (tuple(ERRORS), 0.2),
}


@pytest.mark.parametrize("case", FAILING)
async def test_service_on_a_disk_that_fails_answers_and_loses_nothing(trouble: Trouble, case: str) -> None:
    """New and kept pictures are served although nothing can be kept, and a purge reports what it could not do."""
    kinds, share = FAILING[case]
    give_orders(trouble.orders, kinds=kinds, share=share)
    for _ in range(NEW):
        original, variant = await trouble.ask_new()
        assert (original.status, variant.status) == (200, 200), (original.body, variant.body)
    for number in range(KEPT):
        assert [answer.status for answer in await trouble.ask(number)] == [200, 200]
    number = trouble._next
    give_orders(trouble.orders)
    await trouble.ask_new()
    await trouble.until_kept(number)
    give_orders(trouble.orders, kinds=kinds, share=share)
    purged = await trouble.purge(number)
    give_orders(trouble.orders)
    if purged.status == 200:
        assert not trouble.is_kept(number)
    await trouble.require_recovered()


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a disk of a few megabytes; skip where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "imgmirror-test", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no small disk can be mounted here: {error}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S607 - wherever the system has it


async def test_service_on_a_full_disk_answers_keeps_nothing_new_and_recovers(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """The last byte of a small disk is used up in the middle of everything, and becomes free again."""
    with small_disk(tmp_path / "disk", "8m") as disk:
        config = write_config(tmp_path, {"store": {"dir": str(disk / "store")}, "fetch": {"min_fresh": "1h"}})
        with Service(config) as service:
            trouble = Trouble(Client(http, service.base), origin, disk / "store", tmp_path / "orders")
            await trouble.fill()
            _fill_up(disk / "ballast")
            for _ in range(NEW):
                original, variant = await trouble.ask_new()
                assert (original.status, variant.status) == (200, 200), (original.body[:99], variant.body)
            for number in range(KEPT):
                assert [answer.status for answer in await trouble.ask(number)] == [200, 200]
            await trouble.purge(KEPT)
            (disk / "ballast").unlink()
            await trouble.require_recovered()
            assert "Traceback" not in service.log(), service.log()
        assert await asyncio.to_thread(invoke, "store", "verify", config=config) == 0


def _fill_up(path: Path) -> None:
    with path.open("wb", buffering=0) as writer, contextlib.suppress(OSError):
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while writer.write(bytes(size)):
                    pass
