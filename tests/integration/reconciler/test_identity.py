"""Tokens and keys, from the operator's files to a principal."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from uuid import UUID

import pytest

from reconciler.core.identity import DEFAULT_ORGANIZATION_ID, SYSTEM_USER_ID
from reconciler.core.permissions import ServicePrincipal, UserPrincipal
from reconciler.rpc.authorizer import CACHE_SECONDS, TokenAuthorizer
from reconciler.store.db import Database
from reconciler.store.identity import Identities, OrganizationRow, ensure_bootstrap
from svckit.auth import hash_token
from svckit.errors import PermissionDenied, StartFailed, Unauthenticated
from testkit.clock import EPOCH, SettableClock

pytestmark = pytest.mark.integration

OTHER_ORGANIZATION_ID = UUID(int=77)


class Ids:
    """Makes 1000, 1001, ..."""

    def __init__(self) -> None:
        self._numbers = count(1000)

    def __call__(self) -> UUID:
        return UUID(int=next(self._numbers))


async def bootstrap(database: Database, ids: Ids) -> None:
    await ensure_bootstrap(
        database,
        hash_token("owner-token"),
        hash_token("provisioner-key"),
        hash_token("gateway-key"),
        EPOCH,
        ids,
    )


async def add_user(
    database: Database,
    number: int,
    *,
    token: str,
    roles: tuple[str, ...] = (),
    organizations: tuple[tuple[UUID, tuple[str, ...]], ...] = (),
    expires_in: timedelta | None = None,
) -> UUID:
    user_id = UUID(int=number)
    async with database.read() as connection:
        await connection.execute(
            "INSERT INTO users (id, username, roles, created_at) VALUES ($1, $2, $3, $4)",
            user_id,
            f"user-{number}",
            list(roles),
            EPOCH,
        )
        for organization_id, held in organizations:
            await connection.execute(
                "INSERT INTO organization_members (organization_id, user_id, roles, created_at)"
                " VALUES ($1, $2, $3, $4)",
                organization_id,
                user_id,
                list(held),
                EPOCH,
            )
    await add_token(database, user_id, token=token, expires_in=expires_in)
    return user_id


async def add_token(
    database: Database, user_id: UUID, *, token: str, expires_in: timedelta | None = None
) -> None:
    async with database.read() as connection:
        await connection.execute(
            "INSERT INTO api_tokens (id, user_id, name, token_hash, created_at, expires_at)"
            " VALUES (gen_random_uuid(), $1, 'test', $2, $3, $4)",
            user_id,
            hash_token(token),
            EPOCH,
            None if expires_in is None else EPOCH + expires_in,
        )


async def execute(database: Database, statement: str, *arguments: object) -> None:
    async with database.read() as connection:
        await connection.execute(statement, *arguments)


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def authorizer(migrated_database: Database, clock: SettableClock) -> TokenAuthorizer:
    return TokenAuthorizer(Identities(migrated_database), clock)


async def test_the_operators_secrets_are_let_in_and_starting_again_changes_nothing(
    migrated_database: Database, authorizer: TokenAuthorizer
) -> None:
    ids = Ids()
    await bootstrap(migrated_database, ids)
    await bootstrap(migrated_database, ids)

    assert await authorizer.authorize("/m", "workspace.create", "owner-token") == UserPrincipal(
        user_id=UUID(int=1000),
        username="admin",
        roles=frozenset({"owner"}),
        organization_roles={DEFAULT_ORGANIZATION_ID: frozenset()},
    )
    assert await authorizer.authorize(
        "/m", "provisioner.job", "provisioner-key"
    ) == ServicePrincipal(kind="provisioner", key_id=UUID(int=1002))
    assert await authorizer.authorize("/m", "gateway.agent", "gateway-key") == ServicePrincipal(
        kind="gateway", key_id=UUID(int=1003)
    )
    async with migrated_database.read() as connection:
        counts = await connection.fetchrow(
            "SELECT (SELECT count(*) FROM users WHERE NOT is_system) AS users,"
            " (SELECT count(*) FROM api_tokens) AS tokens,"
            " (SELECT count(*) FROM service_keys) AS keys"
        )
    assert dict(counts or {}) == {"users": 1, "tokens": 1, "keys": 2}


async def test_a_revoked_secret_stays_revoked_when_the_service_starts_again(
    migrated_database: Database, authorizer: TokenAuthorizer
) -> None:
    ids = Ids()
    await bootstrap(migrated_database, ids)
    await execute(migrated_database, "UPDATE api_tokens SET revoked_at = $1", EPOCH)
    await execute(migrated_database, "UPDATE service_keys SET revoked_at = $1", EPOCH)
    await bootstrap(migrated_database, ids)

    for token in ("owner-token", "gateway-key"):
        with pytest.raises(Unauthenticated, match="it was revoked") as caught:
            await authorizer.authorize("/m", "self.read", token)
        assert caught.value.reason == "TOKEN_REFUSED"


async def test_only_what_the_operator_gave_is_let_in(migrated_database: Database) -> None:
    await ensure_bootstrap(migrated_database, None, hash_token("key"), None, EPOCH, Ids())

    identities = Identities(migrated_database)
    found = await identities.find_credential(hash_token("key"))
    assert found is not None
    assert found.principal == ServicePrincipal(kind="provisioner", key_id=UUID(int=1000))
    async with migrated_database.read() as connection:
        assert await connection.fetchval("SELECT count(*) FROM users WHERE NOT is_system") == 0


async def test_one_secret_for_two_is_refused_within_a_start_and_across_starts(
    migrated_database: Database,
) -> None:
    secret = hash_token("secret")
    with pytest.raises(StartFailed, match="same secret"):
        await ensure_bootstrap(migrated_database, secret, None, secret, EPOCH, Ids())

    await ensure_bootstrap(migrated_database, None, secret, None, EPOCH, Ids())
    with pytest.raises(StartFailed, match="known as a provisioner's"):
        await ensure_bootstrap(migrated_database, None, None, secret, EPOCH, Ids())


async def test_a_token_of_somebody_else_cannot_become_the_owners(
    migrated_database: Database,
) -> None:
    await add_user(migrated_database, 5, token="mine")
    with pytest.raises(StartFailed, match="another user"):
        await ensure_bootstrap(migrated_database, hash_token("mine"), None, None, EPOCH, Ids())
    async with migrated_database.read() as connection:
        assert await connection.fetchval("SELECT count(*) FROM users WHERE username = 'admin'") == 0


async def test_roles_of_every_organization_are_read(
    migrated_database: Database, authorizer: TokenAuthorizer
) -> None:
    await execute(
        migrated_database,
        "INSERT INTO organizations (id, name, created_at) VALUES ($1, 'other', $2)",
        OTHER_ORGANIZATION_ID,
        EPOCH,
    )
    user_id = await add_user(
        migrated_database,
        5,
        token="five",
        roles=("auditor",),
        organizations=(
            (DEFAULT_ORGANIZATION_ID, ()),
            (OTHER_ORGANIZATION_ID, ("organization-admin",)),
        ),
    )
    assert await authorizer.authorize("/m", "template.update", "five") == UserPrincipal(
        user_id=user_id,
        username="user-5",
        roles=frozenset({"auditor"}),
        organization_roles={
            DEFAULT_ORGANIZATION_ID: frozenset(),
            OTHER_ORGANIZATION_ID: frozenset({"organization-admin"}),
        },
    )


@pytest.mark.parametrize("token", [None, ""])
async def test_a_call_without_a_token_is_refused(
    authorizer: TokenAuthorizer, token: str | None
) -> None:
    with pytest.raises(Unauthenticated, match="has no token") as caught:
        await authorizer.authorize("/m", "self.read", token)
    assert caught.value.reason == "TOKEN_MISSING"


async def test_an_unknown_token_is_refused_and_let_in_as_soon_as_it_is_known(
    migrated_database: Database, authorizer: TokenAuthorizer
) -> None:
    with pytest.raises(Unauthenticated, match="not known"):
        await authorizer.authorize("/m", "self.read", "five")
    user_id = await add_user(migrated_database, 5, token="five")
    principal = await authorizer.authorize("/m", "self.read", "five")
    assert principal == UserPrincipal(user_id=user_id, username="user-5")


async def test_the_system_user_and_the_disabled_are_refused(
    migrated_database: Database, authorizer: TokenAuthorizer
) -> None:
    await add_token(migrated_database, SYSTEM_USER_ID, token="system")
    await add_user(migrated_database, 5, token="five", roles=("owner",))
    await execute(migrated_database, "UPDATE users SET disabled_at = $1 WHERE NOT is_system", EPOCH)

    with pytest.raises(Unauthenticated, match="system user"):
        await authorizer.authorize("/m", "self.read", "system")
    with pytest.raises(Unauthenticated, match="its user is disabled"):
        await authorizer.authorize("/m", "self.read", "five")


async def test_a_token_expires_to_the_second_although_it_is_remembered(
    migrated_database: Database, authorizer: TokenAuthorizer, clock: SettableClock
) -> None:
    await add_user(migrated_database, 5, token="five", expires_in=timedelta(seconds=2))
    clock.advance(1.5)
    await authorizer.authorize("/m", "self.read", "five")
    clock.advance(0.5)
    with pytest.raises(Unauthenticated, match="expired at 2030-01-01T00:00:02"):
        await authorizer.authorize("/m", "self.read", "five")


async def test_a_revoked_token_is_refused_when_what_is_remembered_of_it_is_too_old(
    migrated_database: Database, authorizer: TokenAuthorizer, clock: SettableClock
) -> None:
    await add_user(migrated_database, 5, token="five")
    await authorizer.authorize("/m", "self.read", "five")
    await execute(migrated_database, "UPDATE api_tokens SET revoked_at = $1", EPOCH)

    clock.advance(CACHE_SECONDS - 0.1)
    await authorizer.authorize("/m", "self.read", "five")
    clock.advance(0.1)
    with pytest.raises(Unauthenticated, match="it was revoked"):
        await authorizer.authorize("/m", "self.read", "five")


async def test_who_may_it_nowhere_is_refused_at_the_door(
    migrated_database: Database, authorizer: TokenAuthorizer
) -> None:
    await bootstrap(migrated_database, Ids())
    await add_user(migrated_database, 5, token="five")

    for token, permission in (
        ("five", "workspace.create"),
        ("owner-token", "provisioner.job"),
        ("provisioner-key", "gateway.agent"),
        ("gateway-key", "self.read"),
        ("owner-token", "invented"),
    ):
        with pytest.raises(PermissionDenied, match=f'/m needs the permission "{permission}"'):
            await authorizer.authorize("/m", permission, token)


async def test_organizations_are_found_by_name(migrated_database: Database) -> None:
    identities = Identities(migrated_database)
    assert await identities.find_organization("default") == OrganizationRow(
        id=DEFAULT_ORGANIZATION_ID, name="default"
    )
    assert await identities.find_organization("elsewhere") is None
