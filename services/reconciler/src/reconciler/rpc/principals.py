"""Who calls, as the method expects them. The authorizer has let them in; this says what sort they
are.
"""

from __future__ import annotations

from reconciler.core.permissions import ServicePrincipal, UserPrincipal
from svckit.auth import current_principal
from svckit.errors import PermissionDenied

__all__ = ["calling_service", "calling_user"]


def calling_user() -> UserPrincipal:
    """The person who calls; raises PermissionDenied for a service."""
    match current_principal.get():
        case UserPrincipal() as user:
            return user
        case _:
            raise PermissionDenied("only a person may call this", reason="NOT_A_PERSON")


def calling_service(kind: str) -> ServicePrincipal:
    """The service that calls; raises PermissionDenied for anybody else."""
    match current_principal.get():
        case ServicePrincipal() as service if service.kind == kind:
            return service
        case _:
            raise PermissionDenied(f"only a {kind} may call this", reason="WRONG_SERVICE")
