"""The plugin and the include for Jekyll in the real Jekyll, on the sample article and a relative."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from generators import (
    INTEGRATIONS,
    PUBLIC,
    SERVICE,
    TOKEN,
    WORKER,
    article,
    require,
    run,
    wrapped_sources,
    write_tree,
)
from service import Service, write_config

pytestmark = pytest.mark.integrations

RELATIVE = """\
---
title: A relative
order: 7
image: {path: "https://cors.zfour.workers.dev/?http://h.example/head.png", lqip: "data:image/png;base64,AA//", width: 3}
header: {teaser: "https://images.weserv.nl/?url=ssl:h.example/teaser.png"}
gallery:
  - {url: "https://cors.zfour.workers.dev/?http://h.example/g.png", title: 中文, taken: 2021-05-04}
---
![one](https://cors.zfour.workers.dev/?http://h.example/one.png)

```html
<img src="https://cors.zfour.workers.dev/?http://h.example/code.png">
```
"""
LAYOUT = """\
<i>{{ page.order | plus: 1 }} {{ page.date | date: "%Y" }} {{ page.gallery[0].title }}
{{ page.gallery[0].taken | date: '%j' }}</i>
<b>{{ page.headimg }}</b><b>{{ page.image.path }}</b><b>{{ page.image.lqip }}</b><b>{{ page.header.teaser }}</b>
<b>{{ page.gallery[0].url }}</b>
<img class="theme" src="https://cors.zfour.workers.dev/?http://h.example/logo.png">
<main>{{ content }}</main>
"""
INCLUDES = """\
---
permalink: /includes/
---
{% for src in site.addresses %}<b>{% include imgmirror.html src=src preset="headimg" %}</b>{% endfor %}
"""


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(write_config(tmp_path_factory.mktemp("mirror"), SERVICE)) as service:
        yield service


def build(
    folder: Path, *, token: str = TOKEN, code: int = 0, addresses: tuple[str, ...] = (), **options: Any
) -> str:
    """Build a site with the plugin; return what Jekyll said."""
    require("jekyll")
    config = {
        "title": "Site",
        "permalink": "/:title/",
        "defaults": [{"scope": {"type": "posts"}, "values": {"layout": "post"}}],
        "addresses": list(addresses),
        "imgmirror": {
            "token_env": "TOKEN_OF_TESTS",
            "command": [sys.executable, "-m", "proxy"],
            **options,
        },
    }
    write_tree(
        folder,
        {
            "_config.yml": yaml.safe_dump(config),
            "_layouts/post.html": LAYOUT,
            "_posts/2021-07-26-sample.md": article(),
            "_posts/2021-07-27-relative.md": RELATIVE,
            "includes.html": INCLUDES,
            "_includes/imgmirror.html": (INTEGRATIONS / "jekyll/_includes/imgmirror.html").read_text(),
            "_plugins/imgmirror.rb": (INTEGRATIONS / "jekyll/_plugins/imgmirror.rb").read_text(),
        },
    )
    return run(
        "jekyll",
        "build",
        "--disable-disk-cache",
        cwd=folder,
        environment={"TOKEN_OF_TESTS": token},
        code=code,
    )


def page(folder: Path, name: str) -> str:
    return (folder / "_site" / name / "index.html").read_text(encoding="utf-8")


def test_pages_and_front_matter_point_at_the_mirror(tmp_path: Path, mirror: Service) -> None:
    said = build(tmp_path, url=mirror.base)
    sample, relative = page(tmp_path, "sample"), page(tmp_path, "relative")
    sources = wrapped_sources(article())
    assert f"<b>{PUBLIC}/image/headimg/{sources[0]}</b>" in sample
    for source in sources[2:]:
        assert f'src="{PUBLIC}/image/content/{source}"' in sample
    assert WORKER not in sample
    assert (
        f"<b>{PUBLIC}/image/headimg/http://h.example/head.png</b><b>data:image/png;base64,AA//</b>"
        in relative
    )
    assert f"<b>{PUBLIC}/image/headimg/https://h.example/teaser.png</b>" in relative
    assert f"<b>{PUBLIC}/image/content/http://h.example/g.png</b>" in relative
    assert f'src="{PUBLIC}/image/content/http://h.example/one.png"' in relative
    assert f'class="theme" src="{PUBLIC}/image/content/http://h.example/logo.png"' in relative
    assert "http://h.example/code.png" in relative.partition("<main>")[2]
    assert "<i>8 2021 中文\n124</i>" in relative
    assert "imgmirror: 13 addresses replaced" in said


def test_finished_site_is_rewritten_by_the_command_without_a_service(tmp_path: Path) -> None:
    build(tmp_path, base_url=PUBLIC)
    for source in wrapped_sources(article())[2:]:
        assert f'src="{PUBLIC}/image/content/{source}"' in page(tmp_path, "sample")
    assert f'class="theme" src="{PUBLIC}/image/content/' in page(tmp_path, "relative")
    assert not (tmp_path / "_site" / ".imgmirror").exists()


def test_service_that_does_not_answer_leaves_addresses_or_ends_the_build(
    tmp_path: Path, own_config: Path
) -> None:
    with Service(own_config) as service:
        base = service.base
    said = build(tmp_path, url=base)
    assert "pages keep addresses" in said
    assert "does not answer" in said
    assert f'src="{WORKER}' in page(tmp_path, "sample")
    assert "does not answer" in build(tmp_path, url=base, on_error="fail", code=1)


def test_addresses_of_this_machine_get_into_no_site(tmp_path: Path, own_config: Path) -> None:
    with Service(own_config) as service:
        assert "set server.public_url" in build(tmp_path, url=service.base)
        assert f'src="{WORKER}' in page(tmp_path, "sample")
        build(tmp_path, url=service.base, allow_loopback=True)
        assert f'src="{service.base}/image/content/' in page(tmp_path, "sample")


def test_unknown_option_ends_the_build(tmp_path: Path) -> None:
    assert "not known: tokn" in build(tmp_path, tokn="x", code=1)


def test_include_gives_addresses_without_the_plugin(tmp_path: Path) -> None:
    addresses = {
        f"{WORKER}http://h.example/中 a.png": f"{PUBLIC}/image/headimg/http://h.example/%E4%B8%AD%20a.png",
        "https://wsrv.nl/?w=3&url=h.example%2Fb.png&h=2": f"{PUBLIC}/image/headimg/http://h.example/b.png",
        "https://images.weserv.nl/?url=ssl:h.example/c.png": f"{PUBLIC}/image/headimg/https://h.example/c.png",
        "https://h.example/d.png": "https://h.example/d.png",
        "/e.png": "/e.png",
    }
    # The command is `true`: the site stays as the include made it.
    build(tmp_path, base_url=PUBLIC, command="true", addresses=tuple(addresses))
    assert "".join(f"<b>{ours}</b>" for ours in addresses.values()) in page(tmp_path, "includes")
