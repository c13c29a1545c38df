"""Answers for real clients: the table of docs/pictures.md, tried on a running service, and findings made only once."""

from __future__ import annotations

import itertools
from pathlib import Path

import aiohttp
import pictures
import pytest
from http_client import Answer, Client
from pictures import opened
from PIL import Image
from scripted_origin import ScriptedOrigin
from service import Service, write_config

DOCS = (Path(__file__).parents[2] / "docs" / "pictures.md").read_text(encoding="utf-8")
CHROME = {"Accept": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"}
WEB_VIEW = {"Accept": "image/webp,image/apng,image/*,*/*;q=0.8"}
OLD = {"Accept": "image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"}


def clients() -> list[list[str]]:
    """The rows of the table: client, header, and the formats for photo, drawing and animation."""
    table = DOCS.split("<!-- clients -->\n", 1)[1].split("<!-- /clients -->", 1)[0].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table]


def media_type(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    assert (opened(answer.body).format or "").lower() == answer.headers["Content-Type"].partition("/")[2]
    return answer.headers["Content-Type"].partition("/")[2]


def chart() -> bytes:
    return pictures.saved(pictures.chart(), "PNG")


async def test_clients_of_the_table_get_what_it_says(client: Client, origin: ScriptedOrigin) -> None:
    """Every row, for a photo, a drawing and an animation; with several formats for the drawing, the smallest."""
    origin.serve("/photo.jpg", pictures.photo_jpeg(800, 500), content_type="image/jpeg")
    origin.serve("/chart.png", chart())
    origin.serve("/moving.gif", pictures.moving("GIF"), content_type="image/gif")
    assert len(clients()) >= 12
    for name, accept, photo, drawing, animation in clients():
        headers = {} if accept == "(none)" else {"Accept": accept}
        for source, wanted in (("/photo.jpg", photo), ("/moving.gif", animation)):
            answer = await client.get("/image/width=300/" + origin.url(source), headers=headers)
            assert media_type(answer) == wanted.lower(), (name, source)
        answer = await client.get("/image/width=500/" + origin.url("/chart.png"), headers=headers)
        named = [
            await client.get(f"/image/width=500,format={one.lower()}/" + origin.url("/chart.png"))
            for one in drawing.split(", ")
        ]
        assert answer.body == min((one.body for one in named), key=len), name


@pytest.mark.parametrize(
    "words",
    [
        "image/avif|image/webp|image/*",
        "image/webp|image/*|image/avif;q=0.3",
        "*/*;q=0.9|image/avif;q=0.9|image/jxl",
    ],
)
async def test_order_of_accept_makes_no_second_answer(
    client: Client, shared_service: Service, origin: ScriptedOrigin, words: str
) -> None:
    """The same words in any order and case are one key in memory: one render, then hits."""
    origin.serve("/photo.jpg", pictures.photo_jpeg(500, 300 + len(words)), content_type="image/jpeg")
    target = "/image/width=222/" + origin.url("/photo.jpg")
    before = shared_service.renders()
    spelled = [
        joint.join(order) for order in itertools.permutations(words.split("|")) for joint in (",", " , ")
    ]
    answers = [
        await client.get(target, headers={"Accept": accept})
        for accept in (*spelled, *(accept.upper() for accept in spelled))
    ]
    assert len({answer.body for answer in answers}) == 1
    assert shared_service.renders() == before + 1
    assert all("detail=memory" in answer.cache_status for answer in answers[1:])


async def test_smallest_of_a_drawing_is_found_once_for_all_workers_and_runs(
    tmp_path: Path, origin: ScriptedOrigin
) -> None:
    """After the first answer, another spelling, a restart and a second worker encode nothing again."""
    origin.serve("/chart.png", chart())
    target = "/image/width=500/" + origin.url("/chart.png")
    config = write_config(tmp_path)
    spelled = (CHROME["Accept"], "image/webp,image/avif,image/*", "image/*,image/avif,image/webp")

    async def ask(service: Service, accept: str) -> Answer:
        # A connection of its own, so that the kernel may choose another worker.
        async with aiohttp.ClientSession() as session:
            return await Client(session, service.base).get(target, headers={"Accept": accept})

    with Service(config) as service:
        bodies = {(await ask(service, accept)).body for accept in spelled}
        assert service.renders() == 1
    with Service(config, workers=2) as service:
        bodies |= {(await ask(service, accept)).body for accept in spelled * 4}
        assert service.renders() == 0
    assert len(bodies) == 1
    assert origin.count() == 1


async def test_format_that_was_named_before_is_no_answer_for_a_drawing(
    client: Client, origin: ScriptedOrigin
) -> None:
    """An AVIF that somebody asked for by name lies in the store; `format=auto` still takes the smallest."""
    origin.serve("/chart.png", pictures.chart_png(640, 400, seed=5))
    source = origin.url("/chart.png")
    avif = await client.get("/image/width=640,format=avif/" + source)
    answer = await client.get("/image/width=640/" + source, headers=CHROME)
    assert media_type(avif) == "avif"
    assert len(answer.body) < len(avif.body) / 2


async def test_small_original_answers_with_its_own_bytes(client: Client, origin: ScriptedOrigin) -> None:
    """A preset that changes no pixel of an original that no encoder makes smaller."""
    grain = Image.blend(pictures.photo(300, 200), Image.effect_noise((300, 200), 90).convert("RGB"), 0.4)
    body = pictures.saved(grain, "JPEG", quality=15)
    tagged = pictures.saved(grain, "JPEG", quality=15, exif=pictures.exif(Artist="Somebody"))
    for path, served in (("/bare.jpg", body), ("/tagged.jpg", tagged)):
        origin.serve(path, served, content_type="image/jpeg")
        for options in ("content", "width=900", "w=300,h=200,fit=cover"):
            for _ in range(2):
                answer = await client.get(f"/image/{options}/" + origin.url(path), headers=CHROME)
                assert media_type(answer) == "jpeg"
                assert answer.body == body
    avif_only = await client.get(
        "/image/content/" + origin.url("/bare.jpg"), headers={"Accept": "image/avif"}
    )
    assert media_type(avif_only) == "avif"


@pytest.mark.parametrize("preset", ["headimg", "thumbnail", "content"])
async def test_shipped_preset_enlarges_nothing(client: Client, origin: ScriptedOrigin, preset: str) -> None:
    """A picture smaller than the preset keeps its size where its shape allows it, and never grows."""
    origin.serve("/small.jpg", pictures.photo_jpeg(200, 150), content_type="image/jpeg")
    answer = await client.get(f"/image/{preset}/" + origin.url("/small.jpg"), headers=WEB_VIEW)
    width, height = opened(answer.body).size
    assert width <= 200
    assert height <= 150


async def test_bare_options_still_enlarge_as_cloudflare_does(client: Client, origin: ScriptedOrigin) -> None:
    origin.serve("/small.jpg", pictures.photo_jpeg(200, 150), content_type="image/jpeg")
    answer = await client.get("/image/w=400,h=300,fit=cover/" + origin.url("/small.jpg"), headers=OLD)
    assert opened(answer.body).size == (400, 300)


async def test_picture_too_wide_for_webp_is_answered_in_another_format(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """For a named format the answer says what is too large; `format=auto` skips that format, and nothing counts as
    damaged."""
    wide = pictures.photo(17_000, 8).convert("RGB")
    origin.serve("/wide.jpg", pictures.saved(wide, "JPEG", quality=90), content_type="image/jpeg")
    config = write_config(tmp_path, {"render": {"max_output_side": 20_000}})
    with Service(config) as service:
        client = Client(http, service.base)
        source = origin.url("/wide.jpg")
        named = await client.get("/image/brightness=1.1,format=webp/" + source)
        assert (named.status, named.code) == (422, "too_many_pixels")
        assert b"WebP" in named.body
        first = await client.get("/image/brightness=1.1/" + source, headers=WEB_VIEW)
        assert media_type(first) == "jpeg"
        assert opened(first.body).size == (17_000, 8)
        explained = await client.get("/explain/image/brightness=1.1/" + source, headers=WEB_VIEW)
        assert b'"damaged": false' in explained.body
        assert b'"chosen": "jpeg"' in explained.body
        renders = service.renders()
    with Service(config) as service:
        again = await Client(http, service.base).get("/image/brightness=1.1/" + source, headers=WEB_VIEW)
        assert again.body == first.body
        assert service.renders() == 0
    assert renders == 1


@pytest.mark.parametrize("loops", [1, 255, 65_534, 65_535])
async def test_animation_with_any_number_of_plays_is_answered(
    client: Client, origin: ScriptedOrigin, loops: int
) -> None:
    """A format writes the largest number that it can, and the source never counts as damaged."""
    origin.serve("/moving.gif", pictures.moving("GIF", loop=loops), content_type="image/gif")
    for headers, name in ((CHROME, "webp"), (WEB_VIEW, "webp"), (OLD, "gif")):
        answer = await client.get("/image/width=20/" + origin.url("/moving.gif"), headers=headers)
        assert media_type(answer) == name
        shown = opened(answer.body)
        assert getattr(shown, "n_frames", 1) > 1
        assert shown.info["loop"] == (loops if name == "gif" else min(loops + 1, 65_535))
