"""Looks at certificates: the files we were given, and what the control plane shows."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from warmpool_cli.checks.finding import Finding, Verdict
from warmpool_cli.connection import Connection

__all__ = ["judge_expiry", "look_at_certificates"]

SECONDS = 5.0
EXPIRY_WARN = timedelta(days=14)


async def look_at_certificates(connection: Connection, now: datetime) -> list[Finding]:
    """Nothing for a connection without TLS."""
    files = {"--ca-file": connection.ca_file, "--cert-file": connection.cert_file}
    found = [_look_at_file(flag, file, now) for flag, file in files.items() if file]
    if connection.address.startswith("https://") or found:
        found.append(await _look_at_server(connection, now))
    return found


def judge_expiry(name: str, of: str, ends: Iterable[datetime], now: datetime) -> Finding:
    """Whether what ends first does so soon."""
    end = min(ends)
    days = (end - now).days
    if end <= now:
        return Finding(
            name=name,
            verdict=Verdict.FAIL,
            message=f"{of} has expired on {end:%Y-%m-%d}; nobody trusts it any more",
            fix="renew it; services take the new files without a restart",
        )
    soon = end - now < EXPIRY_WARN
    return Finding(
        name=name,
        verdict=Verdict.WARN if soon else Verdict.OK,
        message=f"{of} is good until {end:%Y-%m-%d}, for {days} days",
        fix="renew it; services take the new files without a restart" if soon else "",
    )


def _look_at_file(flag: str, file: Path, now: datetime) -> Finding:
    try:
        certificates = x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError) as error:
        return Finding(
            name="certificate",
            verdict=Verdict.FAIL,
            message=f"{file} ({flag}) cannot be read: {error}",
            fix="name a PEM file with certificates",
        )
    ends = [certificate.not_valid_after_utc for certificate in certificates]
    return judge_expiry("certificate", f"{file} ({flag})", ends, now)


async def _look_at_server(connection: Connection, now: datetime) -> Finding:
    name, address = "server certificate", connection.address.removeprefix("https://").rstrip("/")
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        context = ssl.create_default_context(cafile=connection.ca_file)
        if connection.cert_file and connection.key_file:
            context.load_cert_chain(connection.cert_file, connection.key_file)
        context.set_alpn_protocols(["h2"])
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(
                host, int(port), ssl=context, server_hostname=host
            )
        try:
            der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        finally:
            writer.close()
    except ssl.SSLCertVerificationError as error:
        return Finding(
            name=name,
            verdict=Verdict.FAIL,
            message=f"{address} shows one that is not trusted: {error.verify_message}",
            fix="renew it if it has expired, or give its roots with --ca-file",
        )
    except (OSError, TimeoutError, ValueError) as error:
        return Finding(
            name=name,
            verdict=Verdict.FAIL,
            message=f"{address} shows none: {error or type(error).__name__}",
            fix="look whether the control plane is there, and uses TLS",
        )
    certificate = x509.load_der_x509_certificate(der)
    return judge_expiry(name, f"that of {address}", [certificate.not_valid_after_utc], now)
