"""Admission by bytes: which job runs, which one stands aside, and that none does so for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pictures
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import RenderConfig
from proxy.errors import TooManyPixels
from proxy.images.jobs import Job, Rendered, Wish
from proxy.images.pool import machine
from proxy.images.pool.fair_queue import ALLOWANCE_BYTES, FairQueue
from proxy.images.pool.workers import RenderPool
from proxy.images.transforms.transform import Transform

MIB = 1 << 20
SMALL, BIG = ALLOWANCE_BYTES, 200 * MIB


def line_of(*items: str, budget: int = 500 * MIB) -> FairQueue[str]:
    line: FairQueue[str] = FairQueue(budget)
    for item in items:
        line.put(item)
    return line


def run_next(line: FairQueue[str], needs: int) -> tuple[str | None, bool]:
    """Take the next item and let it ask; say who it was and whether it runs."""
    item = line.take()
    return item, item is not None and line.ask(item, needs)


def test_what_fits_runs_in_order_of_arrival() -> None:
    line = line_of("a", "b")
    assert run_next(line, BIG) == ("a", True)
    assert run_next(line, BIG) == ("b", True)
    assert line.shared_bytes == 2 * BIG


def test_what_does_not_fit_stands_aside_and_runs_first_when_there_is_room() -> None:
    line = line_of("a", "b", "c", "later")
    assert [run_next(line, BIG) for _ in range(3)] == [("a", True), ("b", True), ("c", False)]
    assert len(line) == 2
    line.end("a")
    assert line.take() == "c"
    assert line.granted("c") == BIG


def owned(*names: str) -> FairQueue[str]:
    """Return a line of items like "a1", whose owner is the letter."""
    line: FairQueue[str] = FairQueue(500 * MIB)
    for name in names:
        line.put(name, owner=name[0])
    return line


def test_owners_take_turns() -> None:
    line = owned("a1", "a2", "a3", "a4", "b1", "c1", "b2")
    order = []
    while (item := line.take()) is not None:
        order.append(item)
        line.end(item)
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


def test_owner_of_whom_fewest_run_comes_next() -> None:
    """An owner that arrives later with one item does not wait for all items of another owner."""
    line = owned("a1", "a2", "a3", "a4")
    assert [line.take(), line.take()] == ["a1", "a2"]
    line.put("b1", owner="b")
    line.put("b2", owner="b")
    assert [line.take() for _ in range(4)] == ["b1", "b2", "a3", "a4"]


def test_barred_owner_waits_and_keeps_its_turn() -> None:
    line = owned("a1", "b1", "a2", "b2")
    assert line.take(barred={"a"}) == "b1"
    assert line.take(barred={"a", "b"}) is None
    assert line.running_owners == {"b"}
    assert line.take() == "a1"


def test_dropped_and_cleared_items_leave_nothing() -> None:
    """An owner without items gets no turn, and dropping an item that does not wait has no effect."""
    line = owned("a1", "b1", "b2")
    for item in ("a1", "b1", "x"):
        line.drop(item)
    assert sorted(line) == ["b2"]
    assert line.clear() == ["b2"]
    assert (len(line), line.take()) == (0, None)
    line.put("a1", owner="a")
    assert line.take() == "a1"


@pytest.mark.parametrize("leave", ["end", "drop", "clear"])
def test_owner_of_whom_nothing_is_left_is_forgotten(leave: str) -> None:
    """This holds however its last item left: a queue that lives for months does not remember every origin."""
    line = owned("a1", "a2")
    assert line.take() == "a1"
    line.end("a1")
    if leave == "end":
        assert line.take() == "a2"
        line.end("a2")
    elif leave == "drop":
        line.drop("a2")
    else:
        assert line.clear() == ["a2"]
    line.put("a3", owner="a")
    line.put("b1", owner="b")
    assert line.take() == "a3", "it is as new as the other, and came first"


def test_small_ones_go_by_while_a_big_one_stands_aside() -> None:
    line = line_of("a", "alone", "small", "too")
    assert run_next(line, BIG) == ("a", True)
    assert run_next(line, 900 * MIB) == ("alone", False)
    assert run_next(line, SMALL) == ("small", True)
    assert run_next(line, SMALL) == ("too", True)
    assert line.shared_bytes == BIG


def test_nobody_who_came_later_gets_a_share_before_the_one_that_stands_aside() -> None:
    """A row of middling pictures cannot starve a large one, though each of them would fit."""
    line = line_of("a", "large", "middling")
    assert run_next(line, BIG) == ("a", True)
    assert run_next(line, 450 * MIB) == ("large", False)
    assert run_next(line, 100 * MIB) == ("middling", False)
    assert line.take() is None
    line.end("a")
    assert (line.take(), line.take()) == ("large", None)
    line.end("large")
    assert line.take() == "middling"


def test_what_is_larger_than_the_budget_runs_alone() -> None:
    line = line_of("huge", "next")
    assert run_next(line, 10_000 * MIB) == ("huge", True)
    assert run_next(line, 33 * MIB) == ("next", False)
    line.end("huge")
    assert line.take() == "next"


def test_one_that_asks_again_after_it_stood_aside_runs_alone_and_asks_in_vain_no_more() -> None:
    """A process that says another number each time is put aside twice at most."""
    line = line_of("a", "liar")
    run_next(line, BIG)
    assert run_next(line, 400 * MIB) == ("liar", False)
    line.end("a")
    assert run_next(line, 450 * MIB) == ("liar", True)
    assert line.ask("liar", 10**15)
    assert line.shared_bytes == line.budget_bytes


def test_one_that_has_the_whole_budget_may_ask_for_anything_while_others_stand_aside() -> None:
    """It could not get more, and would stand behind those that wait for it."""
    line = line_of("a", "liar", "c")
    run_next(line, BIG)
    run_next(line, 400 * MIB)
    line.end("a")
    assert run_next(line, 450 * MIB) == ("liar", True)
    assert run_next(line, BIG) == ("c", False)
    assert line.ask("liar", 10**15)
    assert line.shared_bytes == line.budget_bytes


@pytest.mark.parametrize("leave", ["end", "drop", "clear"])
def test_one_that_comes_again_is_a_new_one(leave: str) -> None:
    """That it once stood aside is forgotten with it: it does not have to run alone."""
    line = line_of("a", "b")
    run_next(line, 400 * MIB)
    assert run_next(line, BIG) == ("b", False)
    if leave == "drop":
        line.drop("b")
    if leave == "clear":
        assert line.clear() == ["b"]
    line.end("a")
    if leave == "end":
        assert line.take() == "b"
        line.end("b")
    assert (len(line), line.take()) == (0, None)
    line.put("b")
    assert run_next(line, BIG) == ("b", True)
    assert line.shared_bytes == BIG


def test_those_that_stand_aside_come_again_in_the_order_of_their_arrival() -> None:
    """Not in that of their names, and not to a process that may not take everybody's."""
    line = line_of("a", "z", "y")
    run_next(line, 450 * MIB)
    assert [run_next(line, BIG), run_next(line, BIG)] == [("z", False), ("y", False)]
    line.end("a")
    assert line.take(barred={"somebody"}) is None
    assert [line.take(), line.take()] == ["z", "y"]


