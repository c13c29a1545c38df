"""Pictures made to hurt: each gets its own error and harms no other picture, and the memory is freed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pictures
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from service import wait_until

from proxy.config import RenderConfig
from proxy.images.decode.pillow import PillowDecoder, prepare
from proxy.images.jobs import Job, Rendered, Settings, Wish
from proxy.images.pipeline import inspect
from proxy.images.pool.workers import RenderPool
from proxy.images.transforms.transform import Transform

WISH = Wish(Transform.parse("width=64").resolved({}), ("webp", "fallback"))
STILL = Wish(Transform.parse("width=64,anim=false").resolved({}), ("webp", "fallback"))
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "ICO")
BODIES = [pictures.saved(pictures.photo(48, 32), name) for name in FORMATS]
BODIES += [pictures.moving(name, 3) for name in ("GIF", "WEBP", "PNG")]
BODIES += [pictures.turned(6, "JPEG"), pictures.adobe_cmyk(), pictures.grey_16_bit()]
CODES = {"not_an_image", "unsupported_format", "decode_failed", "too_many_pixels", "too_many_frames"}


@pytest.fixture(name="pool")
async def _pool() -> AsyncIterator[RenderPool]:
    pool = RenderPool(RenderConfig(), processes=1)
    await pool.start()
    yield pool
    await pool.close()


def small_steps_gif() -> bytes:
    """A GIF whose second frame lies far outside its screen, which makes Pillow's canvas grow."""
    body = pictures.long_gif(2)
    far = body.rfind(b"\x2c\0\0\0\0\1\0\1\0")
    return body[:far] + b"\x2c\xff\xff\xff\xff\1\0\1\0" + body[far + 9 :]


HOSTILE = {
    "bomb.png": (pictures.png_bomb(), "too_many_pixels"),
    "long.gif": (pictures.long_gif(5000), "too_many_frames"),
    "grows.gif": (small_steps_gif(), "too_many_pixels"),
    "wide.gif": (b"GIF89a\xff\xff\xff\xff\x00\x00\x00" + pictures.long_gif(1)[19:], "too_many_pixels"),
    "empty.png": (b"", "not_an_image"),
    "page.png": (b"<!DOCTYPE html><html><body>404</body></html>", "not_an_image"),
    "script.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not_an_image"),
    "cut.jpg": (pictures.cut(pictures.saved(pictures.photo(), "JPEG")), "decode_failed"),
    "cut.png": (pictures.cut(pictures.saved(pictures.photo(), "PNG")), "decode_failed"),
    "lies.webp": (b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\x3f\0\xff\x3f\0", None),
    "text.png": (
        pictures.png(4, 4, b"", extra=pictures.chunk(b"iTXt", b"a\0\1\0\0\0" + pictures._zeros(64_000_000, 1))),
        "decode_failed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_picture_gets_its_own_error(pool: RenderPool, tmp_path: Path, name: str) -> None:
    """The picture gets its error of the contract, and the process survives."""
    body, code = HOSTILE[name]
    path = tmp_path / name
    path.write_bytes(body)
    before = pool.pids
    inspection = await pool.run(Job(str(path), (WISH,), check=True))
    assert inspection.error is not None
    assert inspection.error.code == code or (code is None and inspection.error.code in CODES)
    assert (
        inspection.outputs[0] is inspection.error
        or getattr(inspection.outputs[0], "code", "") == inspection.error.code
    )
    assert pool.pids == before


async def test_memory_comes_back_after_hostile_pictures(pool: RenderPool, tmp_path: Path) -> None:
    """After bombs, long animations and the largest picture allowed, the processes are as small as after one photo."""
    good = tmp_path / "good"
    good.write_bytes(pictures.saved(pictures.photo(1600, 1200), "JPEG"))
    largest = tmp_path / "largest"
    largest.write_bytes(pictures.slow_picture())
    assert (await pool.run(Job(str(good), (WISH,), check=True))).verdict == "whole"
    before = psutil.Process(pool.pids[0]).memory_info().rss
    for name, (body, _) in HOSTILE.items():
        path = tmp_path / name
        path.write_bytes(body)
        await pool.run(Job(str(path), (WISH, STILL), check=True))
    assert isinstance((await pool.run(Job(str(largest), (WISH,), check=True))).outputs[0], Rendered)
    assert isinstance((await pool.run(Job(str(good), (WISH,), check=True))).outputs[0], Rendered)
    # A process keeps its pages while jobs follow one another.
    process = psutil.Process(pool.pids[0])
    await asyncio.to_thread(wait_until, lambda: process.memory_info().rss < before * 1.2)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(BODIES),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=6)), max_size=4),
    st.floats(0, 1),
)
def test_damaged_picture_never_raises(
    tmp_path: Path, body: bytes, damages: list[tuple[float, bytes]], share: float
) -> None:
    """Whatever is changed or cut, the inspection is a value with errors of the contract, never an exception."""
    changed = bytearray(body)
    for place, damage in damages:
        at = int(place * (len(changed) - 1))
        changed[at : at + len(damage)] = damage
    path = tmp_path / "body"
    path.write_bytes(pictures.cut(bytes(changed), share) if share < 0.5 else changed)
    prepare(max_pixels=10_000_000)
    limits = Settings(max_pixels=10_000_000)
    inspection = inspect(
        Job(str(path), (WISH, STILL), check=True), limits, decoder=PillowDecoder(), on_facts=lambda _: None
    )
    codes = {getattr(output, "code", None) for output in inspection.outputs}
    assert codes <= CODES | {None}
    assert inspection.verdict == "whole" or (inspection.error is not None and inspection.error.code in CODES)


SERVICE = """
import asyncio, sys
from proxy.config import RenderConfig
from proxy.images.pool.workers import Job, RenderPool

async def main():
    pool = RenderPool(RenderConfig(), processes=2)
    await pool.start()
    running = asyncio.ensure_future(pool.run(Job(sys.argv[1], check=True)))
    while not pool.queued:
        await asyncio.sleep(0)
    while pool.queued:
        await asyncio.sleep(0)
    print(*pool.pids, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_processes_of_a_killed_service_end(tmp_path: Path) -> None:
    """Busy or idle, no render process outlives a service that was killed with no time to say so."""
    path = tmp_path / "slow"
    path.write_bytes(pictures.slow_picture())
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(path)], stdout=subprocess.PIPE, env=environment, text=True
    ) as service:
        assert service.stdout is not None
        processes = [psutil.Process(int(pid)) for pid in service.stdout.readline().split()]
        service.kill()
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert len(processes) == 2
    assert not alive
