"""Memory as the kernel counts it: for sixteen of the largest pictures at once, and for each format."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pictures
import psutil
import pytest
from http_client import Client
from PIL import Image
from scripted_origin import ScriptedOrigin
from service import Service, write_config

from proxy.config import RenderConfig
from proxy.images.jobs import Job, Wish
from proxy.images.pool.workers import RenderPool
from proxy.images.transforms.transform import Transform

MIB = 1 << 20
SIDES = (8660, 5773)
"""49,994,180 pixels: just below `render.max_pixels`."""


@contextlib.contextmanager
def peak_of(process: psutil.Process) -> Iterator[list[int]]:
    """Measure the peak memory (PSS, in bytes) of a process and its descendants while the block runs."""
    peak, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(0.03):
            total = 0
            for one in [process, *process.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    total += one.memory_full_info().pss
            peak[0] = max(peak[0], total)

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield peak
    finally:
        ended.set()
        watch.join()


def fifty_megapixels() -> list[tuple[str, bytes]]:
    """Eight progressive JPEG files, which the decoder holds whole at any requested size, and eight PNG files."""
    photo = pictures.photo(*SIDES)
    jpeg = pictures.saved(photo, "JPEG", quality=60, progressive=True)
    rows = pictures._zeros(SIDES[0] * 3, SIDES[1])
    found = []
    for number in range(8):
        # A comment makes every body different, so that no render serves two of them.
        comment = b"\xff\xfe\x00\x03" + bytes([65 + number])
        found.append((f"/{number}.jpg", jpeg[:2] + comment + jpeg[2:]))
        text = pictures.chunk(b"tEXt", b"Comment\0" + bytes([65 + number]))
        found.append((f"/{number}.png", pictures.png(*SIDES, rows, extra=text)))
    return found


@pytest.mark.memory
@pytest.mark.timeout(300)
async def test_sixteen_of_the_largest_pictures_at_once_stay_within_one_gibibyte(
    tmp_path: Path, origin: ScriptedOrigin
) -> None:
    """A service with eight processes and the budget of a machine of 1 GiB answers all of them correctly."""
    bodies = await asyncio.to_thread(fifty_megapixels)
    for path, body in bodies:
        origin.serve(path, body, content_type="image/jpeg" if path.endswith("jpg") else "image/png")
    config = write_config(
        tmp_path,
        {"render": {"processes": 8, "decoder": "pillow", "decoded_max_bytes": "384 MiB", "timeout": "120s"}},
    )
    with Service(config) as service:
        assert service.process is not None
        with peak_of(psutil.Process(service.process.pid)) as peak:
            timeout = aiohttp.ClientTimeout(total=280)
            async with aiohttp.ClientSession(timeout=timeout) as session:
                client = Client(session, service.base)
                targets = ["/image/width=640,format=webp/" + origin.url(path) for path, _ in bodies]
                answers = await asyncio.gather(*(client.get(target) for target in targets))
    assert [answer.status for answer in answers] == [200] * 16
    for answer in answers:
        assert pictures.opened(answer.body).size == (640, 427)
    print(f"peak PSS of the whole service: {peak[0] / MIB:.0f} MiB")
    assert peak[0] < 1024 * MIB


def eight_megapixels(name: str) -> bytes:
    photo = pictures.photo(3264, 2448)
    if name == "progressive JPEG":
        return pictures.saved(photo, "JPEG", progressive=True, subsampling=0)
    if name == "RGBA PNG":
        photo.putalpha(Image.new("L", photo.size, 200))
        return pictures.saved(photo, "PNG", compress_level=1)
    options = {"WEBP": {"method": 0}, "AVIF": {"speed": 10}}
    return pictures.saved(photo, name, **options.get(name, {}))


def forget_peak(pid: int) -> None:
    """proc(5): 5 sets the peak resident size to the present one."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(":", 1) for line in lines)["VmHWM"].split()[0]) * 1024


@pytest.mark.skipif(not psutil.LINUX, reason="the peak of a process is read from /proc")
@pytest.mark.parametrize("decoder", ["pillow", "auto"])
@pytest.mark.parametrize("name", ["progressive JPEG", "RGBA PNG", "PNG", "GIF", "WEBP", "AVIF", "TIFF"])
async def test_picture_takes_no_more_than_it_asked_for(
    tmp_path: Path, name: str, decoder: Literal["auto", "pillow"]
) -> None:
    """The estimate is above the kernel's count; otherwise the budget would be meaningless."""
    path = tmp_path / "body"
    path.write_bytes(await asyncio.to_thread(eight_megapixels, name))
    pool = RenderPool(RenderConfig(decoder=decoder), processes=1)
    await pool.start()
    asked, ask = [32 * MIB], pool._line.ask

    def noted(item: Any, needs: int) -> bool:
        asked.append(needs)
        return ask(item, needs)

    pool._line.ask = noted  # type: ignore[method-assign]  # one instance is watched
    (pid,) = pool.pids
    before = psutil.Process(pid).memory_info().rss
    forget_peak(pid)
    wish = Wish(Transform.parse("width=1000").resolved({}), ("webp", "fallback"))
    assert (await pool.run(Job(str(path), (wish,), check=True))).verdict == "whole"
    took = peak_bytes(pid) - before
    assert took <= max(asked) + 8 * MIB
    await pool.close()
