"""Built sites for tests of exporting, and a link check that shares no code with the exporter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

_ONE = {"src", "href", "poster", "data-src", "data-original", "background", "action"}
_SRCSETS = {"srcset", "imagesrcset", "data-srcset"}
_CSS_URL = re.compile(r"url\(\s*[\"']?([^\"')]+)[\"']?\s*\)|@import\s+[\"']([^\"']+)")


def write_site(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write the files of a site; return its folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


class _Addresses(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.base = ""
        self._style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._style = tag == "style"
        for name, value in attrs:
            text = (value or "").strip()
            if tag == "base" and name == "href":
                self.base = text
            elif name in _ONE:
                self.found.append(text)
            elif name in _SRCSETS:
                self.found += [candidate.split()[0] for candidate in text.split(", ") if candidate.strip()]
            elif name == "style":
                self.found += _in_css(text)

    def handle_data(self, data: str) -> None:
        if self._style:
            self.found += _in_css(data)
            self._style = False


def _in_css(text: str) -> list[str]:
    return [match[1] or match[2] for match in _CSS_URL.finditer(text)]


def addresses_of(path: Path) -> tuple[str, list[str]]:
    """Return the base and the addresses of a page or a style sheet."""
    text = path.read_text("utf-8", "surrogateescape")
    if path.suffix == ".css":
        return "", _in_css(text)
    parser = _Addresses()
    parser.feed(text)
    return parser.base, parser.found


def broken_links(out: Path) -> Iterator[str]:
    """Yield the addresses in pages and style sheets below `out` that name no file there, or begin at a root.

    Addresses of other hosts are left out; `foreign_addresses` returns them.
    """
    for path in sorted(out.rglob("*")):
        if path.suffix not in {".html", ".css", ".xhtml"}:
            continue
        base, found = addresses_of(path)
        for address in found:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or not parts.path:
                continue
            page = "http://x/" + path.relative_to(out).as_posix()
            target = out / unquote(urlsplit(urljoin(urljoin(page, base), address)).path).lstrip("/")
            if address.startswith("/") or not target.is_file():
                yield f"{path.relative_to(out)}: {address}"


def foreign_addresses(out: Path) -> set[str]:
    """Return the addresses of other hosts in the pages and style sheets below `out`."""
    found: set[str] = set()
    for path in out.rglob("*"):
        if path.suffix in {".html", ".css", ".xhtml"}:
            found |= {text for text in addresses_of(path)[1] if urlsplit(text).netloc}
    return found
