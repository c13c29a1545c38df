"""The page of a warming: what it lists, what it links to, and that text of strangers stays text."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from warm_report import HASH, HOSTILE, NOW, REASONS, kept, picture, report_of

from proxy.cli.output import warmpage
from proxy.cli.output.warmpage import as_html
from proxy.errors import DecodeFailed
from proxy.images.jobs import Rendered
from proxy.images.measuring.thumbhash import thumbhash
from proxy.images.measuring.unhashed import unhashed
from proxy.services.warm import previews
from proxy.services.warm.missinggroups import missing_groups
from proxy.services.warm.previews import MAX_PREVIEW_BYTES, Preview, Previews, preview_of
from proxy.services.warm.warming import WarmFailure, WarmOutcome
from proxy.services.warm.warmreport import WarmReport

MADE_AT = datetime.fromtimestamp(NOW, UTC)


class Tags(HTMLParser):
    """The tags of a page with their attributes, and the texts of `<style>` and `<script>`."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.inline: dict[str, str] = {}
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside in ("style", "script"):
            self.inline[self._inside] = self.inline.get(self._inside, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def all(self, attribute: str) -> list[str]:
        return [words[attribute] for _, words in self.tags if attribute in words]


def page_of(report: WarmReport, folder: Path | None = None) -> str:
    return as_html(report, made_at=MADE_AT, folder=folder)


def test_missing_pictures_are_grouped_by_reason_and_none_is_left_out(tmp_path: Path) -> None:
    report = report_of(tmp_path, each=2)
    groups = {group.key: {one.work.source.host for one in group.outcomes} for group in missing_groups(report)}
    assert groups == {key: {f"{key.replace('_', '-')}.example"} for key in REASONS}
    assert sum(len(group.outcomes) for group in missing_groups(report)) == 10
    assert not missing_groups(WarmReport())


def test_page_shows_of_each_missing_picture_why_where_and_when(tmp_path: Path) -> None:
    page = page_of(report_of(tmp_path), tmp_path)
    for failure in REASONS.values():
        assert failure.code in page
        assert failure.message in page
    row = page[page.index("http://gone.example/1.png") :].partition("</tr>")[0]
    assert '<a href="./a.md">posts/a.md</a> <span class="hint">lines 2, 71</span>' in row
    assert '<time datetime="2026-01-01T00:00:01+00:00">' in row
    assert 'rel="noreferrer noopener">http://gone.example/1.png</a>' in row


def test_hostile_text_becomes_no_markup_and_no_link(tmp_path: Path) -> None:
    """Names of articles, messages and addresses come from strangers."""
    report = report_of(tmp_path)
    report.add(WarmOutcome(picture("http://h/x.png"), failure=WarmFailure("source_failed", HOSTILE)))
    page = page_of(report, tmp_path)
    tags = Tags(page)
    assert HOSTILE in unescape(page)
    assert [tag for tag, _ in tags.tags].count("script") == 1
    assert not [name for _, words in tags.tags for name in words if name.startswith("on")]
    assert all(source.startswith("data:image/") for source in tags.all("src"))
    assert {link.partition(":")[0] for link in tags.all("href") if ":" in link} == {"http", "data"}
    assert "javascript:alert(1)</span>" in page


def test_policy_admits_the_style_and_the_script_of_the_page_and_nothing_else(tmp_path: Path) -> None:
    tags = Tags(page_of(report_of(tmp_path)))
    policy = next(words["content"] for _, words in tags.tags if "http-equiv" in words)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert (rules["default-src"], rules["img-src"], rules["form-action"]) == ("'none'", "data:", "'none'")
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(tags.inline[kind].encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    assert not tags.all("style")


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("javascript:alert(1).md", "./javascript%3Aalert%281%29.md"),
        ("a b#?.md", "./a%20b%23%3F.md"),
        (os.fsdecode(b"\xff.md"), "./%FF.md"),
    ],
)
def test_article_beside_the_page_has_a_relative_link_whatever_its_name(
    tmp_path: Path, name: str, link: str
) -> None:
    (tmp_path / name).write_text("x")
    report = WarmReport(files={name: tmp_path / name})
    report.add(WarmOutcome(picture("http://h/x.png", name), failure=REASONS["gone"]))
    assert f'<a href="{link}">' in page_of(report, tmp_path)


