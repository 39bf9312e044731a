"""Turns what a server refused into a cause and a fix.

The code decides the class and so the exit code; the server's own sentence is the cause, because it
names the field or the thing. Servers say `reason` in capitals; it is shown so that people can
search for it.
"""

from __future__ import annotations

import grpc

from svckit.status import read_error
from warmpool_cli.errors import (
    AccessDenied,
    CliError,
    Conflict,
    NotFound,
    OperationFailed,
    SystemUnavailable,
    UsageInvalid,
)

__all__ = ["explain_rpc_error"]

_KINDS: dict[grpc.StatusCode, tuple[type[CliError], str]] = {
    grpc.StatusCode.INVALID_ARGUMENT: (UsageInvalid, "correct the value and try again"),
    grpc.StatusCode.OUT_OF_RANGE: (UsageInvalid, "correct the value and try again"),
    grpc.StatusCode.UNAUTHENTICATED: (
        AccessDenied,
        "give a valid token with --token-file, WARMPOOL_TOKEN or WARMPOOL_TOKEN_FILE",
    ),
    grpc.StatusCode.PERMISSION_DENIED: (
        AccessDenied,
        "ask an administrator for the permission; `warmpool whoami` shows your roles",
    ),
    grpc.StatusCode.NOT_FOUND: (
        NotFound,
        "check the name; `warmpool list` and `warmpool template list` show what there is",
    ),
    grpc.StatusCode.ALREADY_EXISTS: (Conflict, "choose another name"),
    grpc.StatusCode.FAILED_PRECONDITION: (Conflict, "bring it into the state named and try again"),
    grpc.StatusCode.ABORTED: (Conflict, "somebody changed it at the same time; try again"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (Conflict, "free something or raise the limit named"),
    grpc.StatusCode.UNAVAILABLE: (
        SystemUnavailable,
        "start it with `warmpool up`, or check --address; `warmpool doctor` looks closer",
    ),
    grpc.StatusCode.DEADLINE_EXCEEDED: (
        SystemUnavailable,
        "the system is slow or stuck: try again, then run `warmpool doctor`",
    ),
    grpc.StatusCode.CANCELLED: (SystemUnavailable, "the server ended the call; try again"),
    grpc.StatusCode.UNIMPLEMENTED: (
        OperationFailed,
        "the server is older than this command: `warmpool version` shows both",
    ),
}
_FIXES = {
    "VERSION_UNKNOWN": "`warmpool template versions TEMPLATE` shows what there is",
    "VERSION_NOT_IMPORTED": "promote another version, or push a corrected one",
    "PROVISIONER_TYPE_DIFFERS": "push it under another --name",
    "PRESET_UNKNOWN": "give one that the active version has, or none",
    "POOL_UNKNOWN": "`warmpool pool list` shows the pools there are",
    "JOB_UNKNOWN": "`warmpool show WORKSPACE -o json` names the job of its latest build",
    "USER_UNKNOWN": "check the name; `warmpool whoami` shows your own",
    "ORGANIZATION_UNKNOWN": 'check the name; without it, "default" is meant',
}
"""What to do about a reason, where more can be said than for its code."""
_UNEXPECTED = (OperationFailed, "look into the reconciler's log, then try again")


def explain_rpc_error(error: grpc.RpcError, address: str) -> CliError:
    """The error to show for a failed call to the control plane at `address`."""
    remote = read_error(error)
    kind, fix = _KINDS.get(remote.code, _UNEXPECTED)
    fix = _FIXES.get(remote.reason, fix)
    if kind is SystemUnavailable and remote.reason:  # its own word: it was reached
        cause = f"the control plane at {address} refuses work for now: {remote.message}"
        fix = "try again; `warmpool doctor` says what it lacks"
    elif kind is SystemUnavailable:
        cause = f"cannot reach the control plane at {address}: {remote.message}"
    else:
        cause = remote.message or remote.code.name
    field = remote.field.removeprefix("header.")  # of a stream's first message: not a person's word
    if field and field not in cause:
        cause = f"{field}: {cause}"
    if remote.reason:
        cause = f"{cause} [{remote.reason}]"
    if remote.retry_after_seconds is not None:
        fix = f"try again in {remote.retry_after_seconds:.0f} s"
    return kind(cause, fix)
