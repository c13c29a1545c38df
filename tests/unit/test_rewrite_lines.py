"""In which lines of its file an article shows each of its sources: for `warm`, `rewrite --write` and `--undo`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from rewriting import BASE, SOURCE, WORKER, WRAPPED, rewrite

from cache.originals import articles
from proxy.config import Config
from proxy.rewrite.base.result import MAX_LINES
from proxy.rewrite.ondisk.files import find_articles, find_texts
from proxy.rewrite.rewriter import TextKind
from proxy.services.articles.article_use import RewriteSettings
from proxy.services.articles.rewritetree import FEW_BYTES, Run
from proxy.services.articles.treework import Action, ArticleJob, Task
from proxy.services.warm.gathering import gather

OTHER = "http://h.example/b.png"
SETTINGS = RewriteSettings.of(Config(), base_url=BASE)


def lines(article: str | bytes, *, kind: TextKind = "markdown", **words: Any) -> dict[str, tuple[int, ...]]:
    found = rewrite(article, kind=kind, **words).pictures
    return {picture.source.url: picture.lines for picture in found}


def recorded(folder: Path, action: Action, **words: Any) -> dict[str, dict[str, tuple[int, ...]]]:
    """Write the articles of a folder, or put them back; return by file name which lines are recorded."""
    task = Task(action, str(folder), write=True, records=True)
    paths = [*find_articles([folder]), *find_texts([folder], max_bytes=1 << 20)]
    with Run(SETTINGS, task, **words) as run:
        done = list(run.outcomes(map(ArticleJob, paths)))
    return {job.article.path.name: dict(outcome.used) for job, outcome in done}


def places(path: Path, addresses: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return the lines of a file that contain each address, as an editor counts them."""
    rows = path.read_bytes().decode().splitlines()
    return {one: tuple(n for n, row in enumerate(rows, start=1) if one in row) for one in addresses}


def test_picture_shown_twice_has_both_lines() -> None:
    article = f"![]({WRAPPED})\n\ntext\n\n![]({WRAPPED}) and ![]({WRAPPED})\n\n[other]: {WORKER}{OTHER}\n![][other]\n"
    assert lines(article) == {SOURCE: (1, 5), OTHER: (7,)}


def test_wrapped_and_bare_addresses_of_a_picture_are_counted_together() -> None:
    article = f"![]({WRAPPED})\n\n![]({SOURCE})\n\n![]({BASE}/image/content/{SOURCE})\n"
    assert lines(article) == {SOURCE: (1, 3, 5)}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_by_every_line_end(end: str) -> None:
    article = end.join(["---", "title: x", f"cover: {WRAPPED}", "---", "", f"![]({WORKER}{OTHER})", ""])
    assert lines(article) == {SOURCE: (3,), OTHER: (6,)}


def test_line_of_an_address_is_that_where_it_begins_and_not_its_attribute() -> None:
    """A srcset has several candidates on several lines, and a value may begin with empty lines."""
    article = f'<img alt="x"\n src="\n  {WRAPPED}"\n srcset="{WRAPPED} 1x,\n   {WORKER}{OTHER} 2x,\n   {WRAPPED} 3x">\n'
    assert lines(article, kind="html") == {SOURCE: (3, 4, 6), OTHER: (5,)}


def test_lines_of_an_article_that_is_not_utf8_are_those_of_its_bytes() -> None:
    article = f"図\n表\n\n![図]({WRAPPED})\n".encode("cp932")
    assert lines(article) == {SOURCE: (4,)}


def test_address_in_code_has_no_line() -> None:
    article = f"![]({WRAPPED})\n\n```\n![]({WRAPPED})\n```\n"
    assert lines(article) == {SOURCE: (1,)}


def test_only_the_first_lines_of_a_picture_are_listed() -> None:
    article = f"![]({WRAPPED})\n" * (MAX_LINES + 5)
    assert lines(article)[SOURCE] == tuple(range(1, MAX_LINES + 1))


def test_store_records_as_many_lines_as_the_rewriter_lists() -> None:
    assert articles.MAX_LINES == MAX_LINES


@pytest.mark.parametrize("length", [0, FEW_BYTES], ids=["in this process", "in others"])
def test_lines_of_gathered_articles_are_known_in_any_process(tmp_path: Path, length: int) -> None:
    (tmp_path / "a.md").write_text(f"---\nimage: {WRAPPED}\n---\n\n![]({WRAPPED})\n" + "x" * length)
    (tmp_path / "b.md").write_text("nothing\n")
    (tmp_path / "links.yml").write_text(f"a: 1\navatar: {WORKER}{OTHER}\n")
    found = gather([tmp_path], SETTINGS)
    assert found.lines == {"a.md": {SOURCE: (2, 5)}, "b.md": {}, "links.yml": {OTHER: (2,)}}


@pytest.mark.parametrize("words", [{}, {"few_bytes": 0, "processors": 2}], ids=["one process", "two"])
def test_lines_after_write_and_undo_are_those_of_the_written_files(tmp_path: Path, words: Any) -> None:
    """Addresses with line breaks inside move what follows them."""
    broken = WRAPPED.replace("/a", "/\n\na")
    article = tmp_path / "a.html"
    before = f'<img src="{broken}">\n<p><img src="{WORKER}{OTHER}">\n'
    article.write_text(before)
    (tmp_path / "plain.md").write_text(f"x\r\n\r\n![]({WRAPPED})\r\n", newline="")
    assert lines(before, kind="html") == {SOURCE: (1,), OTHER: (4,)}
    written = recorded(tmp_path, "rewrite", **words)
    assert written["a.html"] == {SOURCE: (1,), OTHER: (2,)} == places(article, [SOURCE, OTHER])
    assert written["plain.md"] == {SOURCE: (3,)}
    put_back = recorded(tmp_path, "undo", **words)
    assert article.read_text() == before
    assert put_back["a.html"] == {SOURCE: (1,), OTHER: (4,)}
    assert put_back["plain.md"] == {SOURCE: (3,)}


def test_run_that_records_nothing_reads_no_lines_again(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(f"![]({WRAPPED})\n")
    with Run(SETTINGS, Task("rewrite", str(tmp_path), write=True)) as run:
        ((_, outcome),) = run.outcomes(map(ArticleJob, find_articles([tmp_path])))
    assert outcome.used == ()
