"""`imgmirror export` on built sites, a scripted origin and a real store."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import WRAPPER, invoke
from pictures import cut, disc_png, moving, photo_jpeg
from scripted_origin import ScriptedOrigin, run_in_thread
from service import wait_until, write_config
from sites import broken_links, foreign_addresses, write_site

from proxy.images.pool.workers import Inspection, Job, RenderPool

MIRROR = "http://mirror.test"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><rect width="40" height="20" fill="red"/></svg>'
STATE = ".imgmirror/export.json"


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGMIRROR_LOG", "info")


@pytest.fixture
def origin() -> Iterator[ScriptedOrigin]:
    with run_in_thread() as origin:
        origin.serve("/photo.jpg", photo_jpeg(400, 240), content_type="image/jpeg")
        origin.serve("/other.jpg", photo_jpeg(300, 200), content_type="image/jpeg")
        origin.serve("/disc.png", disc_png(90, 60))
        origin.serve("/s.svg", SVG, content_type="image/svg+xml")
        yield origin


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path, {"server": {"public_url": MIRROR}})


@pytest.fixture
def site(tmp_path: Path, origin: ScriptedOrigin) -> Path:
    """Two pages, a style sheet and a file that is only copied; pictures through us, a wrapper, and none of both."""
    photo, other = (f"{MIRROR}/image/content/{origin.url(path)}" for path in ("/photo.jpg", "/other.jpg"))
    photo, other = (f"{MIRROR}/image/content/{origin.url(path)}" for path in ("/photo.jpg", "/other.jpg"))
    page = f"""<!doctype html>
<link rel="stylesheet" href="/css/main.css" integrity="sha256-AAAA" crossorigin="anonymous">
<a href="/">home</a> <a href="/posts/two/">two</a>
<img src="{photo}" alt="a &amp; b">
<img src="{WRAPPER}{origin.url("/disc.png")}">
<img src="{origin.url("/s.svg")}">
"""
    files: dict[str, str | bytes] = {
        "index.html": '<link rel=stylesheet href=/css/main.css><a href="/posts/one/">one</a><img src="/img/logo.png">',
        "posts/one/index.html": page,
        "posts/two/index.html": f'<a href="../one/">one</a><img src="{photo}">',
        "css/main.css": f'.a{{background:url("{other}")}}.b{{background:url(/img/logo.png)}}',
        "img/logo.png": disc_png(64, 64),
        "files/film.mp4": b"\0" * 3_000_000,
    }
    return write_site(tmp_path / "site", files)


@pytest.fixture
def renders(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Every job that the render processes get."""
    jobs: list[Job] = []
    run = RenderPool.run

    async def counted(self: RenderPool, job: Job) -> Inspection:
        jobs.append(job)
        return await run(self, job)

    monkeypatch.setattr(RenderPool, "run", counted)
    return jobs


def exported(
    site: Path, out: Path, *words: str | Path, config: Path, capsys: Any
) -> tuple[int, dict[str, Any]]:
    """Export with a JSON report; return the exit code and the report."""
    capsys.readouterr()
    code = invoke("export", site, out, "--json", *words, config=config)
    return code, json.loads(capsys.readouterr().out)


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return the files of a folder with their bytes and times; our own state left out."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".imgmirror" not in path.parts
    }


def test_exported_site_has_every_picture_and_needs_nobody(
    site: Path, tmp_path: Path, config: Path, origin: ScriptedOrigin, capsys: Any
) -> None:
    out = tmp_path / "out"
    code, report = exported(site, out, config=config, capsys=capsys)
    assert (code, report["dead"], report["problems"]) == (0, [], [])
    assert list(broken_links(out)) == []
    assert foreign_addresses(out) == set()
    assert (out / "files/film.mp4").read_bytes() == (site / "files/film.mp4").read_bytes()
    page = (out / "posts/one/index.html").read_text()
    assert 'type="image/avif"' in page
    assert 'type="image/webp"' in page
    assert set(re.findall(r" \d+w", page)) == {" 320w", " 400w"}, "no width above the original"
    assert "integrity" not in page
    assert "crossorigin" not in page
    assert {origin.count(path) for path in ("/photo.jpg", "/other.jpg", "/disc.png", "/s.svg")} == {1}
    names = [path.name for path in (out / "imgmirror").iterdir()]
    assert all(len(name.split(".")[0]) == 32 for name in names)
    assert {name.split(".")[1] for name in names} >= {"avif", "webp", "jpg", "svg"}


