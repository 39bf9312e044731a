"""Users: who adds them, what they may, who is let in no more, and the last who lets others in."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reconciler.core.identity import SYSTEM_USER_ID
from testkit.office import TRACE, TRACE_ID, Office, code_of, refused
from warmpool.control.v1 import people_pb2 as pb
from warmpool.control.v1 import pools_pb2, system_pb2

pytestmark = pytest.mark.integration


async def test_a_new_user_joins_the_default_organization_and_is_audited(office: Office) -> None:
    owner = await office.calling()
    created = await owner.people.CreateUser(
        pb.CreateUserRequest(
            username="grace",
            full_name="Grace Hopper",
            email="grace@example.org",
            roles=["template-admin", "auditor"],
        ),
        metadata=TRACE,
    )
    user = created.user
    assert user == pb.User(
        id=str(await office.user_id("grace")),
        username="grace",
        full_name="Grace Hopper",
        email="grace@example.org",
        roles=["auditor", "template-admin"],
        created_at=user.created_at,
    )
    assert user.created_at.ToSeconds() == int(office.world.clock.now().timestamp())
    members = await owner.people.ListMembers(pb.ListMembersRequest())
    assert [member.username for member in members.members] == ["admin", "grace"]
    assert await office.audit("user.create") == [
        {
            "actor": "admin",
            "action": "user.create",
            "target": ("user", user.id),
            "details": {
                "username": "grace",
                "roles": ["auditor", "template-admin"],
                "organizations": ["default"],
            },
            "trace_id": TRACE_ID,
        }
    ]


async def test_a_user_joins_the_organizations_named_and_nothing_is_half_done(
    office: Office,
) -> None:
    people = (await office.calling()).people
    await people.CreateOrganization(pb.CreateOrganizationRequest(name="moon"))
    error = await refused(
        people.CreateUser(pb.CreateUserRequest(username="neil", organizations=["moon", "mars"]))
    )
    assert (error.code.name, error.field, "mars" in error.message) == (
        "NOT_FOUND",
        "organizations",
        True,
    )
    await people.CreateUser(pb.CreateUserRequest(username="neil", organizations=["moon"]))
    for organization, expected in (("moon", ["neil"]), ("default", ["admin"])):
        found = await people.ListMembers(pb.ListMembersRequest(organization=organization))
        assert [member.username for member in found.members] == expected
    error = await refused(people.CreateUser(pb.CreateUserRequest(username="neil")))
    assert (error.code.name, error.reason) == ("ALREADY_EXISTS", "NAME_TAKEN")


async def test_the_system_user_is_hidden_until_asked_for(office: Office) -> None:
    people = (await office.calling()).people
    users = await people.ListUsers(pb.ListUsersRequest())
    assert [user.username for user in users.users] == ["ada", "admin"]
    users = await people.ListUsers(pb.ListUsersRequest(include_system=True))
    assert [(user.username, user.is_system) for user in users.users] == [
        ("ada", False),
        ("admin", False),
        ("prebuilds", True),
    ]
    assert users.users[2].id == str(SYSTEM_USER_ID)
    members = await people.ListMembers(pb.ListMembersRequest())
    assert [member.username for member in members.members] == ["admin"]
    members = await people.ListMembers(pb.ListMembersRequest(include_system=True))
    assert [member.username for member in members.members] == ["admin", "prebuilds"]


async def test_the_system_user_is_changed_by_nobody(office: Office) -> None:
    people = (await office.calling()).people
    await people.CreateOrganization(pb.CreateOrganizationRequest(name="moon"))
    name = "prebuilds"
    for call in (
        people.SetUserRoles(pb.SetUserRolesRequest(username=name, roles=["owner"])),
        people.SetUserDisabled(pb.SetUserDisabledRequest(username=name, disabled=True)),
        people.CreateToken(pb.CreateTokenRequest(username=name, name="mine")),
        people.SetMember(pb.SetMemberRequest(username=name, roles=["organization-admin"])),
        people.SetMember(pb.SetMemberRequest(organization="moon", username=name)),
        people.RemoveMember(pb.RemoveMemberRequest(username=name)),
    ):
        error = await refused(call)
        assert (error.code.name, error.reason, error.field) == (
            "FAILED_PRECONDITION",
            "SYSTEM_USER",
            "username",
        )
        assert '"prebuilds" is the system user' in error.message
    error = await refused(people.CreateUser(pb.CreateUserRequest(username=name)))
    assert error.code.name == "ALREADY_EXISTS"


async def test_roles_are_replaced_and_count_at_once(office: Office) -> None:
    owner = await office.calling()
    grace = await office.join("grace")
    assert await code_of(grace.people.ListUsers(pb.ListUsersRequest())) == "PERMISSION_DENIED"

    request = pb.SetUserRolesRequest(username="grace", roles=["auditor"])
    changed = await owner.people.SetUserRoles(request, metadata=TRACE)
    assert list(changed.user.roles) == ["auditor"]
    assert await code_of(grace.people.ListUsers(pb.ListUsersRequest())) == "OK"
    await owner.people.SetUserRoles(request)  # changes nothing, so it is no deed
    await owner.people.SetUserRoles(pb.SetUserRolesRequest(username="grace"))
    assert await code_of(grace.people.ListUsers(pb.ListUsersRequest())) == "PERMISSION_DENIED"

    target = ("user", str(await office.user_id("grace")))
    assert await office.audit("user.set_roles") == [
        {
            "actor": "admin",
            "action": "user.set_roles",
            "target": target,
            "details": {"username": "grace", "roles": roles, "before": before},
            "trace_id": trace_id,
        }
        for roles, before, trace_id in ((["auditor"], [], TRACE_ID), ([], ["auditor"], ""))
    ]


async def test_who_is_disabled_is_refused_at_once_and_let_in_again(office: Office) -> None:
    owner = await office.calling()
    grace = await office.join("grace")
    who = system_pb2.WhoAmIRequest()
    assert await code_of(grace.system.WhoAmI(who)) == "OK"

    barred = await owner.people.SetUserDisabled(
        pb.SetUserDisabledRequest(username="grace", disabled=True)
    )
    assert barred.user.HasField("disabled_at")
    error = await refused(grace.system.WhoAmI(who))
    assert (error.code.name, error.reason) == ("UNAUTHENTICATED", "TOKEN_REFUSED")
    error = await refused(
        owner.people.CreateToken(pb.CreateTokenRequest(username="grace", name="another"))
    )
    assert (error.code.name, error.reason) == ("FAILED_PRECONDITION", "USER_DISABLED")

    freed = await owner.people.SetUserDisabled(pb.SetUserDisabledRequest(username="grace"))
    assert not freed.user.HasField("disabled_at")
    assert await code_of(grace.system.WhoAmI(who)) == "OK"
    assert [
        (deed["actor"], deed["action"])
        for deed in await office.audit("user.disable", "user.enable")
    ] == [("admin", "user.disable"), ("admin", "user.enable")]


async def test_what_somebody_watches_ends_with_their_rights(office: Office) -> None:
    owner = await office.calling()
    grace = await office.join("grace")
    leave = pb.RemoveMemberRequest(username="grace")
    bar = pb.SetUserDisabledRequest(username="grace", disabled=True)
    pause = pools_pb2.SetPoolPausedRequest(template="dev", paused=True)
    for end, code in (
        (lambda: owner.people.RemoveMember(leave), "PERMISSION_DENIED"),
        (lambda: owner.people.SetUserDisabled(bar), "UNAUTHENTICATED"),
    ):
        await owner.people.SetMember(pb.SetMemberRequest(username="grace"))
        watch: Any = grace.pools.WatchPools(pools_pb2.WatchPoolsRequest())
        assert [pool.preset_name for pool in (await watch.read()).pools] == ["standard"]
        await end()
        await owner.pools.SetPoolPaused(pause)  # a change they do not hear of any more
        pause.paused = not pause.paused
        assert (await refused(watch.read())).code.name == code


async def test_the_last_owner_stays(office: Office) -> None:
    owner = await office.calling()
    demote = pb.SetUserRolesRequest(username="admin", roles=["auditor"])
    bar = pb.SetUserDisabledRequest(username="admin", disabled=True)
    for call in (owner.people.SetUserRoles(demote), owner.people.SetUserDisabled(bar)):
        error = await refused(call)
        assert (error.code.name, error.reason) == ("FAILED_PRECONDITION", "LAST_OWNER")

    # A second owner who is barred lets nobody in, so the first is still the last.
    second = await office.join("grace", "owner")
    await owner.people.SetUserDisabled(pb.SetUserDisabledRequest(username="grace", disabled=True))
    assert (await refused(owner.people.SetUserRoles(demote))).reason == "LAST_OWNER"
    await owner.people.SetUserDisabled(pb.SetUserDisabledRequest(username="grace"))
    await owner.people.SetUserRoles(demote)
    assert await code_of(second.people.ListUsers(pb.ListUsersRequest())) == "OK"


async def test_two_owners_who_demote_each_other_at_once_leave_one(office: Office) -> None:
    first, second = await office.calling(), await office.join("grace", "owner")
    for _ in range(5):
        async with asyncio.TaskGroup() as tasks:
            codes = [
                tasks.create_task(code_of(stubs.people.SetUserRoles(request)))
                for stubs, request in (
                    (first, pb.SetUserRolesRequest(username="grace")),
                    (second, pb.SetUserRolesRequest(username="admin")),
                )
            ]
        # The slower one is either no owner any more, or would leave nobody.
        ended = sorted(code.result() for code in codes)
        assert ended in (["FAILED_PRECONDITION", "OK"], ["OK", "PERMISSION_DENIED"])
        owners = await office.world.fetch("SELECT username FROM users WHERE 'owner' = ANY (roles)")
        assert len(owners) == 1
        await office.world.execute(
            "UPDATE users SET roles = '{owner}' WHERE username IN ('admin', 'grace')"
        )
        office.world.clock.advance(10)


@pytest.mark.parametrize(
    ("role", "reads", "changes"),
    [
        ("owner", "OK", "OK"),
        ("auditor", "OK", "PERMISSION_DENIED"),
        ("template-admin", "PERMISSION_DENIED", "PERMISSION_DENIED"),
        ("", "PERMISSION_DENIED", "PERMISSION_DENIED"),
    ],
)
async def test_who_may_see_and_change_users(
    office: Office, role: str, reads: str, changes: str
) -> None:
    await office.join("grace")
    people = (await office.join("caller", *([role] if role else []))).people
    assert {
        await code_of(people.ListUsers(pb.ListUsersRequest())),
        await code_of(people.ListAudit(pb.ListAuditRequest())),
    } == {reads}
    assert {
        await code_of(people.CreateUser(pb.CreateUserRequest(username="new"))),
        await code_of(people.SetUserRoles(pb.SetUserRolesRequest(username="grace"))),
        await code_of(people.SetUserDisabled(pb.SetUserDisabledRequest(username="grace"))),
        await code_of(people.CreateOrganization(pb.CreateOrganizationRequest(name="moon"))),
    } == {changes}


async def test_a_user_there_is_not_is_named(office: Office) -> None:
    people = (await office.calling()).people
    for call in (
        people.SetUserRoles(pb.SetUserRolesRequest(username="nobody")),
        people.SetUserDisabled(pb.SetUserDisabledRequest(username="nobody", disabled=True)),
        people.SetMember(pb.SetMemberRequest(username="nobody")),
        people.RemoveMember(pb.RemoveMemberRequest(username="nobody")),
        people.CreateToken(pb.CreateTokenRequest(username="nobody", name="x")),
        people.ListTokens(pb.ListTokensRequest(username="nobody")),
    ):
        error = await refused(call)
        assert (error.code.name, error.reason) == ("NOT_FOUND", "USER_UNKNOWN")
        assert 'there is no user "nobody"' in error.message
    error = await refused(people.SetUserRoles(pb.SetUserRolesRequest(username="a\0b")))
    assert (error.code.name, error.field) == ("INVALID_ARGUMENT", "username")
