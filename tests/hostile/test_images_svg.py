"""Drawings made to hurt: each gets an error and at most ends its own process, never the pool."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pictures
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.config import RenderConfig
from proxy.errors import PictureError
from proxy.images import svg
from proxy.images.jobs import Job, Rendered, Wish
from proxy.images.pool.workers import RenderPool
from proxy.images.svg.document import read
from proxy.images.transforms.transform import Transform

pytestmark = pytest.mark.skipif(svg.DRAW is None, reason="resvg-py is not installed")

WISH = Wish(Transform.parse("width=2000,height=2000,fit=contain").resolved({}), ("webp",))
NS = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def document(inside: str, root: str = 'width="2000" height="2000"') -> bytes:
    return f"<svg {NS} {root}>{inside}</svg>".encode()


def filtered(inside: str) -> bytes:
    return document(f'<filter id="f">{inside}</filter><rect width="2000" height="2000" filter="url(#f)"/>')


def tower(line: str, *, floors: int) -> str:
    """`line` with N and M for the numbers of each floor and of the one below it."""
    return "".join(line.replace("N", str(n)).replace("M", str(n - 1)) for n in range(1, floors))


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
BOMB_IN_DATA = base64.b64encode(pictures.png_bomb()).decode()
MASKS = tower(
    '<mask id="mN"><rect width="2000" height="2000" fill="#fff" mask="url(#mM)"/></mask>', floors=150
)
HOSTILE = {
    "billion laughs": (
        f'<!DOCTYPE svg [<!ENTITY l0 "ha">{LAUGHS}]>'.encode() + document("<text>&l11;</text>"),
        "unsupported_format",
    ),
    "file entity": (
        b'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + document("<text>&x;</text>"),
        "unsupported_format",
    ),
    "uses of uses": (
        document('<g id="u0"/>' + tower('<g id="uN">' + '<use href="#uM"/>' * 10 + "</g>", floors=12)),
        None,
    ),
    "use of itself": (document('<g id="a"><use href="#a"/><rect width="9" height="9"/></g>'), None),
    "long chain of uses": (document('<g id="u0"/>' + tower('<g id="uN"><use href="#uM"/></g>', floors=30_000)), None),
    "deep": (document("<g>" * 50_000 + "</g>" * 50_000), "unsupported_format"),
    "wide": (document("<g/>" * 200_000), "unsupported_format"),
    "morphology": (filtered('<feMorphology operator="dilate" radius="900"/>'), "unsupported_format"),
    "turbulence": (filtered('<feTurbulence baseFrequency="0.5" numOctaves="1000000"/>'), "unsupported_format"),
    "a thousand blurs": (filtered('<feGaussianBlur stdDeviation="50"/>' * 1000), "unsupported_format"),
    "layers": (document('<g opacity="0.9">' * 190 + '<rect width="2000" height="2000"/>' + "</g>" * 190), None),
    "masks of masks": (document(MASKS + '<rect width="2000" height="2000" mask="url(#m149)"/>'), None),
    "dashes": (document('<path d="M0 0H1e9" stroke="red" stroke-dasharray="0.00001"/>'), None),
    "picture bomb": (document(f'<image width="9" height="9" href="data:image/png;base64,{BOMB_IN_DATA}"/>'), None),
    "huge": (document("", root='width="1e9" height="1e9"'), "too_many_pixels"),
    "huge view": (document('<rect width="1e38" height="1e38"/>', root='viewBox="0 0 1e38 1e38"'), "too_many_pixels"),
    "network": (document('<image width="9" height="9" href="http://127.0.0.1:9/x.png"/>'), None),
}  # fmt: skip
CODES = {"unsupported_format", "decode_failed", "too_many_pixels", "render_timeout"}


@pytest.fixture(name="pool")
async def _pool() -> AsyncIterator[RenderPool]:
    pool = RenderPool(RenderConfig(timeout=2.0, memory_max_bytes=1 << 30), processes=1)
    await pool.start()
    yield pool
    await pool.close()


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_drawing_costs_itself_only(pool: RenderPool, tmp_path: Path, name: str) -> None:
    """A drawing gets a picture or an error of the contract in time, and the next drawing is drawn."""
    body, code = HOSTILE[name]
    path = tmp_path / "body"
    path.write_bytes(body)
    output = (await pool.run(Job(str(path), (WISH,), check=True))).outputs[0]
    if code is None:
        assert isinstance(output, Rendered) or output.code in CODES
    else:
        assert getattr(output, "code", "rendered") == code
    path.write_bytes(document('<rect width="9" height="9"/>'))
    assert isinstance((await pool.run(Job(str(path), (WISH,), check=True))).outputs[0], Rendered)


ELEMENTS = ("<g>", "</g>", "<script>", "</script>", "<x:script>", "<image href='", "<a onload='", "'/>", "'>")
OTHERS = (
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<?gone",
    "?>",
    "&amp;",
    "&x;",
    "file:///gone",
    "http://gone",
    " gone",
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(ELEMENTS + OTHERS), max_size=12))
@example(["<![CDATA[", "<a onload='", "]]>"])
def test_whatever_is_written_again_leads_nowhere(parts: list[str]) -> None:
    """Names may remain only in text between tags and in values that are not links. Reading raises no other error."""
    body = document("".join(parts))
    try:
        text = read(body).at(10, 10)
    except PictureError:
        return
    tags = "".join(re.findall(r"<[^>]*>", text))
    assert "<script" not in tags
    assert "onload" not in tags
    assert 'href="file' not in tags
    assert 'href="http:' not in tags.replace("xmlns", "")
    read(text.encode())
