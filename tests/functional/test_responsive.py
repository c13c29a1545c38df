"""`rewrite --responsive` and `POST /rewrite?responsive=1` with a real store."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import WRAPPER, invoke
from http_client import Client
from pictures import disc_png, moving, photo_jpeg, quarters, saved
from PIL import Image
from responsive import candidates, images
from scripted_origin import ScriptedOrigin, run_in_thread
from service import Service, write_config

from proxy.images.pool.workers import Inspection, Job, RenderPool

BASE = "http://mirror.test"
TOKEN = "the token of this test"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 30 20"><path d="M0 0h30v20z"/></svg>'
PICTURES = {
    "/photo.jpg": photo_jpeg(1000, 600),
    "/disc.png": disc_png(400, 400),
    "/moving.gif": saved(quarters(640, 400), "GIF"),
    "/drawing.svg": SVG,
    "/cut.jpg": photo_jpeg(900, 600)[:9000],
}


@pytest.fixture(scope="module")
def origin() -> Iterator[ScriptedOrigin]:
    with run_in_thread() as origin:
        for path, body in PICTURES.items():
            origin.serve(path, body, content_type="image/svg+xml" if path.endswith("svg") else "image/x")
        yield origin


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, origin: ScriptedOrigin) -> Path:
    """A store that keeps all of the pictures."""
    folder = tmp_path_factory.mktemp("kept")
    path = write_config(folder, {"server": {"public_url": BASE, "admin_token": TOKEN}})
    (folder / "all.md").write_text("".join(f"![]({WRAPPER}{origin.url(name)})\n" for name in PICTURES))
    invoke("warm", folder / "all.md", config=path)
    return path


def page(origin: ScriptedOrigin) -> str:
    """Return an article with every picture, behind one that is not ours, and one that is not kept."""
    tags = [f'<img src="{WRAPPER}{origin.url(name)}" alt="{name}">' for name in (*PICTURES, "/gone.png")]
    return '<img src="/logo.png">\n' + "\n".join(tags) + "\n"


def by_name(html: str) -> dict[str, dict[str, str | None]]:
    return {str(image["alt"]): image for image in images(html)[1:]}


def check(html: str) -> None:
    """Require what each of the pictures gets."""
    found = by_name(html)
    photo = found["/photo.jpg"]
    assert list(candidates(photo["srcset"])) == [320, 480, 640, 800, 960]
    assert (photo["width"], photo["height"], photo["sizes"]) == ("1000", "600", "auto, 100vw")
    assert str(photo["style"]).startswith("height:auto;background-color:#")
    assert len(candidates(found["/disc.png"]["srcset"])) == 2
    assert found["/disc.png"]["style"] == "height:auto"
    assert list(candidates(found["/moving.gif"]["srcset"])) == [320, 480, 640]
    assert found["/drawing.svg"].keys() == {"src", "alt", "width", "height", "loading", "decoding", "style"}
    assert (found["/cut.jpg"]["width"], found["/cut.jpg"]["height"]) == ("900", "600")
    assert "srcset" not in found["/cut.jpg"]
    assert found["/cut.jpg"]["style"] == "height:auto"
    assert found["/gone.png"].keys() == {"src", "alt"}


def test_command_adds_reports_checks_and_undoes(
    tmp_path: Path, origin: ScriptedOrigin, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is fetched; a later check finds no work; undo gives the bytes back, also after a rename."""
    site = tmp_path / "site"
    (site / "posts").mkdir(parents=True)
    article = site / "posts" / "a.html"
    article.write_text(page(origin))
    asked = origin.count()
    assert invoke("rewrite", site, "--write", "--responsive", "--json", config=config) == 0
    report = json.loads(capsys.readouterr().out)
    check(article.read_text())
    (done,) = report["articles"]
    assert report["added"] == len(done["added"]) == 5
    assert done["added"][0]["attributes"][:2] == ["srcset", "sizes"]
    assert [item["reason"] for item in done["left"]] == ["nothing is added: the picture is not kept"]
    assert invoke("rewrite", site, "--check", "--responsive", config=config) == 0
    assert origin.count() == asked
    moved = site / "renamed.html"
    article.rename(moved)
    assert invoke("rewrite", site, "--undo", config=config) == 0
    assert moved.read_text() == page(origin)


def test_articles_that_point_at_us_already_get_the_additions(
    tmp_path: Path, origin: ScriptedOrigin, config: Path
) -> None:
    """A plain run first: then the additions alone are work, and undo takes both back."""
    article = tmp_path / "a.html"
    article.write_text(page(origin))
    assert invoke("rewrite", article, "--write", config=config) == 0
    assert invoke("rewrite", article, "--check", config=config) == 0
    assert invoke("rewrite", article, "--check", "--responsive", config=config) == 1
    assert invoke("rewrite", article, "--write", "--responsive", config=config) == 0
    check(article.read_text())
    assert invoke("rewrite", article, "--undo", config=config) == 0
    assert article.read_text() == page(origin)


