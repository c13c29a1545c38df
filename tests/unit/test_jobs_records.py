"""Records of jobs: what other processes see of a job while its process lives, and after it has died."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cache.across.jobs import MAX_RECORDS, JobFiles, JobRunning

HOLDER = """
import sys, time
from pathlib import Path
from cache.across.jobs import JobFiles
job = JobFiles(Path(sys.argv[1]), now=time.time).begin("verify", started_by="command")
print(job.record.id, flush=True)
sys.stdin.read()
"""


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture
def files(tmp_path: Path) -> JobFiles:
    return JobFiles(tmp_path / "jobs", now=Clock())


def test_progress_is_seen_once_it_is_written(files: JobFiles) -> None:
    """A note costs nothing and shows nothing; writing shows it, and the total stays until another one is known."""
    job = files.begin("pack", started_by="api", detail="all")
    job.note(3, 10, "half")
    known = files.get(job.record.id)
    assert known is not None
    assert (known.state, known.done) == ("running", 0)
    job.write()
    job.note(4)
    job.write()
    known = files.get(job.record.id)
    assert known is not None
    assert (known.done, known.total, known.detail) == (4, 10, "all")


def test_end_is_told_with_figures(files: JobFiles) -> None:
    """An ended job stays in the list with its figures and leaves no lock behind."""
    job = files.begin("pack", started_by="api")
    job.end("done", result={"entries": 5})
    (known,) = files.listed()
    assert (known.state, known.result, known.is_over) == ("done", {"entries": 5}, True)
    assert known.ended_at == known.updated_at


def test_process_that_was_killed_is_told_as_lost(tmp_path: Path) -> None:
    """While the process lives the job runs. After kill -9 nothing says so but the lock that is gone."""
    files = JobFiles(tmp_path / "jobs", now=Clock())
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "jobs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    with holder:
        assert holder.stdout is not None
        name = holder.stdout.readline().strip()
        alive = files.get(name)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        dead = files.get(name)
    assert alive is not None
    assert alive.state == "running"
    assert dead is not None
    assert (dead.state, dead.may_stop) == ("lost", False)
    assert "without a word" in dead.message


def test_only_one_of_a_kind_runs_where_that_is_wanted(files: JobFiles) -> None:
    """A second job of the kind is refused until the first has ended; other kinds and commands are not concerned."""
    first = files.begin("verify", started_by="api", only=True)
    with pytest.raises(JobRunning):
        files.begin("verify", started_by="api", only=True)
    files.begin("sweep", started_by="api", only=True).end("done")
    files.begin("verify", started_by="command").end("done")
    first.end("done")
    files.begin("verify", started_by="api", only=True).end("done")


def test_wish_to_stop_reaches_a_job_that_takes_it(files: JobFiles) -> None:
    """The wish is a file, so any process can leave it; a job that may not be stopped ignores it."""
    willing = files.begin("verify", started_by="api", may_stop=True)
    other = files.begin("verify", started_by="command")
    for job in (willing, other):
        assert not job.is_to_stop()
        files.ask_to_stop(job.record.id)
    assert (willing.is_to_stop(), other.is_to_stop()) == (True, False)


def test_old_jobs_are_forgotten_and_running_ones_are_not(files: JobFiles, tmp_path: Path) -> None:
    """The list stays bounded, whatever ran before."""
    running = files.begin("warm", started_by="api")
    for _ in range(MAX_RECORDS + 5):
        files.begin("sweep", started_by="api").end("done")
    listed = files.listed()
    assert running.record.id in {job.id for job in listed}
    assert len(listed) <= MAX_RECORDS + 2
    assert [job.started_at for job in listed] == sorted((job.started_at for job in listed), reverse=True)
    assert len(list((tmp_path / "jobs").glob("*.lock"))) == 1


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"id": "x"}', "[" * 90_000, '{"state": "running"}', '{"id": 5, "state": null}', "\xff"],
)
def test_record_that_is_none_is_no_job(files: JobFiles, tmp_path: Path, text: str) -> None:
    """Whatever lies in the folder, listing goes on."""
    job = files.begin("warm", started_by="api")
    (tmp_path / "jobs" / "1700000000000-0000abcd.json").write_bytes(text.encode("latin-1"))
    (tmp_path / "jobs" / "strange.json").write_text("{}")
    assert [known.id for known in files.listed()] == [job.record.id]


@pytest.mark.parametrize("name", ["started_at", "updated_at", "ended_at", "done", "total"])
@pytest.mark.parametrize("figure", ["1e999", "-1e999", "NaN", "9" * 400 + ".0"])
def test_record_with_a_figure_that_is_none_is_no_job(
    files: JobFiles, tmp_path: Path, name: str, figure: str
) -> None:
    job = files.begin("warm", started_by="api")
    path = tmp_path / "jobs" / "1700000000000-0000abcd.json"
    record = json.loads((tmp_path / "jobs" / f"{job.record.id}.json").read_text())
    text = json.dumps({**record, "id": path.stem, name: "here"})
    path.write_text(text.replace('"here"', figure))
    assert [known.id for known in files.listed()] == [job.record.id]


def test_record_of_another_version_is_read(files: JobFiles, tmp_path: Path) -> None:
    """Unknown members are ignored and missing ones take their defaults."""
    name = "1700000000000-0000abcd"
    known = {
        "id": name,
        "kind": "new",
        "started_by": "api",
        "started_at": 1,
        "updated_at": 2,
        "state": "done",
    }
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / f"{name}.json").write_text(json.dumps({**known, "result": {}, "colour": "red"}))
    found = files.get(name)
    assert found is not None
    assert (found.kind, found.done, found.total) == ("new", 0, None)


@pytest.mark.parametrize("name", ["", "../failures", "1700000000000-0000abcd/x", "1700000000000-0000ABCD"])
def test_name_that_is_no_id_is_not_looked_up(files: JobFiles, name: str) -> None:
    """A name of a client becomes part of a path only if it is an id."""
    assert files.get(name) is None


def test_job_in_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """There is no job without a store, and the folder of the store is not created for it."""
    files = JobFiles(tmp_path / "nowhere" / "jobs", now=Clock())
    with pytest.raises(OSError, match="no store"):
        files.begin("warm", started_by="api")
    assert files.listed() == []
    assert not (tmp_path / "nowhere").exists()


def test_files_are_private(files: JobFiles, tmp_path: Path) -> None:
    """Records name sources, so only the owner of the store may read them."""
    files.begin("warm", started_by="api")
    modes = {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "jobs").iterdir()}
    assert modes == {"0o600"}
    assert oct((tmp_path / "jobs").stat().st_mode & 0o777) == "0o700"
