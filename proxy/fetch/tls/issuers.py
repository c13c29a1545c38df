"""Finds the certificate of an issuer: the addresses that name it, and the certificate in their answers. Pure.

Does not decide whom to trust: OpenSSL verifies the chain (`proxy.fetch.tls.chains`). A certificate returned here does
not become a trust anchor when it is loaded into a store. All input is untrusted; unreadable input counts as absent.

Importing this module imports `cryptography`, which takes time and 8 MiB, so import it where it is needed, in a thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import AuthorityInformationAccessOID

log = logging.getLogger(__name__)

_MAX_CANDIDATES = 8
"""How many certificates of one answer are tried as the issuer. Each may cost a signature check."""


def issuer_addresses(certificate: bytes) -> list[str]:
    """Return the `http` addresses of the issuer's certificate that the DER `certificate` names (RFC 5280 §4.2.2.1).

    `https` is left out: its own certificate might need completion, and signatures protect the answer anyway. So is
    `ldap`.
    """
    try:
        access = (
            x509.load_der_x509_certificate(certificate)
            .extensions.get_extension_for_class(x509.AuthorityInformationAccess)
            .value
        )
        found = [
            description.access_location.value
            for description in access
            if description.access_method == AuthorityInformationAccessOID.CA_ISSUERS
            and isinstance(description.access_location, x509.UniformResourceIdentifier)
        ]
    except Exception as error:  # noqa: BLE001 - a stranger's certificate through a stranger's parser
        log.info("a certificate names no address of its issuer: %r", error)
        return []
    return [address for address in dict.fromkeys(found) if address.lower().startswith("http://")]


def issuer_in(certificate: bytes, answer: bytes) -> bytes | None:
    """Return the DER certificate in `answer` that signed the DER `certificate`; None when there is none.

    `answer` is DER or PKCS#7 (RFC 5280 §4.2.2.1), or either as PEM, which some servers send.
    """
    try:
        issued = x509.load_der_x509_certificate(certificate)
        candidates = [found for found in _certificates(answer) if found.subject == issued.issuer]
    except Exception as error:  # noqa: BLE001 - a stranger's bytes through a stranger's parser
        log.info("no certificates can be read in %d bytes: %r", len(answer), error)
        return None
    return next((_der(found) for found in candidates[:_MAX_CANDIDATES] if _issued(found, issued)), None)


def _certificates(answer: bytes) -> Iterable[x509.Certificate]:
    if b"-----BEGIN PKCS7-----" in answer:
        return pkcs7.load_pem_pkcs7_certificates(answer)
    if b"-----BEGIN " in answer:
        return x509.load_pem_x509_certificates(answer)
    try:
        return [x509.load_der_x509_certificate(answer)]
    except ValueError:
        return pkcs7.load_der_pkcs7_certificates(answer)


def _issued(issuer: x509.Certificate, issued: x509.Certificate) -> bool:
    try:
        if not _needs_an_issuer(issuer):
            return False
        issued.verify_directly_issued_by(issuer)
    except Exception as error:  # noqa: BLE001 - any kind of key and signature, from a stranger
        log.info("a certificate is not the issuer that it claims to be: %r", error)
        return False
    return True


def _needs_an_issuer(certificate: x509.Certificate) -> bool:
    """Return whether OpenSSL, finding `certificate` in its store, continues with its issuer.

    OpenSSL trusts a certificate in its store that looks self-signed: the names of subject and issuer agree, and so do
    the two key identifiers, if both are present. It compares names without regard to case, spaces and string type,
    and checks no signature. So names must not decide alone; two different identifiers do. RFC 5280 (§4.2.1.1,
    §4.2.1.2) requires both identifiers in an intermediate.
    """
    own = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    issuers = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    return bool(issuers) and issuers != own and certificate.subject != certificate.issuer


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
