"""People, organizations, and who belongs where.

Promises: every change is in the audit log, in the transaction that made it, and a change that
changes nothing is not; somebody who can let others in is always left, however changes race; the
system user is changed by nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from reconciler.core.audit import Actor
from reconciler.core.people import (
    OWNER,
    MemberView,
    OrganizationView,
    UserView,
    refuse_system_user,
)
from reconciler.store.audit import insert_audit
from reconciler.store.db import Connection, Database
from reconciler.store.queries import load_queries
from svckit.errors import AlreadyExists, FailedPrecondition, NotFound

__all__ = ["People"]

SQL = load_queries("people")


class People:
    """Reads and changes users, organizations and memberships."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_user(
        self, user: UserView, organizations: Sequence[str], actor: Actor, now: datetime
    ) -> UserView:
        """Adds a person to these organizations, by name. Raises AlreadyExists for a name in use,
        NotFound for an organization there is not.
        """

        async def work(connection: Connection) -> UserView:
            joined = {
                row["name"]: row["id"]
                for row in await connection.fetch(SQL.list_organizations, None)
                if row["name"] in organizations
            }
            for name in organizations:
                if name not in joined:
                    raise NotFound(
                        f'organizations: there is no organization "{name}"',
                        reason="ORGANIZATION_UNKNOWN",
                        field="organizations",
                    )
            added = await connection.fetchval(
                SQL.insert_user,
                user.id,
                user.username,
                user.full_name,
                user.email,
                list(user.roles),
                now,
            )
            if added is None:
                raise AlreadyExists(
                    f'username: there is a user "{user.username}"',
                    reason="NAME_TAKEN",
                    field="username",
                )
            for organization_id in joined.values():
                await connection.execute(SQL.set_member, organization_id, user.id, [], now)
            entry = actor.entry(
                "user.create",
                "user",
                user.id,
                username=user.username,
                roles=list(user.roles),
                organizations=sorted(joined),
            )
            await insert_audit(connection, entry, now)
            return user

        return await self._database.transact(work)

    async def list_users(self, *, include_system: bool = False) -> tuple[UserView, ...]:
        """Users by name; the system user only if asked for."""
        async with self._database.read() as connection:
            return tuple(
                map(_read_user, await connection.fetch(SQL.list_users, include_system, None))
            )

    async def find_user(self, username: str) -> UserView | None:
        """A user by name, the system user included."""
        async with self._database.read() as connection:
            row = await connection.fetchrow(SQL.list_users, True, username)
        return None if row is None else _read_user(row)

    async def set_roles(
        self, username: str, roles: tuple[str, ...], actor: Actor, now: datetime
    ) -> UserView:
        """Gives a user these site-wide roles and no others. Raises NotFound, or FailedPrecondition
        for the last owner and for the system user.
        """

        async def work(connection: Connection) -> UserView:
            owners = await connection.fetch(SQL.lock_owners)
            user = await _lock_user(connection, username, "has no roles")
            if set(user.roles) == set(roles):
                return user
            if OWNER not in roles:
                _refuse_last_owner(owners, user, "give somebody else the role first")
            await connection.execute(SQL.set_user_roles, user.id, list(roles))
            entry = actor.entry(
                "user.set_roles",
                "user",
                user.id,
                username=username,
                roles=list(roles),
                before=list(user.roles),
            )
            await insert_audit(connection, entry, now)
            return await _reread(connection, username)

        return await self._database.transact(work)

    async def set_disabled(
        self, username: str, disabled: bool, actor: Actor, now: datetime
    ) -> UserView:
        """Bars a user, or lets them in again. Raises as `set_roles` does."""

        async def work(connection: Connection) -> UserView:
            owners = await connection.fetch(SQL.lock_owners)
            user = await _lock_user(connection, username, "cannot log in and cannot be disabled")
            if (user.disabled_at is not None) == disabled:
                return user
            if disabled:
                _refuse_last_owner(owners, user, "make somebody else an owner first")
            await connection.execute(SQL.set_user_disabled, user.id, now if disabled else None)
            action = "user.disable" if disabled else "user.enable"
            entry = actor.entry(action, "user", user.id, username=username)
            await insert_audit(connection, entry, now)
            return await _reread(connection, username)

        return await self._database.transact(work)

    async def create_organization(
        self, organization: OrganizationView, actor: Actor, now: datetime
    ) -> None:
        """Adds an organization. Raises AlreadyExists for a name in use."""

        async def work(connection: Connection) -> None:
            name = organization.name
            added = await connection.fetchval(
                SQL.insert_organization, organization.id, name, organization.created_at
            )
            if added is None:
                raise AlreadyExists(
                    f'name: there is an organization "{name}"', reason="NAME_TAKEN", field="name"
                )
            entry = actor.entry(
                "organization.create",
                "organization",
                organization.id,
                organization_id=organization.id,
                name=name,
            )
            await insert_audit(connection, entry, now)

        await self._database.transact(work)

    async def list_organizations(self, ids: Sequence[UUID] | None) -> tuple[OrganizationView, ...]:
        """Organizations by name: these, or all."""
        async with self._database.read() as connection:
            rows = await connection.fetch(
                SQL.list_organizations, None if ids is None else list(ids)
            )
        return tuple(map(_read_organization, rows))

    async def set_quota(
        self, organization_id: UUID, limit: int | None, actor: Actor, now: datetime
    ) -> OrganizationView:
        """Limits how many workspaces each person may have in an organization; None does not. What
        people have already stays.
        """

        async def work(connection: Connection) -> OrganizationView:
            changed = await connection.fetchval(SQL.set_quota, organization_id, limit)
            (row,) = await connection.fetch(SQL.list_organizations, [organization_id])
            if changed is not None:
                entry = actor.entry(
                    "organization.set_quota",
                    "organization",
                    organization_id,
                    organization_id=organization_id,
                    name=row["name"],
                    workspaces_per_user_max=limit,
                )
                await insert_audit(connection, entry, now)
            return _read_organization(row)

        return await self._database.transact(work)

    async def set_member(
        self,
        organization_id: UUID,
        username: str,
        roles: tuple[str, ...],
        actor: Actor,
        now: datetime,
    ) -> MemberView:
        """Puts a user into an organization with these roles and no others. Raises NotFound, or
        FailedPrecondition for the system user.
        """

        async def work(connection: Connection) -> MemberView:
            user = await _lock_user(connection, username, "joins organizations by itself")
            before = await connection.fetchval(SQL.find_member_roles, organization_id, user.id)
            if before is None or set(before) != set(roles):
                await connection.execute(SQL.set_member, organization_id, user.id, list(roles), now)
                entry = actor.entry(
                    "member.add" if before is None else "member.set_roles",
                    "user",
                    user.id,
                    organization_id=organization_id,
                    username=username,
                    roles=list(roles),
                    before=before or [],
                )
                await insert_audit(connection, entry, now)
            return MemberView(user_id=user.id, username=username, roles=roles)

        return await self._database.transact(work)

    async def remove_member(
        self, organization_id: UUID, username: str, actor: Actor, now: datetime
    ) -> None:
        """Takes a user out of an organization. Raises as `set_member` does, and NotFound if they
        are not in it.
        """

        async def work(connection: Connection) -> None:
            user = await _lock_user(connection, username, "stays where its pools are")
            before = await connection.fetchval(SQL.remove_member, organization_id, user.id)
            if before is None:
                raise NotFound(
                    f'username: "{username}" does not belong to the organization',
                    reason="MEMBER_UNKNOWN",
                    field="username",
                )
            entry = actor.entry(
                "member.remove",
                "user",
                user.id,
                organization_id=organization_id,
                username=username,
                before=before,
            )
            await insert_audit(connection, entry, now)

        await self._database.transact(work)

    async def list_members(
        self, organization_id: UUID, *, include_system: bool = False
    ) -> tuple[MemberView, ...]:
        """Who belongs to an organization, by name; the system user only if asked for."""
        async with self._database.read() as connection:
            rows = await connection.fetch(SQL.list_members, organization_id, include_system)
        return tuple(
            MemberView(user_id=r["user_id"], username=r["username"], roles=tuple(r["roles"]))
            for r in rows
        )


