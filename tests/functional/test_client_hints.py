"""Client hints about a picture's place (`render.client_hints`), through a real service: sizes, `Vary`, variants."""

from __future__ import annotations

from collections.abc import Iterator

import aiohttp
import pytest
from http_client import Answer, Client
from pictures import opened, photo_jpeg
from scripted_origin import ScriptedOrigin
from service import Service, write_config

WEBP = {"Accept": "image/webp"}


@pytest.fixture(scope="module")
def hinting_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that uses hints and refuses results above 1500 pixels."""
    folder = tmp_path_factory.mktemp("hinting")
    render = {"processes": 1, "client_hints": True, "max_output_side": 1500}
    with Service(write_config(folder, {"render": render})) as service:
        yield service
        assert "Traceback" not in service.log(), service.log()


@pytest.fixture(name="hinting")
def _hinting(http: aiohttp.ClientSession, hinting_service: Service) -> Client:
    return Client(http, hinting_service.base)


def size(answer: Answer) -> tuple[int, int]:
    assert answer.status == 200, answer.body
    return opened(answer.body).size


@pytest.mark.parametrize(
    ("options", "hints", "expected"),
    [
        ("width=auto", {"Sec-CH-Width": "300"}, (320, 200)),
        ("width=auto", {"Width": "300", "DPR": "2"}, (320, 200)),
        ("width=auto", {}, (1440, 900)),
        ("width=auto", {"Sec-CH-Width": "wide"}, (1440, 900)),
        ("width=auto", {"Sec-CH-Width": "4000"}, (1200, 750)),
        ("width=200,dpr=auto", {"Sec-CH-DPR": "2"}, (400, 250)),
        ("width=200,dpr=auto", {"Sec-CH-DPR": "1.4"}, (300, 188)),
        ("width=900,dpr=auto", {"Sec-CH-DPR": "3"}, (1350, 844)),
        ("width=auto,height=100,dpr=auto,fit=cover", {"Sec-CH-Width": "480", "DPR": "2"}, (480, 200)),
        ("thumbnail,dpr=auto", {"DPR": "2"}, (800, 600)),
        ("width=200", {"Sec-CH-Width": "480", "Sec-CH-DPR": "3"}, (200, 125)),
    ],
)
async def test_hint_decides_what_was_left_to_it(
    hinting: Client, origin: ScriptedOrigin, options: str, hints: dict[str, str], expected: tuple[int, int]
) -> None:
    """Sizes follow the hint in steps, and never beyond the limits: no visitor is refused for his screen."""
    origin.serve("/p.jpg", photo_jpeg(1440, 900), content_type="image/jpeg")
    answer = await hinting.get(f"/image/{options}/" + origin.url("/p.jpg"), headers=WEBP | hints)
    assert size(answer) == expected


@pytest.mark.parametrize(
    ("options", "vary", "accept_ch"),
    [
        ("width=auto", "Accept, Sec-CH-Width, Width", "Sec-CH-Width"),
        ("width=auto,format=webp", "Sec-CH-Width, Width", "Sec-CH-Width"),
        ("width=9,dpr=auto", "Accept, Sec-CH-DPR, DPR", "Sec-CH-DPR"),
        (
            "width=auto,dpr=auto,scq=40",
            "Accept, Save-Data, ECT, Downlink, Sec-CH-Width, Width, Sec-CH-DPR, DPR",
            "Sec-CH-Width, Sec-CH-DPR",
        ),
        ("width=9", "Accept", None),
    ],
)
async def test_caches_are_told_which_hints_count(
    hinting: Client, origin: ScriptedOrigin, options: str, vary: str, accept_ch: str | None
) -> None:
    """The same on 200, 304 and HEAD, whether or not the request had hints."""
    origin.serve("/v.jpg", photo_jpeg(64, 40), content_type="image/jpeg")
    target = f"/image/{options}/" + origin.url("/v.jpg")
    first = await hinting.get(target, headers=WEBP)
    again = await hinting.get(target, headers=WEBP | {"If-None-Match": first.headers["ETag"]})
    asked = await hinting.get(target, headers=WEBP, method="HEAD")
    assert (first.status, again.status, asked.status) == (200, 304, 200)
    for answer in (first, again, asked):
        assert (answer.headers["Vary"], answer.headers.get("Accept-CH")) == (vary, accept_ch)


async def test_error_of_hinted_address_varies_by_hints(hinting: Client, origin: ScriptedOrigin) -> None:
    """A cache keeps the error for a minute, for clients that sent the same hints."""
    origin.serve("/broken.jpg", photo_jpeg(64, 40)[:300], content_type="image/jpeg")
    target = "/image/width=auto,format=webp/" + origin.url("/broken.jpg")
    answer = await hinting.get(target, headers={"Accept": "application/json"})
    assert answer.code == "decode_failed"
    assert answer.headers["Vary"] == "Accept, Sec-CH-Width, Width"


async def test_answer_says_the_density_a_hint_gave_it(hinting: Client, origin: ScriptedOrigin) -> None:
    """Pixels of the answer for one of the size written in the address, also where the original is smaller."""
    origin.serve("/d.jpg", photo_jpeg(500, 400), content_type="image/jpeg")
    address = origin.url("/d.jpg")

    async def density(options: str, **hints: str) -> str | None:
        headers = WEBP | {name.replace("_", "-"): value for name, value in hints.items()}
        first = await hinting.get(f"/image/{options}/{address}", headers=headers)
        hit = await hinting.get(f"/image/{options}/{address}", headers=headers)
        assert (first.status, hit.headers.get("Content-DPR")) == (200, first.headers.get("Content-DPR"))
        return first.headers.get("Content-DPR")

    assert await density("width=200,dpr=auto", DPR="2") == "2"
    assert await density("width=400,dpr=auto", Sec_CH_DPR="2") == "1.25"
    assert await density("width=300,rotate=90,dpr=auto", DPR="2") == "1.3333"
    assert await density("width=200,dpr=auto", DPR="1") is None
    assert await density("width=200,dpr=auto") is None
    assert await density("width=200,dpr=2", DPR="2") is None
    assert await density("width=auto,dpr=auto", Width="320", DPR="2") is None


async def test_hints_make_a_bounded_number_of_variants(
    hinting: Client, hinting_service: Service, origin: ScriptedOrigin
) -> None:
    """A hundred windows are a handful of renders, and another fetch is none of them."""
    origin.serve("/many.jpg", photo_jpeg(400, 300), content_type="image/jpeg")
    target = "/image/width=auto,format=webp/" + origin.url("/many.jpg")
    before = hinting_service.renders()
    etags = {
        (await hinting.get(target, headers={"Width": str(width)})).headers["ETag"]
        for width in range(1, 400, 4)
    }
    assert len(etags) == 4  # 160, 240, 320, and the original's 400 for more than that
    assert hinting_service.renders() - before <= 5
    assert origin.count() == 1


async def test_hints_say_nothing_where_they_are_off(client: Client, origin: ScriptedOrigin) -> None:
    """By default `auto` is read and signed, answers are those without hints, and no header mentions hints."""
    origin.serve("/off.jpg", photo_jpeg(400, 300), content_type="image/jpeg")
    hints = {"Sec-CH-Width": "160", "Sec-CH-DPR": "3", "Width": "160", "DPR": "3"}
    for options in ("width=auto,dpr=auto", "height=300,dpr=auto"):
        target = f"/image/{options}/" + origin.url("/off.jpg")
        plain, hinted = await client.get(target), await client.get(target, headers=hints)
        assert size(plain) == size(hinted) == (400, 300)
        assert hinted.body == plain.body
        assert (hinted.headers["Vary"], hinted.headers.get("Accept-CH")) == ("Accept", None)
        assert "Content-DPR" not in hinted.headers
