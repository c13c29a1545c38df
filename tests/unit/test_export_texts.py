"""Style sheets, feeds and data of an exported site; drawings that may lie beside it; the files of one picture."""

from __future__ import annotations

from typing import Any

import pytest
from exporting import OURS, SOURCE, export

from proxy.images.formats import PictureFacts
from proxy.images.geometry import OutputLimits
from proxy.images.pool.workers import Rendered
from proxy.images.transforms.transform import Transform
from proxy.services.exporting.offers import shown_of, widths_of, wishes_of
from proxy.services.exporting.svg import is_passive
from proxy.services.warm.warming import Browser

AVIF, WEBP, PLAIN = (
    Browser("", formats) for formats in (("avif", "webp", "fallback"), ("webp", "fallback"), ("fallback",))
)


def text(document: str, path: str, **words: Any) -> str:
    return export(document, path, **words).data.decode()


def test_style_sheet_points_at_files_relative_to_itself() -> None:
    rest = "url(x.png) url(#f) url(data:,)}"
    before = f'@import "/css/a.css";a{{b:url("{OURS}")}}c{{d:url(/img/l.png) {rest}'
    after = f'@import "../css/a.css";a{{b:url("../imgmirror/a640.webp")}}c{{d:url(../img/l.png) {rest}'
    assert text(before, "css/main.css") == after


def test_feed_has_the_address_of_the_site_and_the_most_compatible_file() -> None:
    before = (
        f'<rss><link>https://blog.example/</link><enclosure url="{SOURCE}" type="image/png"/>'
        f"<description>&lt;img src=&quot;{OURS}&quot;&gt;</description><guid>{OURS}</guid>"
        f'<content:encoded><![CDATA[<img src="{OURS}">]]></content:encoded></rss>'
    )
    written = text(before, "atom.xml", site_url="https://blog.example")
    assert written.count("https://blog.example/imgmirror/a640.jpg") == 3
    assert f"<guid>{OURS}</guid>" in written
    left = export(before, "atom.xml").left
    assert all("--site-url" in item.reason for item in left)
    assert left


def test_data_points_at_files_and_stays_the_same_document() -> None:
    before = f'{{"a": [{{"html": "<img src=\\"{OURS}\\">", "cover": "{OURS}", "@id": "{OURS}"}}]}}'
    after = text(before, "search.json", site_url="https://blog.example")
    assert after.count("https://blog.example/imgmirror/a640.jpg") == 2
    assert '\\">"' in after
    assert text(before, "x/search.json").count('"/imgmirror/a640.jpg"') == 1
    assert (
        text(f'{{"icons":[{{"src":"{OURS}"}}]}}', "x/site.webmanifest")
        == '{"icons":[{"src":"../imgmirror/a640.jpg"}]}'
    )


@pytest.mark.parametrize(
    "inside",
    [
        "<script>1</script>",
        "<x:script xmlns:x='http://www.w3.org/2000/svg'>1</x:script>",
        "<rect onload='1'/>",
        "<rect OnLoad='1'/>",
        "<a href='javascript:1'><rect/></a>",
        "<a href=' java&#10;script:1'><rect/></a>",
        "<a xmlns:l='http://www.w3.org/1999/xlink' l:href='JAVASCRIPT:1'/>",
        "<a><set attributeName='href' to='javascript:1'/></a>",
        "<animate attributeName='xlink:href' values='javascript:1'/>",
        "<foreignObject/>",
        "<h:iframe xmlns:h='http://www.w3.org/1999/xhtml' src='x'/>",
        "<use href='data:text/html,x'/>",
        "<p>",
    ],
)
def test_drawing_that_acts_is_told(inside: str) -> None:
    assert not is_passive(f"<svg xmlns='http://www.w3.org/2000/svg'>{inside}</svg>".encode())


