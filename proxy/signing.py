"""Signs and verifies addresses with HMAC-SHA256. Pure.

The signed text is the canonical options, `,exp=N` when the address expires, `/` and the canonical source:
`width=640,exp=1767225600/http://h/a.png`. Parsing addresses is the caller's job.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from proxy.errors import SignatureExpired, SignatureMismatch, SignatureMissing


class Signer:
    """Signs with the first key and accepts signatures of every key, so that keys can be rotated one by one."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        if not keys:
            raise ValueError("a signer needs a key")
        self._keys = tuple(key.encode("utf-8") for key in keys)

    def sign(self, options_canonical: str, source_url: str, *, exp: int | None = None) -> str:
        """Return the signature of canonical options and a canonical source: base64url, no padding.

        `exp` is the Unix time, in whole seconds, from which the address is no longer answered.
        """
        return _signature(self._keys[0], signed_text(options_canonical, source_url, exp=exp))

    def verify(
        self, options_canonical: str, source_url: str, *, sig: str | None, exp: int | None, now: float
    ) -> None:
        """Let the address pass, or raise.

        Raises:
            SignatureMissing: `sig` is None or empty.
            SignatureMismatch: no key made this signature. This is checked before the expiry.
            SignatureExpired: the signature is valid but `exp` has passed.
        """
        if not sig:
            raise SignatureMissing
        text = signed_text(options_canonical, source_url, exp=exp)
        # Compare every key, so that the time taken does not reveal which one matched.
        matches = [_equal(_signature(key, text), sig) for key in self._keys]
        if not any(matches):
            raise SignatureMismatch
        if exp is not None and now >= exp:
            raise SignatureExpired


def signed_text(options_canonical: str, source_url: str, *, exp: int | None = None) -> str:
    """Return the text that a signature covers."""
    expiry = "" if exp is None else f",exp={exp}"
    return f"{options_canonical}{expiry}/{source_url}"


def _signature(key: bytes, text: str) -> str:
    digest = hmac.digest(key, text.encode("utf-8", "surrogateescape"), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def _equal(expected: str, given: str) -> bool:
    # compare_digest takes only ASCII text; a signature with anything else is a mismatch, not an error.
    return hmac.compare_digest(expected.encode("ascii"), given.encode("utf-8", "surrogatepass"))
