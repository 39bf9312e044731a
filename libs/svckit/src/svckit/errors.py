"""What goes wrong, named for what the caller does next.

    ServiceError
    ├── InvalidArgument      the request is wrong, whatever the state: change it
    ├── NotFound             what it names does not exist
    ├── AlreadyExists        what it would make exists
    ├── PermissionDenied     the caller is known and may not
    ├── Unauthenticated      the caller is not known
    ├── FailedPrecondition   the state does not allow it: change the state first
    ├── Aborted              somebody else was faster: read again, then repeat
    ├── ResourceExhausted    a limit is reached: repeat later, or raise the limit
    ├── Unavailable          not now: repeat the same call after a delay
    └── Internal             our fault

    StartFailed              the process cannot start; the operator must act

`svckit.status` is the one place that turns a `ServiceError` into a gRPC status. This module is
pure: a core may import it and derive errors of its own, which keep the status of the kind they
derive from.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = [
    "Aborted",
    "AlreadyExists",
    "FailedPrecondition",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "ServiceError",
    "StartFailed",
    "Unauthenticated",
    "Unavailable",
]

_NO_METADATA: Mapping[str, str] = MappingProxyType({})


class ServiceError(Exception):
    """Something a caller is told. Raise one of the kinds below, never this one.

    The message is shown to the caller: it names the field, what was wrong and what is allowed, and
    holds no secret.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        field: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        """Make one.

        `reason` is a constant for programs ("TEMPLATE_UNKNOWN"; "" stands for the kind's own name),
        `field` the path of the wrong request field, `metadata` what a program may want to know,
        `retry_after_seconds` when repeating may help.
        """
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.field = field
        self.metadata: Mapping[str, str] = _NO_METADATA if metadata is None else dict(metadata)
        self.retry_after_seconds = retry_after_seconds


class InvalidArgument(ServiceError):
    """The request is wrong, whatever the state. Repeating it is pointless."""


class NotFound(ServiceError):
    """What the request names does not exist, or the caller may not know that it does."""


class AlreadyExists(ServiceError):
    """What the request would make exists."""


class PermissionDenied(ServiceError):
    """The caller is known, and may not do this."""


class Unauthenticated(ServiceError):
    """The caller gave no credentials, or wrong ones."""


class FailedPrecondition(ServiceError):
    """The state does not allow this. Change the state, then repeat."""


class Aborted(ServiceError):
    """Somebody else changed the same thing first. Read again, then decide again."""


class ResourceExhausted(ServiceError):
    """A limit is reached."""


class Unavailable(ServiceError):
    """Not now. The same request may succeed after a delay."""


class Internal(ServiceError):
    """Our own fault. The log knows more."""


class StartFailed(Exception):
    """The process cannot start. The message is one line for its operator; the exit code is 1."""
