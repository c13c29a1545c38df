"""Laws of rewriting on real articles and on CommonMark's examples (corpus)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from rewriting import rewrite

from proxy.rewrite.base.layers import decode_markdown
from proxy.rewrite.commonmark.inline import InlineScanner
from proxy.rewrite.ondisk.journal import merged, undo

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "articles"
CLOUDINARY = "https://res.cloudinary.com/dimaslanjaka/image/fetch/"
EXAMPLE = re.compile(r"^`{32} example\n(.*?)^\.\n.*?^`{32}$", re.MULTILINE | re.DOTALL)

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the article corpus is not beside the project"),
]


def articles() -> list[Path]:
    """Return the corpus' articles."""
    return sorted(CORPUS.rglob("*.md"))


class PlainReader(MarkdownIt):
    """CommonMark with addresses as they are written."""

    def normalizeLink(self, url: str) -> str:  # noqa: N802 - the library's name
        return url

    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        del url
        return True


def reader() -> MarkdownIt:
    """Return a Markdown reader that leaves addresses as they are."""
    return PlainReader("commonmark").enable("table")


def escaped(address: str) -> str:
    """Return an address as the renderer writes it."""
    return address.replace("&amp;", "&").replace("&", "&amp;")


@pytest.mark.parametrize("all_images", [False, True])
def test_laws_hold_on_real_articles(*, all_images: bool) -> None:
    """Twice is once, undo gives the bytes back, and only the listed ranges change."""
    replaced = 0
    for path in articles():
        data = path.read_bytes()
        result = rewrite(data, all_images=all_images)
        replaced += len(result.replaced)
        assert rewrite(result.data, all_images=all_images).data == result.data, path
        entries = merged([], data, replaced=result.replaced, new_data=result.data)
        assert undo(result.data, entries) == (data, []), path
    assert replaced > 150


def test_code_of_real_articles_stays() -> None:
    """The parts that a Markdown reader calls code are the same before and after."""
    parser = reader()
    for path in articles():
        data = path.read_bytes()
        after = rewrite(data, all_images=True).data
        assert list(_code(parser, data)) == list(_code(parser, after)), path


def test_rendered_article_differs_only_in_addresses() -> None:
    """After every new address is put back, the rendered HTML equals the former one."""
    parser = reader()
    for path in articles():
        data = path.read_bytes()
        result = rewrite(data)
        html = parser.render(result.data.decode("utf-8", "replace"))
        for item in sorted(result.replaced, key=lambda item: len(item.new), reverse=True):
            old, new = item.old.decode(), item.new.decode()
            html = html.replace(escaped(new), escaped(old)).replace(new, old)
        before = parser.render(data.decode("utf-8", "replace"))
        # One picture may have stood there by a wrapper and, in a link, bare: both have one new address.
        assert html.replace(CLOUDINARY, "") == before.replace(CLOUDINARY, ""), path


def test_inline_scanner_agrees_with_markdown_it_on_the_specification() -> None:
    """The same images, links and HTML tags in all examples of CommonMark."""
    examples = EXAMPLE.findall((CORPUS / "commonmark-spec.txt").read_text(encoding="utf-8"))
    assert len(examples) > 600
    for example in examples:
        _compare(example.replace("→", "\t").encode().decode("latin-1"))


def _compare(example: str) -> None:
    environment: dict[str, dict[str, dict[str, str]]] = {}
    tokens = reader().parse(example, environment)
    references = environment.get("references", {})

    def is_defined(label: str) -> bool:
        return _normal(label) in references

    for token in tokens:
        if token.type != "inline":
            continue
        expected = []
        for child in token.children or []:
            if child.type == "html_inline":
                expected.append(("html", child.content))
            elif child.type in ("image", "link_open"):
                address = str(child.attrs.get("src", child.attrs.get("href")))
                if not (child.markup == "autolink" and address.startswith("mailto:")):
                    expected.append((child.type.removesuffix("_open"), address))
        found = []
        # Bare addresses are links in GFM, not in CommonMark.
        for item in (item for item in InlineScanner(token.content, is_defined).scan() if item.kind != "bare"):
            text = token.content[item.start : item.end]
            if item.kind.startswith("reference"):
                found.append((item.kind.split()[1], references[_normal(text)]["href"]))
            elif item.kind == "autolink":
                found.append(("link", text))
            else:
                found.append((item.kind, text if item.kind == "html" else decode_markdown(text)))
        if "&" not in token.content:
            assert sorted(found) == sorted(expected), example


def _normal(label: str) -> str:
    return re.sub(r"\s+", " ", label.strip()).lower().upper()


def _code(parser: MarkdownIt, data: bytes) -> Iterator[str]:
    for token in parser.parse(data.decode("utf-8", "replace")):
        if token.type in ("fence", "code_block"):
            yield token.content
        for child in token.children or []:
            if child.type == "code_inline":
                yield child.content
