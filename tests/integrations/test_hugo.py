"""The templates for Hugo in the real Hugo: the sample article and a relative."""

from __future__ import annotations

import asyncio
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from generators import INTEGRATIONS, PUBLIC, WORKER, article, require, run, wrapped_sources, write_tree
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, write_config

pytestmark = pytest.mark.integrations

KEY = "correct horse battery staple"
RELATIVE = """\
---
title: A relative
headimg: https://images.weserv.nl/?url=ssl:h.example/头.png&w=1200
---
![Say "hi" & *go*](https://cors.zfour.workers.dev/?http://h.example/a.png?x=1&y=2 "A title")
![](<https://cors.zfour.workers.dev/?https://images.weserv.nl/?url=h.example%2Fb c.png>)
![](https://own.example/p/https://h.example/own.png) ![](https://h.example/direct.png) ![](/local.png)

`![](https://cors.zfour.workers.dev/?http://h.example/code.png)`
"""
LAYOUT = """\
<b>{{ partial "imgmirror/url.html" (dict "src" .Params.headimg "preset" "headimg") }}</b>
<b>{{ partial "imgmirror/url.html" (dict "src" .Params.thumbnail "preset" "thumbnail") }}</b>
<main>{{ partial "imgmirror/content.html" . }}</main>
"""


def build(folder: Path, *, environment: dict[str, str] | None = None, **params: Any) -> dict[str, str]:
    """Build a site of the sample article and the relative; return its pages by name."""
    require("hugo")
    config = {
        "baseURL": "https://blog.example/",
        "theme": ["imgmirror"],
        "disableKinds": ["taxonomy", "term", "RSS", "sitemap"],
        "markup": {"goldmark": {"renderer": {"unsafe": True}}},
        "caches": {"getresource": {"dir": str(folder / "cache")}},
        "params": {"imgmirror": {"base": PUBLIC, "wrappers": ["https://own.example/p/"], **params}},
    }
    write_tree(
        folder,
        {
            "config.json": json.dumps(config),
            "content/sample.md": article(dated="2021-07-26T11:54:00Z"),
            "layouts/_default/single.html": LAYOUT,
        },
    )
    if not (folder / "content" / "relative.md").exists():
        write_tree(folder, {"content/relative.md": RELATIVE})
    (folder / "themes").mkdir(exist_ok=True)
    if not (folder / "themes" / "imgmirror").exists():
        (folder / "themes" / "imgmirror").symlink_to(INTEGRATIONS / "hugo")
    run("hugo", "--quiet", cwd=folder, environment=environment)
    return {path.parent.name: path.read_text(encoding="utf-8") for path in folder.glob("public/*/index.html")}


def test_sample_article_is_shown_by_the_mirror(tmp_path: Path) -> None:
    """Its head pictures, and the raw HTML that is its text."""
    page = build(tmp_path)["sample"]
    sources = wrapped_sources(article())
    assert f"<b>{PUBLIC}/image/headimg/{sources[0]}</b>" in page
    assert f"<b>{PUBLIC}/image/thumbnail/{sources[1]}</b>" in page
    for source in sources[2:]:
        assert f'<img src="{PUBLIC}/image/content/{source}" alt="' in page
    assert WORKER not in page


def test_markdown_images_open_the_common_wrappers(tmp_path: Path) -> None:
    page = build(tmp_path)["relative"]
    assert f"<b>{PUBLIC}/image/headimg/https://h.example/%E5%A4%B4.png</b>" in page
    assert f'src="{PUBLIC}/image/content/http://h.example/a.png?x=1&amp;y=2"' in page
    assert 'title="A title"' in page
    assert unescape(re.search(r'alt="([^"]*)" title', page)[1]) == "Say “hi” & go"  # type: ignore[index]
    assert f'src="{PUBLIC}/image/content/http://h.example/b%20c.png"' in page
    assert f'src="{PUBLIC}/image/content/https://h.example/own.png"' in page
    assert 'src="https://h.example/direct.png"' in page
    assert 'src="/local.png"' in page
    assert f"{WORKER}http://h.example/code.png" in page


def test_all_images_takes_direct_pictures_and_no_local_ones(tmp_path: Path) -> None:
    page = build(tmp_path, all_images=True)["relative"]
    assert f'src="{PUBLIC}/image/content/https://h.example/direct.png"' in page
    assert 'src="/local.png"' in page


def test_without_a_base_everything_stays(tmp_path: Path) -> None:
    page = build(tmp_path, base="", all_images=True)["sample"]
    assert page.count(WORKER) == len(wrapped_sources(article()))


async def test_measured_and_signed_pictures_are_answered_by_the_service(
    tmp_path: Path, origin: ScriptedOrigin, http: Any
) -> None:
    """Each candidate of a srcset has the width that its descriptor says, none above the original's."""
    origin.serve("/a.png?x=1&y=2", chart_png(1000, 500))
    (tmp_path / "service").mkdir()
    config = write_config(tmp_path / "service", {"sources": {"keys": [KEY]}})
    wrapped = f"{WORKER}{origin.url('/a.png?x=1&y=2')}"
    relative = (
        f"---\ntitle: A\nheadimg: {wrapped}\n---\n![]({wrapped})\n![]({WORKER}{origin.url('/gone.png')})\n"
    )
    write_tree(tmp_path / "site", {"content/relative.md": relative})
    with Service(config) as service:
        page = await _in_thread(
            tmp_path / "site", environment={"HUGO_IMGMIRROR_KEY": KEY}, base=service.base, measure=True
        )
        shown = [unescape(found) for found in re.findall(r'src="([^"]+)"', page["relative"])]
        candidates = re.search(r'srcset="([^"]+)" width="1000"', page["relative"])
        assert candidates, page["relative"]
        assert 'height="500"' in page["relative"]
        widths = []
        for candidate in unescape(candidates[1]).split(", "):
            address, descriptor = candidate.split(" ")
            async with http.get(address, headers={"Accept": "image/png"}) as answer:
                assert answer.status == 200, await answer.text()
                width = int.from_bytes((await answer.read())[16:20], "big")
            assert descriptor == f"{width}w"
            widths.append(width)
        assert widths == [320, 480, 640, 800, 960]
        async with http.get(shown[0]) as answer:
            assert answer.status == 200
        assert "/gone.png" in shown[1], "what cannot be measured is shown all the same"
        head = unescape(page["relative"].partition("<b>")[2].partition("</b>")[0])
        async with http.get(head) as answer:
            assert answer.status == 200


async def _in_thread(folder: Path, **options: Any) -> dict[str, str]:
    """Build while the origin goes on answering."""
    return await asyncio.to_thread(build, folder, **options)
