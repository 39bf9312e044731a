"""Who an agent is: whoever has its token. The token itself goes no further than this.

A token that the control plane did not know a moment ago is refused here, so that a flood of them
costs the control plane little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from agentgw.core.unknown_tokens import UnknownTokens
from agentgw.store.metrics import GatewayMetrics
from svckit.auth import Authorizer, current_principal, hash_token
from svckit.errors import PermissionDenied, Unauthenticated
from svckit.system import Clock

__all__ = ["AgentAuthorizer", "AgentPrincipal", "current_token_hash"]

AGENT_PERMISSION: Final = "agent.self"
TOKEN_LENGTH_MAX: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPrincipal:
    """The agent behind a call, by the SHA-256 of its token. Whether it exists is known later."""

    token_hash: bytes


class AgentAuthorizer(Authorizer):
    """Takes any token but those known to be wrong: the control plane knows which ones are real."""

    def __init__(self, unknown: UnknownTokens, *, metrics: GatewayMetrics, clock: Clock) -> None:
        self._unknown = unknown
        self._metrics = metrics
        self._clock = clock

    async def authorize(self, method: str, permission: str, token: str | None) -> AgentPrincipal:
        if permission != AGENT_PERMISSION:
            raise PermissionDenied(f"method {method}: agents may not call it")
        if not token or len(token) > TOKEN_LENGTH_MAX:
            raise Unauthenticated(
                "authorization: must be 'Bearer <agent token>'", reason="TOKEN_MISSING"
            )
        token_hash = hash_token(token)
        if self._unknown.has(token_hash, now_seconds=self._clock.monotonic()):
            self._metrics.count_unknown_token()
            raise Unauthenticated("no agent has this token", reason="UNKNOWN_TOKEN")
        return AgentPrincipal(token_hash=token_hash)


def current_token_hash() -> bytes:
    """The hash of the token of the call that is being answered."""
    return cast("AgentPrincipal", current_principal.get()).token_hash
