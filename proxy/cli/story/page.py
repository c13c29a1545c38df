"""The result page of the demo: the rewritten article as in a blog, with a table of sizes before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jinja2
import yaml
from markdown_it import MarkdownIt

from proxy.rewrite.front.frontmatter import find_front_matter


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table of sizes; `share` is the size after divided by the size before, 0-1."""

    name: str
    before: str
    after: str
    share: str


def article_page(article: bytes, *, lines: Sequence[Line], service_url: str) -> bytes:
    """Return the page of a rewritten article."""
    front, body = _parts(article)
    environment = jinja2.Environment(loader=jinja2.PackageLoader("proxy.cli"), autoescape=True)
    page = environment.get_template("demo.html").render(
        title=front.get("title", ""),
        headimg=front.get("headimg", ""),
        thumbnail=front.get("thumbnail", ""),
        date=front.get("date", ""),
        author=front.get("author", ""),
        body=MarkdownIt("commonmark", {"html": True}).render(body),
        lines=lines,
        service_url=service_url,
    )
    return page.encode("utf-8")


def _parts(article: bytes) -> tuple[Mapping[str, object], str]:
    text = article.decode("latin-1")
    front = find_front_matter(text)
    if front is None:
        return {}, article.decode("utf-8")
    known = yaml.safe_load(article[front.start : front.end])
    return (known if isinstance(known, dict) else {}), article[front.body :].decode("utf-8")
