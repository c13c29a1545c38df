"""The pool: answers, limits of the line, and what becomes of jobs whose process dies."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pictures
import psutil
import pytest
import uvloop

from proxy.config import RenderConfig
from proxy.errors import DecodeFailed, Internal, InvalidTransform, QueueFull, RenderTimeout, TooManyPixels
from proxy.images import jobs
from proxy.images.formats import PictureFacts
from proxy.images.jobs import Settings, WireError
from proxy.images.pixels.libvips import has_libvips
from proxy.images.pool import renderer, renderprocess
from proxy.images.pool.shared_decodes import Batches
from proxy.images.pool.workers import Inspection, Job, Rendered, RenderPool, Wish
from proxy.images.transforms.transform import Transform

needs_libvips = pytest.mark.skipif(not has_libvips(), reason="libvips is not installed (imgmirror[vips])")


def wish(text: str, *acceptable: str) -> Wish:
    return Wish(Transform.parse(text).resolved({}), acceptable or ("webp", "fallback"))


def put(path: Path, body: bytes) -> None:
    path.write_bytes(body)


@pytest.fixture(name="pool")
async def _pool() -> AsyncIterator[RenderPool]:
    pool = RenderPool(RenderConfig(queue=2), processes=1)
    await pool.start()
    yield pool
    await pool.close()


@pytest.fixture(name="picture")
def _picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture"
    path.write_bytes(pictures.saved(pictures.photo(), "JPEG"))
    return path


@pytest.fixture(name="slow", scope="session")
def _slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slow") / "picture"
    path.write_bytes(pictures.slow_picture())
    return path


async def begun(pool: RenderPool) -> None:
    """Wait until nothing waits in line: the job given before is in a process."""
    while pool.queued:  # noqa: ASYNC110 - what is waited for happens in the pool, which knows no events
        await asyncio.sleep(0)


async def test_job_is_rendered_in_another_process(pool: RenderPool, picture: Path) -> None:
    """Facts, verdict and results come back from a process that is not ours."""
    inspection = await pool.run(Job(str(picture), (wish("width=64"), wish("width=32", "jpeg")), check=True))
    assert inspection.verdict == "whole"
    assert inspection.facts == PictureFacts("jpeg", 320, 240)
    sizes = [(o.output_format, o.width, o.height) for o in inspection.outputs if isinstance(o, Rendered)]
    assert sizes == [("webp", 64, 48), ("jpeg", 32, 24)]
    assert pool.pids != (os.getpid(),)


async def test_relative_path_is_found(
    pool: RenderPool, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Render processes stand elsewhere; the path is made absolute before it is sent."""
    monkeypatch.chdir(picture.parent)
    assert (await pool.run(Job(picture.name, check=True))).verdict == "whole"


async def test_refused_wish_comes_back_as_its_error(pool: RenderPool, picture: Path) -> None:
    """A transform beyond the limits is `invalid_transform`, not a damaged picture."""
    inspection = await pool.run(Job(str(picture), (wish("width=9000"),)))
    assert isinstance(inspection.outputs[0], InvalidTransform)
    assert "8192" in inspection.outputs[0].message


async def test_new_limits_hold_for_the_next_job(pool: RenderPool, picture: Path) -> None:
    """A reload needs no new processes."""
    before = pool.pids
    pool.reconfigure(RenderConfig(max_pixels=100))
    inspection = await pool.run(Job(str(picture), (wish("width=64"),)))
    assert isinstance(inspection.outputs[0], TooManyPixels)
    assert pool.pids == before


