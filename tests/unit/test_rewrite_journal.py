"""The way back: journals, undo after edits, runs on top of each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rewriting import BASE, SOURCE, WRAPPED, ours, rewrite

from proxy.config import RewriteConfig
from proxy.rewrite.journal import Entry, Journal, JournalError, journal_for, merged, undo
from proxy.rewrite.rewriter import Rewriter

ARTICLE = f"![]({WRAPPED})\n\n[![]({WRAPPED})]({SOURCE})\n\n![](https://cors.io/?{SOURCE}?b)\n".encode()


def run(article: bytes, entries: list[Entry] | None = None) -> tuple[bytes, list[Entry]]:
    """Rewrite an article and keep its journal."""
    result = rewrite(article)
    return result.data, merged(entries or [], article, replaced=result.replaced, new_data=result.data)


def test_undo_after_edits_elsewhere_touches_only_addresses() -> None:
    """What was written before, between and behind the pictures survives."""
    data, entries = run(ARTICLE)
    edited = b"New.\n" + data.replace(b"\n\n", b"\n\nMore text.\n\n") + b"The end.\n"
    expected = b"New.\n" + ARTICLE.replace(b"\n\n", b"\n\nMore text.\n\n") + b"The end.\n"
    assert undo(edited, entries) == (expected, [])


def test_undo_reports_addresses_that_are_gone() -> None:
    """A picture that was taken out is reported; the others go back, each to its own spelling."""
    data, entries = run(ARTICLE)
    edited = data.replace(f"![]({ours()})\n\n[".encode(), b"[")
    back, missing = undo(edited, entries)
    assert back == ARTICLE.replace(f"![]({WRAPPED})\n\n[".encode(), b"[")
    assert [entry.old for entry in missing] == [WRAPPED.encode()]
    without = data.replace(ours(SOURCE + "?b").encode(), b"gone")
    assert [entry.old for entry in undo(without, entries)[1]] == [f"https://cors.io/?{SOURCE}?b".encode()]


def test_undo_leaves_addresses_that_it_did_not_write() -> None:
    """Our address that stood there before, and one that was added later, stay."""
    article = f"![a]({ours()}) ![b]({WRAPPED})\n".encode()
    data, entries = run(article)
    assert undo(data, entries) == (article, [])
    assert undo(data + f"![c]({ours()}?x)".encode(), entries)[0] == article + f"![c]({ours()}?x)".encode()


def test_undo_tells_spellings_of_one_address_apart_when_one_is_gone() -> None:
    """The text around decides which of several occurrences was which spelling."""
    article = f"one ![]({WRAPPED})\n\ntwo ![](https://cors.io/?{SOURCE})\n\nthree ![]({SOURCE})\n".encode()
    data, entries = run(article)
    edited = data.replace(f"one ![]({ours()})\n\n".encode(), b"")
    back, missing = undo(edited, entries)
    assert back == article.replace(f"one ![]({WRAPPED})\n\n".encode(), b"")
    assert [entry.old for entry in missing] == [WRAPPED.encode()]


def test_undo_does_not_mistake_a_longer_address() -> None:
    """An address that only begins like ours is another one."""
    data, entries = run(f"![]({WRAPPED})".encode())
    longer = data.replace(b")", b"2)")
    assert undo(longer, entries)[0] == longer


def test_undo_of_an_article_that_was_never_written_is_no_fault() -> None:
    """The journal is written first; after a crash the original is found as it was, and nothing is missing."""
    _, entries = run(ARTICLE)
    assert undo(ARTICLE, entries) == (ARTICLE, [])


def test_second_run_after_a_crash_does_not_double_the_journal() -> None:
    """Made anew is made once."""
    data, entries = run(ARTICLE)
    again, merged_entries = run(ARTICLE, entries)
    assert (again, merged_entries) == (data, entries)


def test_second_run_adds_new_pictures_in_their_place() -> None:
    """An article that grew is undone to the grown article with its original spellings."""
    data, entries = run(ARTICLE)
    grown = f"![]({WRAPPED})\n\n".encode() + data
    data, entries = run(grown, entries)
    assert undo(data, entries) == (f"![]({WRAPPED})\n\n".encode() + ARTICLE, [])


def test_new_base_keeps_the_first_spelling() -> None:
    """An article that moved from one mirror to another goes home to what it said first."""
    data, entries = run(ARTICLE)
    config = RewriteConfig(former_urls=(BASE,))
    moved = Rewriter(config, base_url="https://new.example").rewrite(data, kind="markdown")
    assert BASE.encode() not in moved.data
    entries = merged(entries, data, replaced=moved.replaced, new_data=moved.data)
    assert undo(moved.data, entries) == (ARTICLE, [])


def test_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Entries survive the file, bytes that are no UTF-8 included; the file is stable and made to be read."""
    article = tmp_path / "posts" / "a.md"
    entries = [Entry(b"http://h/\xcd\xbc", b"new", "![图](", ")"), Entry(b"old", b"new2")]
    journal = Journal(tmp_path)
    journal.write(article, entries)
    written = (tmp_path / ".imgmirror" / "rewrite" / "posts" / "a.md.json").read_bytes()
    assert journal.read(article) == entries
    journal.write(article, entries)
    assert (tmp_path / ".imgmirror" / "rewrite" / "posts" / "a.md.json").read_bytes() == written
    assert json.loads(written)["version"] == 1


def test_journal_without_entries_is_removed(tmp_path: Path) -> None:
    """When everything was put back, nothing is kept."""
    journal = Journal(tmp_path)
    journal.write(tmp_path / "a.md", [Entry(b"old", b"new")])
    journal.write(tmp_path / "a.md", [])
    assert not journal.holds(tmp_path / "a.md")
    assert journal.read(tmp_path / "a.md") == []


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{}", b'{"replaced": [1]}', b'{"replaced": [{"old": "x"}]}',
        b'{"replaced": [{"old": "", "new": ""}]}',
        b'{"replaced": [{"old": 1, "new": 2}]}', b"\xff", b"[" * 100_000, b'{"replaced": null}',
    ],
)  # fmt: skip
def test_damaged_journal_is_said_to_be_damaged(tmp_path: Path, content: bytes) -> None:
    """Whatever stands in the file, the fault has the file's name."""
    path = tmp_path / ".imgmirror" / "rewrite" / "a.md.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"a\.md\.json"):
        Journal(tmp_path).read(tmp_path / "a.md")


def test_journal_is_found_from_file_and_from_folder(tmp_path: Path) -> None:
    """A folder that was rewritten may be undone file by file, and the other way round."""
    article = tmp_path / "posts" / "a.md"
    assert journal_for(article, tmp_path).root == tmp_path
    Journal(tmp_path / "posts").write(article, [Entry(b"old", b"new")])
    assert journal_for(article, tmp_path).root == tmp_path / "posts"
