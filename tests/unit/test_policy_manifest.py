"""The manifest: a file of sources, one a line."""

from pathlib import Path

import pytest

from proxy.config import ConfigError
from proxy.policy import load_manifest


def write(folder: Path, content: bytes) -> Path:
    path = folder / "sources.txt"
    path.write_bytes(content)
    return path


def test_manifest_lines_become_canonical_sources(tmp_path: Path) -> None:
    """A BOM, comments, blank lines and foreign line ends do not matter, and different spellings become the same
    source."""
    path = write(
        tmp_path,
        b"\xef\xbb\xbf# pictures\r\nHTTP://H:80/a b.png\r\n\n \t\r\n  http://h/c.png   # why\nhttp://h/\xcd\xbc.png#top\n",
    )
    assert load_manifest(path) == {"http://h/a%20b.png", "http://h/c.png", "http://h/%CD%BC.png"}


def test_manifest_without_lines_names_nothing(tmp_path: Path) -> None:
    """An empty manifest is one: it admits nothing."""
    assert load_manifest(write(tmp_path, b"")) == frozenset()


def test_manifest_problems_are_reported_together(tmp_path: Path) -> None:
    """Every bad line is named by its number; paths of the file are enough to find it."""
    path = write(tmp_path, b"http://h/a\nnonsense\nhttp://u@h/\nftp://h/\n\x00\xff\n")
    with pytest.raises(ConfigError) as caught:
        load_manifest(path)
    assert [problem.split(": ")[1] for problem in caught.value.problems] == [
        "line 2",
        "line 3",
        "line 4",
        "line 5",
    ]


def test_manifest_that_is_missing_is_a_problem(tmp_path: Path) -> None:
    """Without its manifest the service must not start open."""
    with pytest.raises(ConfigError, match=r"cannot be read"):
        load_manifest(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"cannot be read"):
        load_manifest(tmp_path)