async def test_timeout_costs_one_job_and_one_process(pool: RenderPool, picture: Path, slow: Path) -> None:
    """The slow picture's process is gone, its facts are kept, and the next job is answered by another process."""
    (before,) = pool.pids
    pool.reconfigure(RenderConfig(timeout=0.1))
    inspection = await pool.run(Job(str(slow), (wish("width=64"),), check=True))
    assert inspection.verdict == "beyond_limits"
    assert isinstance(inspection.error, RenderTimeout)
    assert isinstance(inspection.outputs[0], RenderTimeout)
    assert inspection.facts is not None
    assert inspection.facts.width == 7000
    assert not psutil.pid_exists(before)
    pool.reconfigure(RenderConfig())
    assert (await pool.run(Job(str(picture), check=True))).verdict == "whole"


async def test_slow_encoder_costs_only_its_own_wish(pool: RenderPool, tmp_path: Path) -> None:
    """The picture is whole; the slow wish is out of time, and the others say that they were not tried."""
    path = tmp_path / "noise"
    put(path, pictures.saved(pictures.photo(3000, 2200), "JPEG"))
    pool.reconfigure(RenderConfig(timeout=0.5))
    wishes = (wish("width=40", "jpeg"), wish("quality=auto", "avif"), wish("width=50", "jpeg"))
    inspection = await pool.run(Job(str(path), wishes, check=True))
    assert (inspection.verdict, inspection.error) == ("whole", None)
    assert [type(output) for output in inspection.outputs] == [QueueFull, RenderTimeout, QueueFull]


async def test_drawing_has_a_time_of_its_own(pool: RenderPool, tmp_path: Path, slow: Path) -> None:
    """An SVG that draws for long is out of time where a slow PNG is not."""
    path = tmp_path / "drawing"
    layer = '<g opacity=".9"><circle cx="1000" cy="1000" r="990" fill="#07c"/></g>'
    put(
        path,
        f'<svg xmlns="http://www.w3.org/2000/svg" width="2000" height="2000">{layer * 60}</svg>'.encode(),
    )
    pool.reconfigure(RenderConfig(drawing_timeout=0.05))
    drawn = await pool.run(Job(str(path), (wish("width=1500", "png"),)))
    assert isinstance(drawn.outputs[0], RenderTimeout)
    assert (await pool.run(Job(str(slow), (wish("width=64"),)))).verdict == "whole"


