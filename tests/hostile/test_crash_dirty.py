"""Dirty folders at the start: the service starts, serves the good pictures, loses none, and reports the damage."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from http_client import Client
from keeping import keep
from pictures import chart_png
from service import Service, write_config

from cache.base.errors import StoreUnwritable
from cache.base.keys import source_key
from cache.base.layout import Layout
from cache.durable_tier import Originals

GOOD, VICTIM = "http://h/good.png", "http://h/victim.png"
PICTURE, OTHER = chart_png(40, 30, seed=1), chart_png(40, 30, seed=2)
DIGEST, OTHER_DIGEST = (hashlib.sha256(body).hexdigest() for body in (PICTURE, OTHER))

Mess = Callable[[Layout], object]


def entry(layout: Layout) -> Path:
    return layout.entry(source_key(VICTIM))


def body(layout: Layout) -> Path:
    return layout.body(OTHER_DIGEST)


def replaced_by_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def replaced_by_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_bytes(b"x")


def replaced_by_link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def leftovers(layout: Layout) -> None:
    """Temporary files: of processes that are gone, of a process number in use, truncated, and of another program."""
    for name in ("1-0123456789abcdef.part", f"{os.getpid()}-0123456789abcdef.part", "unknown", ".nfs0001"):
        (layout.incoming / name).write_bytes(b"half a pic")


def unknown_files(layout: Layout) -> None:
    for folder in (layout.root, layout.entries, layout.bodies, body(layout).parent, entry(layout).parent):
        (folder / "notes.txt").write_text("somebody was here")
        (folder / "folder of somebody").mkdir()


def wrong_names(layout: Layout) -> None:
    shutil.copy(body(layout), layout.bodies / DIGEST[:2] / ("f" * 64))
    shutil.copy(entry(layout), entry(layout).with_name("e" * 64 + ".json"))
    shutil.copy(entry(layout), entry(layout).with_suffix(".json.bak"))


def garbage_indexes(layout: Layout) -> None:
    for name in ("usage", "failures", "locks", "generations", "scrub"):
        (layout.root / name).write_bytes(b"\xff\x00garbage" * 50)
    for path in layout.root.glob("refs/??/*"):
        path.write_bytes(b"complete\nnobody\nend 1\n")


def empty_indexes(layout: Layout) -> None:
    for name in ("usage", "failures", "locks", "generations", "scrub"):
        (layout.root / name).write_bytes(b"")
    for path in layout.root.glob("refs/??/*"):
        path.write_bytes(b"")


def folders_for_indexes(layout: Layout) -> None:
    for name in ("usage", "failures", "scrub"):
        with contextlib.suppress(FileNotFoundError):
            (layout.root / name).unlink()
        (layout.root / name).mkdir()


def no_indexes(layout: Layout) -> None:
    for name in ("usage", "failures", "locks", "generations", "scrub"):
        (layout.root / name).unlink(missing_ok=True)
    for name in ("refs", "incoming"):
        shutil.rmtree(layout.root / name)


def half_deleted(layout: Layout) -> None:
    """The bodies of a history were deleted by hand, but the entry was not."""
    for digest in (hashlib.sha256(b"first").hexdigest(), hashlib.sha256(b"second").hexdigest()):
        layout.body(digest).unlink()


def wrong_permissions(layout: Layout) -> None:
    for path in (entry(layout), body(layout)):
        path.chmod(0)


def executable(layout: Layout) -> None:
    for path in layout.root.rglob("*"):
        if path.is_file():
            path.chmod(0o777)


def links(layout: Layout) -> None:
    """Links to a file that must not be served, to nothing, and in a circle."""
    replaced_by_link(body(layout), "/etc/passwd")
    (layout.incoming / "1-00000000000000ff.part").symlink_to("/etc/passwd")
    (layout.bodies / "ff").mkdir(exist_ok=True)
    replaced_by_link(layout.bodies / "ff" / ("f" * 64), "nothing")
    replaced_by_link(layout.root / "circle", "circle")


def pipe(layout: Layout) -> None:
    """Opening a pipe would wait for ever."""
    os.mkfifo(layout.incoming / "1-00000000000000ff.part")


def garbage_variants(layout: Layout) -> None:
    for path in (layout.root / "variants").glob("cache.db*"):
        path.write_bytes(b"SQLite format 3\0garbage")


MESSES: dict[str, Mess] = {
    "leftovers": leftovers,
    "unknown files": unknown_files,
    "wrong names": wrong_names,
    "entry is empty": lambda layout: entry(layout).write_bytes(b""),
    "entry is cut": lambda layout: os.truncate(entry(layout), 100),
    "entry is zeros": lambda layout: entry(layout).write_bytes(bytes(600)),
    "entry is another's": lambda layout: shutil.copy(layout.entry(source_key(GOOD)), entry(layout)),
    "entry is a folder": lambda layout: replaced_by_folder(entry(layout)),
    "entry is a link": lambda layout: replaced_by_link(entry(layout), "/etc/passwd"),
    "body is empty": lambda layout: body(layout).write_bytes(b""),
    "body is cut": lambda layout: os.truncate(body(layout), 30),
    "body is zeros": lambda layout: body(layout).write_bytes(bytes(len(OTHER))),
    "body is gone": lambda layout: body(layout).unlink(),
    "body is a folder": lambda layout: replaced_by_folder(body(layout)),
    "body's folder is a file": lambda layout: replaced_by_file(body(layout).parent),
    "indexes are garbage": garbage_indexes,
    "indexes are empty": empty_indexes,
    "indexes are folders": folders_for_indexes,
    "indexes are gone": no_indexes,
    "history is half deleted": half_deleted,
    "nothing may be read": wrong_permissions,
    "everything is executable": executable,
    "links": links,
    "pipe": pipe,
    "variants are garbage": garbage_variants,
    "variants are a file": lambda layout: replaced_by_file(layout.root / "variants"),
}


async def fill(root: Path) -> None:
    store = await Originals.open(root)
    for made in (b"first", b"second"):
        await keep(store, GOOD, made)
    await keep(store, GOOD, PICTURE)
    await keep(store, "http://h/shares.png", PICTURE)
    await keep(store, VICTIM, OTHER)
    await store.block("http://h/blocked.png", "a test")
    await store.close()


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with good pictures, with the one that is going to be damaged, and with variants."""
    folder = tmp_path_factory.mktemp("clean")
    asyncio.run(fill(folder / "store"))
    return folder / "store"


