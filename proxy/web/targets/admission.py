"""What the signature of a request vouches for, ours or that of another proxy's grammar. Pure."""

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
    """What was verified. signed: True for a good signature, None where the form carries none, or there are no keys.

    covers_options: of a dialect's signature, whether it is over the options too; None of ours, which always is.
    """

    signed: bool | None
    covers_options: bool | None = None


UNSIGNED = Claim(None)


class Admission:
    """The keys of a configuration: ours, and those of each dialect, which close that dialect only."""

    def __init__(self, config: Config, signer: Signer | None) -> None:
        self._signer = signer
        self._verifiers = {
            name: Verifier(name, keys) for name, keys in config.dialects.keys_by_name() if keys
        }

    def of_dialect(self, dialect: str, proof: Proof) -> Claim:
        """Return what an address in another proxy's grammar claims.

        Raises:
            SignatureMissing, SignatureMismatch: there are keys of the dialect, and none made its signature.
        """
        verifier = self._verifiers.get(dialect)
        if verifier is None:
            return UNSIGNED
        return Claim(True, verifier.verified(proof).with_options)

    def of_native(self, target: str, transform: Transform | None, *, now: float) -> Claim:
        """Return what one of our own addresses claims.

        Raises:
            SignatureMissing, SignatureMismatch, SignatureExpired: what is wrong with its signature.
        """
        if self._signer is None:
            return UNSIGNED
        asked = parse_native(target, mount=MOUNT)
        options = transform.canonical() if transform else asked.options
        former = former_spelling(asked.source.url)
        try:
            self._signer.verify(options, asked.source.url, sig=asked.sig, exp=asked.exp, now=now)
        except SignatureMismatch:
            # Published when the canonical source left `|` and others as they were.
            if former is None:
                raise
            self._signer.verify(options, former, sig=asked.sig, exp=asked.exp, now=now)
        return Claim(True)
