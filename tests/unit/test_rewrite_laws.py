"""Laws of rewriting, on generated articles: nothing else changes, twice is once, undo gives the bytes back."""

from __future__ import annotations

import pytest
from article_pieces import KINDS, NOISY
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import rewrite

from proxy.rewrite.base.layers import attribute, css, double_quoted, markdown, markdown_angle, single_quoted
from proxy.rewrite.markup.srcset import candidates
from proxy.rewrite.ondisk.journal import merged, undo
from proxy.rewrite.rewriter import TextKind

PRINTABLE = st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=30)


@pytest.mark.slow
@given(NOISY, KINDS, st.booleans())
@settings(max_examples=500)
def test_bytes_outside_of_replacements_stay(article: bytes, kind: TextKind, all_images: bool) -> None:
    """The result is the article with exactly the listed ranges exchanged."""
    result = rewrite(article, kind=kind, all_images=all_images)
    pieces, position = [], 0
    for item in result.replaced:
        assert item.start >= position
        assert article[item.start : item.end] == item.old
        pieces += [article[position : item.start], item.new]
        position = item.end
    assert b"".join([*pieces, article[position:]]) == result.data


@pytest.mark.slow
@given(NOISY, KINDS, st.booleans())
@settings(max_examples=500)
def test_rewriting_twice_is_rewriting_once(article: bytes, kind: TextKind, all_images: bool) -> None:
    """A rewritten address is ours, and our addresses are not touched."""
    once = rewrite(article, kind=kind, all_images=all_images)
    twice = rewrite(once.data, kind=kind, all_images=all_images)
    assert twice.data == once.data
    assert twice.replaced == ()


@pytest.mark.slow
@given(NOISY, KINDS)
@settings(max_examples=500)
def test_undo_of_rewrite_gives_the_bytes_back(article: bytes, kind: TextKind) -> None:
    """The journal of a run leads back to the original bytes."""
    result = rewrite(article, kind=kind)
    entries = merged([], article, replaced=result.replaced, new_data=result.data)
    assert undo(result.data, entries) == (article, [])


@given(NOISY, KINDS)
@settings(max_examples=100)
def test_undo_of_two_runs_gives_the_first_bytes_back(article: bytes, kind: TextKind) -> None:
    """A second run with more pictures is merged into the journal of the first."""
    first = rewrite(article, kind=kind)
    entries = merged([], article, replaced=first.replaced, new_data=first.data)
    second = rewrite(first.data, kind=kind, all_images=True)
    entries = merged(entries, first.data, replaced=second.replaced, new_data=second.data)
    assert undo(second.data, entries) == (article, [])


@given(PRINTABLE, st.sampled_from(["", "&amp;", "&#038;", "&#x26;"]), st.sampled_from(["", '"', "'"]))
def test_attribute_spelling_keeps_the_address(address: str, found: str, quote: str) -> None:
    """decode(encode(address)) == address, in every entity style, without the characters that end the value."""
    layer = attribute(found, quote)
    spelled = layer.encode(address)
    assert layer.decode(spelled) == address
    assert not set(spelled) & set(quote or "\"'<>=` ")


@given(PRINTABLE, st.sampled_from(["", "\\(", "|", "\\/", "&amp;", "&#x26;"]))
def test_other_spellings_keep_the_address(address: str, found: str) -> None:
    """decode(encode(address)) == address in Markdown, CSS and quoted strings."""
    for layer in (
        markdown(found),
        markdown_angle(found),
        css(""),
        css("'"),
        css('"'),
        single_quoted(),
        double_quoted(found),
    ):
        assert layer.decode(layer.encode(address)) == address


@given(st.text(alphabet="a,( )\t:", max_size=40))
def test_srcset_addresses_are_words_without_commas_around(value: str) -> None:
    """Every candidate is a word of the value, and neither begins nor ends with a comma."""
    for start, end in candidates(value):
        address = value[start:end]
        assert address == address.strip(", \t")