@pytest.mark.parametrize("name", MESSES)
async def test_store_in_a_dirty_folder_opens_gives_what_is_good_and_loses_nothing(
    clean: Path, tmp_path: Path, name: str
) -> None:
    """The damaged picture can be kept again, purged, counted and verified."""
    root = tmp_path / "store"
    shutil.copytree(clean, root)
    layout = Layout(root)
    (root / "variants").mkdir(exist_ok=True)
    MESSES[name](layout)
    async with asyncio.timeout(20):
        store = await Originals.open(root)
        try:
            await _require_good(store)
            await store.get(VICTIM)
            await store.verify()
            await store.stat()
            await _require_mended(store, layout)
            await _require_good(store)
            with contextlib.suppress(StoreUnwritable) if _in_the_way(layout) else contextlib.nullcontext():
                await store.purge(VICTIM)
            assert await store.get(VICTIM) is None
            await _require_good(store)
        finally:
            await store.close()


async def _require_good(store: Originals) -> None:
    for url in (GOOD, "http://h/shares.png"):
        found = await store.get(url)
        assert found, url
        assert await store.read_body(found.body_sha256) == PICTURE
    assert await store.is_blocked("http://h/blocked.png")


async def _require_mended(store: Originals, layout: Layout) -> None:
    """The origin sends it again. The store keeps it whatever is in its place, or says that it cannot."""
    if _in_the_way(layout):
        with pytest.raises(StoreUnwritable):
            await keep(store, VICTIM, OTHER)
        return
    await keep(store, VICTIM, OTHER)
    found = await store.get(VICTIM)
    assert found
    assert await store.read_body(found.body_sha256) == OTHER
    assert stat.S_ISREG(body(layout).lstat().st_mode)


def _in_the_way(layout: Layout) -> bool:
    return any(path.is_dir() for path in (entry(layout), body(layout))) or body(layout).parent.is_file()


async def test_service_starts_on_a_folder_in_which_all_went_wrong(
    clean: Path, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """Good pictures are served although their origin is gone, new ones are answered, and there is no traceback."""
    root = tmp_path / "store"
    shutil.copytree(clean, root)
    (root / "variants").mkdir(exist_ok=True)
    (root / "variants" / "cache.db").write_bytes(b"SQLite format 3\0garbage")
    for name in (
        "leftovers",
        "unknown files",
        "wrong names",
        "entry is cut",
        "body is zeros",
        "indexes are garbage",
    ):
        MESSES[name](Layout(root))
    with Service(write_config(tmp_path)) as service:
        client = Client(http, service.base)
        for _ in range(2):
            answer = await client.get(f"/?{GOOD}")
            assert (answer.status, answer.body) == (200, PICTURE)
            assert (await client.get(f"/image/width=20,format=png/{GOOD}")).status == 200
        assert (await client.get(f"/?{VICTIM}")).code == "source_unreachable"
        assert (await client.get("/?http://h/blocked.png")).code == "source_not_allowed"
        assert (await client.get("/readyz")).status == 200
    assert "Traceback" not in service.log(), service.log()
