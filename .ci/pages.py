"""A hook of mkdocs: files outside docs/ that pages link to become pages of the site.

In the repository, `[deploy/nginx.conf](../deploy/nginx.conf)` opens the file. The site has no such file, so each one
that is linked gets a page below files/ that shows its text, and the link leads there. A link to a file that does not
exist stays as it is, so the strict build fails. Blocking.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

_LINK = re.compile(r"\]\((?P<target>[^)#:\s]+)(?P<heading>#[^)]*)?\)")
_LANGUAGES = {
    ".py": "python",
    ".toml": "toml",
    ".yml": "yaml",
    ".yaml": "yaml",
    ".json": "json",
    ".conf": "nginx",
}
_MOST = 60_000
"""Characters of one file that a page shows at most."""


def outside(page: str, target: str) -> str | None:
    """Return the path of a link from the top of the repository; None when it stays in docs/ or leads nowhere."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), target))
    elsewhere = not path.startswith(("docs/", ".."))
    return path if elsewhere and (ROOT / path).exists() else None


def page_of(path: str) -> str:
    """Return the page that shows a file or a folder."""
    return f"files/{path.replace('/', '-').lstrip('.')}.md"


def shown(path: str) -> str:
    """Return the text of the page for a file, or for a folder with its files."""
    place = ROOT / path
    if place.is_file():
        return f"# {path}\n\n{_fenced(place)}"
    files = sorted(inside for inside in place.iterdir() if inside.is_file())
    folders = sorted(inside.name for inside in place.iterdir() if inside.is_dir() and inside.name[0] != ".")
    listed = "".join(f"- `{path}/{name}/`\n" for name in folders if name != "__pycache__")
    return f"# {path}/\n\n{listed}\n" + "\n\n".join(f"## {file.name}\n\n{_fenced(file)}" for file in files)


def _fenced(path: Path) -> str:
    text = path.read_text(encoding="utf-8")[:_MOST].rstrip()
    return f"`````{_LANGUAGES.get(path.suffix, 'text')}\n{text}\n`````\n"


def on_files(files: Files, *, config: Any) -> Files:
    """Add a page for every file outside docs/ that a page links to."""
    for page in DOCS.rglob("*.md"):
        source = page.relative_to(DOCS).as_posix()
        for found in _LINK.finditer(page.read_text(encoding="utf-8")):
            path = outside(source, found["target"])
            if path and files.get_file_from_path(page_of(path)) is None:
                files.append(File.generated(config, page_of(path), content=shown(path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: Any, files: Files) -> str:
    """Lead links to files outside docs/ to their pages."""
    source = page.file.src_uri
    if source.startswith("files/"):
        return markdown

    def led(found: re.Match[str]) -> str:
        path = outside(source, found["target"])
        return (
            found[0] if path is None else f"]({posixpath.relpath(page_of(path), posixpath.dirname(source))})"
        )

    return _LINK.sub(led, markdown)
