"""Tokens and keys: shown once, hashed, ended by time, by hand or with their user."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from reconciler.core.permissions import ServicePrincipal
from reconciler.rpc.authorizer import TokenAuthorizer
from reconciler.store.identity import Identities
from svckit.auth import hash_token
from svckit.errors import Unauthenticated
from testkit.office import TRACE, TRACE_ID, Office, code_of, refused
from warmpool.control.v1 import people_pb2 as pb
from warmpool.control.v1 import system_pb2

pytestmark = pytest.mark.integration
WHO = system_pb2.WhoAmIRequest()


async def test_a_token_is_shown_once_kept_hashed_and_lives_thirty_days(office: Office) -> None:
    grace = await office.join("grace")
    made = await grace.people.CreateToken(pb.CreateTokenRequest(name="ci"), metadata=TRACE)
    assert made.secret.startswith("wp_")
    assert len(made.secret) == len("wp_") + 43  # 256 bit in base64
    rows = await office.world.fetch(
        "SELECT token_hash, row_to_json(k)::text AS row FROM api_tokens k WHERE name = 'ci'"
    )
    assert [row["token_hash"] for row in rows] == [hash_token(made.secret)]
    log = await office.world.fetch("SELECT row_to_json(a)::text AS row FROM audit_log a")
    assert not any(made.secret in str(row["row"]) for row in (*rows, *log))

    listed = await grace.people.ListTokens(pb.ListTokensRequest())
    assert [token.name for token in listed.tokens] == ["ci", "test"]
    assert made.token in listed.tokens
    life = made.token.expires_at.ToDatetime() - made.token.created_at.ToDatetime()
    assert life == timedelta(days=30)
    (deed,) = [d for d in await office.audit("token.create") if d["trace_id"] == TRACE_ID]
    assert deed == {
        "actor": "grace",
        "action": "token.create",
        "target": ("token", made.token.id),
        "details": {"username": "grace", "name": "ci", "expires_at": "2030-01-31T00:00:00+00:00"},
        "trace_id": TRACE_ID,
    }


async def test_a_token_ends_by_itself_and_by_hand(office: Office) -> None:
    grace = (await office.join("grace")).people
    brief = await grace.CreateToken(pb.CreateTokenRequest(name="brief", lifetime_seconds=60))
    long = await grace.CreateToken(pb.CreateTokenRequest(name="long", lifetime_seconds=31_536_000))
    with_brief = await office.calling(brief.secret)
    with_long = await office.calling(long.secret)
    assert await code_of(with_brief.system.WhoAmI(WHO)) == "OK"
    office.world.clock.advance(60)
    assert (await refused(with_brief.system.WhoAmI(WHO))).reason == "TOKEN_EXPIRED"

    assert await code_of(with_long.system.WhoAmI(WHO)) == "OK"
    request = pb.RevokeTokenRequest(token_id=long.token.id)
    await grace.RevokeToken(request)
    assert (await refused(with_long.system.WhoAmI(WHO))).reason == "TOKEN_REFUSED"
    await grace.RevokeToken(request)  # again: nothing to do, and no second deed
    (deed,) = await office.audit("token.revoke")
    assert (deed["actor"], deed["target"]) == ("grace", ("token", long.token.id))
    listed = await grace.ListTokens(pb.ListTokensRequest())
    assert [t.name for t in listed.tokens if t.HasField("revoked_at")] == ["long"]


@pytest.mark.parametrize("lifetime", [-1, 31_536_001])
async def test_no_token_outlives_a_year(office: Office, lifetime: int) -> None:
    people = (await office.calling()).people
    error = await refused(
        people.CreateToken(pb.CreateTokenRequest(name="x", lifetime_seconds=lifetime))
    )
    assert (error.code.name, error.field) == ("INVALID_ARGUMENT", "lifetime_seconds")


async def test_tokens_of_others_are_the_owners_business(office: Office) -> None:
    owner = (await office.calling()).people
    grace = (await office.join("grace")).people
    alan = (await office.join("alan")).people
    auditor = (await office.join("eve", "auditor")).people
    made = await owner.CreateToken(pb.CreateTokenRequest(username="grace", name="given"))
    ask = pb.ListTokensRequest(username="grace")
    revoke = pb.RevokeTokenRequest(token_id=made.token.id)

    assert {t.name for t in (await owner.ListTokens(ask)).tokens} == {"given", "test"}
    assert {t.name for t in (await grace.ListTokens(ask)).tokens} == {"given", "test"}
    assert {t.name for t in (await auditor.ListTokens(ask)).tokens} == {"given", "test"}
    create = pb.CreateTokenRequest(username="grace", name="stolen")
    assert await code_of(alan.ListTokens(ask)) == "PERMISSION_DENIED"
    assert await code_of(alan.ListTokens(pb.ListTokensRequest(username="nobody"))) == (
        "PERMISSION_DENIED"  # just the same, so that nobody learns who exists
    )
    for people in (alan, auditor):
        assert await code_of(people.CreateToken(create)) == "PERMISSION_DENIED"
        assert await code_of(people.RevokeToken(revoke)) == "NOT_FOUND"
    assert await code_of(grace.RevokeToken(revoke)) == "OK"
    unknown = pb.RevokeTokenRequest(token_id=str(uuid4()))
    assert await code_of(owner.RevokeToken(unknown)) == "NOT_FOUND"
    assert (await refused(owner.RevokeToken(pb.RevokeTokenRequest(token_id="x")))).reason == (
        "ID_INVALID"
    )


async def test_a_key_serves_its_organization_with_its_tags_until_it_is_ended(
    office: Office,
) -> None:
    owner = (await office.calling()).people
    moon = (await owner.CreateOrganization(pb.CreateOrganizationRequest(name="moon"))).organization
    made = await owner.CreateKey(
        pb.CreateKeyRequest(
            kind="provisioner", name="lander", organization="moon", tags={"zone": "south"}
        ),
        metadata=TRACE,
    )
    assert made.secret.startswith("wpk_")
    authorizer = TokenAuthorizer(Identities(office.world.database), office.world.clock)
    principal = await authorizer.authorize("/m", "provisioner.job", made.secret)
    assert isinstance(principal, ServicePrincipal)
    assert (principal.kind, str(principal.organization_id), principal.tags) == (
        "provisioner",
        moon.id,
        {"zone": "south"},
    )
    listed = await owner.ListKeys(pb.ListKeysRequest())
    assert made.key in listed.keys
    assert made.key == pb.Key(
        id=made.key.id,
        kind="provisioner",
        name="lander",
        organization="moon",
        tags={"zone": "south"},
        created_at=made.key.created_at,
    )

    for _ in range(2):
        await owner.RevokeKey(pb.RevokeKeyRequest(key_id=made.key.id))
    authorizer.forget()
    with pytest.raises(Unauthenticated, match="it was revoked"):
        await authorizer.authorize("/m", "provisioner.job", made.secret)
    details = {"kind": "provisioner", "name": "lander"}
    assert await office.audit("key.create", "key.revoke") == [
        {
            "actor": "admin",
            "action": action,
            "target": ("key", made.key.id),
            "details": kept,
            "trace_id": trace_id,
        }
        for action, kept, trace_id in (
            ("key.create", details | {"tags": {"zone": "south"}}, TRACE_ID),
            ("key.revoke", details, ""),
        )
    ]


async def test_a_gateways_key_serves_everybody(office: Office) -> None:
    owner = (await office.calling()).people
    made = await owner.CreateKey(pb.CreateKeyRequest(kind="gateway", name="edge"))
    identities = Identities(office.world.database)
    found = await identities.find_credential(hash_token(made.secret))
    assert found is not None
    assert isinstance(found.principal, ServicePrincipal)
    assert (found.principal.kind, found.principal.organization_id) == ("gateway", None)
    error = await refused(
        owner.CreateKey(pb.CreateKeyRequest(kind="gateway", name="edge", organization="default"))
    )
    assert (error.code.name, error.field) == ("INVALID_ARGUMENT", "organization")


async def test_an_organizations_admin_keeps_its_keys_and_no_others(office: Office) -> None:
    owner = (await office.calling()).people
    await owner.CreateOrganization(pb.CreateOrganizationRequest(name="moon"))
    everywhere = await owner.CreateKey(pb.CreateKeyRequest(kind="provisioner", name="any"))
    admin = (await office.join("buzz", home=("organization-admin",), organization="moon")).people
    member = (await office.join("neil", organization="moon")).people

    def create(organization: str, kind: str = "provisioner") -> pb.CreateKeyRequest:
        return pb.CreateKeyRequest(kind=kind, name="own", organization=organization)

    own = await admin.CreateKey(create("moon"))
    assert [key.name for key in (await admin.ListKeys(pb.ListKeysRequest())).keys] == ["own"]
    assert await code_of(admin.CreateKey(create(""))) == "PERMISSION_DENIED"
    assert await code_of(admin.CreateKey(create("", "gateway"))) == "PERMISSION_DENIED"
    assert await code_of(admin.CreateKey(create("default"))) == "NOT_FOUND"
    stolen = pb.RevokeKeyRequest(key_id=everywhere.key.id)
    assert await code_of(admin.RevokeKey(stolen)) == "NOT_FOUND"
    assert await code_of(admin.RevokeKey(pb.RevokeKeyRequest(key_id=own.key.id))) == "OK"
    assert await code_of(member.CreateKey(create("moon"))) == "PERMISSION_DENIED"
    assert await code_of(member.ListKeys(pb.ListKeysRequest())) == "PERMISSION_DENIED"
