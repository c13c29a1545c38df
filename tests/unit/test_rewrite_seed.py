"""The sample article: seven wrappers, two in front matter and five in the text."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rewriting import BASE, rewrite

from proxy.rewrite.ondisk.journal import merged, undo

ARTICLE = Path(__file__).parents[1] / "golden" / "articles" / "ofweek.txt"


def test_sample_article_has_all_wrappers_replaced() -> None:
    """Seven addresses, each by its preset; nothing is left."""
    result = rewrite(ARTICLE.read_bytes())
    assert [item.preset for item in result.replaced] == ["headimg", "thumbnail", *["content"] * 5]
    assert b"workers.dev" not in result.data
    assert result.left == ()


def test_sample_article_changes_in_nothing_but_addresses() -> None:
    """Without the prefixes, old and new are the same bytes."""
    data = ARTICLE.read_bytes()
    result = rewrite(data)
    stripped = result.data
    for preset in ("headimg", "thumbnail", "content"):
        stripped = stripped.replace(f"{BASE}/image/{preset}/".encode(), b"")
    assert stripped == data.replace(b"https://cors.zfour.workers.dev/?", b"")


def test_sample_article_names_five_pictures() -> None:
    """The head picture is shown three times, in three presets; the other four in the text only."""
    pictures = rewrite(ARTICLE.read_bytes()).pictures
    assert [item.presets for item in pictures] == [("headimg", "thumbnail", "content"), *[("content",)] * 4]
    assert {item.source.host for item in pictures} == {"mp.ofweek.com"}


def test_sample_article_is_undone_to_the_same_digest() -> None:
    """Undo gives the SHA-256 of before."""
    data = ARTICLE.read_bytes()
    result = rewrite(data)
    entries = merged([], data, replaced=result.replaced, new_data=result.data)
    back, missing = undo(result.data, entries)
    assert hashlib.sha256(back).hexdigest() == hashlib.sha256(data).hexdigest()
    assert missing == []
