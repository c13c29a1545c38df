"""`imgmirror warm` on real articles, a scripted origin and a real store."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import WRAPPER, invoke, markdown
from pictures import chart_png, cut, moving, photo, png_bomb, saved
from scripted_origin import Request, ScriptedOrigin, head, run_in_thread
from service import Service, write_config

from proxy.fetch.via import open_via
from proxy.images.pool.workers import Inspection, Job, RenderPool

PHOTO = saved(photo(640, 400), "JPEG")
DRAWING = saved(photo(90, 60).quantize(16), "PNG")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGMIRROR_LOG", "info")


@pytest.fixture
def origin() -> Iterator[ScriptedOrigin]:
    with run_in_thread() as origin:
        origin.serve("/photo.jpg", PHOTO, content_type="image/jpeg")
        origin.serve("/drawing.png", DRAWING)
        yield origin


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path, {"server": {"public_url": "http://mirror.test"}})


@pytest.fixture
def posts(tmp_path: Path, origin: ScriptedOrigin) -> Path:
    """Two articles: a photo as headimg and in both texts, a drawing in one."""
    folder = tmp_path / "posts"
    folder.mkdir()
    front = f"---\nheadimg: '{WRAPPER}{origin.url('/photo.jpg')}'\n---\n"
    (folder / "a.md").write_text(front + markdown(origin.url("/photo.jpg"), origin.url("/drawing.png")))
    (folder / "b.md").write_text(markdown(origin.url("/photo.jpg")))
    return folder


def warmed(posts: Path, *words: str | Path, config: Path) -> tuple[int, dict[str, Any]]:
    """Warm with a JSON report; return the exit code and the report."""
    path = config.parent / "report.json"
    code = invoke("warm", posts, "--report", path, *words, config=config)
    return code, json.loads(path.read_text())


def kept_lines(text: str) -> dict[str, str]:
    records = [json.loads(line) for line in text.splitlines()]
    return {record["kept"]: record["sha256"] for record in records}


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


@pytest.mark.parametrize("base", [(), ("--base-url", "http://new.test")], ids=["same base", "moved"])
def test_articles_that_point_at_a_former_base_are_warmed_as_their_journal_says(
    posts: Path, config: Path, origin: ScriptedOrigin, base: tuple[str, ...]
) -> None:
    """The mirror has moved and its former address is not configured, but the pictures are recognised as ours."""
    assert invoke("rewrite", posts, "--write", "--base-url", "http://old.test", config=config) == 0
    code, report = warmed(posts, *base, config=config)
    assert code == 0
    assert report["summary"]["kept"] == 2


def test_warm_fetches_each_source_once_and_decodes_it_once(
    posts: Path, origin: ScriptedOrigin, config: Path, renders: list[Job]
) -> None:
    """Three places, two sources: two requests, two jobs; presets in three formats come from one decode."""
    code, report = warmed(posts, config=config)
    assert code == 0
    assert (origin.count("/photo.jpg"), origin.count("/drawing.png")) == (1, 1)
    assert len(renders) == 2
    found = {
        (one["source"], made["options"], made["format"]) for one in report["kept"] for made in one["variants"]
    }
    photo_url, drawing_url = origin.url("/photo.jpg"), origin.url("/drawing.png")
    wanted = {(photo_url, preset, f) for preset in ("headimg", "content") for f in ("avif", "webp", "jpeg")}
    assert found == wanted | {(drawing_url, "content", f) for f in ("webp", "png")}
    assert report["summary"]["pictures"] == report["summary"]["kept"] == 2


def test_second_warm_asks_no_origin_and_renders_nothing(
    posts: Path, origin: ScriptedOrigin, config: Path, renders: list[Job]
) -> None:
    """A run that ended, or was ended, is taken up where it stopped."""
    warmed(posts, config=config)
    asked, rendered = origin.count(), len(renders)
    code, report = warmed(posts, config=config)
    assert code == 0
    assert (origin.count(), len(renders)) == (asked, rendered)
    assert (report["summary"]["kept"], report["summary"]["already_kept"]) == (0, 2)
    assert report["summary"]["variants"] == 9


@pytest.mark.parametrize("accept", ["image/avif,image/webp,*/*;q=0.8", "image/webp,*/*;q=0.8", "*/*"])
def test_visitor_after_warm_is_served_from_the_variant_store(
    posts: Path, origin: ScriptedOrigin, config: Path, accept: str
) -> None:
    """The answer of `format=auto` for every kind of browser is there, so no fetch and no render remains."""
    warmed(posts, config=config)
    asked = origin.count()

    async def visit(base: str) -> list[tuple[int, str]]:
        targets = [f"/image/{preset}/{origin.url('/photo.jpg')}" for preset in ("headimg", "content")]
        async with open_via(base) as via:
            answers = [
                await via.get(t, accept=accept)
                for t in (*targets, f"/image/content/{origin.url('/drawing.png')}")
            ]
        return [(answer.status, answer.headers["cache-status"]) for answer in answers]

    # Without a public address /metrics answers this machine.
    with Service(write_config(config.parent)) as service:
        for status, words in asyncio.run(visit(service.base)):
            assert status == 200
            assert {"hit", "detail=store"} <= set(words.split("; "))
        assert service.renders() == 0
    assert origin.count() == asked


def test_json_prints_a_line_for_each_kept_original_and_nothing_else(
    posts: Path, origin: ScriptedOrigin, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines list what is on the disk as plain files. The second run also prints originals kept before."""
    (posts / "c.md").write_text(markdown(origin.url("/dead.png")))
    for _ in range(2):
        assert invoke("warm", posts, "--json", config=config) == 1
        lines = kept_lines(capsys.readouterr().out)
        assert lines == {
            origin.url("/photo.jpg"): hashlib.sha256(PHOTO).hexdigest(),
            origin.url("/drawing.png"): hashlib.sha256(DRAWING).hexdigest(),
        }
        for source, sha256 in lines.items():
            body = config.parent / "store" / "bodies" / sha256[:2] / sha256
            assert hashlib.sha256(body.read_bytes()).hexdigest() == sha256
            key = hashlib.sha256(source.encode()).hexdigest()
            entry = config.parent / "store" / "entries" / key[:2] / f"{key}.json"
            assert json.loads(entry.read_text())["body_sha256"] == sha256


