"""SVG sources: which parts are read, which are left out, and how large they are drawn."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pictures
import pytest
from pictures import BLUE, GREEN, RED, colour_at, looks_like, opened

from proxy.errors import DecodeFailed, MirrorError, UnsupportedFormat
from proxy.images import svg
from proxy.images.decode.pillow import PillowDecoder, prepare
from proxy.images.jobs import Inspection, Job, Rendered, Settings, Wish
from proxy.images.pipeline import inspect
from proxy.images.svg.document import MAX_DEPTH, MAX_ELEMENTS, MAX_ENTITIES, MAX_REFERENCES, read
from proxy.images.svg.fonts import families, lacking
from proxy.images.transforms.transform import Transform

drawn = pytest.mark.skipif(svg.DRAW is None, reason="resvg-py is not installed")

NS = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
HALVES = (
    '<rect width="50%" height="100%" fill="#dc1e1e"/><rect x="50%" width="50%" height="100%" fill="#1e1edc"/>'
)


def document(inside: str = HALVES, root: str = 'width="120" height="80"') -> bytes:
    return f"<svg {NS} {root}>{inside}</svg>".encode()


@pytest.fixture(name="look")
def _look(tmp_path: Path) -> Callable[..., Inspection]:
    def look(body: bytes, *wishes: str, **settings: Any) -> Inspection:
        path = tmp_path / "body"
        path.write_bytes(body)
        limits = Settings(**settings)
        prepare(max_pixels=limits.max_pixels)
        asked = tuple(
            Wish(Transform.parse(text.partition(">")[0]).resolved({}), (text.partition(">")[2] or "png",))
            for text in wishes
        )
        job = Job(str(path), asked, check=True)
        return inspect(job, limits, decoder=PillowDecoder(), on_facts=lambda _: None)

    return look


Look = Callable[..., Inspection]


def body_of(inspection: Inspection, number: int = 0) -> bytes:
    output = inspection.outputs[number]
    assert isinstance(output, Rendered), output
    return output.body


def code(inspection: Inspection) -> str:
    assert isinstance(inspection.outputs[0], MirrorError)
    return inspection.outputs[0].code


# Reading


@pytest.mark.parametrize(
    ("root", "size"),
    [
        ('width="120" height="80"', (120, 80)),
        ('width="120px" height="80.5"', (120, 80.5)),
        ('width="1in" height="2.54cm"', (96, 96)),
        ('width="12pt" height="1pc"', (16, 16)),
        ('viewBox="0 0 24 12"', (24, 12)),
        ('viewBox="-5,-5, 24 12" width="100%" height="100%"', (24, 12)),
        ('viewBox="0 0 24 12" width="48"', (48, 24)),
        ('viewBox="0 0 24 12" height="48"', (96, 48)),
        ('width="1e2" height="50"', (100, 50)),
        ("", (300, 150)),
        ('viewBox="0 0 0 12"', (300, 150)),
        ('viewBox="0 0 nan 12" width="-3"', (300, 150)),
        ('width="40"', (40, 150)),
    ],
)
def test_size_is_the_one_of_a_browser(root: str, size: tuple[float, float]) -> None:
    found = read(document(root=root))
    assert (found.width, found.height) == pytest.approx(size)


@pytest.mark.parametrize(
    "evil",
    [
        "<script>alert('gone')</script>",
        "<x:script xmlns:x='http://www.w3.org/2000/svg'>gone</x:script>",
        "<foreignObject><p>gone<script>gone</script></p></foreignObject>",
        "<image href='/etc/gone.png'/>",
        "<image xlink:href='file:///gone.png'/>",
        "<image href=' http://gone.example/x.png'/>",
        "<image href='data:image/svg+xml,gone'/>",
        "<use href='https://gone.example/x.svg#a'/>",
        "<a xlink:href='javascript:gone()'/>",
        "<feImage xmlns:q='http://www.w3.org/1999/xlink' q:href='gone.png'/>",
        "<g onclick='gone()' onLoad='gone()'/>",
        "<g xml:base='http://gone.example/'/>",
        "<metadata><gone/></metadata>",
        "<!-- gone -->",
        "<?xml-stylesheet href='gone.css'?>",
    ],
)
def test_what_acts_or_leads_elsewhere_is_gone(evil: str) -> None:
    text = read(document(f"<g>{evil}</g><rect id='stays'/>")).at(10, 10)
    assert "gone" not in text
    assert 'id="stays"' in text


@pytest.mark.parametrize(
    "dropped",
    [
        "<script>gone</script>",
        "<script/>",
        "<metadata><x><metadata>gone</metadata>gone</x></metadata>",
        "<foreignObject><p><script>gone</script>gone</p></foreignObject>",
    ],
)
@pytest.mark.parametrize(
    "inside", ["{}<rect/>", "<g>{}<rect/></g>", "<g>{}</g><rect/>", "<g>{0}{0}<rect/>{0}</g>"]
)
def test_what_follows_a_dropped_element_stays(dropped: str, inside: str) -> None:
    with_it, without = read(document(inside.format(dropped))), read(document(inside.format("")))
    assert with_it.at(10, 10) == without.at(10, 10)
    assert "rect" in with_it.at(10, 10)


@drawn
def test_drawing_after_metadata_is_drawn(look: Look) -> None:
    """Inkscape writes every file this way."""
    picture = opened(body_of(look(document("<metadata>rdf</metadata>" + HALVES), "format=png")))
    assert looks_like(colour_at(picture, 0.25, 0.5), RED)
    assert looks_like(colour_at(picture, 0.75, 0.5), BLUE)


def test_what_is_harmless_stays_as_it_was() -> None:
    png = base64.b64encode(pictures.saved(pictures.quarters(), "PNG")).decode()
    inside = f'<use href="#a"></use><image href="data:image/png;base64,{png}"></image><text x="1">a &lt; &amp; b</text>'
    found = read(document(inside))
    assert inside in found.at(10, 10)
    assert found.has_text


def test_texts_and_attributes_mean_the_same_after_writing() -> None:
    sign = "' \" & < > \t \n \r"
    written = "".join(f"&#{ord(character)};" for character in sign)
    text = sign.replace("\r", "")
    found = read(document(f'<g class="{written}">{text.replace("&", "&amp;").replace("<", "&lt;")}</g>'))
    again = ET.fromstring(found.at(10, 10))[0]  # noqa: S314 - our own document
    assert again.attrib["class"] == sign
    assert again.text == text


@pytest.mark.parametrize(
    "prolog",
    [
        '<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>',
        '<!DOCTYPE svg [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>',
        '<!DOCTYPE svg [<!ENTITY x SYSTEM "http://gone.example/">]>',
        f'<!DOCTYPE svg [<!ENTITY a "{"a" * 257}">]>',
        "<!DOCTYPE svg [" + "".join(f'<!ENTITY a{n} "a">' for n in range(MAX_ENTITIES + 1)) + "]>",
    ],
)
def test_entities_that_are_more_than_short_texts_are_refused(prolog: str) -> None:
    with pytest.raises(UnsupportedFormat):
        read(prolog.encode() + document("<text>&b;</text>"))


def test_entities_that_are_short_texts_are_read() -> None:
    """Illustrator declares its namespaces as entities."""
    prolog = '<!DOCTYPE svg PUBLIC "x" "y" [<!ENTITY ns "http://www.w3.org/2000/svg"><!ENTITY word "spelt">]>'
    found = read(f'{prolog}<svg xmlns="&ns;" width="9" height="9"><text>&word; out</text></svg>'.encode())
    assert 'xmlns="http://www.w3.org/2000/svg"' in found.at(9, 9)
    assert "spelt out" in found.at(9, 9)


def test_references_to_entities_without_number_are_refused() -> None:
    prolog = f'<!DOCTYPE svg [<!ENTITY a "{"a" * 256}">]>'
    with pytest.raises(UnsupportedFormat):
        read(prolog.encode() + document("<text>" + "&a;" * (MAX_REFERENCES + 1) + "</text>"))


def test_document_type_without_entities_is_read() -> None:
    prolog = '<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/x.dtd">'
    assert "DOCTYPE" not in read(prolog.encode() + document()).at(10, 10)


BROKEN = (b"", b"<svg>", b"<svg><g></svg>", b"<html></html>", b"<svg>\xff</svg>", document()[:-9])
ENCODINGS = ("bogus", "base64", "hex", "utf-7")


@pytest.mark.parametrize(
    "body", [*BROKEN, *(f'<?xml version="1.0" encoding="{name}"?><svg/>'.encode() for name in ENCODINGS)]
)
def test_broken_document_is_damaged(body: bytes) -> None:
    with pytest.raises(DecodeFailed):
        read(body)


@pytest.mark.parametrize("inside", ["<g/>" * MAX_ELEMENTS, "<g>" * MAX_DEPTH + "</g>" * MAX_DEPTH])
def test_too_many_elements_are_refused(inside: str) -> None:
    with pytest.raises(UnsupportedFormat):
        read(document(inside))


@pytest.mark.parametrize(
    ("declared", "codec"),
    [
        ("UTF-16", "utf-16"),
        ("utf-8", "utf-16"),
        ("UTF-16", "utf-16-le"),
        ("UTF-16", "utf-16-be"),
        ("GB2312", "gbk"),
        ("gbk", "gbk"),
        ("gb18030", "gb18030"),
        ("big5", "big5"),
        ("Shift_JIS", "cp932"),
        ("euc-jp", "euc_jp"),
    ],
)
def test_document_in_any_encoding_of_browsers_is_read(declared: str, codec: str) -> None:
    text = f'<?xml version="1.0" encoding="{declared}"?>' + document("<text>好</text>").decode()
    assert "好" in read(text.encode(codec)).at(10, 10)


@pytest.mark.parametrize("codec", ["iso-8859-1", "windows-1252"])
def test_document_in_a_single_byte_encoding_is_read(codec: str) -> None:
    text = f'<?xml version="1.0" encoding="{codec}"?>' + document("<text>é</text>").decode()
    assert "é" in read(text.encode(codec)).at(10, 10)


# Drawing


def test_without_the_library_it_stays_unsupported(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svg, "DRAW", None)
    inspection = look(document(), "width=60")
    assert (inspection.verdict, code(inspection)) == ("unsupported", "unsupported_format")
    assert inspection.facts is not None
    assert (inspection.facts.width, inspection.facts.height) == (120, 80)


@drawn
@pytest.mark.parametrize("output_format", ["png", "webp", "avif", "jpeg"])
def test_document_is_drawn_in_every_format(look: Look, output_format: str) -> None:
    picture = opened(body_of(look(document(), f"width=60>{output_format}")))
    assert picture.size == (60, 40)
    assert looks_like(colour_at(picture, 0.2, 0.5), RED)
    assert looks_like(colour_at(picture, 0.8, 0.5), BLUE)


@drawn
def test_drawing_is_made_at_the_size_asked_for_and_not_enlarged(look: Look) -> None:
    """An icon as a card: the border between its halves is as sharp as at any size."""
    body = document(
        root='viewBox="0 0 24 24"', inside='<path d="M0 0H12V24H0z"/><path fill="#fff" d="M12 0H24V24H12z"/>'
    )
    picture = opened(body_of(look(body, "w=1200,h=630,fit=cover"))).convert("L")
    assert picture.size == (1200, 630)
    assert [picture.getpixel((x, 300)) for x in (596, 598, 601, 603)] == [0, 0, 255, 255]


@drawn
@pytest.mark.parametrize(
    ("options", "size"),
    [
        ("width=100", (100, 67)),
        ("width=900", (300, 200)),
        ("width=900,fit=contain,upscale=true", (900, 600)),
        ("w=100,h=100,fit=pad", (100, 100)),
        ("w=50,h=90,fit=squeeze", (50, 90)),
        ("rotate=90,height=100", (67, 100)),
        ("trim=10;20;30;40", (240, 160)),
        ("width=100,dpr=2", (200, 133)),
        ("format=auto", (300, 200)),
    ],
)
def test_size_of_result_is_the_one_of_any_picture(look: Look, options: str, size: tuple[int, int]) -> None:
    assert opened(body_of(look(document(root='width="300" height="200"'), options))).size == size


@drawn
def test_rounded_size_leaves_no_gap_at_the_rim(look: Look) -> None:
    body = document('<rect width="300" height="200" fill="#1ec81e"/>', 'viewBox="0 0 300 200"')
    picture = opened(body_of(look(body, "width=100")))
    assert picture.convert("RGBA").getchannel("A").getextrema() == (255, 255)
    assert all(looks_like(colour_at(picture, x, y), GREEN) for x in (0, 1) for y in (0, 1))


@drawn
def test_several_sizes_come_from_one_drawing(look: Look) -> None:
    inspection = look(
        document(root='width="300" height="200"'),
        "width=30",
        "width=600,fit=contain,upscale=true",
        "w=40,h=40,fit=cover",
    )
    assert [opened(body_of(inspection, number)).size for number in range(3)] == [
        (30, 20),
        (600, 400),
        (40, 40),
    ]


@drawn
def test_transparency_is_kept_or_filled(look: Look) -> None:
    inspection = look(
        document('<circle cx="60" cy="40" r="20"/>'), "width=60", "width=60,background=blue", "width=60>jpeg"
    )
    assert opened(body_of(inspection)).convert("RGBA").getpixel((0, 0)) == (0, 0, 0, 0)
    assert looks_like(colour_at(opened(body_of(inspection, 1)), 0, 0), (0, 0, 255))
    assert looks_like(colour_at(opened(body_of(inspection, 2)), 0, 0), (255, 255, 255))


@drawn
def test_size_beyond_the_limit_is_refused_before_drawing(look: Look) -> None:
    inspection = look(document(root='width="1e5" height="1e5"'), "width=60")
    assert (inspection.verdict, code(inspection)) == ("beyond_limits", "too_many_pixels")
    assert code(look(document(root='width="1e9in" height="1"'), "width=60")) == "too_many_pixels"


@drawn
def test_cut_of_a_long_drawing_stays_within_the_limits(look: Look) -> None:
    """The whole drawing would be a million pixels wide at that height."""
    body = document(root='width="10000" height="10"')
    assert opened(body_of(look(body, "w=1000,h=1000,fit=cover"))).size == (1000, 1000)


@drawn
def test_embedded_picture_is_shown_and_file_is_not(look: Look, tmp_path: Path) -> None:
    png = pictures.saved(pictures.quarters(), "PNG")
    (tmp_path / "red.png").write_bytes(png)
    data = "data:image/png;base64," + base64.b64encode(png).decode()
    body = document(f'<image width="120" height="80" href="{data}"/>')
    picture = opened(body_of(look(body, "width=60"))).convert("RGBA")
    assert looks_like(tuple(picture.crop((10, 10, 11, 11)).tobytes()), (*RED, 255))
    for name in (str(tmp_path / "red.png"), "red.png"):
        body = document(f'<image width="120" height="80" href="{name}"/>')
        assert code(look(body, "width=60")) == "unsupported_format"


def in_data(body: bytes, media_type: str = "image/svg+xml") -> str:
    return f"data:{media_type};base64,{base64.b64encode(body).decode()}"


@drawn
@pytest.mark.parametrize("spelt", ["base64", "charset", "percent"])
def test_drawing_inside_a_drawing_is_drawn(look: Look, spelt: str) -> None:
    """Badges contain their logo this way."""
    inner = document('<rect width="10" height="10" fill="#dc1e1e"/>', 'width="10" height="10"')
    percent = "data:image/svg+xml," + quote(inner.decode())
    charset = in_data(inner).replace(";", ";charset=utf-8;")
    href = {"base64": in_data(inner), "charset": charset, "percent": percent}[spelt]
    picture = opened(
        body_of(look(document(f'<image width="60" height="60" href="{href}"/>'), "width=120>webp"))
    )
    assert looks_like(colour_at(picture, 0.2, 0.3), RED)
    assert picture.convert("RGBA").getchannel("A").getpixel((110, 40)) == 0


@drawn
@pytest.mark.parametrize(
    "inside",
    [
        "<script/>",
        "<image href='/etc/passwd'/>",
        "<image href='data:image/svg+xml,x'/>",
        "<rect style='fill:oklch(1 1 1)'/>",
        "<g>",
    ],
)
@pytest.mark.parametrize("media_type", ["image/svg+xml", "image/png"])
def test_drawing_inside_is_held_to_the_same_rules(look: Look, inside: str, media_type: str) -> None:
    """Under the name of a PNG it does not get past them."""
    body = document(f'<image width="60" height="60" href="{in_data(document(inside), media_type)}"/>')
    assert code(look(body, "width=60")) == "unsupported_format"


OBJECTIONS = [
    "<script/>",
    "<foreignObject/>",
    "<animate/>",
    "<g><set attributeName='x'/></g>",
    "<x:script xmlns:x='http://www.w3.org/2000/svg'/>",
    "<use href='b.svg#a'/>",
    "<image href='http://h.example/a.png'/>",
    "<image href='data:image/avif;base64,AAAA'/>",
    "<linearGradient href='b.svg#a'/>",
    "<g systemLanguage='en'/>",
    "<g requiredExtensions='x'/>",
    "<g onload='a()'/>",
    "<feBlend in='BackgroundImage'/>",
    "<rect width='1rem'/>",
    "<rect width='calc(1px)'/>",
    "<rect fill='var(--a)'/>",
    "<rect fill='color(srgb 1 0 0)'/>",
    "<style media='(min-width: 9px)'>a{}</style>",
    "<style>@import 'a.css';</style>",
    "<style>@font-face{font-family:a;src:url(a)}</style>",
    "<style>rect:nth-child(1){fill:red}</style><rect/>",
    "<style>g ~ rect{fill:red}</style><g/><rect/>",
    f"<style>{'[' * 100_000}{{}}</style>",
    f"<style>{'a:b(' * 100_000}</style>",
]
NO_OBJECTIONS = [
    "<metadata><x:a xmlns:x='y'><x:script/></x:a></metadata>",
    "<x:animate xmlns:x='http://h.example/'/>",
    "<div xmlns='http://www.w3.org/1999/xhtml'><script/></div>",
    "<a href='http://h.example/'/>",
    "<g onclick='a()'/>",
    "<style>.absent:nth-child(1){fill:oklch(1 1 1)}</style><rect/>",
    "<style>rect:hover{animation:a}</style><rect/>",
    "<style>:root{--a:red}</style>",
    "<style type='text/plain'>@import 'a.css';</style>",
    "<style media='print'>@import 'a.css';</style>",
    "<rect style='cursor:pointer;-inkscape-stroke:none;--a:b'/>",
]


@pytest.mark.parametrize("inside", OBJECTIONS)
def test_what_only_browsers_draw_is_an_objection(inside: str) -> None:
    assert read(document(inside)).objection


@pytest.mark.parametrize("inside", NO_OBJECTIONS)
def test_what_says_nothing_in_a_still_picture_is_no_objection(inside: str) -> None:
    assert read(document(inside)).objection == ""


def test_style_sheet_beside_the_document_is_an_objection() -> None:
    assert read(b"<?xml-stylesheet href='a.css'?>" + document()).objection


@drawn
def test_drawing_that_is_refused_keeps_its_size_and_is_not_damaged(look: Look) -> None:
    inspection = look(document("<script/>"), "width=60", "width=60>svg")
    assert inspection.verdict == "unsupported"
    assert inspection.facts is not None
    assert inspection.facts is not None
    assert (inspection.facts.width, inspection.facts.height) == (120, 80)


@drawn
def test_text_without_any_font_is_refused(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be missing from the picture."""
    monkeypatch.setattr(svg, "families", lambda _: {})
    assert code(look(document("<text>a</text>"), "width=60")) == "unsupported_format"
    assert isinstance(look(document(), "width=60").outputs[0], Rendered)