def test_second_run_writes_fetches_and_renders_nothing(
    site: Path, tmp_path: Path, config: Path, origin: ScriptedOrigin, renders: list[Job], capsys: Any
) -> None:
    out = tmp_path / "out"
    exported(site, out, config=config, capsys=capsys)
    before, asked, rendered = contents(out), origin.count(), len(renders)
    code, report = exported(site, out, config=config, capsys=capsys)
    assert code == 0
    assert (contents(out), origin.count(), len(renders)) == (before, asked, rendered)
    assert report["summary"]["written"] == report["summary"]["removed"] == report["summary"]["fetched"] == 0


def test_second_run_does_only_what_changed_and_removes_what_is_unused(
    site: Path, tmp_path: Path, config: Path, origin: ScriptedOrigin, capsys: Any
) -> None:
    """A page loses a picture and another page goes; what a user put into the copy stays."""
    out = tmp_path / "out"
    exported(site, out, config=config, capsys=capsys)
    (out / "CNAME").write_text("blog.example")
    (out / ".git").mkdir()
    (out / ".git/HEAD").write_text("ref")
    before = contents(out)
    (site / "posts/one/index.html").write_text(
        f'<img src="{MIRROR}/image/content/{origin.url("/disc.png")}">'
    )
    (site / "posts/two/index.html").unlink()
    (site / "posts/two").rmdir()
    code, report = exported(site, out, config=config, capsys=capsys)
    after = contents(out)
    assert code == 0
    assert {name for name in after if after[name] != before.get(name)} == {"posts/one/index.html"}
    gone = before.keys() - after.keys()
    assert "posts/two/index.html" in gone
    assert not (out / "posts/two").exists()
    assert all(name == "posts/two/index.html" or name.startswith("imgmirror/") for name in gone)
    assert report["summary"]["removed"] == len(gone) > 5
    assert (out / "CNAME").read_text() == "blog.example"
    assert (out / ".git/HEAD").exists()


def test_new_page_leaves_the_other_files_as_they_are(
    site: Path, tmp_path: Path, config: Path, capsys: Any
) -> None:
    out = tmp_path / "out"
    exported(site, out, config=config, capsys=capsys)
    before = contents(out)
    write_site(site, {"posts/three/index.html": "three"})
    exported(site, out, config=config, capsys=capsys)
    assert contents(out) == before | {"posts/three/index.html": contents(out)["posts/three/index.html"]}


def test_file_changed_by_hand_is_left_and_named(
    site: Path, tmp_path: Path, config: Path, capsys: Any
) -> None:
    out = tmp_path / "out"
    exported(site, out, config=config, capsys=capsys)
    (out / "index.html").write_text("mine")
    (out / "posts/two/index.html").write_text("mine too")
    (site / "posts/two/index.html").unlink()
    write_site(out, {"new.html": "not by us"})
    write_site(site, {"new.html": "by the site"})
    code, report = exported(site, out, config=config, capsys=capsys)
    assert code == 1
    assert {one["path"] for one in report["problems"]} == {"index.html", "posts/two/index.html", "new.html"}
    assert (out / "index.html").read_text() == "mine"
    assert (out / "posts/two/index.html").read_text() == "mine too"
    assert (out / "new.html").read_text() == "not by us"
    (out / "index.html").unlink()
    exported(site, out, config=config, capsys=capsys)
    assert "imgmirror" not in (out / "index.html").read_text()
    assert (out / "index.html").read_text() != "mine"


def test_copy_with_other_times_is_still_ours(site: Path, tmp_path: Path, config: Path, capsys: Any) -> None:
    """A check-out of the copy has new times; what the site changed is written, and nothing else."""
    out = tmp_path / "out"
    exported(site, out, config=config, capsys=capsys)
    for path in out.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    (site / "index.html").write_text("new")
    code, report = exported(site, out, config=config, capsys=capsys)
    assert (code, report["summary"]["written"]) == (0, 1)
    assert (out / "index.html").read_text() == "new"


