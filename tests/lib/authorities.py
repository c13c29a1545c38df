"""Certificate authorities for tests, which can set every field wrong."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Holder:
    """A certificate and its key: an authority's or a server's."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        name: str,
        *,
        aia: Sequence[str] = (),
        is_ca: bool = True,
        key: ec.EllipticCurvePrivateKey | None = None,
        issuer_name: str | None = None,
        days: int = 30,
        links: bool = True,
    ) -> Holder:
        """Return a certificate of `name`, signed by this one; for a server (`is_ca` false) of that host.

        aia: the addresses that it names for its issuer's certificate. key: its key, instead of a new one.
        issuer_name: the issuer that it claims. days: until it expires, negative if it has expired. links: whether key
        identifiers lead from it to its issuer.
        """
        key = key or ec.generate_private_key(ec.SECP256R1())
        issuer = _name(issuer_name) if issuer_name else self.certificate.subject
        builder = _builder(_name(name), issuer, key, days=days, is_ca=is_ca)
        if links:
            public_key = self.key.public_key()
            builder = builder.add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key), critical=False
            )
        if aia:
            builder = builder.add_extension(_access(aia), critical=False)
        if not is_ca:
            builder = builder.add_extension(x509.SubjectAlternativeName([_host(name)]), critical=False)
        return Holder(builder.sign(self.key, hashes.SHA256()), key)

    def serve(self, *above: Holder) -> ssl.SSLContext:
        """Return a server's context that sends this certificate and those `above` it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with tempfile.NamedTemporaryFile() as file:
            file.write(key + self.pem + b"".join(holder.pem for holder in above))
            file.flush()
            context.load_cert_chain(file.name)
        return context


def root(name: str = "Root", *, issuer_name: str | None = None, links: bool = False) -> Holder:
    """Return a certificate that is signed with its own key.

    issuer_name: the issuer that it claims. links: whether it names its own key as its issuer's.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(name), _name(issuer_name or name), key, days=30, is_ca=True)
    if links:
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
    return Holder(builder.sign(key, hashes.SHA256()), key)


def trusting(authority: Holder) -> ssl.SSLContext:
    """Return a new client context that trusts only this authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.der)
    return context


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int, is_ca: bool
) -> x509.CertificateBuilder:
    end = datetime.datetime.now(datetime.UTC) + days * _DAY
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - 90 * _DAY)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _access(addresses: Sequence[str]) -> x509.AuthorityInformationAccess:
    return x509.AuthorityInformationAccess(
        x509.AccessDescription(
            AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(address)
        )
        for address in addresses
    )


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
