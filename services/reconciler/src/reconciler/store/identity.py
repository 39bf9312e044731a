"""Who a token or key belongs to, and the first ones of an installation.

Promises: only hashes are stored and asked for; what was revoked is never let in again by a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from reconciler.core.identity import DEFAULT_ORGANIZATION_ID
from reconciler.core.permissions import Principal, ServicePrincipal, UserPrincipal
from reconciler.store.db import Connection, Database
from reconciler.store.queries import load_queries
from svckit.errors import StartFailed

__all__ = ["Credential", "Identities", "OrganizationRow", "ensure_bootstrap"]

SQL = load_queries("identity")
OWNER_NAME: Final = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What a token or key says. `refusal` is why it is not let in; empty if it is."""

    principal: Principal
    expires_at: datetime | None
    refusal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationRow:
    """An organization."""

    id: UUID
    name: str


class Identities:
    """Reads users, their tokens, the services' keys, and organizations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_credential(self, token_hash: bytes) -> Credential | None:
        """Whose token or key has this hash; None if nobody's."""
        async with self._database.read() as connection:
            user = await connection.fetchrow(SQL.find_api_token, token_hash)
            if user is not None:
                return _read_user(user)
            key = await connection.fetchrow(SQL.find_service_key, token_hash)
        return None if key is None else _read_key(key)

    async def find_organization(self, name: str) -> OrganizationRow | None:
        """The organization of that name."""
        async with self._database.read() as connection:
            row = await connection.fetchrow(SQL.find_organization, name)
        return None if row is None else OrganizationRow(id=row["id"], name=row["name"])


async def ensure_bootstrap(
    database: Database,
    owner_token_hash: bytes | None,
    provisioner_key_hash: bytes | None,
    gateway_key_hash: bytes | None,
    now: datetime,
    new_id: Callable[[], UUID],
) -> None:
    """Lets in the operator's secrets, by hash: the token of the user "admin", who is made an owner
    if new, and a key each for provisioners and gateways. None leaves one out. Repeating it changes
    nothing. Raises StartFailed if one secret is used for two.
    """
    hashes = [h for h in (owner_token_hash, provisioner_key_hash, gateway_key_hash) if h]
    if len(set(hashes)) != len(hashes):
        raise StartFailed("two bootstrap files hold the same secret; each needs one of its own")

    async def work(connection: Connection) -> None:
        if owner_token_hash:
            await _ensure_owner(connection, owner_token_hash, now, new_id)
        for kind, key_hash in (
            ("provisioner", provisioner_key_hash),
            ("gateway", gateway_key_hash),
        ):
            if not key_hash:
                continue
            found = await connection.fetchval(
                SQL.ensure_service_key, new_id(), kind, "bootstrap", key_hash, now
            )
            if found != kind:
                raise StartFailed(
                    f"the bootstrap file of the {kind} key holds a secret that is known as a"
                    f" {found}'s; it needs one of its own"
                )

    await database.transact(work)


async def _ensure_owner(
    connection: Connection, token_hash: bytes, now: datetime, new_id: Callable[[], UUID]
) -> None:
    user_id = await connection.fetchval(
        SQL.ensure_user, new_id(), OWNER_NAME, "Administrator", ["owner"], now
    )
    await connection.execute(SQL.ensure_member, DEFAULT_ORGANIZATION_ID, user_id, now)
    holder = await connection.fetchval(
        SQL.ensure_api_token, new_id(), user_id, "bootstrap", token_hash, now
    )
    if holder != user_id:
        raise StartFailed(
            f"the bootstrap file of the owner token holds a token of another user; {OWNER_NAME}"
            " needs one of its own"
        )


def _read_user(row: asyncpg.Record) -> Credential:
    if row["is_system"]:
        refusal = "it belongs to the system user, who cannot log in"
    elif row["disabled_at"] is not None:
        refusal = "its user is disabled"
    elif row["revoked_at"] is not None:
        refusal = "it was revoked"
    else:
        refusal = ""
    return Credential(
        principal=UserPrincipal(
            user_id=row["id"],
            username=row["username"],
            roles=frozenset(row["roles"]),
            organization_roles={
                UUID(organization_id): frozenset(roles)
                for organization_id, roles in row["organization_roles"].items()
            },
        ),
        expires_at=row["expires_at"],
        refusal=refusal,
    )


def _read_key(row: asyncpg.Record) -> Credential:
    return Credential(
        principal=ServicePrincipal(
            kind=row["kind"],
            key_id=row["id"],
            organization_id=row["organization_id"],
            tags=row["tags"],
        ),
        expires_at=None,
        refusal="" if row["revoked_at"] is None else "it was revoked",
    )
