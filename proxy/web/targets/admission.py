"""Verifies the signature of a request, in our own grammar or in another proxy's. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from cache.base.spelling import former_spelling
from proxy.config import Config
from proxy.dialects.base.serving import Proof
from proxy.dialects.native import MOUNT
from proxy.dialects.native import parse as parse_native
from proxy.dialects.signatures import Verifier
from proxy.errors import SignatureMismatch
from proxy.images.transforms.transform import Transform
from proxy.signing import Signer


@dataclass(frozen=True, slots=True)
class Claim:
    """The result of verifying a signature.

    signed: True for a valid signature, None when the form cannot carry one or there are no keys. covers_options:
    whether a dialect's signature covers the options too; None for our own signatures, which always do.
    """

    signed: bool | None
    covers_options: bool | None = None


UNSIGNED = Claim(None)


class Admission:
    """Verifies signatures with the keys of a configuration. The keys of a dialect apply to that dialect only."""

    def __init__(self, config: Config, signer: Signer | None) -> None:
        self._signer = signer
        self._verifiers = {
            name: Verifier(name, keys) for name, keys in config.dialects.keys_by_name() if keys
        }

    def of_dialect(self, dialect: str, proof: Proof) -> Claim:
        """Verify the signature of an address in another proxy's grammar.

        Raises:
            SignatureMissing, SignatureMismatch: the dialect has keys, and none of them made the signature.
        """
        verifier = self._verifiers.get(dialect)
        if verifier is None:
            return UNSIGNED
        return Claim(True, verifier.verified(proof).with_options)

    def of_native(self, target: str, transform: Transform | None, *, now: float) -> Claim:
        """Verify the signature of one of our own addresses.

        Raises:
            SignatureMissing, SignatureMismatch, SignatureExpired: there are keys, and the signature is not valid.
        """
        if self._signer is None:
            return UNSIGNED
        asked = parse_native(target, mount=MOUNT)
        options = transform.canonical() if transform else asked.options
        former = former_spelling(asked.source.url)
        try:
            self._signer.verify(options, asked.source.url, sig=asked.sig, exp=asked.exp, now=now)
        except SignatureMismatch:
            # Earlier versions left `|` and some other characters unescaped in canonical sources. Addresses that they
            # signed stay valid.
            if former is None:
                raise
            self._signer.verify(options, former, sig=asked.sig, exp=asked.exp, now=now)
        return Claim(True)