async def test_busy_machine_says_nothing_of_the_picture(
    pool: RenderPool, slow: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that gets no processor is given up after a long while, and its picture is not called slow."""
    monkeypatch.setattr(jobs, "wall_seconds", lambda _seconds: 0.2)
    (frozen,) = pool.pids
    os.kill(frozen, signal.SIGSTOP)
    with pytest.raises(QueueFull):
        await pool.run(Job(str(slow), (wish("width=64"),), check=True))
    assert not psutil.pid_exists(frozen)


@pytest.mark.parametrize("said", ['{"step":["draw",0]}', '{"tight":true}', '{"facts":null}'])
async def test_process_that_talks_without_end_is_killed(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """A process that a picture has taken over can neither put off its end nor keep the event loop busy."""
    program = tmp_path / "python"
    put(program, _TALKING.format(python=sys.executable, said=said).encode())
    program.chmod(0o700)
    monkeypatch.setattr("sys.executable", str(program))
    pool = RenderPool(RenderConfig(), processes=1)
    await pool.start()
    assert (await pool.run(Job(str(picture), check=True))).verdict != "whole"
    await pool.close()


_TALKING = """#!{python}
import socket, sys
connection = socket.socket(fileno=int(sys.argv[4]))
connection.sendall((12).to_bytes(4, "big") + b'{{"walls":[]}}')
said = {said!r}.encode()
while True:
    connection.sendall(len(said).to_bytes(4, "big") + said)
"""


async def test_job_of_a_killed_process_is_tried_again(pool: RenderPool, slow: Path) -> None:
    """Killing a process from outside costs nobody a picture."""
    running = asyncio.ensure_future(pool.run(Job(str(slow), check=True)))
    await asyncio.sleep(0)
    await begun(pool)
    os.kill(pool.pids[0], signal.SIGKILL)
    assert (await running).verdict == "whole"


async def process_after(pool: RenderPool, *before: int) -> int:
    """Return the id of the pool's process when it is another than those of `before`."""
    while not pool.pids or pool.pids[0] in before:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    return pool.pids[0]


async def test_job_whose_processes_others_kill_says_nothing_of_the_picture(
    pool: RenderPool, slow: Path, picture: Path
) -> None:
    """The kernel kills for lack of memory, or an operator by mistake: the client is asked to try again."""
    running = asyncio.ensure_future(pool.run(Job(str(slow), (wish("width=64"),), check=True)))
    await asyncio.sleep(0)
    await begun(pool)
    (first,) = pool.pids
    os.kill(first, signal.SIGKILL)
    os.kill(await process_after(pool, first), signal.SIGKILL)
    with pytest.raises(QueueFull):
        await running
    assert (await pool.run(Job(str(picture), check=True))).verdict == "whole"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
async def test_crash_in_one_process_is_tried_in_another(
    pool: RenderPool, slow: Path, number: signal.Signals
) -> None:
    """Earlier work of a process may be the reason of its crash, so the first crash says nothing about the picture."""
    running = asyncio.ensure_future(pool.run(Job(str(slow), check=True)))
    await asyncio.sleep(0)
    await begun(pool)
    os.kill(pool.pids[0], number)
    assert (await running).verdict == "whole"


async def test_second_crash_is_the_picture_s_fault(pool: RenderPool, slow: Path, picture: Path) -> None:
    """A picture that crashes a new process too is answered `decode_failed` and costs this one job."""
    running = asyncio.ensure_future(pool.run(Job(str(slow), check=True)))
    await asyncio.sleep(0)
    await begun(pool)
    (first,) = pool.pids
    os.kill(first, signal.SIGSEGV)
    os.kill(await process_after(pool, first), signal.SIGSEGV)
    assert (await running).verdict == "damaged"
    assert pool.alive
    assert (await pool.run(Job(str(picture), check=True))).verdict == "whole"


_ENDING = """#!{python}
import os, pathlib, signal, socket, sys, time
ended = pathlib.Path({ended!r})
if ended.exists():
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
connection = socket.socket(fileno=int(sys.argv[4]))
connection.sendall((12).to_bytes(4, "big") + b'{{"walls":[]}}')
connection.recv(1)
ended.touch()
connection.close()
{end}
"""


@pytest.mark.parametrize(
    "end",
    [
        f"time.sleep(0.3); os._exit({jobs.SHUT_OUT})",
        f"time.sleep(0.1); os._exit({jobs.SHUT_OUT})",
        "time.sleep(0.3); os.kill(os.getpid(), signal.SIGKILL)",
        "time.sleep(0.3); os.abort()",
        "signal.pause()",
    ],
)
async def test_process_that_ends_slowly_marks_no_picture(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """However long a process takes to exit after it closed its socket, the picture is tried again in a new one."""
    program = tmp_path / "python"
    text = _ENDING.format(python=sys.executable, ended=str(tmp_path / "ended"), end=end)
    put(program, text.encode())
    program.chmod(0o700)
    monkeypatch.setattr("sys.executable", str(program))
    if "pause" in end:
        monkeypatch.setattr(renderprocess, "END_TIMEOUT_SECONDS", 0.3)
    pool = RenderPool(RenderConfig(), processes=1)
    await pool.start()
    inspection = await pool.run(Job(str(picture), (wish("width=64"),), check=True))
    assert inspection.verdict == "whole"
    assert isinstance(inspection.outputs[0], Rendered)
    await pool.close()


async def test_idle_process_that_dies_is_replaced(pool: RenderPool, picture: Path) -> None:
    """A process killed between two jobs costs none of them."""
    os.kill(pool.pids[0], signal.SIGKILL)
    assert (await pool.run(Job(str(picture), check=True))).verdict == "whole"


@pytest.mark.parametrize("seconds", [0.0, 0.05], ids=["at-once", "noticed"])
def test_idle_process_that_dies_is_replaced_on_the_service_s_own_loop(picture: Path, seconds: float) -> None:
    """uvloop notices the closed socket before the next job, and refuses to write to it."""

    async def run() -> None:
        pool = RenderPool(RenderConfig(), processes=1)
        await pool.start()
        for _ in range(2):
            os.kill(pool.pids[0], signal.SIGKILL)
            await asyncio.sleep(seconds)
            assert (await pool.run(Job(str(picture), check=True))).verdict == "whole"
        await pool.close()

    uvloop.run(run())


@pytest.mark.parametrize(
    "said",
    [
        pytest.param('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", id="nested"),
        '{"verdict":"whole","outputs":[{"size":Infinity}]}',
        (
            '{"verdict":"whole","facts":null,"error":null,"outputs":[{"size":0,"format":"x","width":Infinity,"height":1,'
            '"finding":{"sizes":{},"smallest":true}}]}'
        ),
        '{"verdict":"whole","facts":null,"error":null,"outputs":[{"error":"Internal","message":"","detail":""}]}',
    ],
)
async def test_process_that_answers_nonsense_costs_its_job_and_no_slot(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """Numbers and depths beyond Python's, and answers to wishes that nobody had."""
    program = tmp_path / "python"
    put(program, _TALKING.format(python=sys.executable, said=said).encode())
    program.chmod(0o700)
    pool = RenderPool(RenderConfig(), processes=1)
    with monkeypatch.context() as patched:
        patched.setattr("sys.executable", str(program))
        await pool.start()
        assert isinstance((await pool.run(Job(str(picture), check=True))).error, DecodeFailed)
    for _ in range(2):
        # The slot may still hold a process of before.
        inspection = await pool.run(Job(str(picture), check=True))
    assert inspection.verdict == "whole"
    await pool.close()


async def test_fault_of_ours_costs_its_job_and_no_slot(
    pool: RenderPool, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> dict[str, object]:
        raise ArithmeticError

    with monkeypatch.context() as patched:
        patched.setattr(jobs, "job_to_wire", fail)
        with pytest.raises(QueueFull):
            await pool.run(Job(str(picture), check=True))
    assert (await pool.run(Job(str(picture), check=True))).verdict == "whole"


async def test_too_little_memory_is_too_many_pixels(picture: Path, slow: Path) -> None:
    """A picture that does not fit into the allowed memory is refused; the process goes on."""
    pool = RenderPool(RenderConfig(memory_max_bytes=220 * 2**20, decoder="pillow"), processes=1)
    await pool.start()
    before = pool.pids
    inspection = await pool.run(Job(str(slow), (wish("width=64"),), check=True))
    assert inspection.verdict == "beyond_limits"
    assert isinstance(inspection.outputs[0], TooManyPixels)
    assert (await pool.run(Job(str(picture), (wish("width=64"),), check=True))).verdict == "whole"
    assert pool.pids == before
    await pool.close()


@needs_libvips
async def test_libvips_needs_little_memory(slow: Path) -> None:
    """A large PNG is decoded strip by strip: what Pillow refuses in that space is rendered."""
    pool = RenderPool(RenderConfig(memory_max_bytes=220 * 2**20, decoder="libvips"), processes=1)
    await pool.start()
    inspection = await pool.run(Job(str(slow), (wish("width=64"),), check=True))
    assert inspection.verdict == "whole"
    assert isinstance(inspection.outputs[0], Rendered)
    await pool.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["AVIF", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("decoder", ["pillow", pytest.param("libvips", marks=needs_libvips)])
async def test_good_picture_is_never_damaged_for_want_of_memory(
    tmp_path: Path, decoder: Literal["pillow", "libvips"], kind: str
) -> None:
    """Libraries say many things when they get no memory, "corrupt" among them, or end the process (AVIF's)."""
    path = tmp_path / "picture"
    put(path, pictures.saved(pictures.photo(2400, 1800), kind, **{"AVIF": {"speed": 10}}.get(kind, {})))
    refused = 0
    for memory_max_bytes in range(110 * 2**20, 230 * 2**20, 30 * 2**20):
        pool = RenderPool(RenderConfig(memory_max_bytes=memory_max_bytes, decoder=decoder), processes=1)
        await pool.start()
        for one in (wish("width=1500", "avif"), wish("width=2300", "webp")):
            inspection = await pool.run(Job(str(path), (one,), check=True))
            (output,) = inspection.outputs
            assert isinstance(output, Rendered | TooManyPixels), (memory_max_bytes, output)
            assert inspection.verdict in {"whole", "beyond_limits"}
            refused += isinstance(output, TooManyPixels)
        await pool.close()
    assert refused


async def test_damaged_picture_is_damaged_where_memory_suffices(pool: RenderPool, picture: Path) -> None:
    """The opposite case: a failure to read a file that needs little memory is not a lack of memory."""
    for kind in ("WEBP", "PNG", "JPEG"):
        put(picture, pictures.saved(pictures.photo(), kind)[:900])
        inspection = await pool.run(Job(str(picture), (wish("width=64"),), check=True))
        assert inspection.verdict == "damaged"


async def test_longer_line_than_allowed_is_refused(pool: RenderPool, slow: Path, picture: Path) -> None:
    """One runs, two wait, and the fourth is asked to try again. All accepted ones are answered."""
    taken = [asyncio.ensure_future(pool.run(Job(str(slow))))]
    await asyncio.sleep(0)
    await begun(pool)
    taken += [asyncio.ensure_future(pool.run(Job(str(picture)))) for _ in range(2)]
    await asyncio.sleep(0)
    assert pool.queued == 2
    with pytest.raises(QueueFull) as caught:
        await pool.run(Job(str(picture)))
    assert caught.value.retry_after_seconds > 0
    assert [inspection.verdict for inspection in await asyncio.gather(*taken)] == ["whole"] * 3


async def test_caller_that_goes_away_harms_nobody(pool: RenderPool, slow: Path, picture: Path) -> None:
    """A cancelled job, running or waiting, neither blocks the line nor answers somebody else."""
    running = asyncio.ensure_future(pool.run(Job(str(slow), check=True)))
    await asyncio.sleep(0)
    await begun(pool)
    waiting = asyncio.ensure_future(pool.run(Job(str(slow), check=True)))
    await asyncio.sleep(0)
    running.cancel()
    waiting.cancel()
    inspection = await pool.run(Job(str(picture), check=True))
    assert inspection.facts == PictureFacts("jpeg", 320, 240)


async def test_closed_pool_leaves_nothing(picture: Path, slow: Path) -> None:
    """After closing, no process is left, waiting jobs get an error, and new ones are refused."""
    pool = RenderPool(RenderConfig(), processes=2)
    await pool.start()
    assert pool.alive
    pids = pool.pids
    running = [asyncio.ensure_future(pool.run(Job(str(slow)))) for _ in range(4)]
    await asyncio.sleep(0)
    await pool.close()
    results = await asyncio.gather(*running, return_exceptions=True)
    assert all(isinstance(result, QueueFull) for result in results)
    assert not pool.alive
    assert not any(psutil.pid_exists(pid) for pid in pids)
    with pytest.raises(Internal):
        await pool.run(Job(str(picture)))


def _note(order: list[int], number: int, _done: object) -> None:
    order.append(number)


async def in_order_of_completion(*running: asyncio.Future[Inspection]) -> list[int]:
    """Return the numbers of the jobs in the order in which they end."""
    order: list[int] = []
    for number, future in enumerate(running):
        future.add_done_callback(functools.partial(_note, order, number))
    await asyncio.gather(*running)
    return order


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
async def test_origin_with_many_pictures_does_not_hold_up_another(
    picture: Path, slow: Path, processes: int
) -> None:
    """The last to come is the only one of its origin; it ends before most of the others'."""
    pool = RenderPool(RenderConfig(), processes=processes)
    await pool.start()
    many = [asyncio.ensure_future(pool.run(Job(str(slow), check=True, origin="many"))) for _ in range(8)]
    await asyncio.sleep(0)
    one = asyncio.ensure_future(pool.run(Job(str(picture), check=True, origin="one")))
    order = await in_order_of_completion(*many, one)
    assert order.index(len(many)) <= processes
    await pool.close()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
async def test_origin_whose_slow_pictures_hold_every_process_does_not_hold_up_another(
    tmp_path: Path, picture: Path, processes: int
) -> None:
    """While all processes are held for long, another origin gets one more, which is gone afterwards."""
    path = tmp_path / "slow"
    put(path, pictures.very_slow_picture())
    pool = RenderPool(RenderConfig(decoder="pillow"), processes=processes)
    await pool.start()
    many = [
        asyncio.ensure_future(pool.run(Job(str(path), check=True, origin="many"))) for _ in range(processes)
    ]
    await asyncio.sleep(0)
    await begun(pool)
    before = pool.pids
    for process in before:
        os.kill(process, signal.SIGSTOP)
    other = Job(str(picture), check=True, origin="one")
    assert [(await pool.run(other)).verdict for _ in range(2)] == ["whole", "whole"]
    assert not any(running.done() for running in many)
    for process in before:
        os.kill(process, signal.SIGCONT)
    assert {inspection.verdict for inspection in await asyncio.gather(*many)} == {"whole"}
    assert pool.pids == before
    await pool.close()


async def test_longest_wait_is_known(slow: Path, picture: Path) -> None:
    """The first of those that wait has waited longest; when none waits it is nothing."""
    now = [0.0]
    pool = RenderPool(RenderConfig(), processes=1, clock=lambda: now[0])
    await pool.start()
    batches = Batches(pool)
    running = [asyncio.ensure_future(batches.run(Job(str(slow), check=True)))]
    await asyncio.sleep(0)
    await begun(pool)
    for path in (picture, slow):
        running.append(asyncio.ensure_future(batches.run(Job(str(path), check=True))))
        await asyncio.sleep(0)
        now[0] += 7
    assert batches.longest_wait_seconds == 14
    await asyncio.gather(*running)
    assert batches.longest_wait_seconds == 0
    await pool.close()


async def test_vanished_file_costs_one_job(pool: RenderPool, picture: Path) -> None:
    """A body purged while its job waited is an error of that job, the process stays."""
    before = pool.pids
    inspection = await pool.run(Job(str(picture.parent / "gone"), (wish("width=9"),), check=True))
    assert inspection.verdict != "whole"
    assert pool.pids == before


def niceness_of_session(pid: int) -> int | None:
    """Return it, or None if the kernel does not group processes by session."""
    group = Path(f"/proc/{pid}/autogroup")
    return int(group.read_text().split()[-1]) if group.exists() else None


async def test_session_of_a_process_is_as_nice_as_the_process(pool: RenderPool) -> None:
    """Linux shares processors among sessions first. If only the process were nice, the service would not notice."""
    assert niceness_of_session(pool.pids[0]) in {renderer.NICENESS, None}


async def test_process_has_given_up_what_it_does_not_need(pool: RenderPool) -> None:
    """No environment, two descriptors, no core files, no memory without end, no Ctrl-C."""
    process = psutil.Process(pool.pids[0])
    environment = process.environ()
    assert set(environment) <= {
        "PYTHONPATH",
        "PYTHONHASHSEED",
        "LC_ALL",
        "MALLOC_ARENA_MAX",
        "MALLOC_MMAP_THRESHOLD_",
        "MALLOC_TRIM_THRESHOLD_",
        "VIPS_CONCURRENCY",
        "LD_LIBRARY_PATH",
    }
    assert process.num_fds() <= 5
    assert process.nice() == renderer.NICENESS
    assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    assert process.rlimit(psutil.RLIMIT_AS)[0] == RenderConfig().memory_max_bytes
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert process.is_running()
    assert os.getsid(process.pid) != os.getsid(0)


@pytest.mark.parametrize("program", ["/nowhere/python", "/bin/false"])
async def test_pool_that_cannot_start_says_so(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that do not start, or exit immediately, make no pool, and `start` reports it."""
    monkeypatch.setattr("sys.executable", program)
    pool = RenderPool(RenderConfig(), processes=2)
    with pytest.raises(Internal):
        await pool.start()
    assert not pool.alive


def test_worn_out_process_says_so_and_ends(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its last job a process announces that it ends, so that the pool replaces it between two jobs."""
    monkeypatch.setattr(renderer, "MAX_JOBS", 2)
    monkeypatch.setattr(renderer, "_allow", lambda _seconds: None)
    # The process is this one, which may have become large by all the other tests.
    monkeypatch.setattr(renderer, "_resident_bytes", lambda: 0)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        served = threading.Thread(target=renderer._Server(theirs).serve)
        served.start()
        said = []
        for _ in range(2):
            ours.sendall(jobs.frame(jobs.job_to_wire(Job(str(picture)), Settings())))
            answers = [_read_frame(ours), _read_frame(ours)]
            said.append(answers[1]["finished"])
        served.join(timeout=10)
        assert said == [False, True]
        assert not served.is_alive()


def _read_frame(connection: socket.socket) -> dict[str, Any]:
    prefix = connection.recv(jobs.LENGTH_BYTES, socket.MSG_WAITALL)
    return jobs.read_header(connection.recv(jobs.header_length(prefix), socket.MSG_WAITALL))


# The wire


def test_job_survives_the_wire(tmp_path: Path) -> None:
    """A render process reads what was written."""
    job = Job(str(tmp_path / "x"), (wish("w=10,h=20,fit=cover,g=top"), wish("f=json", "json")), check=True)
    settings = Settings(timeout_seconds=1.5, max_frames=7)
    header = jobs.read_header(jobs.frame(jobs.job_to_wire(job, settings))[jobs.LENGTH_BYTES :])
    assert jobs.job_from_wire(header) == (job, settings)


def test_inspection_survives_the_wire() -> None:
    """Results, errors with their messages, and facts come out as they went in."""
    facts = PictureFacts("png", 3, 4)
    whole = Inspection(
        facts, "whole", None, (Rendered(b"abc", "png", 1, 2), TooManyPixels("Too big.", detail="x"))
    )
    header, bodies = jobs.inspection_to_wire(whole)
    again = jobs.inspection_from_wire(jobs.read_header(jobs.frame(header)[jobs.LENGTH_BYTES :]), bodies)
    assert (again.facts, again.verdict, again.outputs[0]) == (facts, "whole", whole.outputs[0])
    assert isinstance(again.outputs[1], TooManyPixels)
    assert (again.outputs[1].message, again.outputs[1].detail) == ("Too big.", "x")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"verdict":"fine","facts":null,"error":null,"outputs":[]}',
        b'{"verdict":"whole"}',
    ],
)
def test_answer_that_is_none_is_refused(text: bytes) -> None:
    """A process that was taken over can send anything; it is a dead process then, not an exception of ours."""
    with pytest.raises(WireError):
        jobs.inspection_from_wire(jobs.read_header(text), [])


def test_bodies_beyond_measure_are_refused() -> None:
    """Nobody waits for a body that no picture has."""
    for size in (-1, jobs.MAX_BODIES_BYTES + 1, "x", None):
        with pytest.raises(WireError):
            jobs.body_sizes({"outputs": [{"size": size}]})
    with pytest.raises(WireError):
        jobs.header_length(b"\xff\xff\xff\xff")
