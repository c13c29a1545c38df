"""Signatures: fixed vectors, rotation, expiry, and invalid signatures."""

import hashlib
import hmac
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import MirrorError, SignatureExpired, SignatureMismatch, SignatureMissing
from proxy.signing import Signer, signed_text

KEY = "correct horse battery staple"
OLD_KEY = "an older key of some length"
SOURCE = "http://mp.ofweek.com/data/images/x.png"

VECTORS = [
    ("headimg", SOURCE, None, "u7xFxj25iZfOaSt5gCuvUsnVURp7uObspA5hoGQBw5k"),
    (
        "width=640,format=webp",
        "https://host.example/a.png?v=1",
        1767225600,
        "bQoDBc9pe32huerpDqE9p7TFyiZkPBTj-yitoXNEd4U",
    ),
    ("original", "http://h.example/%CD%BC.png", None, "cz0UxnDZqOe79owJeyxz1c8-mpqqxVOUzOqoJzo-4XY"),
]
"""Also in docs/api.md; the key is KEY."""


@pytest.mark.parametrize(("options", "source", "exp", "signature"), VECTORS)
def test_signature_of_the_documented_vectors_is_fixed(
    options: str, source: str, exp: int | None, signature: str
) -> None:
    """Published links depend on these; computed here a second time from the contract's words."""
    text = options + (f",exp={exp}" if exp else "") + "/" + source
    digest = hmac.new(KEY.encode(), text.encode(), hashlib.sha256).digest()
    assert urlsafe_b64encode(digest).decode().rstrip("=") == signature
    assert Signer((KEY,)).sign(options, source, exp=exp) == signature
    Signer((KEY,)).verify(options, source, sig=signature, exp=exp, now=0)


def test_signer_signs_with_the_first_key_and_takes_all() -> None:
    """A key is changed by putting the new one first and dropping the old one later."""
    old = Signer((OLD_KEY,)).sign("headimg", SOURCE)
    both = Signer((KEY, OLD_KEY))
    assert both.sign("headimg", SOURCE) == Signer((KEY,)).sign("headimg", SOURCE)
    both.verify("headimg", SOURCE, sig=old, exp=None, now=0)
    with pytest.raises(SignatureMismatch):
        Signer((KEY,)).verify("headimg", SOURCE, sig=old, exp=None, now=0)


def test_signature_is_good_until_its_second_comes() -> None:
    """The address is expired from `exp` on, and not earlier."""
    signer = Signer((KEY,))
    signature = signer.sign("headimg", SOURCE, exp=1000)
    signer.verify("headimg", SOURCE, sig=signature, exp=1000, now=999.9)
    with pytest.raises(SignatureExpired):
        signer.verify("headimg", SOURCE, sig=signature, exp=1000, now=1000)


def test_expired_address_with_a_bad_signature_is_a_mismatch() -> None:
    """Only the owner of a good link learns that it was one."""
    with pytest.raises(SignatureMismatch):
        Signer((KEY,)).verify("headimg", SOURCE, sig="x", exp=1, now=2)


def test_expiry_taken_off_or_moved_is_a_mismatch() -> None:
    """The signature covers `exp`."""
    signer = Signer((KEY,))
    signature = signer.sign("headimg", SOURCE, exp=1000)
    for exp in (None, 1001, 0):
        with pytest.raises(SignatureMismatch):
            signer.verify("headimg", SOURCE, sig=signature, exp=exp, now=0)


@pytest.mark.parametrize("signature", [None, ""])
def test_no_signature_is_missing(signature: str | None) -> None:
    """An empty one is none."""
    with pytest.raises(SignatureMissing):
        Signer((KEY,)).verify("headimg", SOURCE, sig=signature, exp=None, now=0)


def test_signature_padded_or_cut_is_a_mismatch() -> None:
    """One address has one signature."""
    signer = Signer((KEY,))
    signature = signer.sign("headimg", SOURCE)
    for bad in (signature + "=", signature[:-1], signature + "A", signature.swapcase(), " " + signature):
        with pytest.raises(SignatureMismatch):
            signer.verify("headimg", SOURCE, sig=bad, exp=None, now=0)


@given(signature=st.text(st.characters() | st.characters(categories=["Cs"]), min_size=1))
def test_any_text_as_signature_is_a_mismatch(signature: str) -> None:
    """Whatever a client writes there, surrogates included, ends in an error of the contract."""
    with pytest.raises(MirrorError):
        Signer((KEY,)).verify("headimg", SOURCE, sig=signature, exp=None, now=0)


@given(
    options=st.text("abc=,01", max_size=20),
    other=st.text("abc=,01", max_size=20),
    exp=st.none() | st.integers(0, 2**40),
)
def test_signature_of_other_options_is_a_mismatch(options: str, other: str, exp: int | None) -> None:
    """The signature covers exactly the requested options."""
    signer = Signer((KEY,))
    signature = signer.sign(options, SOURCE, exp=exp)
    signer.verify(options, SOURCE, sig=signature, exp=exp, now=-1)
    if signed_text(options, SOURCE, exp=exp) != signed_text(other, SOURCE, exp=exp):
        with pytest.raises(SignatureMismatch):
            signer.verify(other, SOURCE, sig=signature, exp=exp, now=-1)


def test_signer_without_keys_is_refused() -> None:
    """Nothing is ever signed with an empty key."""
    with pytest.raises(ValueError, match="needs a key"):
        Signer(())
