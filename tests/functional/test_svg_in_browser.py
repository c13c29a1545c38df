"""Drawings beside what Chromium shows of them: each is close, or refused; the ordinary ones are drawn."""

# ruff: noqa: E501 - a document is easier to read on one line

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest
from browser import Page, open_browser
from pictures import opened
from PIL import Image, ImageChops, ImageFilter

from proxy.errors import UnsupportedFormat
from proxy.images import svg
from proxy.images.files.structure import Structure

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.skipif(svg.DRAW is None, reason="no resvg-py"),
]

SIZE = (160, 120)
NS = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
RECT = '<rect x="20" y="20" width="100" height="70" {}/>'
GRADIENT = '<linearGradient id="g"><stop offset="0" stop-color="#f00"/><stop offset="1" style="stop-color:#00f"/></linearGradient>'
MARK = f'<svg {NS} viewBox="0 0 8 8"><circle cx="4" cy="4" r="4" fill="#f80"/></svg>'
IN_DATA = "data:image/svg+xml;base64," + base64.b64encode(MARK.encode()).decode()

ORDINARY = {
    "shapes": RECT.format('fill="#4c1"')
    + '<circle cx="80" cy="60" r="25" fill="none" stroke="navy" stroke-width="5"/>',
    "badge": '<linearGradient id="s" x2="0" y2="100%"><stop offset="0" stop-color="#bbb" stop-opacity=".1"/>'
    '<stop offset="1" stop-opacity=".1"/></linearGradient><clipPath id="r"><rect width="150" height="40" rx="5" fill="#fff"/>'
    '</clipPath><g clip-path="url(#r)"><rect width="70" height="40" fill="#555"/><rect x="70" width="80" height="40" '
    'fill="#4c1"/><rect width="150" height="40" fill="url(#s)"/></g>',
    "badge with a logo": RECT.format('fill="#555"')
    + f'<image x="30" y="30" width="40" height="40" xlink:href="{IN_DATA}"/>',
    "draw.io": RECT.format(
        'fill="#dae8fc" stroke="#6c8ebf" style="fill: light-dark(#dae8fc, #1d293b); stroke: '
        'light-dark(#6c8ebf, var(--a, #5c79a3));"'
    ),
    "class": "<style>.cls-1{fill:#29abe2}.cls-2{fill:none;stroke:#000;stroke-miterlimit:10}</style>"
    + RECT.format('class="cls-1 cls-2"'),
    "css in cdata": "<style type='text/css'><![CDATA[ * { stroke-linejoin: round } /* x */ #a > rect { fill : teal ; } ]]></style>"
    f"<g id='a'>{RECT.format('')}</g>",
    "matplotlib": "<defs><style type='text/css'>*{stroke-linejoin: round; stroke-linecap: butt}</style></defs>"
    "<path d='M20 100L140 20' style='fill: none; stroke: #1f77b4; stroke-width: 3; stroke-linecap: square'/>"
    "<defs><path id='m' d='M0 3C1 3 3 1 3 0 3-1 1-3 0-3z' style='stroke: #d62728'/></defs>"
    "<use xlink:href='#m' x='60' y='60' style='fill: #d62728; stroke: #d62728'/>",
    "gnuplot": "<g fill='none' color='black' stroke='currentColor' stroke-width='2.00'><path stroke='rgb(148,   0, 211)' "
    "d='M20,100 L60.5,40.2 L140,20'/></g>",
    "inkscape": "<path style='fill:#ff0000;fill-opacity:0.5;stroke:#000000;stroke-width:2;stroke-linecap:butt;"
    "-inkscape-stroke:none;paint-order:stroke fill markers' d='m 20,20 80,10 -30,60 z' inkscape:label='a' "
    "xmlns:inkscape='http://www.inkscape.org/namespaces/inkscape'/>",
    "unused key frames": "<style>@keyframes dash{to{stroke-dashoffset:0}}.slow{animation:dash 9s}.a{fill:#333;cursor:pointer}</style>"
    + RECT.format('class="a"'),
    "hover": "<style>rect{fill:green}rect:hover{fill:red}</style>" + RECT.format(""),
    "print": "<style>rect{fill:green}@media print{rect{fill:red}}</style>" + RECT.format(""),
    "dark": "<style>rect{fill:green}@media (prefers-color-scheme: dark){rect{fill:red}}</style>"
    + RECT.format(""),
    "important": "<style>.a{fill:green!important}#b{fill:red}</style>"
    + RECT.format('class="a" id="b" fill="blue"'),
    "attribute selector": "<style>[data-a='x']{fill:green}</style>" + RECT.format('data-a="x"'),
    "gradient": GRADIENT + RECT.format('fill="url(#g)"'),
    "gradient by style": GRADIENT + RECT.format('style="fill:url(#g)"'),
    "radial": "<radialGradient id='r' cx='50%' cy='50%' r='50%' fx='30%'><stop stop-color='hsl(120, 50%, 50%)'/>"
    "<stop offset='1' stop-color='rgba(0,0,255,.5)'/></radialGradient>" + RECT.format('fill="url(#r)"'),
    "pattern": "<pattern id='p' width='10' height='10' patternUnits='userSpaceOnUse'><circle cx='5' cy='5' r='3'/></pattern>"
    + RECT.format('fill="url(#p)"'),
    "mask": GRADIENT
    + "<mask id='m'><rect width='160' height='120' fill='url(#g)'/></mask>"
    + RECT.format('mask="url(#m)"'),
    "marker": "<marker id='k' markerWidth='6' markerHeight='6' refX='3' refY='3' orient='auto'><path d='M0 0L6 3L0 6z'/></marker>"
    "<path d='M20 20L80 90L140 30' fill='none' stroke='red' stroke-width='2' marker-end='url(#k)' marker-mid='url(#k)'/>",
    "blur": "<filter id='f'><feGaussianBlur stdDeviation='4'/></filter>"
    + RECT.format('filter="url(#f)" fill="red"'),
    "shadow": "<filter id='f'><feDropShadow dx='3' dy='3' stdDeviation='2'/></filter>"
    + RECT.format('filter="url(#f)" fill="red"'),
    "matrix": "<filter id='f'><feColorMatrix values='0 1 0 0 0 1 0 0 0 0 0 0 1 0 0 0 0 0 1 0'/></filter>"
    + RECT.format('filter="url(#f)" fill="red"'),
    "blend": RECT.format('fill="#f00"')
    + "<circle cx='100' cy='80' r='30' fill='#0f0' style='mix-blend-mode:multiply'/>",
    "dashes": "<path d='M20 60H140' stroke='#000' stroke-width='8' stroke-dasharray='12, 6 2' stroke-dashoffset='3'/>",
    "symbol": "<symbol id='y' viewBox='0 0 10 10'><circle cx='5' cy='5' r='5'/></symbol><use href='#y' x='40' y='20' width='60' height='60'/>",
    "even-odd": "<path fill-rule='evenodd' d='M20 20h100v80h-100zM40 40h60v40h-60z'/>",
    "transform": RECT.format('transform="translate(80 10) rotate(30) scale(.6)" fill="#08f"'),
    "nested svg": f"<svg x='40' y='20' width='60' height='60' viewBox='0 0 10 10'>{RECT.format('')}</svg>",
    "opacity": "<g opacity='.5'>" + RECT.format('fill="red"') + "</g>",
    "hex with alpha": RECT.format('fill="#ff000080"'),
    "units": "<rect x='5mm' y='1pc' width='50%' height='.5in' stroke-width='2pt' stroke='#000' fill='#ff0'/>",
    "title and metadata": "<title>t</title><desc>d</desc><metadata>m</metadata>"
    + RECT.format('fill="#123456"'),
    "handlers": RECT.format('fill="#123456" onclick="a()"'),
    "link": "<a href='http://h.example/'>" + RECT.format('fill="#654321"') + "</a>",
    "white ground": "<g style='isolation:isolate'>" + RECT.format('fill="#fff" stroke="#000"') + "</g>",
    "visibility": RECT.format('visibility="hidden"')
    + "<circle cx='80' cy='60' r='20' display='inline' fill='coral'/>",
    "inherit": "<g fill='purple' stroke='lime'>" + RECT.format('fill="inherit" stroke-width="4"') + "</g>",
}
ROOTS = {
    "ground of the root": ('style="background-color: #ffd; max-width: 99px"', RECT.format('fill="#00f"')),
    "fill of the root": ('fill="#0a0" class="icon" style="height:512px;width:512px"', RECT.format("")),
}
OTHERS = {
    "fade in": "<style>@keyframes f{from{opacity:0}to{opacity:1}}.s{opacity:0;animation:f .01s forwards}</style>" + RECT.format('class="s"'),
    "smil": RECT.format('opacity="0"').replace("/>", "><set attributeName='opacity' to='1' begin='0s'/></rect>"),
    "foreign object": "<foreignObject width='160' height='120'><p xmlns='http://www.w3.org/1999/xhtml'>words</p></foreignObject>",
    "oklch": RECT.format('fill="oklch(70% 0.2 140)"'),
    "space separated rgb": RECT.format('style="fill:rgb(0 128 0)"'),
    "defined variable": "<style>:root{--c:green}</style>" + RECT.format('style="fill:var(--c)"'),
    "variable with a fallback": RECT.format('fill="var(--c, green)"'),
    "calc": RECT.format('fill="none" stroke="#000" style="stroke-width:calc(4px * 2)"'),
    "color-mix": RECT.format('style="fill:color-mix(in srgb, red, blue)"'),
    "media": "<style>rect{fill:red}@media (min-width: 1px){rect{fill:green}}</style>" + RECT.format(""),
    "supports": "<style>rect{fill:red}@supports (fill: green){rect{fill:green}}</style>" + RECT.format(""),
    "layers": "<style>@layer a{rect{fill:red!important}}rect{fill:green}</style>" + RECT.format(""),
    "not": "<style>rect:not(.b){fill:green}</style>" + RECT.format(""),
    "nth-child": "<style>rect:nth-child(2){fill:green}</style>" + RECT.format(""),
    "nesting": "<style>g{rect{fill:green}}</style><g>" + RECT.format("") + "</g>",
    "is": "<style>:is(rect, circle){fill:green}</style>" + RECT.format(""),
    "css transform": RECT.format('style="transform:translate(20px, 10px) rotate(10deg)"'),
    "css rotate": RECT.format('style="rotate:20deg"'),
    "css geometry": "<rect style='x:20px;y:20px;width:80px;height:40px;fill:green'/>",
    "css path": "<path style='d:path(\"M20 20H120V90z\")' fill='green'/>",
    "clip shape": RECT.format('style="clip-path:circle(30px)"'),
    "filter function": RECT.format('fill="red" style="filter:hue-rotate(120deg)"'),
    "non-scaling stroke": "<g transform='scale(8)'><path d='M2 2L15 10' stroke='#000' vector-effect='non-scaling-stroke'/></g>",
    "language": "<switch><rect systemLanguage='fr' width='160' height='120' fill='red'/><rect width='160' height='120' fill='green'/></switch>",
    "revert": "<style>rect{fill:red}</style>" + RECT.format('style="fill:initial"'),
    "import": "<style>@import url(data:text/css,rect%7Bfill:green%7D);</style>" + RECT.format(""),
    "viewport units": "<rect x='1rem' y='10vh' width='50vw' height='4rem' fill='green'/>",
    "context of a feImage": "<filter id='f'><feImage href='#r'/></filter><rect id='r' width='9' height='9'/>" + RECT.format('filter="url(#f)"'),
}  # fmt: skip


