"""References in code and documents are valid: pages, the headings named with them, decisions and their numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("proxy", "cache", "tests", "benchmarks", "docs", "changes", "integrations", "deploy", ".ci")
FILES = ("README.md", "Makefile", "config.toml", "pyproject.toml")
SUFFIXES = {".py", ".md", ".toml", ".mjs", ".js", ".jinja", ".html", ""}
INSTALLED = {"node_modules", "__pycache__"}

PAGE = re.compile(r"\bdocs/(?:[a-z0-9-]+/)*[a-z0-9-]+\.(?:md|toml|png)\b")
HEADING = re.compile(r'\b(docs/[a-z0-9/-]+\.md), "([^"]+)"')
DECISION = re.compile(r"\b[Dd]ecisions? (\d+)\b")
MODULE = re.compile(r"`((?:[\w-]+/)+[\w-]+\.py)`")
"""A module as pages name it: its path, or the last parts of it."""
ELSEWHERE = re.compile(r"product\.md|\bof section \d[\d.]*")
"""Names of a contract that this repository does not hold."""

PUBLISHED = re.compile(r"\bRFC \d+|\b(?:specification|standard)\b|\b(?:WHATWG|W3C|ISO|ITU|Unicode)\b")
"""What a sentence names that cites a section of a text which everybody can read."""

EXAMPLES = {"docs/why.md"}
"""Pages that a test makes up."""


def texts() -> Iterator[tuple[Path, str]]:
    """Yield every text of ours except this one, with its path."""
    paths = [
        path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.suffix in SUFFIXES
    ]
    for path in [*paths, *(ROOT / name for name in FILES)]:
        if path.is_file() and path != Path(__file__) and not INSTALLED & set(path.parts):
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8")


TEXTS = dict(texts())


def test_page_that_is_named_exists() -> None:
    """This covers docstrings, comments, messages and documents."""
    named = {(name, path) for path, text in TEXTS.items() for name in PAGE.findall(text)}
    assert not {
        (name, str(path)) for name, path in named if name not in EXAMPLES and not (ROOT / name).exists()
    }


@pytest.mark.parametrize("page", ["architecture.md", "contributing.md", "style.md"])
def test_file_that_a_page_about_the_code_names_exists(page: str) -> None:
    """Recipes are followed word by word: every path in code below `proxy`, `cache`, `tests` or `changes` is there."""
    named = set(re.findall(r"`((?:proxy|cache|tests|changes)/[\w./-]+)`", TEXTS[Path("docs", page)]))
    assert not {name for name in named if not (ROOT / name).exists()}


def test_heading_that_is_named_exists_in_its_page() -> None:
    """`docs/api.md, "Errors"` names a heading of that page, over a line break, too."""
    lost = set()
    for path, text in TEXTS.items():
        for page, heading in HEADING.findall(re.sub(r"\s+(?:# )?", " ", text)):
            if not re.search(rf"^#+ {re.escape(heading)}$", TEXTS[Path(page)], re.MULTILINE):
                lost.add((page, heading, str(path)))
    assert not lost


def test_decision_that_is_named_exists() -> None:
    numbers = {path.name[:4] for path in (ROOT / "docs" / "decisions").glob("*.md")}
    lost = {
        (number, str(path))
        for path, text in TEXTS.items()
        for number in DECISION.findall(text)
        if number.zfill(4) not in numbers
    }
    assert not lost


def test_module_that_a_page_names_exists() -> None:
    """`svg/css.py` is the end of a path of this repository, as whole paths are."""
    paths = [f"/{path}" for path in (*TEXTS, Path(__file__).relative_to(ROOT))]
    named = {
        (name, path) for path, text in TEXTS.items() if path.suffix == ".md" for name in MODULE.findall(text)
    }
    assert len(named) > 50
    assert not {
        (name, str(path)) for name, path in named if not any(found.endswith(f"/{name}") for found in paths)
    }


def elsewhere(text: str) -> list[str]:
    """Return what a text cites of a contract that is not here; sections of published texts may be cited."""
    if not ELSEWHERE.search(re.sub(r"\s+(?:# )?", " ", text)):
        return []
    sentences = re.split(r"(?<=[.:;])\s+|\n\s*\n", text)
    return [
        found
        for sentence in (re.sub(r"\s+(?:# )?", " ", part) for part in sentences)
        for found in ELSEWHERE.findall(sentence)
        if found == "product.md" or not PUBLISHED.search(sentence)
    ]


def test_no_text_refers_to_a_contract_that_is_not_here() -> None:
    lost = {(found, str(path)) for path, text in TEXTS.items() for found in elsewhere(text)}
    assert not lost, "name the page of docs/, or the RFC or specification in the same sentence"


@pytest.mark.parametrize(
    "text",
    [
        "The rules of section 4.2 of RFC 9111 hold.",
        "RFC 9110 says in the second paragraph of section 8.8\n    # that it is weak.",
        "The signature of section 5.2 of the PNG specification comes first.",
    ],
)
def test_section_of_a_published_text_may_be_cited(text: str) -> None:
    assert elsewhere(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "Errors of section 6 are told.",
        "Errors of\n    # section 6 are told.",
        "RFC 9111 is one thing. The limits of section 4 are another.",
        "As product.md has it, beside RFC 9110.",
    ],
)
def test_section_of_a_text_that_is_not_here_is_found(text: str) -> None:
    assert elsewhere(text)


def slug(heading: str) -> str:
    """Return the anchor that renderers of Markdown give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [path for path in TEXTS if path.suffix == ".md"], ids=str)
def test_anchor_of_a_link_is_a_heading_of_its_page(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)#([^)\s]+)\)", TEXTS[page]):
        there = (
            TEXTS[Path((ROOT / page.parent / target).resolve().relative_to(ROOT))] if target else TEXTS[page]
        )
        assert anchor in map(slug, re.findall(r"^#+ (.+)$", there, re.MULTILINE)), (target, anchor)
