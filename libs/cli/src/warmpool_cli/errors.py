"""What a command may fail with, and the exit code of each.

CliError                 the base: one line of cause, one line of fix, an exit code
├── OperationFailed      1: the system was reached and what was asked for did not succeed
├── UsageInvalid         2: the command line or a file it names is not valid
├── SystemUnavailable    3: the control plane was not reached, or refuses work for now
├── AccessDenied         4: no token, a wrong one, or one that may not do this
├── NotFound             5: what was named does not exist
├── Conflict             6: it exists in a state in which this cannot be done
└── Interrupted          128 + signal: Ctrl-C is 130
"""

from __future__ import annotations

import signal
from enum import IntEnum

__all__ = [
    "AccessDenied",
    "CliError",
    "Conflict",
    "ExitCode",
    "Interrupted",
    "NotFound",
    "OperationFailed",
    "SystemUnavailable",
    "UsageInvalid",
]


INTERRUPTED_FIX = "none is needed; run the command again if that was not meant"


class ExitCode(IntEnum):
    """The documented exit codes; see docs/cli.md."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    DENIED = 4
    NOT_FOUND = 5
    CONFLICT = 6


class CliError(Exception):
    """A command failed. `cause` says what happened, `fix` what to do; both are one line."""

    exit_code: int = ExitCode.FAILED

    def __init__(self, cause: str, fix: str) -> None:
        self.cause = " ".join(cause.split())
        self.fix = " ".join(fix.split())
        super().__init__(f"{self.cause} ({self.fix})")


class OperationFailed(CliError):
    """The system was reached and what was asked for did not succeed."""

    exit_code = ExitCode.FAILED


class UsageInvalid(CliError):
    """The command line, a setting or a file it names is not valid."""

    exit_code = ExitCode.USAGE


class SystemUnavailable(CliError):
    """The control plane was not reached, or refuses work for now."""

    exit_code = ExitCode.UNAVAILABLE


class AccessDenied(CliError):
    """No token was given, it is not known, or its owner may not do this."""

    exit_code = ExitCode.DENIED


class NotFound(CliError):
    """What was named does not exist, or is hidden from the caller."""

    exit_code = ExitCode.NOT_FOUND


class Conflict(CliError):
    """What was named is in a state in which this cannot be done."""

    exit_code = ExitCode.CONFLICT


class Interrupted(CliError):
    """A signal ended the command; what it had started was cleaned up."""

    def __init__(self, received: signal.Signals) -> None:
        super().__init__(f"interrupted by {received.name}", INTERRUPTED_FIX)
        self.exit_code = 128 + int(received)
