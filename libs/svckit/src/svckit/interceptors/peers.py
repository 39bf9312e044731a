"""Lets nobody past whose certificate bears none of the names on a list.

gRPC has verified the certificate by then; this says which of those that the roots signed may call.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from svckit.errors import PermissionDenied
from svckit.interceptors.around import Act, Around, Call

__all__ = ["admit_peers", "names_of"]

# What gRPC calls the names in a verified certificate. Not the common name: anybody may sign that.
_PROPERTIES = ("x509_subject_alternative_name", "peer_spiffe_id")


def admit_peers(allowed: Collection[str]) -> Around:
    """The concern that refuses everybody else with PERMISSION_DENIED."""
    wanted = frozenset(allowed)

    async def around(act: Act, call: Call) -> Any:
        names = names_of(call.context.auth_context())
        if wanted.isdisjoint(names):
            shown = ", ".join(sorted(names)) or "none"
            raise PermissionDenied(
                f"the client's certificate bears no allowed name; it bears: {shown}",
                reason="PEER_NOT_ALLOWED",
            )
        return await act(call)

    return around


def names_of(auth_context: Mapping[str, Iterable[bytes]]) -> frozenset[str]:
    """The DNS names and URIs of a peer's certificate."""
    return frozenset(
        value.decode(errors="replace") for key in _PROPERTIES for value in auth_context.get(key, ())
    )
