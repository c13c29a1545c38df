"""A run by several processes: the same outcomes in the same order, a dying one costs one article, writes are safe."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from rewriting import BASE, SOURCE, WRAPPED

from proxy.cli import main
from proxy.config import Config
from proxy.rewrite.ondisk.files import ArticleFile, find_articles, find_texts
from proxy.rewrite.rewriter import Rewriter
from proxy.services.articles.article_use import RewriteSettings
from proxy.services.articles.forked import forked_processes
from proxy.services.articles.rewritejobs import ArticleLimits
from proxy.services.articles.rewritetree import Run
from proxy.services.articles.treework import ArticleJob, ArticleOutcome, Task
from proxy.services.warm.gathering import gather

SETTINGS = RewriteSettings.of(Config(), base_url=BASE)
SHORT = ArticleLimits(cpu_seconds=1)
SLOW = f"![]({WRAPPED})\n\n".encode() + b"> " * 20 + b"a\n" * 400_000
HIDDEN = "https://h.example/picture?id=7"
"""Nothing in its name says that it is a picture."""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a folder of forty articles, a third of which have a wrapper, and other text."""
    for number in range(40):
        text = (
            f"![]({WRAPPED}?{number})\n"
            if number % 3 == 0
            else f"text {number} ![](https://h.example/{number}.png)\n"
        )
        path = tmp_path / f"{number % 4}" / f"{number:02}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"---\ntitle: x\n---\n{text}", encoding="utf-8")
    (tmp_path / "links.yml").write_text(f"a: https://wsrv.nl/?url={HIDDEN}\nb: {WRAPPED}\n", encoding="utf-8")
    return tmp_path


def jobs(folder: Path) -> Iterator[ArticleJob]:
    yield from map(ArticleJob, find_articles([folder]))
    yield from map(ArticleJob, find_texts([folder], max_bytes=1 << 20))


def outcomes(folder: Path, task: Task, **words: Any) -> list[tuple[ArticleJob, ArticleOutcome]]:
    with Run(SETTINGS, task, **words) as run:
        return list(run.outcomes(jobs(folder)))


