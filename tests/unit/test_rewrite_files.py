"""Articles on disk: which files are articles, how they are written, how a change is shown."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.rewrite.diff import unified_diff
from proxy.rewrite.ondisk.files import find_articles, remove_stale, write_article, write_durably


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


def test_article_with_links_is_found_by_its_own_name(tmp_path: Path) -> None:
    """A link that sorts before its target does not hide it, nor does one in another folder."""
    make(tmp_path, "z/m.md")
    (tmp_path / "z" / "a.md").symlink_to("m.md")
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "b.md").symlink_to(tmp_path / "z" / "m.md")
    found = list(find_articles([tmp_path / "y", tmp_path / "z"]))
    assert [article.path for article in found] == [tmp_path / "z" / "m.md"]


def failing(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return a function that may not touch paths that end in `name`: permissions do not bind root."""

    def guarded(path: Any, *words: Any, **options: Any) -> Any:
        if str(path).endswith(name):
            raise PermissionError(13, "Permission denied", str(path))
        return function(path, *words, **options)

    return guarded


@pytest.mark.parametrize(
    ("owner", "attribute", "name"),
    [(os, "scandir", "closed"), (Path, "stat", "secret.md"), (Path, "open", "secret.txt")],
)
def test_article_that_cannot_be_looked_at_is_told_and_the_others_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, attribute: str, name: str
) -> None:
    """A folder, a file, and a text file whose front matter would have to be read."""
    make(tmp_path, "closed/a.md", "secret.md", "secret.txt", "z.md")
    told: list[OSError] = []
    monkeypatch.setattr(owner, attribute, failing(getattr(owner, attribute), name))
    found = {article.path.name for article in find_articles([tmp_path], unreadable=told.append)}
    monkeypatch.undo()
    assert [Path(str(error.filename)).name for error in told] == [name]
    assert found == {"a.md", "secret.md", "secret.txt", "z.md"} - ({"a.md"} if name == "closed" else {name})


def test_named_file_has_its_folder_as_root(tmp_path: Path) -> None:
    """A text file that is named counts without front matter."""
    (tmp_path / "plain.txt").write_text("no front matter")
    (article,) = find_articles([tmp_path / "plain.txt"])
    assert article.root == tmp_path


def test_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.md"):
        list(find_articles([tmp_path / "missing.md"]))


def test_named_file_that_is_no_article_is_told_and_the_others_are_found(tmp_path: Path) -> None:
    """A binary file or a pipe with the name of an article; another kind of text is read as such."""
    make(tmp_path, "a.png", "noext", "z.md")
    (tmp_path / "b.md").write_bytes(b"PK\3\4\0\0\0\0")
    os.mkfifo(tmp_path / "pipe.md")
    told: list[Path] = []
    found = find_articles(sorted(tmp_path.iterdir()), no_article=told.append)
    assert [article.path.name for article in found] == ["z.md"]
    assert [path.name for path in told] == ["b.md", "pipe.md"]


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


KILLED = """
import os, pathlib, sys
from proxy.rewrite.ondisk.files import write_durably
pathlib.Path.replace = lambda *_: os.kill(os.getpid(), 9)
write_durably(pathlib.Path(sys.argv[1], "a.md"), b"new", aside=pathlib.Path(sys.argv[1], ".imgmirror"))
"""


def test_writing_that_is_killed_leaves_nothing_among_the_articles(tmp_path: Path) -> None:
    """It leaves a file aside, which the next run removes. A file that is being written stays."""
    make(tmp_path, "a.md")
    aside = tmp_path / ".imgmirror"
    aside.mkdir()
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False, cwd=root)
    assert killed.returncode == -signal.SIGKILL
    assert {path.name for path in tmp_path.iterdir()} == {"a.md", ".imgmirror"}
    assert len(list(aside.iterdir())) == 1
    remove_stale(aside)
    assert list(aside.iterdir()) == []


def test_stale_files_are_told_from_those_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run beside this one does not lose its file."""
    make(tmp_path, "a.md")
    replace = Path.replace

    def after_cleaning(self: Path, target: Path) -> Path:
        remove_stale(self.parent)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", after_cleaning)
    write_durably(tmp_path / "a.md", b"new", aside=tmp_path)
    assert (tmp_path / "a.md").read_bytes() == b"new"


def test_writing_aside_on_another_disk_is_writing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename does not go from one disk to another."""
    make(tmp_path, "posts/a.md")
    used: list[Path] = []
    replace = Path.replace

    def noted(self: Path, target: Path) -> Path:
        used.append(self.parent)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noted)
    for aside in (tmp_path, Path("/proc"), tmp_path / "missing"):
        write_durably(tmp_path / "posts" / "a.md", b"new", aside=aside)
    assert used == [tmp_path, tmp_path / "posts", tmp_path / "posts"]


@pytest.mark.parametrize(
    "name",
    ["plain.md", "with space.md", "tab\there.md", 'quo"te.md', "back\\slash.md", "文章 1.md", "a\nb.md"],
)
@pytest.mark.parametrize(
    "command", [("git", "apply", "-p1"), ("patch", "-p1", "--binary")], ids=lambda c: c[0]
)
def test_diff_of_any_name_can_be_applied(tmp_path: Path, name: str, command: tuple[str, ...]) -> None:
    """git and patch both apply it. Names with spaces end with a TAB, and others are quoted like git does."""
    program = shutil.which(command[0])
    assert program, f"{command[0]} is not installed"
    (tmp_path / name).write_bytes(b"old\r\n")
    diff = unified_diff(b"old\r\n", b"new\r\n", name=name)
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_CEILING_DIRECTORIES": str(tmp_path.parent),
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        [program, *command[1:]], input=diff, cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / name).read_bytes() == b"new\r\n"


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
