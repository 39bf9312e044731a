"""Lets nobody past who may not.

Default deny: a method without a declared permission is refused for everybody.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from svckit.auth import Authorizer, bearer_of, current_principal, permission_of
from svckit.errors import PermissionDenied
from svckit.interceptors.around import AroundInterceptor, Call
from svckit.log import get_logger

__all__ = ["auth_interceptor"]

_log = get_logger(__name__)


def auth_interceptor(authorizer: Authorizer) -> AroundInterceptor:
    """The interceptor that asks `authorizer` and sets `current_principal` for the handler."""

    @asynccontextmanager
    async def around(call: Call) -> AsyncGenerator[None]:
        if call.exempt:
            yield
            return
        permission = permission_of(call.method)
        if permission is None:
            _log.error("A method declares no permission.", action="authorize", method=call.method)
            raise PermissionDenied(
                f"{call.method} declares no permission, so nobody may call it",
                reason="PERMISSION_UNDECLARED",
                metadata={"method": call.method},
            )
        token = bearer_of(call.context.invocation_metadata())
        principal = await authorizer.authorize(call.method, permission, token)
        reset = current_principal.set(principal)
        try:
            yield
        finally:
            current_principal.reset(reset)

    return AroundInterceptor(around)