def texts(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("action", ["rewrite", "gather", "undo"])
def test_processes_give_the_same_outcomes_in_the_same_order(
    site: Path, action: Literal["rewrite", "gather", "undo"]
) -> None:
    """Diffs, dates, pictures and left addresses cross the wire unchanged."""
    task = Task(action, str(site), diffs=True, records=True)
    near = outcomes(site, task)
    assert outcomes(site, task, few_bytes=0, processors=3) == near
    assert [job.article.path.name for job, _ in near][:3] == ["00.md", "04.md", "08.md"]
    assert len(near) == 41


def test_processes_that_are_new_interpreters_give_the_same(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where this process cannot be copied, as while a progress bar runs."""
    task = Task("rewrite", str(site), diffs=True)
    near = outcomes(site, task)
    done, stop = [], threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    assert forked_processes(1, SHORT) == []
    done = outcomes(site, task, few_bytes=0, processors=1)
    stop.set()
    other.join()
    assert done == near


def test_processes_write_what_one_writes_and_put_it_back(
    site: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Articles and journals, and no temporary file stays."""
    before = texts(site)
    outcomes(site, Task("rewrite", str(site), write=True), few_bytes=0, processors=3)
    written = texts(site)
    outcomes(site, Task("undo", str(site), write=True), few_bytes=0, processors=3)
    assert texts(site) == before
    outcomes(site, Task("rewrite", str(site), write=True))
    assert texts(site) == written
    assert sum(name.endswith(".json") for name in written) == 14


def test_process_that_dies_costs_its_article_only(site: Path) -> None:
    """Those that were given to it together with the hostile one are done by the next."""
    (site / "0" / "05-slow.md").write_bytes(SLOW)
    done = outcomes(site, Task("rewrite", str(site)), few_bytes=0, processors=2, limits=SHORT)
    failed = {job.article.path.name: outcome.failure for job, outcome in done if outcome.failure}
    assert failed == {"05-slow.md": "reading it takes more than 1 s of processor time"}
    assert sum(outcome.count for _, outcome in done) == 15


def test_file_that_cannot_be_read_costs_itself_only(site: Path) -> None:
    with Run(SETTINGS, Task("rewrite", str(site)), few_bytes=0, processors=2) as run:
        gone = ArticleJob(ArticleFile(site / "gone.md", site, "markdown"))
        done = list(run.outcomes([gone, *jobs(site)]))
    assert "No such file" in done[0][1].failure
    assert not any(outcome.failure for _, outcome in done[1:])


def test_articles_without_wrappers_are_not_read(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole reader is entered for those that have one, and for nothing else."""
    entered: list[bytes] = []
    original = Rewriter.rewrite

    def noted(rewriter: Rewriter, data: bytes, **words: Any) -> object:
        entered.append(data)
        return original(rewriter, data, **words)

    monkeypatch.setattr(Rewriter, "rewrite", noted)
    outcomes(site, Task("rewrite", str(site)))
    assert len(entered) == 15
    assert all(b"cors" in data or b"wsrv" in data for data in entered)


@pytest.mark.parametrize(
    "spelling", [HIDDEN, HIDDEN.replace("h.example", "H&#46;Example"), HIDDEN.replace("//", "/")]
)
def test_other_text_follows_articles_that_were_passed_unread(
    site: Path, capsys: pytest.CaptureFixture[str], spelling: str
) -> None:
    """An article that shows the source by its own address has no wrapper; the data file is rewritten because of it."""
    assert main(["rewrite", str(site), "--diff", "--base-url", BASE]) == 0
    assert f"-a: https://wsrv.nl/?url={HIDDEN}" not in capsys.readouterr().out
    (site / "shows.md").write_text(f'<img src="{spelling}">\n', encoding="utf-8")
    assert main(["rewrite", str(site), "--diff", "--base-url", BASE]) == 0
    assert f"+a: {BASE}/image/original/{HIDDEN}" in capsys.readouterr().out
    assert main(["rewrite", str(site), "--write", "--base-url", BASE]) == 0
    assert f"a: {BASE}/image/original/{HIDDEN}" in (site / "links.yml").read_text(encoding="utf-8")


def test_warm_gathers_the_same_by_processes(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    near = gather([site], SETTINGS)
    monkeypatch.setattr("proxy.services.articles.rewritetree.FEW_BYTES", 0)
    far = gather([site], SETTINGS)
    assert (far.works, far.articles, far.dates) == (near.works, near.articles, near.dates)
    assert len(near.works) == 15


def test_interrupt_leaves_whole_files_and_no_process(site: Path) -> None:
    """Ctrl-C in the middle of a run by processes: every article is the old or the new one, and can be put back."""
    before = texts(site)
    script = (
        "import os, signal, sys, proxy.services.articles.rewritetree as tree\n"
        "from proxy.cli import main\n"
        # Shells start what runs in the background with it ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "tree.FEW_BYTES = 0\n"
        "outcomes = tree.Run.outcomes\n"
        "def interrupted(run, jobs):\n"
        "    for number, item in enumerate(outcomes(run, jobs)):\n"
        "        if number == 5: os.kill(os.getpid(), signal.SIGINT)\n"
        "        yield item\n"
        "tree.Run.outcomes = interrupted\n"
        f"sys.exit(main(['rewrite', {str(site)!r}, '--write', '--base-url', {BASE!r}]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert ended.returncode == 130, ended.stderr
    changed = [name for name, data in texts(site).items() if before.get(name, data) != data]
    assert all(f"{BASE}/image/content/{SOURCE}".encode() in texts(site)[name] for name in changed)
    assert main(["rewrite", str(site), "--undo"]) == 0
    assert texts(site) == before


@pytest.mark.parametrize("words", [[], ["--json"], ["--diff"]])
def test_reader_of_our_output_that_goes_does_not_stop_the_writing(site: Path, words: list[str]) -> None:
    """`imgmirror rewrite --write | head -0` writes all of them."""
    command = [sys.executable, "-m", "proxy", "rewrite", str(site), "--base-url", BASE]
    command += words if "--diff" in words else ["--write", *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(command, env=environment, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, b"")
    written = sum(BASE.encode() in data for name, data in texts(site).items() if not name.startswith("."))
    assert written == (0 if "--diff" in words else 15)


def test_lines_go_into_the_pipe_while_a_bar_is_on_the_terminal(site: Path) -> None:
    """Standard error is a terminal, standard output a file: each gets its own."""
    terminal, theirs = os.openpty()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm"}
    command = [sys.executable, "-m", "proxy", "rewrite", str(site), "--base-url", BASE]
    shown: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):
            while data := os.read(terminal, 65536):
                shown.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=theirs, check=True)
    os.close(theirs)
    reader.join()
    os.close(terminal)
    lines = ended.stdout.decode().splitlines()
    assert lines[-1] == "41 articles, 15 addresses to replace, 1 left"
    assert sum(line.endswith("1 to replace") for line in lines) == 14
    assert b"Articles" in b"".join(shown)
    assert b"to replace" not in b"".join(shown)


def test_json_that_is_printed_as_it_comes_is_one_document(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is laid out as `json.dumps` does, with no article, with one, and with many."""
    for paths in ([site], [site / "0" / "00.md"]):
        assert main(["rewrite", *map(str, paths), "--json", "--base-url", BASE]) == 0
        text = capsys.readouterr().out
        assert text == json.dumps(json.loads(text), indent=1) + "\n"
        assert list(json.loads(text)) == ["articles", "to_replace", "added", "left", "failed"]
    (site / "empty").mkdir()
    assert main(["rewrite", str(site / "empty"), "--undo", "--json"]) == 0
    text = capsys.readouterr().out
    assert (
        text
        == json.dumps({"articles": [], "put_back": 0, "added": 0, "left": 0, "failed": 0}, indent=1) + "\n"
    )


_PARENT = """
import sys
from proxy.services.articles.forked import forked_processes
from proxy.services.articles.rewritejobs import ArticleLimits
print(*[process.pid for process in forked_processes(2, ArticleLimits())], flush=True)
sys.stdin.read()
"""


def test_copies_end_with_the_process_that_made_them() -> None:
    """This includes a process that is killed: no copy keeps the other's end of a socket open, or its own."""
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        copies = parent.stdout.readline().split()
        assert len(copies) == 2
        parent.kill()
    deadline = time.monotonic() + 20
    while any(map(is_alive, copies)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_outcomes_of_a_batch_come_one_by_one(tmp_path: Path) -> None:
    """The short article is ready while the long one after it is still being read. Leaving does not wait for it."""
    (tmp_path / "a.md").write_text(f"![]({WRAPPED})\n")
    (tmp_path / "b.md").write_bytes(SLOW)
    with Run(SETTINGS, Task("gather", os.fspath(tmp_path)), few_bytes=0) as run:
        job, outcome = next(run.outcomes(jobs(tmp_path)))
    assert job.article.path.name == "a.md"
    assert [picture.source.url for picture in outcome.pictures] == [SOURCE]


_ASKED_TWICE = """
import os
from proxy.services.articles.forked import forked_processes
from proxy.services.articles.rewritejobs import ArticleLimits
(process,) = forked_processes(1, ArticleLimits())
copy, pidfd_open = process._process, os.pidfd_open
def opened_late(pid):
    os.pidfd_open = pidfd_open
    assert copy.wait() == -9
    return pidfd_open(pid)
process.kill()
os.pidfd_open = opened_late
assert copy.wait() == -9
"""


def test_end_of_a_copy_is_told_to_whoever_asks_second() -> None:
    """Another thread has just waited for it, so no process has that number any more."""
    # In an interpreter of its own: this one may have threads by now, and is not copied then.
    subprocess.run([sys.executable, "-c", _ASKED_TWICE], check=True)