async def _lock_user(connection: Connection, username: str, system_deed: str) -> UserView:
    row = await connection.fetchrow(SQL.lock_user, username)
    if row is None:
        raise NotFound(
            f'username: there is no user "{username}"', reason="USER_UNKNOWN", field="username"
        )
    user = _read_user(row)
    refuse_system_user(is_system=user.is_system, username=username, deed=system_deed)
    return user


async def _reread(connection: Connection, username: str) -> UserView:
    row = await connection.fetchrow(SQL.list_users, False, username)
    assert row is not None
    return _read_user(row)


def _refuse_last_owner(owners: Sequence[asyncpg.Record], user: UserView, fix: str) -> None:
    if [row["id"] for row in owners] == [user.id]:
        raise FailedPrecondition(
            f'username: "{user.username}" is the last owner who can log in; {fix}',
            reason="LAST_OWNER",
            field="username",
        )


def _read_organization(r: asyncpg.Record) -> OrganizationView:
    return OrganizationView(
        id=r["id"],
        name=r["name"],
        is_default=r["is_default"],
        created_at=r["created_at"],
        workspaces_per_user_max=r["workspaces_per_user_max"],
    )


def _read_user(r: asyncpg.Record) -> UserView:
    return UserView(
        id=r["id"],
        username=r["username"],
        full_name=r["full_name"],
        email=r["email"],
        roles=tuple(r["roles"]),
        is_system=r["is_system"],
        created_at=r["created_at"],
        disabled_at=r["disabled_at"],
    )