def test_markdown_images_of_ours_become_tags_and_markdown_again(
    tmp_path: Path, origin: ScriptedOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their text may be anything. It is listed, written and put back unchanged."""
    config = write_config(tmp_path, {"server": {"public_url": BASE}, "rewrite": {"markdown_images": True}})
    article = tmp_path / "site" / "a.md"
    article.parent.mkdir()
    text = (
        f"![图 *一*]({WRAPPER}{origin.url('/photo.jpg')})\n\ntext ![二]({WRAPPER}{origin.url('/disc.png')})\n"
    )
    article.write_text(text, encoding="utf-8")
    invoke("warm", article, config=config)
    assert invoke("rewrite", article.parent, "--write", config=config) == 0
    capsys.readouterr()
    assert invoke("rewrite", article.parent, "--write", "--responsive", "--json", config=config) == 0
    (done,) = json.loads(capsys.readouterr().out)["articles"]
    assert done["added"][0]["text"].startswith("<p><img src=")
    assert [image["alt"] for image in images(article.read_text("utf-8"))] == ["图 一", "二"]
    assert invoke("rewrite", article.parent, "--check", "--responsive", config=config) == 0
    assert invoke("rewrite", article.parent, "--undo", config=config) == 0
    assert article.read_text("utf-8") == text


def test_colours_of_warmed_pictures_cost_no_decode(
    tmp_path: Path, origin: ScriptedOrigin, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`warm` has described each picture while it was decoded; without that, it is described once."""
    jobs: list[Job] = []
    run = RenderPool.run

    async def recorded(self: RenderPool, job: Job) -> Inspection:
        jobs.append(job)
        return await run(self, job)

    monkeypatch.setattr(RenderPool, "run", recorded)
    article = tmp_path / "a.html"
    article.write_text(page(origin))
    assert invoke("rewrite", article, "--responsive", config=config) == 0
    assert jobs == []
    with run_in_thread() as other:
        other.serve("/photo.jpg", photo_jpeg(500, 300), content_type="image/jpeg")
        own = write_config(tmp_path, {"server": {"public_url": BASE}})
        article.write_text(f'<img src="{WRAPPER}{other.url("/photo.jpg")}">')
        invoke("warm", article, config=own)
    shutil.rmtree(tmp_path / "store" / "variants")
    jobs.clear()
    for _ in range(2):
        assert invoke("rewrite", article, "--responsive", config=own) == 0
    assert len(jobs) == 1


def test_without_a_store_nothing_is_added_and_none_is_made(tmp_path: Path, origin: ScriptedOrigin) -> None:
    config = write_config(tmp_path, {"server": {"public_url": BASE}})
    article = tmp_path / "a.html"
    article.write_text(page(origin))
    assert invoke("rewrite", article, "--write", "--responsive", config=config) == 0
    assert all("srcset" not in image for image in images(article.read_text()))
    assert not (tmp_path / "store").exists()


async def test_service_adds_the_same_with_its_store(http: Any, origin: ScriptedOrigin, config: Path) -> None:
    with Service(config) as service:
        client = Client(http, service.base)
        headers = {"Content-Type": "text/html", "Authorization": f"Bearer {TOKEN}"}
        body, asked = page(origin).encode(), origin.count()
        answer = await client.get("/rewrite?responsive=1", method="POST", data=body, headers=headers)
        assert answer.status == 200
        check(answer.body.decode())
        assert answer.headers["X-Imgmirror-Added"] == "5"
        plain = await client.get("/rewrite?responsive=0", method="POST", data=body, headers=headers)
        assert b"srcset" not in plain.body
        assert origin.count() == asked
        # Every address that was written is answered, as wide as it says.
        for address, width in (
            (address.removeprefix(BASE), width)
            for image in images(answer.body)
            for width, address in candidates(image.get("srcset")).items()
        ):
            shown = await client.get(address, headers={"Accept": "image/png,image/jpeg,image/gif"})
            assert shown.status == 200
            assert Image.open(io.BytesIO(shown.body)).width == width


def test_animation_beyond_the_limits_has_no_candidates(tmp_path: Path) -> None:
    with run_in_thread() as origin:
        origin.serve("/long.gif", moving("GIF", 12, size=(400, 300)))
        changes: dict[str, dict[str, Any]] = {
            "server": {"public_url": BASE},
            "render": {"processes": 1, "max_frames": 10},
        }
        config = write_config(tmp_path, changes)
        article = tmp_path / "a.html"
        article.write_text(f'<img src="{WRAPPER}{origin.url("/long.gif")}">')
        invoke("warm", article, config=config)
        assert invoke("rewrite", article, "--write", "--responsive", config=config) == 0
    (image,) = images(article.read_text())
    assert (image["width"], image["height"]) == ("400", "300")
    assert "srcset" not in image
