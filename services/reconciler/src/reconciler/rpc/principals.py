"""Who calls, as the method expects them. The authorizer has let them in; this says what sort they
are.
"""

from __future__ import annotations

from uuid import UUID

from reconciler.core.audit import Actor, read_trace_id
from reconciler.core.permissions import ServicePrincipal, UserPrincipal
from svckit.auth import authorize_again, current_principal
from svckit.errors import PermissionDenied
from svckit.telemetry import current_traceparent

__all__ = ["calling_actor", "calling_service", "calling_user", "still_calling_user"]


def calling_user() -> UserPrincipal:
    """The person who calls; raises PermissionDenied for a service."""
    return _as_user(current_principal.get())


async def still_calling_user() -> UserPrincipal:
    """The person who calls with the rights they have by now: for streams, which outlive tokens and
    roles. Raises what the authorizer raises, and PermissionDenied for a service.
    """
    return _as_user(await authorize_again.get()())


def calling_actor(audit_id: UUID) -> Actor:
    """The person who calls as the one who does it, with the trace of the call; raises
    PermissionDenied for a service.
    """
    return Actor(
        user_id=calling_user().user_id,
        audit_id=audit_id,
        trace_id=read_trace_id(current_traceparent()),
    )


def calling_service(kind: str) -> ServicePrincipal:
    """The service that calls; raises PermissionDenied for anybody else."""
    match current_principal.get():
        case ServicePrincipal() as service if service.kind == kind:
            return service
        case _:
            raise PermissionDenied(f"only a {kind} may call this", reason="WRONG_SERVICE")


def _as_user(principal: object) -> UserPrincipal:
    match principal:
        case UserPrincipal() as user:
            return user
        case _:
            raise PermissionDenied("only a person may call this", reason="NOT_A_PERSON")
