"""SVG through a running service: recognised, kept, answered as it is or drawn."""

from __future__ import annotations

import pytest
from http_client import Client
from scripted_origin import ScriptedOrigin

NS = 'xmlns="http://www.w3.org/2000/svg"'
SVG = f'<svg {NS} width="40" height="20"><rect width="40" height="20" fill="#dc1e1e"/></svg>'
LONG = "<!-- " + "licence " * 20_000 + "-->"

PROLOGS = {
    "comment of 160 kB": (LONG + SVG).encode(),
    "declaration and style sheet": f'<?xml version="1.0"?><?xml-stylesheet href="a.css"?>\n{SVG}'.encode(),
    "document type with entities": f'<!DOCTYPE svg [<!ENTITY a "b"><!ENTITY c "]>">]>{SVG}'.encode(),
    "UTF-16 with a mark": SVG.encode("utf-16"),
    "UTF-16 big-endian without a mark": SVG.encode("utf-16-be"),
    "UTF-16 behind a long comment": (LONG + SVG).encode("utf-16"),
    "GB2312": f'<?xml version="1.0" encoding="GB2312"?><!-- 图 -->{SVG}'.encode("gbk"),
    "white space": f"\ufeff\n\n  {SVG}".encode(),
    "prefix": SVG.replace("<", "<s:").replace("<s:/", "</s:").replace("xmlns", "xmlns:s").encode(),
}


@pytest.mark.parametrize("claimed", ["image/svg+xml", "text/xml", "text/plain"])
@pytest.mark.parametrize("name", PROLOGS)
async def test_svg_behind_any_prolog_is_kept_and_served(
    client: Client, origin: ScriptedOrigin, name: str, claimed: str
) -> None:
    """Its bytes come back, as an SVG, and nothing says that it is damaged."""
    origin.serve("/a.svg", PROLOGS[name], content_type=claimed)
    for _ in range(2):
        kept = await client.get("/image/original/" + origin.url("/a.svg"))
        assert (kept.status, kept.body) == (200, PROLOGS[name])
        assert kept.headers["Content-Type"] == "image/svg+xml"
    drawn = await client.get("/image/format=png/" + origin.url("/a.svg"))
    assert (drawn.status, drawn.headers["Content-Type"]) == (200, "image/png")
    assert origin.count() == 1


@pytest.mark.parametrize(
    "body",
    [
        f"<!DOCTYPE html><html><body>{SVG}</body></html>",
        f"{LONG}<html>{SVG}</html>",
        f"An icon: {SVG}",
        f"<!-- {SVG}",
        f"<!DOCTYPE svg><html>{SVG}</html>",
    ],
)
async def test_page_or_text_with_an_svg_inside_is_no_picture(
    client: Client, origin: ScriptedOrigin, body: str
) -> None:
    origin.serve("/a.svg", body.encode(), content_type="image/svg+xml")
    assert (await client.get("/image/original/" + origin.url("/a.svg"))).status == 422