def test_shares_fill_the_budget_to_the_last_byte() -> None:
    line = line_of("a", "b", "c")
    assert run_next(line, 300 * MIB) == ("a", True)
    assert run_next(line, 200 * MIB) == ("b", True)
    assert run_next(line, SMALL + 1) == ("c", False)


def test_one_that_is_dropped_while_it_stands_aside_holds_up_nobody() -> None:
    line = line_of("a", "b", "c", "d")
    run_next(line, BIG)
    run_next(line, 450 * MIB)
    run_next(line, 60 * MIB)
    line.drop("b")
    assert line.take() == "c"
    line.drop("c")
    assert line.granted("c") == 60 * MIB, "who runs keeps its share until it ends"
    line.end("c")
    line.end("a")
    assert line.shared_bytes == 0


@given(
    st.lists(st.integers(0, 700 * MIB), min_size=1, max_size=30),
    st.integers(1, 6),
    st.lists(st.integers(0, 5)),
)
def test_all_run_once_within_the_budget_whatever_their_order(
    needs: list[int], processes: int, ends: list[int]
) -> None:
    """Any sizes, any number of processes, any order of ending: shares stay within the budget, and the line empties."""
    line: FairQueue[int] = FairQueue(500 * MIB)
    for number in range(len(needs)):
        line.put(number)
    running: list[int] = []
    done: list[int] = []
    order = iter(ends)
    while len(done) < len(needs):
        while len(running) < processes and (item := line.take()) is not None:
            if line.ask(item, needs[item]):
                running.append(item)
        assert line.shared_bytes <= line.budget_bytes
        assert running, "nothing runs, and something waits"
        ended = running.pop(next(order, 0) % len(running))
        line.end(ended)
        done.append(ended)
    assert sorted(done) == list(range(len(needs)))
    assert line.shared_bytes == 0


