"""A real Hexo blog with the theme volantis: the sample article, twenty relatives, a server for the finished site."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from generators import SAMPLE_HOST, article, npm_packages, run, wrapped_sources, write_tree
from pictures import chart_png, photo, photo_jpeg, saved

PACKAGES = "hexo7"
PICTURES: dict[str, tuple[bytes, str]] = {
    "/p/wide.jpg": (photo_jpeg(1600, 900), "image/jpeg"),
    "/p/tall.jpg": (photo_jpeg(700, 1000), "image/jpeg"),
    "/p/chart.png": (chart_png(1200, 760, seed=1), "image/png"),
    "/p/small chart.png": (chart_png(536, 320, seed=2), "image/png"),
    "/p/图.png": (chart_png(760, 430, seed=3), "image/png"),
    "/p/photo.webp": (saved(photo(1000, 640), "WEBP"), "image/webp"),
    "/p/query.png?x=1&y=2": (chart_png(900, 500, seed=4), "image/png"),
}
"""The origin's pictures by the path that articles write."""

_FORMS = (
    '<p style="text-align:center"><img src="{url}" alt="{alt}" width="536" referrerpolicy="no-referrer"></p>',
    "\n\n![{alt}](<{url}>)\n\n",
    "\n\n{{% image {url}, alt={alt} %}}\n\n",
    "\n\n<figure><img src='{url}' alt='{alt}'><figcaption>{alt}</figcaption></figure>\n\n",
    "\n\n{{% gallery %}}\n![{alt}](<{url}>)\n{{% endgallery %}}\n\n",
)
"""How the relatives show a picture: as in the sample, in Markdown, by volantis' tag, as a figure, in its gallery."""

STYLE_SHEET = '<link rel="stylesheet" href="/css/style.css">\n'
SHORT = re.compile(r"<p [^>]*><img [^>]*></p>")


def escaped(path: str) -> str:
    """Return a path as the origin receives it."""
    return "".join(
        char if char.isascii() and char != " " else "".join(f"%{byte:02X}" for byte in char.encode())
        for char in path
    )


def _shown_in_form(form: str, shown: re.Match[str]) -> str:
    return _in_form(shown[0], form)


def posts(origin: str) -> dict[str, str]:
    """Return the articles by name; their pictures come from `origin` through the sample's worker."""
    paths = list(PICTURES)
    found = {"sample": _moved(article(), origin, paths)}
    for number in range(20):
        turned = paths[number % len(paths) :] + paths[: number % len(paths)]
        text = _moved(article(), origin, turned)
        form = _FORMS[number % len(_FORMS)]
        text = SHORT.sub(functools.partial(_shown_in_form, form), text)
        text = text.replace("title: '", f"title: 'Relative {number}: ").replace("11:54", f"11:{number + 10}")
        found[f"relative-{number:02}"] = text if number % 2 else _opened(text)
    return found


def _moved(text: str, origin: str, paths: list[str]) -> str:
    """Return the sample with its pictures replaced by those of the origin."""
    for place, source in enumerate(dict.fromkeys(wrapped_sources(text))):
        assert source.startswith(SAMPLE_HOST)
        text = text.replace(source, origin + paths[place % len(paths)])
    return text


def _in_form(shown: str, form: str) -> str:
    url, alt = re.findall(r' (?:src|alt)="([^"]*)"', shown)
    # A tag of volantis ends an address at a space.
    return form.format(url=escaped(url), alt=alt)


def _opened(text: str) -> str:
    """Return an article whose text is Markdown instead of one block of HTML."""
    return text.replace("<div>   \n", "").replace("</div>", "")


def build(folder: Path, *, texts: dict[str, str], lazy: bool, plugin: dict[str, Any] | None = None) -> Path:
    """Build the blog; return the folder of the finished site.

    `lazy`: as the theme is shipped, with its own lazy loader. Otherwise as docs/responsive.md says: without the loader,
    and with the style sheet before the first paint. Files that volantis takes from a CDN come from this machine, or are
    missing.
    """
    packages = npm_packages(PACKAGES)
    names = json.loads((packages / "package.json").read_text())["dependencies"]
    config = {
        "title": "Blog",
        "url": "http://127.0.0.1",
        "theme": "volantis",
        "language": "zh-CN",
        "syntax_highlighter": "",
        **({"imgmirror": plugin} if plugin else {}),
    }
    theme = {
        "debug": False,
        "volantis_static_cdn": "/static/",
        "dns_prefetch": [],
        "cover": {"display": {"home": False, "archive": False}, "background": ""},
        # With only a table of contents in it, the theme removes the column from articles without headings later.
        "sidebar": {"for_post": ["category"]},
        "plugins": {"lazyload": {"enable": lazy}, "preload": {"enable": False}},
    }
    write_tree(
        folder,
        {
            "package.json": json.dumps({"name": "blog", "hexo": {"version": ""}, "dependencies": names}),
            "_config.yml": yaml.safe_dump(config, allow_unicode=True),
            "_config.volantis.yml": yaml.safe_dump(theme),
            "source/_volantis/headEnd.ejs": "" if lazy else STYLE_SHEET,
            **{f"source/_posts/{name}.md": text for name, text in texts.items()},
        },
    )
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(packages / "node_modules")
    run("node", packages / "node_modules" / "hexo" / "bin" / "hexo", "generate", cwd=folder)
    loader = packages / "node_modules" / "vanilla-lazyload" / "dist" / "lazyload.min.js"
    there = folder / "public" / "static" / "libs" / "vanilla-lazyload" / "dist" / "lazyload.min.js"
    there.parent.mkdir(parents=True, exist_ok=True)
    there.write_bytes(loader.read_bytes())
    return folder / "public"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Report nothing: a browser that leaves a page drops its requests."""


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Log nothing: requests are no output of a test."""


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback; yield its address."""
    handler = functools.partial(_Handler, directory=str(folder))
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def pages(site: Path) -> list[str]:
    """Return the paths of the pages that show articles: the posts, then the lists."""
    found = [path.parent.relative_to(site).as_posix() for path in site.rglob("index.html")]
    posts_first = sorted(found, key=lambda name: (not name.startswith("20"), name))
    return [f"/{name}/".replace("/./", "/") for name in posts_first]
