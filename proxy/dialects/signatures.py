"""Signs and verifies addresses of other proxies with `dialects.<name>.keys`. Pure.

    imgproxy     "<key hex>:<salt hex>"   HMAC-SHA256 over the salt, `/` and everything behind the signature
    thumbor      the key                  HMAC-SHA1 over everything behind the signature
    imagor       the key, or              the same; a digest (sha1, sha256, sha512) and how many characters of it are
                 "sha256:40:<key>"        written, 0 for all
    imageproxy   the key                  HMAC-SHA256 over the source, or over the source, `#` and the options
    camo         the key                  HMAC-SHA1 over the source, in hexadecimal or base64url
    miniflux     the key                  HMAC-SHA256 over the source

All keys are tried, so that they can be rotated one by one. Signatures are compared in constant time.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from proxy.dialects.base.opened import ABSOLUTE
from proxy.dialects.base.serving import Message, Proof
from proxy.errors import SignatureMismatch, SignatureMissing

SIGNED = ("imgproxy", "thumbor", "imagor", "imageproxy", "camo", "miniflux")
"""The served dialects that have signatures."""

_HEX_PAIR = re.compile(r"((?:[0-9A-Fa-f]{2})+):((?:[0-9A-Fa-f]{2})*)")
_DIGEST_AND_KEY = re.compile(r"(sha1|sha256|sha512):([0-9]{1,3}):(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key: the digest, the secret, the text before the message, and the number of characters to write."""

    digest: str
    secret: bytes
    salt: bytes = b""
    length: int = 0

    def signature(self, message: bytes) -> str:
        """Return base64url without padding."""
        mac = hmac.digest(self.secret, self.salt + message, self.digest)
        text = base64.urlsafe_b64encode(mac).decode("ascii")
        return (text[: self.length] if self.length else text).rstrip("=")

    def hexadecimal(self, message: bytes) -> str:
        """Return the signature in hexadecimal digits."""
        return hmac.digest(self.secret, self.salt + message, self.digest).hex()


def read_key(dialect: str, text: str) -> SigningKey:
    """Parse a key of the configuration."""
    if dialect == "imgproxy" and (pair := _HEX_PAIR.fullmatch(text)):
        return SigningKey("sha256", bytes.fromhex(pair[1]), bytes.fromhex(pair[2]))
    if dialect == "imagor" and (match := _DIGEST_AND_KEY.fullmatch(text)):
        return SigningKey(match[1], match[3].encode(), length=int(match[2]))
    digest = "sha1" if dialect in ("thumbor", "imagor", "camo") else "sha256"
    return SigningKey(digest, text.encode())


class Verifier:
    """Verifies the signatures of one dialect."""

    def __init__(self, dialect: str, keys: tuple[str, ...]) -> None:
        self._written = _both if dialect == "camo" else _base64
        self._keys = tuple(read_key(dialect, text) for text in keys)

    def verified(self, proof: Proof) -> Message:
        """Return the message that the signature covers; messages with options are tried first.

        Raises:
            SignatureMissing: the address has no signature.
            SignatureMismatch: no key made this signature.
        """
        if not proof.signature:
            raise SignatureMissing
        # Compare every key, so that the time taken does not reveal which one matched.
        matches = [
            message
            for message in proof.messages
            for key in self._keys
            for text in self._written(key, message.text)
            if _equal(text, proof.signature)
        ]
        if not matches:
            raise SignatureMismatch
        return max(matches, key=lambda message: message.with_options)


def signed(dialect: str, rest: str, proof: Proof, key: str) -> str:
    """Return the text after a mount, signed with a key of the configuration instead of unsigned."""
    made, message = read_key(dialect, key), proof.messages[0].text
    text = made.hexadecimal(message) if dialect == "camo" else made.signature(message)
    if dialect in ("thumbor", "imagor", "miniflux") and not made.length:
        text += "=" * (-len(text) % 4)
    first, _, behind = rest.partition("/")
    if dialect == "imageproxy":
        return f"s{text}/{rest}" if ABSOLUTE.match(rest) else f"{first},s{text}/{behind}"
    return f"{text}/{behind}"


_Written = Callable[[SigningKey, bytes], Iterator[str]]


def _base64(key: SigningKey, message: bytes) -> Iterator[str]:
    yield key.signature(message)


def _both(key: SigningKey, message: bytes) -> Iterator[str]:
    yield key.signature(message)
    yield key.hexadecimal(message)


def _equal(expected: str, given: str) -> bool:
    # compare_digest takes only ASCII text; a signature with anything else is a mismatch, not an error.
    return hmac.compare_digest(expected.encode("ascii"), given.rstrip("=").encode("utf-8", "surrogatepass"))
