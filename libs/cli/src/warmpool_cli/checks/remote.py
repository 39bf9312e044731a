"""Looks at the control plane: does it answer, does it know us, does it say that it is well?"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from svckit.releases import releases_apart
from warmpool.control.v1.system_pb2 import (
    Check,
    GetSystemRequest,
    GetSystemResponse,
    ProvisionerWorker,
)
from warmpool_cli.checks.finding import Finding, Verdict
from warmpool_cli.client import open_client
from warmpool_cli.connection import Connection
from warmpool_cli.errors import CliError
from warmpool_cli.render.words import moment, since

__all__ = ["judge_system", "look_at_system"]

SECONDS = 5.0
SKEW_WARN_SECONDS = 5.0
SEEN_WARN_SECONDS = 60.0


async def look_at_system(connection: Connection, now: datetime, version: str) -> list[Finding]:
    """What a call shows, and what the control plane says of itself."""
    try:
        async with open_client(connection) as client:
            answer = await client.system.GetSystem(GetSystemRequest(), timeout=SECONDS)
    except CliError as error:
        return [
            Finding(name="control plane", verdict=Verdict.FAIL, message=error.cause, fix=error.fix)
        ]
    return [
        Finding(
            name="control plane",
            verdict=Verdict.OK,
            message=f"answers at {connection.address} (from {connection.source})",
        ),
        *judge_system(answer, now, version),
    ]


def judge_system(answer: GetSystemResponse, now: datetime, version: str) -> Iterable[Finding]:
    """The control plane's own checks, then ours: versions, clocks, what runs."""
    for check in answer.checks:
        yield _read_check(check)
    yield _judge_version(answer, version)
    skew = abs((moment(answer.now) - now).total_seconds())
    yield Finding(
        name="clock here",
        verdict=Verdict.OK if skew <= SKEW_WARN_SECONDS else Verdict.WARN,
        message=f"{skew:.1f} s from the control plane's",
        fix="" if skew <= SKEW_WARN_SECONDS else "let both machines follow a time server",
    )
    if not (answer.provisioners or any(each.name == "provisioners" for each in answer.checks)):
        yield Finding(
            name="provisioners",
            verdict=Verdict.FAIL,
            message="none is connected: nothing can be built",
            fix="start a provisionerd and look into its log",
        )
    for worker in answer.provisioners:
        silent = (now - moment(worker.last_seen_at)).total_seconds() > SEEN_WARN_SECONDS
        yield Finding(
            name=f"provisioner {worker.name}",
            verdict=Verdict.WARN if silent else Verdict.OK,
            message=f"{worker.version or 'unknown release'}; {_what_it_runs(answer, worker)}; seen"
            f" {since(worker.last_seen_at, now)} ago",
            fix="look into its log, or wait until it is forgotten" if silent else "",
        )
    for each in answer.instances:
        if each.service != "provisioner":  # those are above
            yield Finding(
                name=f"{each.service} {each.name}",
                verdict=Verdict.OK,
                message=f"{each.version}; seen {since(each.last_seen_at, now)} ago",
            )


def _read_check(check: Check) -> Finding:
    verdict = Verdict.FAIL if not check.ok else Verdict.WARN if check.warning else Verdict.OK
    fix = check.fix or "mend what the message names; the reconciler's log says more"
    return Finding(
        name=check.name,
        verdict=verdict,
        message=check.message,
        fix="" if verdict is Verdict.OK else fix,
    )


def _judge_version(answer: GetSystemResponse, version: str) -> Finding:
    is_near = releases_apart(answer.version, version) in (0, 1)
    return Finding(
        name="versions",
        verdict=Verdict.OK if is_near else Verdict.WARN,
        message=f"control plane {answer.version}, this command {version}, "
        f"schema {answer.schema_version or '?'}, Postgres {answer.postgres_version or '?'}"
        + ("" if is_near else "; more than one release apart, which is not tested"),
        fix="" if is_near else "use a command of the control plane's release",
    )


def _what_it_runs(answer: GetSystemResponse, worker: ProvisionerWorker) -> str:
    programs = {
        kind: version
        for each in answer.instances
        if each.id == worker.id
        for kind, version in each.programs.items()
    }
    kinds = worker.provisioner_types
    return ", ".join(f"{kind} {programs.get(kind, '')}".strip() for kind in kinds)
