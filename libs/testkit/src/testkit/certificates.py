"""Certificates for tests, in files: roots of one's own, and what they sign."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Identity", "make_identity"]

BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
END = datetime(2120, 1, 1, tzinfo=UTC)
_times = count(10**18, 10**9)  # one each, however coarse the file system's clock


@dataclass(frozen=True)
class Identity:
    """A certificate for 127.0.0.1 and its key, in files."""

    cert_file: Path
    key_file: Path


def make_identity(
    directory: Path,
    name: str,
    *,
    issuer: Identity | None = None,
    uris: Iterable[str] = (),
    end: datetime = END,
) -> Identity:
    """Make one, or replace the one of that name. Without an issuer it is its own root."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = [
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.DNSName(f"{name}.test"),
        *(x509.UniformResourceIdentifier(uri) for uri in uris),
    ]
    signer, issuer_name = key, subject
    if issuer is not None:
        signed_by = serialization.load_pem_private_key(issuer.key_file.read_bytes(), None)
        assert isinstance(signed_by, ec.EllipticCurvePrivateKey)
        signer = signed_by
        issuer_name = x509.load_pem_x509_certificate(issuer.cert_file.read_bytes()).subject
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    made = Identity(directory / f"{name}.crt", directory / f"{name}.key")
    made.cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    written_at = next(_times)
    for file in (made.cert_file, made.key_file):
        os.utime(file, ns=(written_at, written_at))
    return made
