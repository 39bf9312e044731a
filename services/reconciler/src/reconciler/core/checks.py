"""Whether the installation is well, from what was seen of it.

Each check says what was seen and why it matters, and its `fix` what to do about it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from svckit.certificates import Certificate, bears_name, describe_problem, has_expired
from svckit.releases import releases_apart

__all__ = [
    "WORKER_SEEN",
    "Check",
    "InstanceView",
    "ManifestsView",
    "WorkerView",
    "check_certificates",
    "check_instances",
    "check_manifests",
    "check_provisioners",
    "check_versions",
]

WORKER_SEEN: Final = timedelta(seconds=60)
"""A process not heard of for so long is gone; it tells every few seconds."""

SKEW_MAX: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at. With `is_warning` it is well enough to go on."""

    name: str
    is_ok: bool
    message: str
    is_warning: bool = False
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerView:
    """A provisioner."""

    id: UUID
    name: str
    version: str
    provisioner_types: tuple[str, ...]
    tags: dict[str, str]
    last_seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceView:
    """A process as it told of itself. `clock_skew_seconds`: how far its clock was ahead of ours;
    `programs`: what it runs with the version, which is empty for what it should and cannot.
    """

    id: UUID
    service: str
    name: str
    version: str
    clock_skew_seconds: float = 0.0
    problems: tuple[str, ...] = ()
    programs: dict[str, str]
    certificates: tuple[Certificate, ...] = ()
    last_seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestsView:
    """How agents' manifests are stored: whether new ones are encrypted; how many are in clear."""

    are_sealed: bool
    plain: int


def check_versions(own: str, instances: Sequence[InstanceView]) -> Check:
    """Whether everything that runs is within one release of this replica."""
    found = Counter((each.service, each.version) for each in instances)
    seen = ", ".join(f"{count} × {kind} {which}" for (kind, which), count in sorted(found.items()))
    strangers = sorted(
        f"{each.service} {each.name} ({each.version})"
        for each in instances
        if releases_apart(own, each.version) not in (0, 1)
    )
    if strangers:
        return Check(
            name="releases",
            is_ok=False,
            message=f"more than one release from {own}, which is not tested and may not work:"
            f" {', '.join(strangers)}",
            fix="upgrade one release at a time, and finish one upgrade before the next",
        )
    return Check(name="releases", is_ok=True, message=seen or f"reconciler {own}")


def check_instances(instances: Sequence[InstanceView]) -> tuple[Check, ...]:
    """What processes found wrong with themselves, their clocks and their programs."""
    checks: list[Check] = []
    for each in instances:
        name = f"{each.service} {each.name}"
        if abs(each.clock_skew_seconds) > SKEW_MAX.total_seconds():
            checks.append(
                Check(
                    name=name,
                    is_ok=False,
                    message=f"its clock is {each.clock_skew_seconds:+.1f} s from ours, so times of"
                    " logs and of claims are wrong",
                    fix="let its machine follow a time server (NTP)",
                )
            )
        checks.extend(
            Check(
                name=name,
                is_ok=True,
                is_warning=True,
                message=f"{program} is not there, so it takes no {program} jobs",
                fix=f"install {program} for it, or leave it out of its provisioners setting",
            )
            for program, version in sorted(each.programs.items())
            if not version
        )
        checks.extend(
            Check(
                name=name,
                is_ok=True,
                is_warning=True,
                message=problem,
                fix="mend what the message names; its log and its /readyz say more",
            )
            for problem in each.problems
            # which is said of each certificate by itself, see `check_certificates`
            if not (each.certificates and problem.startswith("certificates: "))
        )
    return tuple(checks)


def check_certificates(
    instances: Sequence[InstanceView], now: datetime, agent_url: str
) -> tuple[Check, ...]:
    """Every certificate of every process: whether others take it, and for how long."""
    host = urlsplit(agent_url).hostname or ""
    return tuple(
        _check_certificate(f"{each.service} {each.name}", certificate, now, called=host)
        if (each.service, certificate.setting) == ("gateway", "tls_cert_file")
        else _check_certificate(f"{each.service} {each.name}", certificate, now)
        for each in instances
        for certificate in each.certificates
    )


def _check_certificate(name: str, it: Certificate, now: datetime, called: str = "") -> Check:
    """`called` is what those who call it take it for."""
    if problem := describe_problem(it, now):
        return Check(
            name=name,
            is_ok=not has_expired(it, now),
            is_warning=True,
            message=problem,
            fix="renew it, or mend its file; it is taken without a restart",
        )
    if called and not bears_name(it, called):
        return Check(
            name=name,
            is_ok=True,
            is_warning=True,
            message=f"{it.setting}: is for {', '.join(it.names) or 'nobody'}, and agents call"
            f" {called}; they refuse it unless something before the gateways ends TLS",
            fix="take a certificate that bears the host of agent_url, or mend agent_url",
        )
    whose = f" for {', '.join(it.names)}" if it.names else ""
    end = f", until {it.ends_at:%Y-%m-%d}" if it.ends_at else ""
    return Check(name=name, is_ok=True, message=f"{it.setting}: signed by {it.issuer}{whose}{end}")


def check_manifests(
    own: str, view: ManifestsView, instances: Sequence[InstanceView]
) -> tuple[Check, ...]:
    """Whether secrets in what agents run lie in the database in clear for no good reason.

    A reconciler of 0.1 is not seen: it tells nobody of itself.
    """
    is_mixed = any(releases_apart(own, each.version) != 0 for each in instances)
    if not view.are_sealed and not is_mixed:
        return (
            Check(
                name="secrets",
                is_ok=True,
                is_warning=True,
                message="what agents run, secrets in it too, is stored in clear, as 0.1 reads it",
                fix="when no reconciler of the release before is left, run"
                " `python -m reconciler migrate --post`",
            ),
        )
    if view.are_sealed and view.plain:
        return (
            Check(
                name="secrets",
                is_ok=True,
                is_warning=True,
                message=f"what {view.plain} agents run, secrets in it too, lies in clear",
                fix="set state_key_file for every reconciler; what lies in clear is then encrypted"
                " within two minutes",
            ),
        )
    return ()


def check_provisioners(workers: Sequence[WorkerView]) -> Check:
    """Whether anybody takes jobs."""
    if not workers:
        return Check(
            name="provisioners",
            is_ok=False,
            message=f"none seen for {WORKER_SEEN.total_seconds():.0f} s; builds wait until a"
            " provisionerd connects",
            fix="start a provisionerd and look into its log",
        )
    types = Counter(each for worker in workers for each in worker.provisioner_types)
    kinds = ", ".join(f"{count} × {kind}" for kind, count in sorted(types.items()))
    return Check(name="provisioners", is_ok=True, message=f"{len(workers)} connected: {kinds}")
