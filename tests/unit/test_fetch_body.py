"""How the end of a body is known."""

import pytest

from proxy.errors import SourceFailed
from proxy.fetch.answers.body import framing


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ((("content-length", "3"),), "length"),
        ((("transfer-encoding", "chunked"),), "chunked"),
        ((("transfer-encoding", " Chunked "), ("content-length", "3")), "chunked"),
        ((), "close"),
    ],
)
def test_framing_is_told_by_the_headers(headers: tuple[tuple[str, str], ...], found: str) -> None:
    """RFC 9112 §6.3: a transfer coding goes before a length."""
    assert framing(headers) == found


@pytest.mark.parametrize("value", ["gzip, chunked", "gzip", "identity", "chunked, chunked", ""])
def test_framing_with_another_transfer_coding_is_a_failure(value: str) -> None:
    """We did not ask for it (no TE was sent)."""
    with pytest.raises(SourceFailed):
        framing((("transfer-encoding", value),))
