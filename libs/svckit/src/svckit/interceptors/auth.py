"""Lets nobody past who may not.

Default deny: a method without a declared permission is refused for everybody.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from svckit.auth import (
    Authorizer,
    authorize_again,
    bearer_of,
    current_principal,
    permission_of,
)
from svckit.errors import PermissionDenied
from svckit.interceptors.around import Act, Around, Call
from svckit.log import get_logger

__all__ = ["authorize_calls"]

_log = get_logger(__name__)


def authorize_calls(authorizer: Authorizer) -> Around:
    """The concern that asks `authorizer` and sets `current_principal` for the handler, and
    `authorize_again` for long streams.
    """

    async def around(act: Act, call: Call) -> Any:
        if call.exempt:
            return await act(call)
        permission = permission_of(call.method)
        if permission is None:
            _log.error("A method declares no permission.", action="authorize", method=call.method)
            raise PermissionDenied(
                f"{call.method} declares no permission, so nobody may call it",
                reason="PERMISSION_UNDECLARED",
                metadata={"method": call.method},
            )
        token = bearer_of(call.context.invocation_metadata())
        ask = partial(authorizer.authorize, call.method, permission, token)
        principal = current_principal.set(await ask())
        again = authorize_again.set(ask)
        try:
            return await act(call)
        finally:
            authorize_again.reset(again)
            current_principal.reset(principal)

    return around
