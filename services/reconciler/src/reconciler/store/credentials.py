"""Users' tokens and services' keys.

Promises: only hashes are stored; every change is in the audit log, in the transaction that made it.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg

from reconciler.core.audit import Actor
from reconciler.core.people import KeyView, TokenView
from reconciler.store.audit import insert_audit
from reconciler.store.db import Connection, Database
from reconciler.store.queries import load_queries

__all__ = ["Credentials"]

SQL = load_queries("credentials")


class Credentials:
    """Reads, makes and ends tokens and keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_token(self, token: TokenView, token_hash: bytes, actor: Actor) -> None:
        """Lets the holder of a token in as its user."""

        async def work(connection: Connection) -> None:
            await connection.execute(
                SQL.insert_token,
                token.id,
                token.user_id,
                token.name,
                token_hash,
                token.created_at,
                token.expires_at,
            )
            entry = actor.entry(
                "token.create",
                "token",
                token.id,
                username=token.username,
                name=token.name,
                expires_at="" if token.expires_at is None else token.expires_at.isoformat(),
            )
            await insert_audit(connection, entry, token.created_at)

        await self._database.transact(work)

    async def list_tokens(self, user_id: UUID) -> tuple[TokenView, ...]:
        """A user's tokens, newest first, ended ones included."""
        async with self._database.read() as connection:
            return tuple(map(_read_token, await connection.fetch(SQL.list_tokens, user_id, None)))

    async def find_token(self, token_id: UUID) -> TokenView | None:
        """A token by id."""
        async with self._database.read() as connection:
            row = await connection.fetchrow(SQL.list_tokens, None, token_id)
        return None if row is None else _read_token(row)

    async def revoke_token(self, token: TokenView, actor: Actor, now: datetime) -> None:
        """Ends a token; ending it again changes nothing."""

        async def work(connection: Connection) -> None:
            if await connection.fetchval(SQL.revoke_token, token.id, now) is not None:
                entry = actor.entry(
                    "token.revoke", "token", token.id, username=token.username, name=token.name
                )
                await insert_audit(connection, entry, now)

        await self._database.transact(work)

    async def create_key(self, key: KeyView, key_hash: bytes, actor: Actor) -> None:
        """Lets the holder of a key in as a service."""

        async def work(connection: Connection) -> None:
            tags = dict(key.tags)
            await connection.execute(
                SQL.insert_key,
                key.id,
                key.kind,
                key.name,
                key_hash,
                key.organization_id,
                tags,
                key.created_at,
            )
            entry = actor.entry(
                "key.create",
                "key",
                key.id,
                organization_id=key.organization_id,
                kind=key.kind,
                name=key.name,
                tags=tags,
            )
            await insert_audit(connection, entry, key.created_at)

        await self._database.transact(work)

    async def list_keys(self) -> tuple[KeyView, ...]:
        """Every key, newest first, ended ones included."""
        async with self._database.read() as connection:
            return tuple(map(_read_key, await connection.fetch(SQL.list_keys, None)))

    async def find_key(self, key_id: UUID) -> KeyView | None:
        """A key by id."""
        async with self._database.read() as connection:
            row = await connection.fetchrow(SQL.list_keys, key_id)
        return None if row is None else _read_key(row)

    async def revoke_key(self, key: KeyView, actor: Actor, now: datetime) -> None:
        """Ends a key; ending it again changes nothing."""

        async def work(connection: Connection) -> None:
            if await connection.fetchval(SQL.revoke_key, key.id, now) is not None:
                entry = actor.entry(
                    "key.revoke",
                    "key",
                    key.id,
                    organization_id=key.organization_id,
                    kind=key.kind,
                    name=key.name,
                )
                await insert_audit(connection, entry, now)

        await self._database.transact(work)


def _read_token(r: asyncpg.Record) -> TokenView:
    return TokenView(
        id=r["id"],
        user_id=r["user_id"],
        username=r["username"],
        name=r["name"],
        created_at=r["created_at"],
        expires_at=r["expires_at"],
        revoked_at=r["revoked_at"],
    )


def _read_key(r: asyncpg.Record) -> KeyView:
    return KeyView(
        id=r["id"],
        kind=r["kind"],
        name=r["name"],
        organization_id=r["organization_id"],
        organization_name=r["organization_name"],
        tags=r["tags"],
        created_at=r["created_at"],
        revoked_at=r["revoked_at"],
    )