# In the pool


def wish(text: str = "width=64") -> Wish:
    return Wish(Transform.parse(text).resolved({}), ("webp", "fallback"))


def watched(pool: RenderPool) -> list[tuple[int, int]]:
    """Note what each job asks for, and how many have a share after the answer."""
    heard = []
    ask = pool._line.ask

    def noted(item: Any, needs: int) -> bool:
        answer = ask(item, needs)
        heard.append((needs, len(pool._line._shares)))
        return answer

    pool._line.ask = noted  # type: ignore[method-assign]  # one instance is watched
    return heard


@pytest.fixture(name="big", scope="module")
def _big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 megapixels in one byte each: more than the allowance with its alpha, and soon decoded."""
    path = tmp_path_factory.mktemp("big") / "picture"
    path.write_bytes(pictures.png(4000, 4000, pictures._zeros(8000, 4000), colour=4))
    return path


@pytest.fixture(name="small")
def _small(tmp_path: Path) -> Path:
    path = tmp_path / "small"
    path.write_bytes(pictures.photo_jpeg(320, 240))
    return path


def config(**changes: Any) -> RenderConfig:
    return RenderConfig.model_validate({"decoder": "pillow", "decoded_max_bytes": 40 * MIB} | changes)


async def test_big_pictures_are_rendered_one_at_a_time_and_small_ones_beside_them(
    big: Path, small: Path
) -> None:
    """All are answered; at no moment had two of the big ones a share."""
    pool = RenderPool(config(), processes=2)
    await pool.start()
    shares = watched(pool)
    paths = [big, big, small, big, small]
    found = await asyncio.gather(*(pool.run(Job(str(path), (wish(),), check=True)) for path in paths))
    assert [inspection.verdict for inspection in found] == ["whole"] * 5
    assert all(isinstance(inspection.outputs[0], Rendered) for inspection in found)
    assert max(running for _, running in shares) == 1
    assert len(shares) >= 3
    assert pool._line.shared_bytes == 0
    await pool.close()


async def test_killed_or_cancelled_job_gives_its_share_back(big: Path, small: Path) -> None:
    """This includes a job that is out of time, killed from outside, or abandoned: the next one finds room."""
    pool = RenderPool(config(), processes=2)
    await pool.start()
    jobs = [asyncio.ensure_future(pool.run(Job(str(big), check=True))) for _ in range(4)]
    while not pool._line.shared_bytes:  # noqa: ASYNC110 - what is waited for happens in the pool
        await asyncio.sleep(0)
    for pid in pool.pids:
        psutil.Process(pid).kill()
    jobs[3].cancel()
    found = await asyncio.gather(*jobs[:3])
    assert [inspection.verdict for inspection in found] == ["whole"] * 3
    pool.reconfigure(config(timeout=0.05))
    found = await asyncio.gather(*(pool.run(Job(str(big), check=True)) for _ in range(2)))
    assert {inspection.error and inspection.error.code for inspection in found} == {"render_timeout"}
    assert pool._line.shared_bytes == 0
    pool.reconfigure(config())
    assert (await pool.run(Job(str(small), check=True))).verdict == "whole"
    await pool.close()


def damaged_end(picture: Path, path: Path) -> Path:
    body = picture.read_bytes()
    path.write_bytes(body[:-40] + b"\xa5" * 8 + body[-32:])
    return path


async def test_damaged_picture_asks_again_before_the_other_library_tries(big: Path, tmp_path: Path) -> None:
    """libvips takes little for a PNG; when it refuses one, Pillow takes much, and may not without leave."""
    pytest.importorskip("pyvips")
    path = damaged_end(big, tmp_path / "damaged")
    pool = RenderPool(config(decoder="libvips"), processes=1)
    await pool.start()
    asked = watched(pool)
    inspection = await pool.run(Job(str(path), (wish(),), check=True))
    assert inspection.verdict == "damaged"
    assert max(needs for needs, _ in asked) > 4000 * 4000 * 4
    await pool.close()


LAYERS = '<g opacity="0.9">' * 190 + '<rect width="2000" height="2000"/>' + "</g>" * 190
CHAIN = '<g id="u0"/>' + "".join(f'<g id="u{n}"><use href="#u{n - 1}"/></g>' for n in range(1, 30_000))


@pytest.mark.parametrize("inside", [LAYERS, CHAIN], ids=["layers", "uses"])
async def test_drawing_that_is_too_heavy_is_too_large_and_not_damaged(tmp_path: Path, inside: str) -> None:
    """The file is whole, and a later rasteriser, or a larger machine, may draw it."""
    pytest.importorskip("resvg_py")
    path = tmp_path / "drawing"
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="2000" height="2000">{inside}</svg>')
    pool = RenderPool(config(memory_max_bytes=400 * MIB), processes=1)
    await pool.start()
    before = pool.pids
    inspection = await pool.run(Job(str(path), (wish("width=2000"),), check=True))
    assert inspection.verdict == "beyond_limits"
    assert isinstance(inspection.error, TooManyPixels)
    assert isinstance(inspection.outputs[0], TooManyPixels)
    assert inside is CHAIN or pool.pids != before, (
        "layers end the process, else this test needs another drawing"
    )
    await pool.close()


# The budget


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1048576\n"},
        {
            "proc/self/cgroup": "0::/system.slice/imgmirror.service\n",
            "sys/fs/cgroup/system.slice/memory.max": "1048576\n",
            "sys/fs/cgroup/system.slice/imgmirror.service/memory.max": "max\n",
        },
        {"proc/self/cgroup": "0::/docker/abc\n", "sys/fs/cgroup/memory.high": "1048576\n"},
        {
            "proc/self/cgroup": "7:cpu:/a\n4:hugetlb,memory:/a/b\n0::/\n",
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "1048576\n",
            "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "9223372036854771712\n",
        },
    ],
    ids=["container", "slice above", "high", "version 1"],
)
def test_memory_is_that_of_the_control_group(tmp_path: Path, files: dict[str, str]) -> None:
    assert machine.memory_bytes(written(tmp_path, files)) == 1 << 20


@pytest.mark.parametrize("text", [None, "", "0::", "nonsense\n", "0::/\n"])
def test_memory_without_control_groups_is_the_machine_s(tmp_path: Path, text: str | None) -> None:
    written(tmp_path, {} if text is None else {"proc/self/cgroup": text})
    assert machine.memory_bytes(tmp_path) == psutil.virtual_memory().total


def test_budget_is_shared_by_the_workers() -> None:
    assert RenderPool(config(), processes=1, workers=4)._line.budget_bytes == 10 * MIB
    derived = RenderPool(RenderConfig(), processes=1)._line.budget_bytes
    assert derived == max(64 * MIB, machine.memory_bytes() * 3 // 8)
