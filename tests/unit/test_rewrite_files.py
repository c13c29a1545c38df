"""Articles on disk: which files are articles, how they are written, how a change is shown."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from proxy.rewrite.files import find_articles, unified_diff, write_article, write_durably


def make(root: Path, *names: str) -> None:
    """Make files with front matter."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"---\na: b\n---\n")


def test_folder_gives_its_articles_in_order(tmp_path: Path) -> None:
    """Markdown, HTML and text with front matter; not what version control and package managers keep."""
    make(
        tmp_path,
        "b.md",
        "a/z.markdown",
        "a/b.HTML",
        "c.htm",
        "d.txt",
        "e.png",
        ".git/x.md",
        "node_modules/p/r.md",
        ".imgmirror/x.md",
    )
    (tmp_path / "plain.txt").write_text("no front matter")
    found = [(item.path.relative_to(tmp_path).as_posix(), item.kind) for item in find_articles([tmp_path])]
    assert found == [
        ("b.md", "markdown"),
        ("c.htm", "html"),
        ("d.txt", "markdown"),
        ("a/b.HTML", "html"),
        ("a/z.markdown", "markdown"),
    ]


def test_article_is_found_once_by_all_its_names(tmp_path: Path) -> None:
    """Paths given twice, and links to an article, are one article."""
    make(tmp_path, "a.md")
    (tmp_path / "b.md").symlink_to("a.md")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(list(find_articles([tmp_path, tmp_path / "a.md", tmp_path / "b.md"]))) == 1


def test_named_file_has_its_folder_as_root(tmp_path: Path) -> None:
    """A text file that is named counts without front matter."""
    (tmp_path / "plain.txt").write_text("no front matter")
    (article,) = find_articles([tmp_path / "plain.txt"])
    assert article.root == tmp_path


@pytest.mark.parametrize(("name", "error"), [("missing.md", FileNotFoundError), ("a.png", ValueError)])
def test_path_that_is_no_article_is_refused(tmp_path: Path, name: str, error: type[Exception]) -> None:
    """A missing file and another kind of file are mistakes of the caller."""
    make(tmp_path, "a.png")
    with pytest.raises(error, match=name):
        list(find_articles([tmp_path / name]))


def test_writing_keeps_mode_and_writes_through_links(tmp_path: Path) -> None:
    """The target of a link is written; it keeps its mode, the link stays a link, nothing else is left behind."""
    make(tmp_path, "a.md")
    (tmp_path / "a.md").chmod(0o640)
    link = tmp_path / "link.md"
    link.symlink_to("a.md")
    write_article(link, b"new", expected=b"---\na: b\n---\n")
    assert link.is_symlink()
    assert (tmp_path / "a.md").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "a.md").stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["a.md", "link.md"]  # noqa: PTH208 - names are what is compared


def test_article_that_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """Somebody else's edit wins."""
    make(tmp_path, "a.md")
    with pytest.raises(OSError, match="changed"):
        write_article(tmp_path / "a.md", b"new", expected=b"other")
    assert (tmp_path / "a.md").read_bytes() == b"---\na: b\n---\n"


def test_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the rename fails, the temporary file goes too."""
    make(tmp_path, "a.md")

    def fail(self: Path, target: object) -> None:
        raise OSError("no rename")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no rename"):
        write_durably(tmp_path / "a.md", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.md"]


def test_diff_of_equal_articles_is_empty() -> None:
    """No change, no output."""
    assert unified_diff(b"a\n", b"a\n", name="a.md") == b""


def test_diff_is_the_one_of_git() -> None:
    """Three lines of context, hunks that touch are one, bytes of any encoding."""
    old = b"".join(b"line %d\r\n" % number for number in range(1, 30)) + b"\xcd\xbc"
    new = old.replace(b"line 2\r", b"LINE 2\r").replace(b"line 9\r", b"LINE 9\r").replace(b"\xcd\xbc", b"end")
    assert unified_diff(old, new, name="a.md") == (
        b"--- a/a.md\n+++ b/a.md\n@@ -1,12 +1,12 @@\n line 1\r\n-line 2\r\n+LINE 2\r\n"
        + b"".join(b" line %d\r\n" % number for number in range(3, 9))
        + b"-line 9\r\n+LINE 9\r\n line 10\r\n line 11\r\n line 12\r\n"
        b"@@ -27,4 +27,4 @@\n line 27\r\n line 28\r\n line 29\r\n"
        b"-\xcd\xbc\n\\ No newline at end of file\n+end\n\\ No newline at end of file\n"
    )
