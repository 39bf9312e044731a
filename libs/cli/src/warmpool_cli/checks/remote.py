"""Looks at the control plane: does it answer, does it know us, does it say that it is well?"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from warmpool.control.v1.system_pb2 import GetSystemRequest, GetSystemResponse
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
    """The control plane's own checks, then ours: versions, clocks, provisioners."""
    for check in answer.checks:
        yield Finding(
            name=check.name,
            verdict=Verdict.OK if check.ok else Verdict.FAIL,
            message=check.message,
            fix="" if check.ok else "mend what the message names; the reconciler's log says more",
        )
    same = answer.version == version
    yield Finding(
        name="versions",
        verdict=Verdict.OK if same else Verdict.WARN,
        message=f"control plane {answer.version}, this command {version}, "
        f"schema {answer.schema_version or '?'}, Postgres {answer.postgres_version or '?'}",
        fix="" if same else "use the same release of both when something is odd",
    )
    skew = abs((moment(answer.now) - now).total_seconds())
    yield Finding(
        name="clock",
        verdict=Verdict.OK if skew <= SKEW_WARN_SECONDS else Verdict.WARN,
        message=f"{skew:.1f} s from the control plane's",
        fix="" if skew <= SKEW_WARN_SECONDS else "let both machines follow a time server",
    )
    if not answer.provisioners:
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
            message=f"{', '.join(worker.provisioner_types)}; seen {since(worker.last_seen_at, now)}"
            " ago",
            fix="look into its log, or wait until it is forgotten" if silent else "",
        )