def test_drawing_with_entities_or_a_style_sheet_is_not_trusted() -> None:
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    assert not is_passive(b'<!DOCTYPE svg [<!ENTITY a "<b/>">]>' + svg)
    assert not is_passive(b'<?xml-stylesheet href="a.xsl"?>' + svg)
    assert not is_passive(b'<?xml version="1.0" encoding="x-unheard-of"?>' + svg)


def test_plain_drawing_is_passive() -> None:
    svg = (
        b'<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">'
        b"<svg xmlns='http://www.w3.org/2000/svg' xmlns:i='http://www.inkscape.org/'><style>a{}</style><i:x/>"
        b"<a href='https://h.example/'><use href='#a'/><animate attributeName='x'/></a></svg>"
    )
    assert is_passive(svg)


@pytest.mark.parametrize(
    ("options", "size", "expected"),
    [
        ("content", (1600, 900), [320, 480, 640, 800, 960, 1200]),
        ("content", (500, 300), [320, 480, 500]),
        ("content", (90, 60), [90]),
        ("width=640", (1600, 900), [320, 480, 640]),
        ("format=auto", (1000, 10), [320, 480, 640, 800, 960, 1000]),
        ("headimg", (700, 700), [320, 480, 640, 700]),
        ("width=300,dpr=2", (1600, 900), [600]),
        ("rotate=90", (1600, 900), [0]),
    ],
)
def test_widths_are_those_below_what_the_options_give(
    options: str, size: tuple[int, int], expected: list[int]
) -> None:
    presets: dict[str, dict[str, Any]] = {
        "content": {"width": 1200},
        "headimg": {"width": 1200, "height": 630, "fit": "cover", "upscale": False},
    }
    resolved = Transform.parse(options).resolved(presets)
    facts = PictureFacts("jpeg", *size)
    widths = (320, 480, 640, 800, 960, 1280, 1600, 1920)
    found = widths_of(resolved, facts, spread=True, widths=widths, limits=OutputLimits())
    assert [one.width for one in found] == expected
    assert len(widths_of(resolved, facts, spread=False, widths=widths, limits=OutputLimits())) == 1


def test_widths_above_the_original_are_one_result() -> None:
    """A `srcset` may name thousands of them: they are rendered once."""
    facts = PictureFacts("jpeg", 700, 400)
    options = (
        "width=1300",
        "width=1400,dpr=2",
        "format=auto",
        "width=700,height=400,fit=cover",
        "width=699",
        "width=1300,blur=9",
    )
    found = [
        widths_of(Transform.parse(text).resolved({}), facts, spread=False, widths=(), limits=OutputLimits())[
            0
        ].result
        for text in options
    ]
    assert found[0] == found[1] == found[2] == found[3]
    assert len({found[0], *found[4:]}) == 3


def test_format_that_some_widths_lack_is_made_for_all_or_not_offered() -> None:
    """For drawings the smallest format is the answer, which may differ for each width."""
    resolved = Transform.parse("format=auto").resolved({})
    sizes = widths_of(
        resolved, PictureFacts("png", 640, 400), spread=True, widths=(320,), limits=OutputLimits()
    )
    wished = [wishes_of(one, (AVIF, WEBP, PLAIN), untouched=False) for one in sizes]
    weights = {("avif", 0): 5, ("webp", 0): 6, ("png", 0): 9, ("png", 1): 12, ("webp", 1): 12}
    answers = [["avif", "webp", "png"], ["webp", "webp", "png"]]
    outputs = {
        wish: Rendered(b"x" * weights[name, at], name, 0, 0)
        for at, row in enumerate(wished)
        for wish, name in zip(row, answers[at], strict=True)
    }
    found = shown_of(sizes, wished, outputs)
    assert found is not None
    assert [[file.format for file in offer] for offer in found[0].offers] == [["webp", "webp"]]
    assert found[0].one.format == "webp"
    assert all(name.endswith((".webp", ".png")) for name in found[1])
