"""Makes what an installation must know and nobody else may: keys, nkeys and certificates.

    .venv/bin/python tools/make_secrets.py DIRECTORY [--name HOST_OR_ADDRESS ...] [--renew]

Every file is made once: what is there is left alone, so it can be run again. The certificates are
signed by a root made here, for ten years the root, for one year the others; take certificates of
your own where you have an authority. `--renew` replaces all certificates but the root by new ones,
with new keys, for the names they have and those that are given.
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import os
import secrets
import sys
from pathlib import Path

import nkeys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

RANDOM_FILES = ("owner-token", "provisioner-key", "gateway-key", "state-key", "postgres-password")
NKEY_USERS = ("reconciler", "agentgw")
CERTIFICATES = ("reconciler", "agentgw", "provisionerd", "nats", "postgres", "people")
NAMESPACE = "warmpool"
ROOT_DAYS = 3650
LEAF_DAYS = 365


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        help="one more host name or address that the services' certificates are for",
    )
    parser.add_argument(
        "--renew",
        action="store_true",
        help="replace the certificates by new ones, but not the root",
    )
    arguments = parser.parse_args()
    directory: Path = arguments.directory
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in RANDOM_FILES:
        write_once(directory / name, secrets.token_hex(32) + "\n")
    make_database_url(directory)
    make_nkeys(directory)
    make_certificates(directory, arguments.name, renew=arguments.renew)
    print(f"{directory}: complete; keep state-key apart from the backups of Postgres")
    return 0


def write_once(path: Path, text: str) -> None:
    """Writes a private file unless it is there."""
    if not path.exists():
        write(path, text)


def write(path: Path, text: str) -> None:
    """Writes a private file, or what is new into the one that is there: a container to which a file
    is mounted would not see another one in its place.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)


def make_database_url(directory: Path) -> None:
    """The URL for the Postgres of the Compose file. Elsewhere, write your own into it."""
    password = (directory / "postgres-password").read_text().strip()
    write_once(directory / "database-url", f"postgresql://warmpool:{password}@postgres/warmpool\n")


def make_nkeys(directory: Path) -> None:
    """A seed for each user, and the public halves for the server."""
    lines: list[str] = []
    for user in NKEY_USERS:
        seed = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)
        path = directory / f"nats-{user}.nk"
        write_once(path, seed.decode() + "\n")
        pair = nkeys.from_seed(bytearray(path.read_bytes().strip()))
        lines.append(f"{user.upper()}_NKEY: {pair.public_key.decode()}\n")
    (directory / "nats-keys.conf").write_text("".join(lines))


def make_certificates(directory: Path, names: list[str], *, renew: bool) -> None:
    """A root, and for each who shows one a certificate for every name they may be called by."""
    root_key_path = directory / "ca.key"
    write_once(root_key_path, pem_of(ec.generate_private_key(ec.SECP256R1())))
    root_key = serialization.load_pem_private_key(root_key_path.read_bytes(), None)
    assert isinstance(root_key, ec.EllipticCurvePrivateKey)
    root = certificate("Warmpool root", [], root_key, None, ROOT_DAYS)
    write_once(directory / "ca.crt", root.public_bytes(serialization.Encoding.PEM).decode())
    root = x509.load_pem_x509_certificate((directory / "ca.crt").read_bytes())
    for service in CERTIFICATES:
        path, key_path = directory / service / "tls.crt", directory / service / "tls.key"
        if not renew and is_pair(path, key_path):
            continue
        known = [service, f"{service}.{NAMESPACE}.svc", f"{service}.{NAMESPACE}.svc.cluster.local"]
        former = names_of(path) if path.exists() else []
        wanted = list(dict.fromkeys([*known, "localhost", "127.0.0.1", *former, *names]))
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = certificate(service, wanted, key, (root, root_key), LEAF_DAYS)
        # Between the two a service sees a pair that does not belong together, and keeps the former.
        write(key_path, pem_of(key))
        write(path, leaf.public_bytes(serialization.Encoding.PEM).decode())


def is_pair(path: Path, key_path: Path) -> bool:
    """Whether both are there and belong together; a run that was ended between the two leaves a
    pair that does not.
    """
    if not (path.exists() and key_path.exists()):
        return False
    key = serialization.load_pem_private_key(key_path.read_bytes(), None)
    found = x509.load_pem_x509_certificate(path.read_bytes())
    return found.public_key() == key.public_key()


def names_of(path: Path) -> list[str]:
    """The names in a certificate of ours."""
    found = x509.load_pem_x509_certificate(path.read_bytes()).extensions
    return [
        str(each.value)
        for each in found.get_extension_for_class(x509.SubjectAlternativeName).value
        if isinstance(each, x509.DNSName | x509.IPAddress)
    ]


def certificate(
    subject: str,
    names: list[str],
    key: ec.EllipticCurvePrivateKey,
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
    days: int,
) -> x509.Certificate:
    """A certificate for `key`; without an issuer it is a root. With all that who checks strictly,
    as Python does from 3.13 on, asks for.
    """
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    now = datetime.datetime.now(datetime.UTC)  # noqa: TID251 -- a certificate begins now
    signer = issuer[1] if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer[0].subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(usage_of(is_root=issuer is None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if issuer:
        both = x509.ExtendedKeyUsage(
            [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        )
        builder = builder.add_extension(both, critical=False)
    if names:
        alternatives = [general_name(each) for each in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(signer, hashes.SHA256())


def usage_of(*, is_root: bool) -> x509.KeyUsage:
    """A root signs certificates, everybody else a handshake."""
    return x509.KeyUsage(
        digital_signature=not is_root,
        key_cert_sign=is_root,
        crl_sign=is_root,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def general_name(name: str) -> x509.GeneralName:
    """An address or a host name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def pem_of(key: ec.EllipticCurvePrivateKey) -> str:
    """The key as a file."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


if __name__ == "__main__":
    sys.exit(main())
