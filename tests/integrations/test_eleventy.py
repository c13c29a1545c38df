"""The plugin for Eleventy in the real Eleventy, on the sample article and a relative."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from generators import (
    INTEGRATIONS,
    PUBLIC,
    SERVICE,
    TOKEN,
    WORKER,
    article,
    npm_packages,
    run,
    wrapped_sources,
    write_tree,
)
from service import Service, write_config

pytestmark = pytest.mark.integrations

LAYOUT = """\
<meta property="og:image" content="{{ headimg }}">
<main>{{ content | safe }}</main>
"""
FEED = """\
---
permalink: feed.xml
eleventyExcludeFromCollections: true
---
<rss><channel>{% for post in collections.all %}
<item><description>{{ post.content }}</description></item>
{% endfor %}</channel></rss>
"""


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(write_config(tmp_path_factory.mktemp("mirror"), SERVICE)) as service:
        yield service


def build(folder: Path, *, code: int = 0, **options: Any) -> str:
    """Build a site with the plugin; return what Eleventy said."""
    packages = npm_packages("eleventy")
    given = json.dumps({"token": TOKEN, **options})
    write_tree(
        folder,
        {
            "eleventy.config.js": (
                f"module.exports = config => config.addPlugin(require('./imgmirror'), {given});\n"
                "module.exports.config = { markdownTemplateEngine: false };\n"
            ),
            "imgmirror.js": (INTEGRATIONS / "eleventy" / "imgmirror.js").read_text(encoding="utf-8"),
            "_includes/post.njk": LAYOUT,
            "sample.md": article(dated="2021-07-26").replace("---\n", "---\nlayout: post.njk\n", 1),
            "relative.md": (
                f"---\nlayout: post.njk\n---\n![]({WORKER}http://h.example/one.png)\n\n`<img src={WORKER}http://h.example/c.png>`\n"
            ),
            "feed.njk": FEED,
        },
    )
    return run(
        "node", packages / "node_modules" / "@11ty" / "eleventy" / "cmd.cjs", "--quiet", cwd=folder, code=code
    )


def page(folder: Path, name: str) -> str:
    return (folder / "_site" / name).read_text(encoding="utf-8")


def test_pages_and_feed_point_at_the_mirror(tmp_path: Path, mirror: Service) -> None:
    said = build(tmp_path, url=mirror.base)
    sample, relative = page(tmp_path, "sample/index.html"), page(tmp_path, "relative/index.html")
    sources = wrapped_sources(article())
    assert f'content="{PUBLIC}/image/content/{sources[0]}"' in sample
    for source in sources[2:]:
        assert f'src="{PUBLIC}/image/content/{source}"' in sample
    assert WORKER not in sample
    assert f'src="{PUBLIC}/image/content/http://h.example/one.png"' in relative
    assert f"{WORKER}http://h.example/c.png" in relative
    feed = page(tmp_path, "feed.xml")
    assert f"src=&quot;{PUBLIC}/image/content/http://h.example/one.png" in feed
    assert "addresses replaced" in said


def test_service_that_does_not_answer_leaves_addresses_or_ends_the_build(
    tmp_path: Path, own_config: Path
) -> None:
    with Service(own_config) as service:
        base = service.base
    said = build(tmp_path, url=base)
    assert "pages keep their addresses" in said
    assert "ECONNREFUSED" in said
    assert f'src="{WORKER}' in page(tmp_path, "sample/index.html")
    assert "does not answer" in build(tmp_path, url=base, on_error="fail", code=1)


def test_addresses_of_this_machine_get_into_no_site(tmp_path: Path, own_config: Path) -> None:
    with Service(own_config) as service:
        assert "set server.public_url" in build(tmp_path, url=service.base)
    assert f'src="{WORKER}' in page(tmp_path, "sample/index.html")


def test_unknown_option_ends_the_build(tmp_path: Path) -> None:
    assert "not known: tokn" in build(tmp_path, tokn="x", code=1)