def test_dead_pictures_are_reported_with_code_and_articles(
    posts: Path, origin: ScriptedOrigin, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origin.serve("/page.png", b"<!doctype html><p>parked")
    origin.serve("/gone.png", b"", status=410)
    origin.serve("/angry.png", b"", status=403)
    dead = {"/none.png": "source_not_found", "/gone.png": "source_not_found", "/page.png": "not_an_image",
            "/angry.png": "source_refused"}  # fmt: skip
    for name in ("c.md", "d.md"):
        (posts / name).write_text(markdown(*map(origin.url, dead)))
    code, report = warmed(posts, config=config)
    assert code == 1
    assert {one["source"]: one["code"] for one in report["dead"]} == {
        origin.url(p): c for p, c in dead.items()
    }
    assert all(one["articles"] == ["c.md", "d.md"] for one in report["dead"])
    assert {one["source"]: one["lines"] for one in report["dead"]} == {
        origin.url(path): {"c.md": [2 * number + 1], "d.md": [2 * number + 1]}
        for number, path in enumerate(dead)
    }
    assert all(one["message"] for one in report["dead"])
    assert report["summary"]["dead_by_code"] == {
        "source_not_found": 2,
        "not_an_image": 1,
        "source_refused": 1,
    }
    assert f"dead: source_refused: {origin.url('/angry.png')}" in capsys.readouterr().out


def test_damaged_and_unrenderable_pictures_are_kept_and_listed(
    tmp_path: Path, origin: ScriptedOrigin, config: Path
) -> None:
    """They are not dead: the exit code is 0, twice, and the report says what visitors get instead."""
    heic = b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(100)
    origin.serve("/cut.png", cut(saved(photo(), "PNG"), 0.7))
    origin.serve("/bomb.png", png_bomb())
    origin.serve("/heic.png", heic)
    article = tmp_path / "a.md"
    article.write_text(markdown(*(origin.url(f"/{name}.png") for name in ("cut", "bomb", "heic"))))
    for _ in range(2):
        code, report = warmed(article, config=config)
        assert code == 0
        assert [one["source"] for one in report["damaged"]] == [origin.url("/cut.png")]
        assert {(one["source"], one["code"]) for one in report["variants_redirected"]} == {
            (origin.url("/bomb.png"), "too_many_pixels"),
            (origin.url("/heic.png"), "unsupported_format"),
        }
        assert [one["code"] for one in report["variants_failed"]] == ["decode_failed"]


def test_animation_is_warmed_as_an_animation(tmp_path: Path, origin: ScriptedOrigin, config: Path) -> None:
    origin.serve("/moving.gif", moving("GIF"), content_type="image/gif")
    article = tmp_path / "a.md"
    article.write_text(markdown(origin.url("/moving.gif")))
    code, report = warmed(article, config=config)
    assert code == 0
    assert {made["format"] for made in report["kept"][0]["variants"]} == {"webp", "gif"}


def test_full_store_keeps_nothing_announces_nothing_and_says_so(
    posts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, {"store": {"originals_max_bytes": "10 B"}})
    assert invoke("warm", posts, "--json", "--report", tmp_path / "r.json", config=config) == 1
    assert kept_lines(capsys.readouterr().out) == {}
    report = json.loads((tmp_path / "r.json").read_text())
    assert [one["code"] for one in report["not_kept"]] == ["not_kept", "not_kept"]
    assert "no room" in report["not_kept"][0]["message"]
    assert report["dead"] == []


def test_denied_source_is_not_fetched(posts: Path, tmp_path: Path, origin: ScriptedOrigin) -> None:
    config = write_config(tmp_path, {"sources": {"deny": [origin.url("/")]}})
    code, report = warmed(posts, config=config)
    assert code == 1
    assert {one["code"] for one in report["dead"]} == {"source_not_allowed"}
    assert origin.count() == 0


def test_body_deleted_by_hand_is_fetched_again_or_not_announced(
    posts: Path, origin: ScriptedOrigin, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An entry without its body keeps nothing, whatever it says."""
    invoke("warm", posts, config=config)
    for sha256 in (hashlib.sha256(PHOTO).hexdigest(), hashlib.sha256(DRAWING).hexdigest()):
        (config.parent / "store" / "bodies" / sha256[:2] / sha256).unlink()
    origin.forget("/drawing.png")
    capsys.readouterr()
    assert invoke("warm", posts, "--json", config=config) == 1
    assert kept_lines(capsys.readouterr().out) == {
        origin.url("/photo.jpg"): hashlib.sha256(PHOTO).hexdigest()
    }
    assert origin.count("/photo.jpg") == 2


def test_kept_picture_of_a_dead_origin_is_kept_and_not_dead(
    posts: Path, tmp_path: Path, origin: ScriptedOrigin
) -> None:
    config = write_config(tmp_path, {"fetch": {"min_fresh": "0"}})
    warmed(posts, config=config)
    origin.forget("/photo.jpg")
    code, report = warmed(posts, config=config)
    assert code == 0
    assert [(one["source"], one["code"]) for one in report["stale"]] == [
        (origin.url("/photo.jpg"), "source_not_found")
    ]


def test_warm_waits_for_the_refresh_that_a_visitor_need_not_wait_for(
    posts: Path, tmp_path: Path, origin: ScriptedOrigin
) -> None:
    """stale-while-revalidate is for visitors. A warming run wants the origin's current picture, and asks once."""
    config = write_config(tmp_path, {"fetch": {"min_fresh": "0"}})
    control = {"Cache-Control": "max-age=0, stale-while-revalidate=86400"}
    origin.serve("/photo.jpg", PHOTO, content_type="image/jpeg", headers=control, etag='"v1"')
    warmed(posts, config=config)
    asked = origin.count("/photo.jpg")
    code, report = warmed(posts, config=config)
    assert (code, report["stale"], origin.count("/photo.jpg")) == (0, [], asked * 2)


def test_formats_limits_what_is_rendered(posts: Path, config: Path) -> None:
    _, report = warmed(posts, "--formats", "webp,jpeg", config=config)
    formats = {made["format"] for one in report["kept"] for made in one["variants"]}
    assert formats == {"webp", "jpeg", "png"}


def test_rewritten_articles_are_warmed_with_the_options_they_show(
    tmp_path: Path, origin: ScriptedOrigin, config: Path
) -> None:
    """Our own addresses count as well, with presets, options of their own, and options that cannot be read."""
    article = tmp_path / "a.html"
    options = ("thumbnail", "width=64,format=webp", "widht=1", "original")
    article.write_text(
        "".join(f'<img src="http://mirror.test/image/{o}/{origin.url("/photo.jpg")}">' for o in options)
    )
    code, report = warmed(article, config=config)
    assert code == 0
    made = {(one["options"], one["format"]) for one in report["kept"][0]["variants"]}
    assert made == {("thumbnail", f) for f in ("avif", "webp", "jpeg")} | {("width=64,format=webp", "webp")}
    assert [(one["options"], one["code"]) for one in report["variants_failed"]] == [
        ("widht=1", "invalid_transform")
    ]


def test_direct_pictures_are_warmed_with_all_images_only(
    tmp_path: Path, origin: ScriptedOrigin, config: Path
) -> None:
    article = tmp_path / "a.md"
    article.write_text(f"![]({origin.url('/photo.jpg')})")
    assert warmed(article, config=config)[1]["summary"]["pictures"] == 0
    assert warmed(article, "--all-images", config=config)[1]["summary"]["kept"] == 1


def test_article_that_cannot_be_read_is_listed_and_the_others_are_warmed(posts: Path, config: Path) -> None:
    (posts / "wide.md").write_bytes("# UTF-16".encode("utf-16"))
    code, report = warmed(posts, config=config)
    assert code == 1
    assert [Path(item["article"]).name for item in report["unread"]] == ["wide.md"]
    assert len(report["kept"]) == 2


def test_html_report_shows_hostile_text_as_text(tmp_path: Path, origin: ScriptedOrigin, config: Path) -> None:
    """Sources and names of articles come from strangers; the page is one file and needs nothing else."""
    folder = tmp_path / "posts <b>"
    folder.mkdir()
    hostile = origin.url("/<script>alert(1)</script>.png")
    (folder / "<script>alert(1).html").write_text(
        f"<img src='{WRAPPER}{hostile}'><img src='{WRAPPER}{origin.url('/photo.jpg')}'>"
    )
    assert invoke("warm", folder, "--report", tmp_path / "r.html", config=config) == 1
    page = (tmp_path / "r.html").read_text()
    assert not [text for text in ("<script>alert", "<b>/", 'src="http', "<link rel=style") if text in page]
    assert page.count("<script") == 1
    assert '<a href="./posts%20%3Cb%3E/%3Cscript%3Ealert%281%29.html">&lt;script&gt;alert(1).html</a>' in page
    assert "source_not_found" in page
    assert 'src="data:image/' in page


@pytest.mark.parametrize(
    "words",
    [
        ("nowhere",),
        ("posts", "--formats", "jxl"),
        ("posts", "--formats", ","),
        ("posts", "--report", "report.pdf"),
        ("posts", "--report", "no-such-folder/report.html"),
        ("posts", "--via", "ftp://mirror"),
        ("posts", "--via", "http://127.0.0.1:1"),
    ],
)
def test_wrong_use_exits_2_and_says_why(
    posts: Path, config: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(config.parent)
    assert invoke("warm", *words, config=config) == 2
    said = capsys.readouterr()
    assert said.err.startswith("imgmirror: ")
    assert not said.out


def test_warm_remembers_which_article_uses_what(
    posts: Path, origin: ScriptedOrigin, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A purge by article takes what no other article uses."""
    invoke("warm", posts, config=config)
    capsys.readouterr()
    assert invoke("store", "purge", "--article", posts / "a.md", "--json", config=config) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["purged"] == [origin.url("/drawing.png")]
    assert report["shared"] == [origin.url("/photo.jpg")]


def test_warm_whose_reader_has_gone_does_not_complain(
    posts: Path, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`warm --json | head -1`: the program ends as others do, which `main` looks after."""

    def gone(*_words: object, **_options: Any) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("builtins.print", gone)
    with pytest.raises(BrokenPipeError):
        invoke("warm", posts, "--json", config=config)
    monkeypatch.undo()
    assert "Broken pipe" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--via", "notaurl"), "--via must be an http(s) address"),
        (("--base-url", "https://h/?x"), "--base-url must be an http(s) address"),
    ],
)
def test_warm_with_an_address_that_is_none_exits_2(
    posts: Path, config: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke("warm", posts, *words, config=config) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("number", ["x", "0", "1025", "1.5"])
def test_warm_with_a_concurrency_that_is_none_says_what_is_allowed(
    posts: Path, config: Path, number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        invoke("warm", posts, "--concurrency", number, config=config)
    assert f"'{number}' is not a whole number between 1 and 1024" in capsys.readouterr().err


def test_svg_is_warmed_without_drawing_it(
    tmp_path: Path, origin: ScriptedOrigin, config: Path, renders: list[Job]
) -> None:
    """Browsers get it unchanged, so no format of it is made. A second run compresses nothing again."""
    body = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M0 0H9V9z"/></svg>'
    origin.serve("/a.svg", body, content_type="image/svg+xml")
    (tmp_path / "a.md").write_text(markdown(origin.url("/a.svg")))
    for _ in range(2):
        code, report = warmed(tmp_path / "a.md", config=config)
        assert (code, len(report["kept"])) == (0, 1)
    assert len(renders) == 1


def test_busy_origin_is_asked_again_and_what_it_never_gives_is_not_called_dead(
    posts: Path, origin: ScriptedOrigin, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A 429 with `Retry-After` loses no picture, and a busy one is distinguished from one that is gone."""
    busy = head(429, (("Retry-After", "0"), ("Content-Length", "0")))
    answers = {"/once.png": [busy], "/always.png": [busy] * 9}
    for path, given in answers.items():

        async def handler(
            _request: Request,
            _reader: asyncio.StreamReader,
            writer: asyncio.StreamWriter,
            given: list[bytes] = given,
        ) -> None:
            picture = chart_png(40, 30)
            writer.write(
                given.pop() if given else head(200, (("Content-Length", str(len(picture))),)) + picture
            )

        origin.script(path, handler)
    (posts / "c.md").write_text(markdown(*map(origin.url, (*answers, "/none.png"))))
    code, report = warmed(posts, config=config)
    assert code == 1
    assert {one["source"]: one["fate"] for one in report["dead"]} == {
        origin.url("/none.png"): "gone",
        origin.url("/always.png"): "not_now",
    }
    assert origin.count("/always.png") == 2
    out = capsys.readouterr().out
    assert f"not now: source_refused: {origin.url('/always.png')}" in out
    assert f"dead: source_not_found: {origin.url('/none.png')}" in out
    assert "always.png" not in "".join(line for line in out.splitlines() if line.startswith("dead"))