def test_dead_picture_keeps_its_address_and_is_named_with_its_line(
    tmp_path: Path, config: Path, origin: ScriptedOrigin, capsys: Any
) -> None:
    dead, alive = f"{MIRROR}/image/content/{origin.url('/gone.png')}", f"{WRAPPER}{origin.url('/disc.png')}"
    site = write_site(
        tmp_path / "site",
        {
            "a.html": f'\n\n<img src="{dead}">\n<img srcset="{alive} 1x, {dead} 2x" src="{alive}">',
            "b.html": dead,
        },
    )
    code, report = exported(site, tmp_path / "out", config=config, capsys=capsys)
    page = (tmp_path / "out/a.html").read_text()
    assert code == 1
    assert [(one["source"], one["code"]) for one in report["dead"]] == [
        (origin.url("/gone.png"), "source_not_found")
    ]
    assert report["dead"][0]["places"] == [{"path": "a.html", "line": 3}]
    assert page.count(dead) == 2
    assert alive not in page
    assert list(broken_links(tmp_path / "out")) == []


def test_offline_fetches_nothing_and_names_what_is_not_kept(
    site: Path, tmp_path: Path, config: Path, origin: ScriptedOrigin, capsys: Any
) -> None:
    invoke("warm", site / "posts/two", config=config)
    asked = origin.count()
    code, report = exported(site, tmp_path / "out", "--offline", config=config, capsys=capsys)
    assert (code, origin.count()) == (1, asked)
    assert {one["code"] for one in report["dead"]} == {"not_kept"}
    assert {one["source"] for one in report["dead"]} == {
        origin.url(path) for path in ("/disc.png", "/s.svg", "/other.jpg")
    }
    assert "imgmirror/" in (tmp_path / "out/posts/two/index.html").read_text()


def test_kept_original_is_used_however_old_and_its_origin_is_not_asked(
    site: Path, tmp_path: Path, origin: ScriptedOrigin, capsys: Any
) -> None:
    config = write_config(tmp_path, {"server": {"public_url": MIRROR}, "fetch": {"min_fresh": 0}})
    invoke("warm", site, "--all-images", config=config)
    asked = origin.count()
    code, _ = exported(site, tmp_path / "out", config=config, capsys=capsys)
    assert (code, origin.count()) == (0, asked)


def test_source_that_the_policy_refuses_is_not_fetched(
    site: Path, tmp_path: Path, origin: ScriptedOrigin, capsys: Any
) -> None:
    config = write_config(
        tmp_path, {"server": {"public_url": MIRROR}, "sources": {"deny": [origin.url("/photos/")]}}
    )
    write_site(site, {"a.html": f'<img src="{origin.url("/photos/a.jpg")}">'})
    code, report = exported(site, tmp_path / "out", config=config, capsys=capsys)
    assert (code, origin.count("/photos/a.jpg")) == (1, 0)
    assert [one["code"] for one in report["dead"]] == ["source_not_allowed"]


def test_picture_that_is_gone_stays_as_it_was_exported_before(
    site: Path, tmp_path: Path, config: Path, origin: ScriptedOrigin, capsys: Any
) -> None:
    """The store was lost and the origin died: the copy has the last bytes there are."""
    out = tmp_path / "out"
    exported(site, out, config=config, capsys=capsys)
    before = contents(out)
    (tmp_path / "store").rename(tmp_path / "lost")
    for path in ("/photo.jpg", "/disc.png", "/other.jpg", "/s.svg"):
        origin.serve(path, b"", status=404)
    _, report = exported(site, out, config=config, capsys=capsys)
    assert contents(out) == before
    assert len(report["from_an_earlier_export"]) == 4
    assert report["dead"] == []


