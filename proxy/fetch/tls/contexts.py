"""Sets up TLS with origins: 1.2 or newer, certificates always verified, older suites last. Pure.

Some old sites support only TLS 1.2 with RSA key exchange or SHA-1 in the MAC. Browsers and curl connect to them, and
their pictures are the most likely to disappear. Connections of clients to us are not affected.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable

_MODERN = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"
_OLDER = "ECDHE+AES:DHE+AES:RSA+AESGCM:RSA+AES:ECDHE+CAMELLIA:DHE+CAMELLIA:RSA+CAMELLIA"
_NEVER = "!aNULL:!eNULL:!EXPORT:!LOW:!RC4:!3DES:!DES:!MD5:!PSK:!SRP:!aDSS:!AESCCM"
# Level 1 accepts the 1024 bits that old servers use for DHE; level 2, the default of some distributions, refuses them.
# Neither accepts a certificate that is signed with SHA-1 or MD5.
_SUITES = f"{_MODERN}:{_OLDER}:{_NEVER}:@SECLEVEL=1"


class HandshakeLooked(ssl.SSLError):
    """A handshake of `LookingObject` succeeded. Raised so that no request follows.

    certificate: the origin's own, in DER; empty when it sent none.
    """

    certificate = b""


class LookingObject(ssl.SSLObject):
    """A connection that ends with its handshake, so that nothing can be sent over it.

    Set it as `sslobject_class` of a context. After a failed handshake, `ssl` does not provide the certificate. So we
    need a second handshake, which verifies nothing.
    """

    def do_handshake(self) -> None:
        """Shake hands, then raise `HandshakeLooked`."""
        super().do_handshake()
        looked = HandshakeLooked("only looked at")
        looked.certificate = self.getpeercert(binary_form=True) or b""
        raise looked


def origin_context() -> ssl.SSLContext:
    """Return a new context for connections to origins, with the system's certificate authorities.

    Reads them anew, which takes a fifth of a second and 0.8 MiB on some systems.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)
    # Python 3.13 sets two more flags. A chain must be as good on every version: one that ends at an intermediate
    # is not, and one that only lacks a key identifier is.
    context.verify_flags &= ~(ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN)
    return context


def look_unverified(context: ssl.SSLContext) -> ssl.SSLContext:
    """Set up `context` to read the certificate of an origin without verifying it, and nothing else; return it."""
    context.sslobject_class = LookingObject
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def know_intermediates(context: ssl.SSLContext, certificates: Iterable[bytes]) -> ssl.SSLContext:
    """Add DER certificates to `context` for origins that do not send them; return it.

    None of them may look self-signed to OpenSSL, because it would then be trusted.
    """
    context.load_verify_locations(cadata=b"".join(certificates))
    # With this flag, each of them would be a trust anchor.
    context.verify_flags &= ~ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
