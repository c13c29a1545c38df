"""Checks rendering: starts a render process, writes every format and reads it again. Event loop."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from proxy.config import Config
from proxy.errors import MirrorError
from proxy.images.formats import BY_NAME, OUTPUTS, sniff
from proxy.images.pool.cage import WALLS
from proxy.images.pool.workers import Job, Rendered, RenderPool, Wish
from proxy.images.samples import small_picture
from proxy.images.transforms.resolved import Resolved
from proxy.services.checks.finding import DoctorFinding

_REINSTALL = (
    "reinstall Pillow from its binary wheel (pip install --force-reinstall --only-binary :all: pillow)"
)


async def render_findings(config: Config) -> list[DoctorFinding]:
    """Return findings about whether pictures can be rendered, and in which formats."""
    pool = RenderPool(config.render, processes=1)
    try:
        await pool.start()
    except (MirrorError, OSError) as error:
        advice = (
            "check memory, ulimit -v and render.memory_max_bytes: a process must be able to start within them"
        )
        detail = error.detail if isinstance(error, MirrorError) else str(error)
        return [DoctorFinding("care", "render process", f"does not start: {detail}", advice)]
    try:
        with tempfile.TemporaryDirectory(prefix="imgmirror-doctor-") as folder:
            walls = pool.walls
            codecs = [await _codec(pool, Path(folder), name) for name in OUTPUTS]
    finally:
        await pool.close()
    started = DoctorFinding("ok", "render process", f"starts; {config.render.processes} in all")
    return [started, _cage(walls), *codecs]


def _cage(walls: tuple[str, ...]) -> DoctorFinding:
    if len(walls) == len(WALLS):
        return DoctorFinding("ok", "cage", f"on: {' and '.join(walls)}")
    missing = " and ".join(wall for wall in WALLS if wall not in walls)
    advice = "they are optional; kernels from 5.13 on have both, but a container may forbid them"
    return DoctorFinding("note", "cage", f"render processes run without {missing}", advice)


async def _codec(pool: RenderPool, folder: Path, name: str) -> DoctorFinding:
    source = folder / "sample"
    await asyncio.to_thread(source.write_bytes, small_picture())
    wish = Wish(Resolved(width=48, format=name), (name,))
    made = (await pool.run(Job(str(source), (wish,)))).outputs[0]
    if not isinstance(made, Rendered) or sniff(made.body) != name:
        return DoctorFinding("care", BY_NAME[name].label, f"cannot be written: {made}", _REINSTALL)
    written = folder / name
    await asyncio.to_thread(written.write_bytes, made.body)
    read = await pool.run(Job(str(written), (), check=True))
    if read.verdict != "whole":
        return DoctorFinding("care", BY_NAME[name].label, f"cannot be read: {read.error}", _REINSTALL)
    return DoctorFinding("ok", BY_NAME[name].label, "can be written and read")