@pytest.mark.parametrize("name", ["cut.jpg", "film.gif"])
def test_damaged_picture_goes_in_as_it_is_and_a_moving_one_moves(
    name: str, tmp_path: Path, config: Path, origin: ScriptedOrigin, capsys: Any
) -> None:
    origin.serve("/cut.jpg", cut(photo_jpeg(300, 200), 0.3), content_type="image/jpeg")
    origin.serve("/film.gif", moving("GIF"), content_type="image/gif")
    site = write_site(tmp_path / "site", {"a.html": f'<img src="{origin.url("/" + name)}">'})
    code, report = exported(site, tmp_path / "out", config=config, capsys=capsys)
    assert code == 0
    assert list(broken_links(tmp_path / "out")) == []
    assert foreign_addresses(tmp_path / "out") == set()
    page = (tmp_path / "out/a.html").read_text()
    assert (len(report["originals_instead"]), "image/webp" in page) == (
        (1, False) if name == "cut.jpg" else (0, True)
    )
    assert "image/avif" not in page


def test_drawing_with_a_script_is_not_put_beside_the_pages(
    tmp_path: Path, config: Path, origin: ScriptedOrigin, capsys: Any
) -> None:
    """On a static host nothing keeps it from running as a page of the site."""
    origin.serve("/x.svg", SVG.replace(b"<rect", b"<script>1</script><rect"), content_type="image/svg+xml")
    site = write_site(
        tmp_path / "site", {"a.html": f'<a href="{MIRROR}/image/original/{origin.url("/x.svg")}">x</a>'}
    )
    code, report = exported(site, tmp_path / "out", config=config, capsys=capsys)
    assert not list((tmp_path / "out").rglob("*.svg"))
    assert (code, len(report["dead"])) == (1, 1)