@drawn
def test_physical_lengths_are_those_of_css(look: Look) -> None:
    body = document('<rect width="1in" height="30mm" fill="#dc1e1e"/>')
    alpha = opened(body_of(look(body, "width=120"))).convert("RGBA").getchannel("A")
    assert alpha.getbbox() == (0, 0, 96, 80)


@drawn
def test_text_is_drawn_in_a_font_that_is_there(look: Look) -> None:
    """A family that the machine lacks must not make the words vanish."""
    if not families(svg.DRAW):
        pytest.skip("this machine has no fonts")
    for family in ("Arial, Helvetica", "sans-serif", "serif", "monospace", "no such family"):
        body = document(f'<text x="5" y="50" font-size="40" font-family="{family}">Word</text>')
        alpha = opened(body_of(look(body, "width=120"))).convert("RGBA").getchannel("A")
        assert alpha.getextrema() == (0, 255), family


@drawn
@pytest.mark.parametrize("place", ["<text>{}</text>", "<text>a<tspan>b{}</tspan></text>"])
def test_text_with_a_letter_that_no_font_has_is_refused(look: Look, place: str) -> None:
    """It would be an empty box, where a browser may know better."""
    if not families(svg.DRAW):
        pytest.skip("this machine has no fonts")
    assert svg.DRAW is not None
    lost = next(letter for letter in "\u56fe\u0e01\U00010940\ue000" if lacking(svg.DRAW, letter))
    assert code(look(document(place.format(lost)), "width=60")) == "unsupported_format"
    for letters in ("\u00e9\u03b1\u0416\u2013\u00a0\u200b", "a\u0301", "\u3164", "<title/>"):
        assert isinstance(look(document(place.format(letters)), "width=60").outputs[0], Rendered)
    assert isinstance(look(document(f"<desc>{lost}</desc><text>a</text>"), "width=60").outputs[0], Rendered)


@drawn
def test_same_document_gives_same_bytes(look: Look) -> None:
    assert body_of(look(document(), "width=77>webp")) == body_of(look(document(), "width=77>webp"))


@drawn
def test_json_names_the_format(look: Look) -> None:
    text = body_of(look(document(), "width=60,format=json>json")).decode()
    assert re.search(r'"width":60,"height":40,.*"format":"image/svg\+xml"', text)