def document(inside: str, root: str = "") -> str:
    return f'<svg {NS} width="{SIZE[0]}" height="{SIZE[1]}" {root}>{inside}</svg>'


def drawn(text: str, path: Path) -> Image.Image | None:
    """Return our drawing on white, None when it is refused."""
    path.write_text(text)
    with svg.SvgDecoder().open(str(path), Structure(True), picture_format="svg") as found:
        try:
            picture = found.decode(at_least=SIZE, frames=1).frames[0].picture
        except UnsupportedFormat:
            return None
    return Image.alpha_composite(Image.new("RGBA", SIZE, "white"), picture.convert("RGBA")).convert("RGB")


async def shown(page: Page, text: str, path: Path) -> Image.Image:
    """Return what the browser shows of it as a picture of a page."""
    data = base64.b64encode(text.encode()).decode()
    html = f'<body style="margin:0"><img src="data:image/svg+xml;base64,{data}">'
    await page.open("data:text/html;base64," + base64.b64encode(html.encode()).decode())
    await page.screenshot(path)
    return opened(await asyncio.to_thread(path.read_bytes)).convert("RGB").crop((0, 0, *SIZE))


def distance(ours: Image.Image, theirs: Image.Image) -> float:
    """Return the share of pixels, slightly blurred for the sake of edges, that differ visibly."""
    blurred = [picture.filter(ImageFilter.GaussianBlur(1)) for picture in (ours, theirs)]
    difference = ImageChops.difference(*blurred).convert("L").point(lambda value: 255 * (value > 24))
    return difference.histogram()[255] / (SIZE[0] * SIZE[1])


async def test_drawing_is_what_a_browser_shows_or_refused(tmp_path: Path) -> None:
    """No document is drawn otherwise; the ordinary ones are drawn."""
    texts = {name: document(inside) for name, inside in (ORDINARY | OTHERS).items()}
    texts |= {name: document(inside, root) for name, (root, inside) in ROOTS.items()}
    wrong: dict[str, float | str] = {}
    async with open_browser(width=400, height=300) as page:
        for name, text in texts.items():
            ours = drawn(text, tmp_path / "a.svg")
            if ours is None:
                if name not in OTHERS:
                    wrong[name] = "refused"
                continue
            far = distance(ours, await shown(page, text, tmp_path / "shot.png"))
            if far > 0.01:
                wrong[name] = far
    assert not wrong
