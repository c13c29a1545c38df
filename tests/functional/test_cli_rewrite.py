"""The command `imgmirror rewrite` on real files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rewriting import BASE, SOURCE, WRAPPED, ours

from proxy.cli import build_parser
from proxy.cli.rewrite import run
from proxy.config import Config, RewriteConfig, ServerConfig, SourcesConfig

SEED = Path(__file__).parents[1] / "golden" / "articles" / "ofweek.txt"
ARTICLE = f"![图]({WRAPPED})\r\n"
CODE = f"```\n![]({WRAPPED})\n```\n"


def call(*arguments: str | Path, config: Config | None = None) -> int:
    """Run the command with its own parser."""
    args = build_parser("rewrite").parse_args(["rewrite", *map(str, arguments)])
    return run(args, config or Config())


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the sample article, one of ours, and one with nothing but code."""
    (tmp_path / "posts").mkdir()
    shutil.copy(SEED, tmp_path / "posts" / "seed.txt")
    (tmp_path / "posts" / "a.md").write_bytes(ARTICLE.encode())
    (tmp_path / "code.md").write_bytes(CODE.encode())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_summary_changes_nothing(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By default the command reports what it would do, in plain and stable lines."""
    before = digests(site)
    assert call(".") == 0
    assert digests(site) == before
    assert capsys.readouterr().out.splitlines() == [
        "code.md: 0 to replace, 1 left",
        f"  code.md:2: left, in code, a comment, a script or the text of a link: {WRAPPED}",
        "posts/a.md: 1 to replace",
        "posts/seed.txt: 7 to replace",
        "3 articles, 8 addresses to replace, 1 left",
    ]


PLACES = f"""title: 'It's'
image: {WRAPPED}
photos: [{WRAPPED}]
---
{{% image {WRAPPED}, width=400px %}}
<img src="{WRAPPED}{{{{ size }}}}">
"""


def test_places_of_a_theme_are_checked_written_and_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--check` fails before and passes after; what stays is named with its place; undo gives the bytes back."""
    (tmp_path / "a.md").write_text(PLACES, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert call("--check", "--base-url", BASE, ".") == 1
    assert call("--write", "--base-url", BASE, ".") == 0
    written = (tmp_path / "a.md").read_text(encoding="utf-8")
    assert written.count(WRAPPED) == 1
    capsys.readouterr()
    assert call("--check", "--base-url", BASE, ".") == 0
    assert capsys.readouterr().out.splitlines() == [
        "a.md: 0 to replace, 2 left",
        "  a.md:1: left, the front matter is not readable YAML and was rewritten key by key",
        f"  a.md:6: left, img src: a template expression stands in the address: {WRAPPED}{{{{ size }}}}",
        "1 articles, 0 addresses to replace, 2 left",
    ]
    assert call("--check", "--json", "--base-url", BASE, ".") == 0
    left = json.loads(capsys.readouterr().out)["articles"][0]["left"]
    assert [(item["line"], item["context"], item["on_purpose"]) for item in left] == [
        (1, "", True),
        (6, "img src", True),
    ]
    assert call("--undo", ".") == 0
    assert (tmp_path / "a.md").read_text(encoding="utf-8") == PLACES


def test_picture_in_a_place_that_nobody_knows_fails_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.md").write_text(f"---\nintro: 'see {SOURCE}'\n---\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert call("--check", ".") == 0
    assert call("--check", "--all-images", ".") == 1
    assert (
        f"  a.md:2: left, front matter intro: in a context that is not known; it may show the picture: {SOURCE}"
        in (capsys.readouterr().out.splitlines())
    )


def test_write_and_undo_give_the_same_digests(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After undo every file is as before, and no journal remains."""
    before = digests(site)
    assert call("--write", "--base-url", BASE, ".") == 0
    assert (site / "posts" / "a.md").read_bytes() == f"![图]({ours()})\r\n".encode()
    assert (site / ".imgmirror" / "rewrite" / "posts" / "seed.txt.json").is_file()
    assert call("--undo", ".") == 0
    assert digests(site) == before
    assert not (site / ".imgmirror").exists()
    assert capsys.readouterr().out.endswith("3 articles, 8 addresses put back, 0 left\n")


def test_write_twice_is_write_once(site: Path) -> None:
    """The second run finds nothing to do and leaves the journal alone."""
    assert call("--write", "--base-url", BASE, ".") == 0
    once = digests(site)
    assert call("--write", "--base-url", BASE, ".") == 0
    assert digests(site) == once


def test_journal_of_a_named_file_lies_beside_it(site: Path) -> None:
    """PATH is a file: the journal is in its folder; undoing the whole site finds it there."""
    assert call("--write", "--base-url", BASE, "posts/a.md") == 0
    assert (site / "posts" / ".imgmirror" / "rewrite" / "a.md.json").is_file()
    assert call("--undo", ".") == 0
    assert (site / "posts" / "a.md").read_bytes() == ARTICLE.encode()


def test_check_tells_whether_work_is_left(site: Path) -> None:
    """It exits 1 if something is to be rewritten, and 0 otherwise. Only addresses left on purpose do not count."""
    assert call("--check", ".") == 1
    assert call("--check", "code.md") == 0
    assert call("--write", "--base-url", BASE, ".") == 0
    assert call("--check", "--base-url", BASE, ".") == 0
    (site / "b.md").write_text("![](https://wsrv.nl/?url=http://h/a?x=1&file=2)\n")
    assert call("--check", "--base-url", BASE, ".") == 1


def test_diff_can_be_applied(site: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """`patch` turns the articles by the output of `--diff` into the same bytes as `--write`."""
    assert call("--diff", "--base-url", BASE, ".") == 0
    diff = capfdbinary.readouterr().out
    removed = [line for line in diff.split(b"\n") if line.startswith(b"-") and not line.startswith(b"---")]
    assert len(removed) == 4
    patch = shutil.which("patch")
    if patch is None:
        pytest.skip("patch is not installed")
    subprocess.run([patch, "-p1", "--binary", "--silent"], input=diff, check=True, cwd=site)
    patched = digests(site)
    shutil.copy(SEED, site / "posts" / "seed.txt")
    (site / "posts" / "a.md").write_bytes(ARTICLE.encode())
    assert call("--write", "--base-url", BASE, ".") == 0
    written = {name: digest for name, digest in digests(site).items() if ".imgmirror" not in name}
    assert {name: digest for name, digest in patched.items() if not name.endswith(".orig")} == written


def test_json_names_every_address(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object, made for programs."""
    assert call("--json", "--base-url", BASE, "posts/a.md", "code.md") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["to_replace"], report["left"], report["failed"]) == (1, 1, 0)
    assert report["articles"][0]["replaced"] == [
        {
            "line": 1,
            "context": "markdown image",
            "preset": "content",
            "source": SOURCE,
            "old": WRAPPED,
            "new": ours(),
            "dropped": [],
        }
    ]
    assert report["articles"][1]["left"][0]["on_purpose"] is True


@pytest.mark.parametrize(
    "arguments",
    [
        ["--write", "posts/a.md"],
        ["missing.md"],
        ["--base-url", "img.example.org", "."],
        ["--base-url", "https://img.example.org/?x", "."],
        ["--base-url", 'https://img.example.org/"', "."],
        ["--base-url", "javascript:alert(1)", "."],
    ],
)
def test_wrong_use_is_refused(site: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and one line, before anything is read or written."""
    before = digests(site)
    assert call(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("imgmirror: ")
    assert captured.out == ""
    assert digests(site) == before


def test_public_url_of_the_configuration_is_the_base(site: Path) -> None:
    """With `server.public_url` no option is needed. With keys the addresses are signed."""
    config = Config(
        server=ServerConfig(public_url=BASE),
        sources=SourcesConfig(keys=("0123456789abcdef",)),
        rewrite=RewriteConfig(former_urls=("https://old.example",)),
    )
    assert call("--write", "posts/a.md", config=config) == 0
    written = (site / "posts" / "a.md").read_text()
    assert f"]({BASE}/image/content,sig=" in written
    assert call("--check", "posts/a.md", config=config) == 0


def test_undo_reports_what_is_gone(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An address that was edited away is named, exit 1; it stays in the journal."""
    assert call("--write", "--base-url", BASE, "posts/a.md") == 0
    (site / "posts" / "a.md").write_text("nothing here\n")
    capsys.readouterr()
    assert call("--undo", "posts/a.md") == 1
    assert f"no longer in the article: {ours()}" in capsys.readouterr().out
    assert call("--undo", "posts/a.md") == 1
    assert (site / "posts" / "a.md").read_text() == "nothing here\n"


def test_undo_can_be_looked_at_first(site: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """`--undo --diff` shows and changes nothing."""
    assert call("--write", "--base-url", BASE, "posts/a.md") == 0
    written = digests(site)
    capsysbinary.readouterr()
    assert call("--undo", "--diff", "posts/a.md") == 0
    assert f"+![图]({WRAPPED})".encode() in capsysbinary.readouterr().out
    assert digests(site) == written


def test_damaged_journal_stops_its_article_only(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The article whose way back is unreadable is not written; the others are; exit 1."""
    journal = site / ".imgmirror" / "rewrite" / "posts" / "a.md.json"
    journal.parent.mkdir(parents=True)
    journal.write_text("{")
    assert call("--write", "--base-url", BASE, ".") == 1
    assert "a.md.json" in capsys.readouterr().err
    assert (site / "posts" / "a.md").read_bytes() == ARTICLE.encode()
    assert BASE.encode() in (site / "posts" / "seed.txt").read_bytes()


def refuse(monkeypatch: pytest.MonkeyPatch, owner: object, attribute: str, name: str) -> None:
    """Let a function fail for one path: permissions do not bind root."""
    function = getattr(owner, attribute)

    def guarded(path: Any, *words: Any, **options: Any) -> Any:
        if str(path).endswith(name):
            raise PermissionError(13, "Permission denied", str(path))
        return function(path, *words, **options)

    monkeypatch.setattr(owner, attribute, guarded)


def test_article_that_cannot_be_read_stops_nothing(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Permission denied is said, exit 1, and the other articles are written."""
    refuse(monkeypatch, Path, "read_bytes", "a.md")
    assert call("--write", "--base-url", BASE, ".") == 1
    monkeypatch.undo()
    assert "a.md" in capsys.readouterr().err
    assert BASE.encode() in (site / "posts" / "seed.txt").read_bytes()


@pytest.mark.parametrize(
    ("owner", "attribute", "name"),
    [(os, "scandir", "posts"), (Path, "stat", "a.md"), (Path, "open", "seed.txt")],
)
def test_check_of_what_cannot_be_looked_at_exits_1(
    site: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    owner: object,
    attribute: str,
    name: str,
) -> None:
    """A folder or file that cannot be read may hold anything; it is said, and the rest is looked at."""
    (site / "posts" / "a.md").write_text("nothing\n")
    shutil.move(site / "posts" / "seed.txt", site / "seed.txt") if name == "posts" else None
    (site / "z.md").write_text("nothing\n")
    refuse(monkeypatch, owner, attribute, name)
    code = call("--check", "--json", ".")
    monkeypatch.undo()
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert (code, report["failed"]) == (1, 1)
    assert "z.md" in [article["path"] for article in report["articles"]]
    assert f"Permission denied: '{site}" in captured.err
    assert name in captured.err


def test_check_of_a_wide_article_exits_1(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """UTF-16 is not read, which is said."""
    (site / "wide.md").write_bytes(ARTICLE.encode("utf-16"))
    assert call("--check", "wide.md") == 1
    assert "UTF-16" in capsys.readouterr().out


def test_check_of_a_place_that_nobody_knows_exits_1(site: Path) -> None:
    """A picture may be shown there. Only code and comments are ignored."""
    (site / "b.md").write_text(f"<div markdown='1'>\n![a]({WRAPPED})\n</div>\n")
    assert call("--check", "b.md") == 1


def test_summary_and_json_name_the_options_that_are_lost(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Changes of a wrapper that our address cannot express get a line for each kind, not for each picture."""
    (site / "b.md").write_text("![a](https://wsrv.nl/?url=h.example/30.png&w=100&mask=star&hue=3)\n" * 3)
    assert call("b.md") == 0
    out = capsys.readouterr().out
    assert "  dropped 3 times: weserv mask (first at b.md:1)\n" in out
    assert out.count("dropped") == 2
    assert call("--json", "b.md") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["articles"][0]["replaced"][0]["dropped"] == ["weserv mask", "weserv hue"]


@pytest.mark.parametrize("path", [".", "posts"])
def test_renamed_article_is_found_by_its_addresses_and_undone(site: Path, path: str) -> None:
    """This holds if it was rewritten again under its new name, and if others show the same picture."""
    (site / "posts" / "c.md").write_text(f"![]({WRAPPED}) and ![]({WRAPPED}?c)\n")
    before = digests(site)
    assert call("--write", "--base-url", BASE, ".") == 0
    renamed = site / "posts" / "b.md"
    (site / "posts" / "a.md").rename(renamed)
    renamed.write_bytes(renamed.read_bytes() + f"\n![]({WRAPPED}?b)\n".encode())
    assert call("--write", "--base-url", BASE, ".") == 0
    assert call("--undo", "--check", path) == 0
    assert call("--undo", path) == 0
    assert renamed.read_bytes() == (ARTICLE + f"\n![]({WRAPPED}?b)\n").encode()
    renamed.rename(site / "posts" / "a.md")
    (site / "posts" / "a.md").write_bytes(ARTICLE.encode())
    assert digests(site) == before


def test_moved_folder_is_undone(site: Path) -> None:
    before = (site / "posts" / "seed.txt").read_bytes()
    assert call("--write", "--base-url", BASE, ".") == 0
    (site / "posts").rename(site / "archive")
    assert call("--undo", ".") == 0
    assert (site / "archive" / "seed.txt").read_bytes() == before
    assert (site / "archive" / "a.md").read_bytes() == ARTICLE.encode()
    assert not (site / ".imgmirror").exists()


def test_undo_of_a_deleted_article_reports_its_addresses(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its journal shows what cannot be put back."""
    assert call("--write", "--base-url", BASE, ".") == 0
    (site / "posts" / "a.md").unlink()
    for path in (".", "posts", "posts/a.md"):
        capsys.readouterr()
        assert call("--undo", path) == 1, path
        assert f"posts/a.md: left, the article is no longer there: {ours()}" in capsys.readouterr().out
    assert (site / ".imgmirror" / "rewrite" / "posts" / "a.md.json").is_file()


def test_undo_of_a_deleted_article_with_a_damaged_journal_fails(site: Path) -> None:
    """The addresses that cannot be put back are unknown too."""
    assert call("--write", "--base-url", BASE, "posts/a.md") == 0
    (site / "posts" / "a.md").unlink()
    (site / "posts" / ".imgmirror" / "rewrite" / "a.md.json").write_text("{")
    assert call("--undo", ".") == 1


def test_undo_of_a_text_file_that_lost_its_front_matter_puts_back(site: Path) -> None:
    """It was an article when it was rewritten, and its journal says so."""
    (site / "t.txt").write_text(f"---\na: b\n---\n![]({WRAPPED})\n")
    assert call("--write", "--base-url", BASE, ".") == 0
    (site / "t.txt").write_text(f"![]({ours()})\n")
    assert call("--undo", ".") == 0
    assert (site / "t.txt").read_text() == f"![]({WRAPPED})\n"


def test_undo_by_the_target_of_a_link_puts_back(site: Path) -> None:
    """The link sorts first; the journal is the target's all the same."""
    before = digests(site)
    (site / "posts" / "0.md").symlink_to("a.md")
    assert call("--write", "--base-url", BASE, ".") == 0
    assert call("--undo", "posts/a.md", "posts/seed.txt") == 0
    (site / "posts" / "0.md").unlink()
    assert digests(site) == before


def test_undo_of_an_article_that_became_a_link_puts_back(site: Path) -> None:
    """Its journal has the old name, which still leads to the file."""
    assert call("--write", "--base-url", BASE, ".") == 0
    (site / "posts" / "a.md").rename(site / "posts" / "b.md")
    (site / "posts" / "a.md").symlink_to("b.md")
    assert call("--undo", ".") == 0
    assert (site / "posts" / "b.md").read_bytes() == ARTICLE.encode()
    assert not (site / ".imgmirror").exists()


def test_diff_of_a_link_names_its_target(site: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Git does not patch links."""
    (site / "link.md").symlink_to("posts/a.md")
    assert call("--diff", "--base-url", BASE, "link.md") == 0
    assert capfdbinary.readouterr().out.startswith(b"--- a/posts/a.md\n+++ b/posts/a.md\n")


def program(*words: str, folder: Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the whole program as a process."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONIOENCODING": "ascii"}
    return subprocess.run(
        [sys.executable, "-m", "proxy", *words], cwd=folder, env=environment, check=False, **options
    )


def test_names_outside_of_the_output_encoding_are_escaped(site: Path) -> None:
    """This covers a Chinese name in an ASCII pipe, and one with colons, which is not an emoji."""
    (site / "文章:100:.md").write_bytes(ARTICLE.encode())
    done = program("rewrite", "--write", "--base-url", BASE, ".", folder=site, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\n\\u6587\\u7ae0:100:.md: 1 replaced\n" in done.stdout


def test_name_with_colons_is_no_emoji_on_a_terminal(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rich would print a picture of the number."""
    (site / ":100:.md").write_bytes(ARTICLE.encode())
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert call(":100:.md") == 0
    assert ":100:.md: 1 to replace" in capsys.readouterr().out


@pytest.mark.parametrize("words", [(), ("--json",), ("--diff",)])
def test_reader_of_the_output_that_has_gone_is_no_fault(site: Path, words: tuple[str, ...]) -> None:
    """As with `| head -1`, the exit code is 0 and nothing is printed."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = program("rewrite", *words, ".", folder=site, stdout=writing, stderr=subprocess.PIPE)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("words", [("rewrite", "."), ("rewrite", "--json", "."), ("rewrite", "--diff", "."),
                                   ("url", "build", "headimg", SOURCE)])  # fmt: skip
def test_full_disk_under_the_output_is_said_in_one_line(site: Path, words: tuple[str, ...]) -> None:
    """Exit 1, no traceback."""
    with Path("/dev/full").open("wb") as full:
        done = program(*words, folder=site, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr == b"imgmirror: [Errno 28] No space left on device\n"


def test_hostile_names_and_addresses_do_not_reach_the_terminal(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters in a file name or an address are shown escaped."""
    (site / "\x1b[31mred.md").write_bytes(b"`" + WRAPPED.encode() + b"\x9b1m\xff`")
    assert call(".") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x9b" not in out
