"""The plugin `hexo-imgmirror` in the real Hexo 7 and 8: sites of the sample article and relatives are generated."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from generators import (
    INTEGRATIONS,
    PUBLIC,
    SAMPLE_HOST,
    SERVICE,
    TOKEN,
    WORKER,
    article,
    npm_packages,
    run,
    texts,
    wrapped_sources,
    write_tree,
)
from service import Service, write_config

pytestmark = [pytest.mark.integrations, pytest.mark.timeout(180)]

COMMAND = [sys.executable, "-m", "proxy"]
TWO = """\
---
title: A relative
date: 2021-07-27 08:00:00
tags: [a, b]
order: 7
cover: https://images.weserv.nl/?url=h.example/cover.png
hero: {src: "https://cors.zfour.workers.dev/?http://h.example/hero.png", link: https://blog.example/}
photos:
  - https://cors.zfour.workers.dev/?http://h.example/photo.png
---

![one](https://cors.zfour.workers.dev/?http://h.example/one.png) 中文

<!-- more -->

{% img https://cors.zfour.workers.dev/?http://h.example/tag.png %}

```html
<img src="https://cors.zfour.workers.dev/?http://h.example/code.png">
```
"""
THEME = {
    "themes/plain/layout/index.njk": (
        "{% for post in page.posts.toArray() %}<h1>{{ post.title }}</h1>{{ post.excerpt | safe }}{% endfor %}"
    ),
    "themes/plain/layout/page.njk": "{{ page.content | safe }}",
    "themes/plain/layout/post.njk": (
        "<title>{{ page.title }}</title><i>{{ page.order + 1 }} {{ page.date.year() }}</i>"
        '<img class="theme" src="{{ theme.avatar }}">'
        "{% for name in ['headimg', 'thumbnail', 'cover'] %}<b>{{ name }}={{ page[name] }}</b>{% endfor %}"
        "<b>hero={{ page.hero.src }} {{ page.hero.link }}</b><b>photos={{ page.photos }}</b>"
        "<main>{{ page.content | safe }}</main>"
    ),
    "themes/plain/_config.yml": f"avatar: {WORKER}http://h.example/avatar.png\n",
}


@dataclass(frozen=True)
class Site:
    """A Hexo site on the disk."""

    folder: Path
    hexo: Path

    def configure(self, **options: Any) -> Site:
        """Write `_config.yml` with the plugin's options."""
        config = {
            "title": "Site",
            "url": "https://blog.example",
            "theme": "plain",
            "highlight": {"enable": False},
            "syntax_highlighter": "",
            "imgmirror": {"token_env": "TOKEN_OF_TESTS", "command": COMMAND, **options},
        }
        text = yaml.safe_dump(config, allow_unicode=True)
        (self.folder / "_config.yml").write_text(text, encoding="utf-8")
        return self

    def run(self, *words: str, token: str = TOKEN, code: int = 0) -> str:
        program = self.hexo / "node_modules" / "hexo" / "bin" / "hexo"
        return run("node", program, *words, cwd=self.folder, environment={"TOKEN_OF_TESTS": token}, code=code)

    def page(self, name: str) -> str:
        return (self.folder / "public" / name / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(write_config(tmp_path_factory.mktemp("mirror"), SERVICE)) as service:
        yield service


@pytest.fixture(params=["hexo7", "hexo8"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """A site of each Hexo, with the plugin as npm would install it and our command as its command."""
    return made(tmp_path, npm_packages(request.param))


@pytest.fixture
def newest(tmp_path: Path) -> Site:
    """A site of the newest Hexo, for what is the plugin's own work."""
    return made(tmp_path, npm_packages("hexo8"))


def made(tmp_path: Path, hexo: Path) -> Site:
    packages = json.loads((hexo / "package.json").read_text())["dependencies"]
    names = {name: version for name, version in packages.items() if not name.startswith("hexo-theme")}
    write_tree(
        tmp_path,
        {
            "package.json": json.dumps(
                {
                    "name": "site",
                    "hexo": {"version": ""},
                    "dependencies": {**names, "hexo-imgmirror": "*"},
                }
            ),
            "source/_posts/one.md": article(),
            "source/_posts/two.md": TWO,
            "source/about/index.md": f"---\ntitle: About\nlayout: page\n---\n![]({WORKER}http://h.example/about.png)\n",
            **THEME,
        },
    )
    modules = tmp_path / "node_modules"
    modules.mkdir()
    for package in (hexo / "node_modules").iterdir():
        if not package.name.startswith("."):
            (modules / package.name).symlink_to(package)
    plugin = json.loads((INTEGRATIONS / "hexo" / "package.json").read_text())
    for name in ["package.json", *plugin["files"]]:
        copy = shutil.copytree if (INTEGRATIONS / "hexo" / name).is_dir() else shutil.copy
        (modules / "hexo-imgmirror").mkdir(exist_ok=True)
        copy(INTEGRATIONS / "hexo" / name, modules / "hexo-imgmirror" / name)
    return Site(tmp_path, hexo)


def test_generated_posts_and_front_matter_point_at_the_mirror(site: Site, mirror: Service) -> None:
    """Each key with its preset, the excerpt with the content, what is no picture and what is code as it was."""
    said = site.configure(url=mirror.base).run("generate")
    one, two = site.page("2021/07/26/one"), site.page("2021/07/27/two")
    source = wrapped_sources(article())[0]
    assert f"<b>headimg={PUBLIC}/image/headimg/{source}</b>" in one
    assert f"<b>thumbnail={PUBLIC}/image/thumbnail/{source}</b>" in one
    for shown in wrapped_sources(article())[2:]:
        assert f'src="{PUBLIC}/image/content/{shown}"' in one
    assert f"{WORKER}{SAMPLE_HOST}" not in one
    assert f"<b>cover={PUBLIC}/image/headimg/http://h.example/cover.png</b>" in two
    assert f"<b>hero={PUBLIC}/image/headimg/http://h.example/hero.png https://blog.example/</b>" in two
    assert f"<b>photos={PUBLIC}/image/content/http://h.example/photo.png</b>" in two
    assert f'<img src="{PUBLIC}/image/content/http://h.example/one.png" alt="one"> 中文' in two
    assert f"{PUBLIC}/image/content/http://h.example/tag.png" in two
    assert f"{WORKER}http://h.example/code.png" in two
    assert "<i>8 2021</i>" in two
    assert f"{PUBLIC}/image/content/http://h.example/one.png" in (
        site.folder / "public" / "index.html"
    ).read_text(encoding="utf-8")
    assert f"{PUBLIC}/image/content/http://h.example/about.png" in site.page("about")
    assert f"{WORKER}http://h.example/avatar.png" in two, "the theme's, without `pages`"
    assert "imgmirror: 13 addresses replaced in 3 texts" in said
    assert (site.folder / "source" / "_posts" / "one.md").read_text(encoding="utf-8") == article()


def test_generated_pages_point_at_the_mirror_where_the_theme_shows_pictures(
    site: Site, mirror: Service
) -> None:
    site.configure(url=mirror.base, pages=True).run("generate")
    two = site.page("2021/07/27/two")
    assert f'<img class="theme" src="{PUBLIC}/image/content/http://h.example/avatar.png">' in two
    assert texts(site.folder / "public").count(WORKER) == 1, "the code"


def test_generated_pages_are_rewritten_by_one_run_of_the_command_without_a_service(newest: Site) -> None:
    said = newest.configure(base_url=PUBLIC, pages=True).run("generate")
    two = newest.page("2021/07/27/two")
    assert f'<img class="theme" src="{PUBLIC}/image/content/http://h.example/avatar.png">' in two
    assert f'src="{WORKER}' not in texts(newest.folder / "public")
    assert f"{WORKER}http://h.example/code.png" in two
    assert "addresses replaced" in said


def test_dead_service_leaves_addresses_and_the_next_build_makes_them_good(
    site: Site, own_config: Path
) -> None:
    write_config(own_config.parent, SERVICE)
    with Service(own_config) as service:
        base, port = service.base, service.port
    said = site.configure(url=base).run("generate")
    assert "WARN  imgmirror: 3 texts keep their addresses" in said
    assert "ECONNREFUSED" in said
    assert f"<b>headimg={WORKER}" in site.page("2021/07/26/one")
    with Service(own_config, port=port):
        assert "imgmirror: 13 addresses replaced" in site.run("generate")
    assert f"<b>headimg={PUBLIC}" in site.page("2021/07/26/one")
    assert f"{PUBLIC}/image/content/http://h.example/one.png" in site.page("2021/07/27/two")


def test_dead_service_ends_the_build_where_that_is_asked(newest: Site, own_config: Path) -> None:
    with Service(own_config) as service:
        base = service.base
    said = newest.configure(url=base, on_error="fail").run("generate", code=2)
    assert "does not answer: ECONNREFUSED" in said
    assert not (newest.folder / "public" / "index.html").exists()


def test_wrong_token_is_said_once(newest: Site, mirror: Service) -> None:
    said = newest.configure(url=mirror.base).run("generate", token="another")
    assert "the service answered 401 unauthorized" in said
    assert f"<b>headimg={WORKER}" in newest.page("2021/07/26/one")


def test_addresses_of_this_machine_get_into_no_site(newest: Site, own_config: Path) -> None:
    """A service without a public address writes its own; where that is asked for, it may."""
    with Service(own_config) as service:
        said = newest.configure(url=service.base).run("generate")
        assert "set server.public_url" in said
        assert f"<b>headimg={WORKER}" in newest.page("2021/07/26/one")
        newest.configure(url=service.base, allow_loopback=True).run("generate")
        assert f"<b>headimg={service.base}/image/headimg/" in newest.page("2021/07/26/one")


def test_unknown_option_ends_the_build(newest: Site) -> None:
    said = newest.configure(tokn="x").run("generate", code=2)
    assert "tokn is not known" in said


def test_console_rewrites_checks_and_undoes_the_source_files(site: Site) -> None:
    site.configure(base_url=PUBLIC)
    post = site.folder / "source" / "_posts" / "one.md"
    before = post.read_bytes()
    site.run("imgmirror", "rewrite")
    assert post.read_bytes() == before.replace(
        f"headimg: '{WORKER}".encode(), f"headimg: '{PUBLIC}/image/headimg/".encode()
    ).replace(f"thumbnail: '{WORKER}".encode(), f"thumbnail: '{PUBLIC}/image/thumbnail/".encode()).replace(
        WORKER.encode(), f"{PUBLIC}/image/content/".encode()
    )
    site.run("imgmirror", "check")
    site.run("imgmirror", "undo")
    assert post.read_bytes() == before
    site.run("imgmirror", "check", code=1)
    assert "Use: hexo imgmirror" in site.run("imgmirror", "wrong", code=2)
