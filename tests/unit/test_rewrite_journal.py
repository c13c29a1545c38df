"""The way back: journals, undo after edits, runs on top of each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rewriting import BASE, SOURCE, WRAPPED, ours, rewrite

from proxy.config import RewriteConfig
from proxy.rewrite.ondisk.apply import journaled_elsewhere, rewrite_file, undo_file
from proxy.rewrite.ondisk.files import ArticleFile, find_articles
from proxy.rewrite.ondisk.journal import Journal, JournalError, RewrittenAddress, journal_for, merged, undo
from proxy.rewrite.rewriter import Rewriter

ARTICLE = f"![]({WRAPPED})\n\n[![]({WRAPPED})]({SOURCE})\n\n![](https://cors.io/?{SOURCE}?b)\n".encode()


def run(
    article: bytes, entries: list[RewrittenAddress] | None = None
) -> tuple[bytes, list[RewrittenAddress]]:
    """Rewrite an article and keep its journal."""
    result = rewrite(article)
    return result.data, merged(entries or [], article, replaced=result.replaced, new_data=result.data)


def test_undo_after_edits_elsewhere_touches_only_addresses() -> None:
    """Edits before, between and after the pictures survive."""
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


REWRITER = Rewriter(RewriteConfig(), base_url=BASE)


def written(root: Path, article: str) -> ArticleFile:
    """Rewrite an article on disk."""
    path = root / "a.md"
    path.write_text(article)
    (found,) = find_articles([path])
    rewrite_file(found, REWRITER, write=True)
    return found


def test_undo_of_an_article_that_was_never_written_finds_nothing_missing(tmp_path: Path) -> None:
    """The journal is written first. After a crash the article is unchanged, and undo counts nothing."""
    article = written(tmp_path, ARTICLE.decode())
    article.path.write_bytes(ARTICLE)
    undone = undo_file(article, REWRITER, write=True)
    assert (undone.new_data, undone.count, undone.missing) == (ARTICLE, 0, ())


def test_undo_of_a_bare_address_that_was_edited_away_is_missing(tmp_path: Path) -> None:
    """The bare source is a part of every address of ours, and such a part does not count as its place."""
    article = written(tmp_path, f"![a]({WRAPPED}) [x]({SOURCE})\n")
    article.path.write_text(f"![a]({ours()})\n")
    undone = undo_file(article, REWRITER, write=True)
    assert undone.new_data == f"![a]({WRAPPED})\n".encode()
    assert (undone.count, [entry.old for entry in undone.missing]) == (1, [SOURCE.encode()])
    assert len(undo_file(article, REWRITER, write=True).missing) == 1


def test_undo_of_a_picture_that_stands_in_code_only_is_missing(tmp_path: Path) -> None:
    """Code was never rewritten, so its address is not the one to put back."""
    article = written(tmp_path, f"![a]({WRAPPED})\n\n`{WRAPPED}`\n")
    article.path.write_text(f"`{WRAPPED}`\n")
    undone = undo_file(article, REWRITER, write=True)
    assert (undone.count, len(undone.missing)) == (0, 1)


def test_undo_of_an_address_put_back_by_hand_counts_the_others(tmp_path: Path) -> None:
    """Of two equal addresses, one was put back by hand: one is put back, and none is missing."""
    article = written(tmp_path, f"![a]({WRAPPED})\n\n![b]({WRAPPED})\n")
    article.path.write_text(f"![a]({WRAPPED})\n\n![b]({ours()})\n")
    undone = undo_file(article, REWRITER, write=True)
    assert (undone.count, undone.missing) == (1, ())
    assert not Journal(tmp_path).holds(article.path)


@pytest.mark.parametrize("link", ["0.md", "z.md"])
def test_journal_of_a_link_is_the_one_of_its_target(tmp_path: Path, link: str) -> None:
    """An article that was rewritten under one name can be undone under the other."""
    article = written(tmp_path, ARTICLE.decode())
    undo_file(article, REWRITER, write=True)
    (tmp_path / link).symlink_to("a.md")
    (by_link,) = find_articles([tmp_path / link])
    rewrite_file(by_link, REWRITER, write=True)
    (undone,) = (undo_file(found, REWRITER, write=True) for found in find_articles([tmp_path]))
    assert (undone.new_data, undone.count) == (ARTICLE, 4)


def test_journal_without_its_article_is_found_from_every_folder(tmp_path: Path) -> None:
    """It is found from the root of the site, from the folder of the article, and by the article's own name."""
    gone = tmp_path / "posts" / "a.md"
    Journal(tmp_path).write(gone, [RewrittenAddress(b"old", b"new")])
    gone.parent.mkdir()
    for path in (tmp_path, gone.parent, gone):
        assert [name for _, name in journaled_elsewhere([path], [])] == [gone]
    assert not list(journaled_elsewhere([tmp_path / "other"], []))


def test_journal_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """Its meaning is not known, so nothing is undone by it."""
    path = tmp_path / ".imgmirror" / "rewrite" / "a.md.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"version": 2, "replaced": []}')
    with pytest.raises(JournalError, match="newer imgmirror"):
        Journal(tmp_path).read(tmp_path / "a.md")


def test_second_run_after_a_crash_does_not_double_the_journal() -> None:
    """Journal entries that are made again appear once."""
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
    """An article that moved from one mirror to another gets its first addresses back."""
    data, entries = run(ARTICLE)
    config = RewriteConfig(former_urls=(BASE,))
    moved = Rewriter(config, base_url="https://new.example").rewrite(data, kind="markdown")
    assert BASE.encode() not in moved.data
    entries = merged(entries, data, replaced=moved.replaced, new_data=moved.data)
    assert undo(moved.data, entries) == (ARTICLE, [])


def test_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Entries survive the file, including bytes that are not UTF-8. The file is stable and readable for people."""
    article = tmp_path / "posts" / "a.md"
    entries = [
        RewrittenAddress(b"http://h/\xcd\xbc", b"new", "![图](", ")"),
        RewrittenAddress(b"old", b"new2"),
    ]
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
    journal.write(tmp_path / "a.md", [RewrittenAddress(b"old", b"new")])
    journal.write(tmp_path / "a.md", [])
    assert not journal.holds(tmp_path / "a.md")
    assert journal.read(tmp_path / "a.md") == []


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{}", b'{"version": 1, "replaced": [1]}', b'{"version": 1, "replaced": [{"old": "x"}]}',
        b'{"version": 1, "replaced": [{"old": "", "new": ""}]}', b'{"replaced": []}',
        b'{"version": 1, "replaced": [{"old": 1, "new": 2}]}', b"\xff", b"[" * 100_000,
        b'{"version": 1, "replaced": null}', b'{"version": "1", "replaced": []}',
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
    Journal(tmp_path / "posts").write(article, [RewrittenAddress(b"old", b"new")])
    assert journal_for(article, tmp_path).root == tmp_path / "posts"


def test_temporary_file_of_a_killed_run_is_removed_by_the_next_one(tmp_path: Path) -> None:
    """The next run that writes a journal removes the files of a killed one."""
    article = written(tmp_path, ARTICLE.decode())
    stale = tmp_path / ".imgmirror" / ".imgmirror-abcd.tmp"
    stale.write_bytes(b"half")
    undo_file(article, REWRITER, write=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.md"]