def test_article_elsewhere_has_a_file_link_and_a_vanished_one_none(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    there, gone = tmp_path / "there.md", tmp_path / "gone.md"
    there.write_text("x")
    report = WarmReport(files={"there.md": there, "gone.md": gone})
    work = picture("http://h/x.png", "there.md", "gone.md", "unknown.md")
    report.add(WarmOutcome(work, failure=REASONS["gone"]))
    page = page_of(report, tmp_path / "here")
    assert f'<li><a href="{there.as_uri()}">there.md</a></li><li>gone.md</li><li>unknown.md</li>' in page


def test_lists_that_are_cut_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmpage, "MAX_KEPT", 1)
    monkeypatch.setattr(warmpage, "MAX_ARTICLES", 2)
    monkeypatch.setattr(previews, "MAX_PREVIEWS", 1)
    report = WarmReport()
    for number in range(3):
        report.add(kept(f"http://h/{number}.png"))
    names = [f"{number}.md" for number in range(5)]
    report.add(WarmOutcome(picture("http://h/x.png", *names), failure=REASONS["gone"]))
    page = page_of(report, tmp_path)
    assert "and 3 more; the JSON report lists them all" in page
    assert "The first 1 are listed" in page
    assert "1 have a preview. The previews of 2 others would make this page too large." in page
    assert page.count("<img") == 1


def test_previews_stay_within_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "MAX_PREVIEWS_BYTES", 100)
    found = Previews()
    for number in range(4):
        found.add(str(number), Preview(b"x" * 40, "image/webp"))
    found.add("none", None)
    assert (list(found.found), found.size_bytes, found.left_out) == (["0", "1"], 80, 2)


def test_preview_is_the_smallest_small_variant_else_the_hash() -> None:
    """A description that says nothing useful gives none, and nothing fails."""
    large = Rendered(b"x" * (MAX_PREVIEW_BYTES + 1), "avif", 800, 600)
    small, smaller = Rendered(b"xx", "jpeg", 8, 6), Rendered(b"x", "webp", 8, 6)
    described = Rendered(json.dumps({"thumbhash": HASH.body.decode()}).encode(), "json", 0, 0)
    error = DecodeFailed("no")
    assert preview_of([large, small, error, smaller, described]) == Preview(b"x", "image/webp")
    assert preview_of([large, error, described]) == HASH
    for body in (b"{}", b"[]", b"null", b"no", b'{"thumbhash": 1}'):
        assert preview_of([large, Rendered(body, "json", 0, 0)]) is None


@pytest.mark.parametrize("text", [b"", b"AAAA", b"no base64", b"/////////////////////w=="])
def test_hash_that_is_none_gives_no_picture_or_some(text: bytes) -> None:
    address = Preview(text, is_hash=True).address
    assert not address or address.startswith("data:image/png;base64,")


@pytest.mark.parametrize("size", [(64, 48), (30, 90), (50, 50)])
def test_hash_becomes_a_picture_of_about_the_same_shape_and_colours(size: tuple[int, int]) -> None:
    width, height = size
    pixels = [(240 * x // width, 90, 200 * y // height, 255) for y in range(height) for x in range(width)]
    body, *shown = unhashed(thumbhash(width, height, bytes(value for pixel in pixels for value in pixel)))
    with Image.open(io.BytesIO(body)) as opened:
        found = opened.convert("RGB")
    assert found.size == tuple(shown)
    assert found.width / found.height == pytest.approx(width / height, rel=0.25)
    reference = Image.new("RGBA", size)
    reference.putdata(pixels)
    expected, got = (one.convert("RGB").resize((1, 1), Image.Resampling.BOX) for one in (reference, found))
    assert got.getpixel((0, 0)) == pytest.approx(expected.getpixel((0, 0)), abs=16)


def test_json_report_has_lines_beside_the_articles(tmp_path: Path) -> None:
    told = report_of(tmp_path, each=1).to_json()
    (one,) = [one for one in told["dead"] if one["source"].startswith("http://gone")]
    assert one == {
        "source": "http://gone.example/0.png",
        "code": "source_not_found",
        "message": "The origin has no such picture.",
        "articles": ["posts/a.md", HOSTILE],
        "lines": {"posts/a.md": [1, 70]},
        "fate": "gone",
    }
    assert all("lines" in one for name in ("dead", "not_kept", "kept", "recovered") for one in told[name])
    assert not re.search("preview", json.dumps(told))


def test_report_keeps_previews_only_once() -> None:
    """Outcomes are many; their previews count against the bounds of the report."""
    report = WarmReport()
    report.add(kept("http://h/a.png"))
    assert report.previews.found == {"http://h/a.png": HASH}
    assert [one.preview for one in report.outcomes] == [None]