def test_out_that_would_harm_is_refused_before_anything_is_written(
    site: Path, tmp_path: Path, config: Path, capsys: Any
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(site)
    (tmp_path / "link-in").symlink_to(site / "posts")
    write_site(tmp_path / "fake", {".imgmirror/rewrite/a.md.json": "{}", "mine.txt": "mine"})
    (tmp_path / "store").mkdir(exist_ok=True)
    before = sorted(path for path in tmp_path.rglob("*"))
    refused = [
        site, site / "new", site / "posts/../posts/new", tmp_path, tmp_path / "link", tmp_path / "link/new",
        tmp_path / "link-in", tmp_path / "full", tmp_path / "file", tmp_path / "fake", tmp_path / "store/new",
    ]  # fmt: skip
    for out in refused:
        assert invoke("export", site, out, config=config) == 2, out
    assert invoke("export", tmp_path / "absent", tmp_path / "out", config=config) == 2
    assert invoke("export", site, tmp_path / "out", "--site-url", "blog", config=config) == 2
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_links_that_lead_out_are_named_and_not_followed(
    site: Path, tmp_path: Path, config: Path, capsys: Any
) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (site / "out.txt").symlink_to(tmp_path / "secret.txt")
    (site / "up").symlink_to(tmp_path)
    (site / "loop").symlink_to(site)
    (site / "nowhere").symlink_to("absent")
    (site / "inside.png").symlink_to("img/logo.png")
    (site / "latest").symlink_to("posts/one")
    (site / ".git").mkdir()
    (site / ".git/config").write_text("secret")
    (site / "git.txt").symlink_to(".git/config")
    os.mkfifo(site / "pipe.html")
    code, report = exported(site, tmp_path / "out", config=config, capsys=capsys)
    out = tmp_path / "out"
    assert code == 1
    assert {one["path"] for one in report["problems"]} == {
        "out.txt",
        "up",
        "loop",
        "nowhere",
        "pipe.html",
        "git.txt",
    }
    assert report["left_out"] == [".git"]
    assert (out / "inside.png").read_bytes() == (site / "img/logo.png").read_bytes()
    assert not (out / "inside.png").is_symlink()
    assert (out / "latest/index.html").is_file()
    assert list(broken_links(out)) == []
    assert not any(b"secret" in path.read_bytes() for path in out.rglob("*") if path.is_file())


def test_link_in_the_copy_is_not_written_through(
    site: Path, tmp_path: Path, config: Path, capsys: Any
) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    exported(site, out, config=config, capsys=capsys)
    victim.mkdir()
    (out / "css/main.css").unlink()
    (out / "css").rmdir()
    (out / "css").symlink_to(victim)
    code, report = exported(site, out, config=config, capsys=capsys)
    assert (code, list(victim.iterdir())) == (1, [])
    assert [one["path"] for one in report["problems"]] == ["css/main.css"]


def test_state_that_names_files_outside_removes_none(
    site: Path, tmp_path: Path, config: Path, capsys: Any
) -> None:
    out = tmp_path / "out"
    exported(site, out, config=config, capsys=capsys)
    (tmp_path / "mine.txt").write_text("mine")
    state = json.loads((out / STATE).read_text())
    status = (tmp_path / "mine.txt").stat()
    for name in ("../mine.txt", str(tmp_path / "mine.txt"), "posts/../../mine.txt"):
        state["files"][name] = ["0" * 64, status.st_size, status.st_mtime_ns, []]
    (out / STATE).write_text(json.dumps(state))
    (out / ".imgmirror/export.journal").write_text('"../mine.txt"\n"hal')
    exported(site, out, config=config, capsys=capsys)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    (out / STATE).write_text("{")
    assert invoke("export", site, out, config=config) == 2


def command(site: Path, out: Path, config: Path) -> list[str]:
    return [sys.executable, "-m", "proxy", "export", str(site), str(out), "--config", str(config)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_export_that_was_ended_in_the_middle_is_taken_up_again(
    number: int, site: Path, tmp_path: Path, config: Path, origin: ScriptedOrigin, capsys: Any
) -> None:
    out, silent = tmp_path / "out", "/silent.png"
    write_site(site, {"z.html": f'<img src="{origin.url(silent)}">'})

    async def keep_silent(_request: Any, reader: Any, _writer: Any) -> None:
        await reader.read()

    origin.script(silent, keep_silent)
    process = subprocess.Popen(command(site, out, config), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: origin.count(silent) and len(list(out.rglob("*.webp"))) >= 1, seconds=60)
    process.send_signal(number)
    if number == signal.SIGINT:
        wait_until(lambda: process.stderr and b"finishing" in process.stderr.readline())
        process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode in (-9, 130)
    origin.serve(silent, disc_png(60, 60))
    code, report = exported(site, out, config=config, capsys=capsys)
    assert (code, report["problems"], list(broken_links(out))) == (0, [], [])
    before = contents(out)
    write_site(site, {"z.html": ""})
    (site / "posts/one/index.html").write_text("")
    code, report = exported(site, out, config=config, capsys=capsys)
    assert (code, report["problems"]) == (0, [])
    assert len(contents(out)) < len(before)
    assert not list(out.rglob("*.tmp"))


def test_second_export_waits_for_the_first_one(site: Path, tmp_path: Path, config: Path) -> None:
    out = tmp_path / "out"
    (out / ".imgmirror").mkdir(parents=True)
    with (out / ".imgmirror/export.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen(command(site, out, config), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stderr is not None
        assert b"another export" in process.stderr.readline()
        assert not list(out.rglob("*.html"))
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert (out / "index.html").is_file()


def test_page_that_was_made_responsive_keeps_its_widths_in_every_format(
    tmp_path: Path, config: Path, origin: ScriptedOrigin, capsys: Any
) -> None:
    page = (
        f'<p><img src="{origin.url("/disc.png")}"></p><p><img src="{WRAPPER}{origin.url("/photo.jpg")}"></p>'
    )
    site = write_site(tmp_path / "site", {"a.html": page})
    assert invoke("warm", site, "--all-images", config=config) == 0
    assert invoke("rewrite", site, "--write", "--all-images", "--responsive", config=config) == 0
    before = (site / "a.html").read_text()
    code, _ = exported(site, tmp_path / "out", config=config, capsys=capsys)
    after = (tmp_path / "out/a.html").read_text()
    assert (code, foreign_addresses(tmp_path / "out"), list(broken_links(tmp_path / "out"))) == (0, set(), [])
    widths = re.findall(r" (\d+)w", before)
    assert widths
    # In the `<img>`, and in a source for each of AVIF and WebP.
    assert re.findall(r" (\d+)w", after) == widths * 3
    assert set(re.findall(r'sizes="([^"]*)"', after)) == set(re.findall(r'sizes="([^"]*)"', before))
    assert not (tmp_path / "out/.imgmirror/rewrite").exists()
