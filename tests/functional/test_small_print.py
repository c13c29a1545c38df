"""The commands with folders without articles, binary files, absolute paths and hosts that are not ASCII."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from commands import invoke
from rewriting import SOURCE, WRAPPED
from service import write_config

from proxy.config import ConfigError


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    (tmp_path / "posts").mkdir()
    return tmp_path / "posts"


@pytest.mark.parametrize("command", ["warm", "rewrite"])
@pytest.mark.parametrize(
    "content", [None, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"PK\3\4\0\0\0\0", b"text\0text"]
)
def test_folder_without_articles_is_refused_and_nothing_is_made(
    posts: Path, command: str, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Empty, or with a binary file that has the name of an article: exit 2, no store."""
    if content is not None:
        (posts / "a.md").write_bytes(content)
    assert invoke(command, posts, config=write_config(posts.parent)) == 2
    assert f"nothing to look at in {posts}" in capsys.readouterr().err
    assert not (posts.parent / "store").exists()


def test_article_of_another_folder_is_named_by_its_whole_path(
    posts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (posts / "a.md").write_text(f"![]({WRAPPED})\n")
    assert invoke("rewrite", posts, config=write_config(posts.parent)) == 0
    assert capsys.readouterr().out.startswith(f"{posts}/a.md: 1 to replace")


@pytest.mark.parametrize(
    ("host", "written"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("图片.example", "xn--wcsw84d.example"),
        ("BÜCHER.example", None),
    ],
)
def test_host_that_is_not_ascii_is_written_in_a_labels(posts: Path, host: str, written: str | None) -> None:
    """This applies to the option and to the configuration. Addresses that an earlier run wrote differently are
    re-pointed."""
    written = written or "xn--bcher-kva.example"
    config = write_config(posts.parent, {"server": {"public_url": f"https://{host}/img"}})
    (posts / "a.md").write_text(f"![]({WRAPPED}) ![](https://{host}/img/image/original/{SOURCE})\n")
    (posts / "b.md").write_text(f"![]({WRAPPED})\n")
    assert invoke("rewrite", posts / "a.md", "--write", config=config) == 0
    assert invoke("rewrite", posts / "b.md", "--base-url", f"https://{host}", "--write", config=config) == 0
    base = f"https://{written}/img/image"
    assert (posts / "a.md").read_text() == f"![]({base}/content/{SOURCE}) ![]({base}/original/{SOURCE})\n"
    assert (posts / "b.md").read_text() == f"![](https://{written}/image/content/{SOURCE})\n"
    assert invoke("rewrite", posts / "a.md", "--check", config=config) == 0


def test_former_host_that_is_not_ascii_is_found_in_both_spellings(posts: Path) -> None:
    """Articles have it in A-labels, which is how we wrote it, or as somebody typed it."""
    changes: dict[str, dict[str, Any]] = {
        "server": {"public_url": "https://new.example"},
        "rewrite": {"former_urls": ["https://bücher.example/img"]},
    }
    former = [
        f"https://{host}/img/image/content/{SOURCE}" for host in ("xn--bcher-kva.example", "bücher.example")
    ]
    (posts / "a.md").write_text("".join(f"![]({address})\n" for address in former))
    assert invoke("rewrite", posts, "--write", config=write_config(posts.parent, changes)) == 0
    assert (posts / "a.md").read_text() == f"![](https://new.example/image/content/{SOURCE})\n" * 2


@pytest.mark.parametrize("command", [("warm",), ("rewrite",), ("rewrite", "--check"), ("rewrite", "--undo")])
@pytest.mark.parametrize("name", ["photo.png", "Makefile", "archive.md"])
def test_named_file_that_is_no_article_is_passed_over(
    posts: Path, command: tuple[str, ...], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shell's `*` names pictures too: they are named, and the exit code is 0."""
    (posts / name).write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    assert invoke(*command, posts / name, config=write_config(posts.parent)) == 0
    assert f"{name}: not a text file" in capsys.readouterr().err
    assert not (posts.parent / "store").exists()


@pytest.mark.parametrize(
    "url",
    ["https://b\u202ecker.example", "https://bücher.example:99999", "https://\udcff.example", "https://é。。/\udcff",
     "https://256.256.1.1", "https://h/" + "é" * 9000, "https://bücher.example:0", f"https://{'ü' * 300}.example"],
)  # fmt: skip
@pytest.mark.parametrize("command", ["warm", "rewrite"])
def test_base_url_whose_host_cannot_be_read_is_refused(
    posts: Path, command: str, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (posts / "a.md").write_text(f"![]({WRAPPED})\n")
    assert invoke(command, posts, "--base-url", url, config=write_config(posts.parent)) == 2
    assert "--base-url must be an http(s) address" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["https://b\u202ecker.example", "https://bücher.example:99999"])
def test_public_url_whose_host_cannot_be_read_is_refused(posts: Path, url: str) -> None:
    config = write_config(posts.parent, {"server": {"public_url": url}})
    with pytest.raises(ConfigError, match="public_url: must be an http"):
        invoke("rewrite", posts, config=config)
