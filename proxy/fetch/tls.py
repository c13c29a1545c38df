"""What we accept of an origin's TLS: 1.2 or newer, certificates always verified, older suites last. Pure.

Old sites speak TLS 1.2 with RSA key exchange or SHA-1 in the MAC only. Browsers and curl connect to them, and their
pictures are the ones that go. Nothing of this concerns connections to us.
"""

from __future__ import annotations

import ssl

_MODERN = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"
_OLDER = "ECDHE+AES:DHE+AES:RSA+AESGCM:RSA+AES:ECDHE+CAMELLIA:DHE+CAMELLIA:RSA+CAMELLIA"
_NEVER = "!aNULL:!eNULL:!EXPORT:!LOW:!RC4:!3DES:!DES:!MD5:!PSK:!SRP:!aDSS:!AESCCM"
# Level 1 takes the 1024 bits that old servers use for DHE; level 2, of some distributions, ends the connection.
# Neither takes a certificate that is signed with SHA-1 or MD5.
_SUITES = f"{_MODERN}:{_OLDER}:{_NEVER}:@SECLEVEL=1"


def origin_context() -> ssl.SSLContext:
    """Return a new context for connections to origins, with the system's certificate authorities."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)
    # Python 3.13 sets two more flags. A chain must be as good on every version: one that ends at an intermediate
    # is not, and one that only lacks a key identifier is.
    context.verify_flags &= ~(ssl.VERIFY_X509_STRICT | getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0))
    return context
