"""What a process knows of the certificates it was given, and what is wrong with one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

__all__ = ["RENEW_BEFORE", "Certificate", "bears_name", "describe_problem", "has_expired"]

RENEW_BEFORE: Final = timedelta(days=14)
"""What ends within this time is told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What is in a file. `setting` is the one that named it. `problem` is what makes it unfit for
    use, whatever the time; then the rest may be missing.
    """

    setting: str
    issuer: str = ""
    names: tuple[str, ...] = ()
    ends_at: datetime | None = None
    problem: str = ""


def has_expired(certificate: Certificate, now: datetime) -> bool:
    """Whether nobody takes it any more."""
    return certificate.ends_at is not None and certificate.ends_at <= now


def describe_problem(certificate: Certificate, now: datetime) -> str:
    """What somebody should mend, or ""."""
    setting, end = certificate.setting, certificate.ends_at
    if certificate.problem:
        return f"{setting}: {certificate.problem}"
    if end is None:
        return ""
    if end <= now:
        return f"{setting}: has expired on {end:%Y-%m-%d}; nobody trusts it any more"
    if end - now < RENEW_BEFORE:
        return f"{setting}: ends on {end:%Y-%m-%d}, in {(end - now).days} days"
    return ""


def bears_name(certificate: Certificate, host: str) -> bool:
    """Whether who calls the host takes this certificate for its; "*.a.b" is for one label more."""
    wildcard = f"*.{host.partition('.')[2]}"
    return any(name.lower() in (host.lower(), wildcard.lower()) for name in certificate.names)
