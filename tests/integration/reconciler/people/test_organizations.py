"""Organizations: who sees them, who belongs to them, and who decides that."""

from __future__ import annotations

import pytest

from testkit.office import TRACE, TRACE_ID, Office, code_of, refused
from warmpool.control.v1 import people_pb2 as pb

pytestmark = pytest.mark.integration
LIST = pb.ListOrganizationsRequest()


async def test_an_organization_is_made_once_and_seen_by_its_own(office: Office) -> None:
    owner = (await office.calling()).people
    create = pb.CreateOrganizationRequest(name="moon")
    made = (await owner.CreateOrganization(create, metadata=TRACE)).organization
    assert (made.name, made.is_default) == ("moon", False)
    error = await refused(owner.CreateOrganization(create))
    assert (error.code.name, error.reason, error.field) == ("ALREADY_EXISTS", "NAME_TAKEN", "name")

    callers = {
        "owner": owner,
        "auditor": (await office.join("eve", "auditor")).people,
        "at home": (await office.join("grace")).people,
        "on the moon": (await office.join("neil", organization="moon")).people,
    }
    seen = {
        name: [o.name for o in (await people.ListOrganizations(LIST)).organizations]
        for name, people in callers.items()
    }
    assert seen == {
        "owner": ["default", "moon"],
        "auditor": ["default", "moon"],
        "at home": ["default"],
        "on the moon": ["moon"],
    }
    error = await refused(
        callers["at home"].ListMembers(pb.ListMembersRequest(organization="moon"))
    )
    assert (error.code.name, error.field) == ("NOT_FOUND", "organization")
    assert await office.audit("organization.create") == [
        {
            "actor": "admin",
            "action": "organization.create",
            "target": ("organization", made.id),
            "details": {"name": "moon"},
            "trace_id": TRACE_ID,
        }
    ]


async def test_members_come_change_and_go(office: Office) -> None:
    owner = (await office.calling()).people
    grace = (await office.join("grace")).people
    await owner.CreateOrganization(pb.CreateOrganizationRequest(name="moon"))
    target = ("user", str(await office.user_id("grace")))

    for roles in ((), ("organization-admin",), ("organization-admin",)):
        answer = await owner.SetMember(
            pb.SetMemberRequest(organization="moon", username="grace", roles=roles)
        )
        assert (answer.member.username, tuple(answer.member.roles)) == ("grace", roles)
    request = pb.SetMemberRequest(organization="moon", username="ada")
    assert await code_of(grace.SetMember(request)) == "OK"  # an admin there by now
    found = await grace.ListMembers(pb.ListMembersRequest(organization="moon"))
    assert [(m.username, tuple(m.roles)) for m in found.members] == [
        ("ada", ()),
        ("grace", ("organization-admin",)),
    ]

    leave = pb.RemoveMemberRequest(organization="moon", username="grace")
    await owner.RemoveMember(leave)
    assert await code_of(grace.SetMember(request)) == "PERMISSION_DENIED"
    error = await refused(owner.RemoveMember(leave))
    assert (error.code.name, error.reason) == ("NOT_FOUND", "MEMBER_UNKNOWN")

    admin = ["organization-admin"]
    assert [
        (deed["action"], deed["details"])
        for deed in await office.audit("member.add", "member.set_roles", "member.remove")
        if deed["target"] == target
    ] == [
        ("member.add", {"username": "grace", "roles": [], "before": []}),
        ("member.set_roles", {"username": "grace", "roles": admin, "before": []}),
        ("member.remove", {"username": "grace", "before": admin}),
    ]


async def test_members_see_each_other_but_only_admins_decide(office: Office) -> None:
    grace = (await office.join("grace")).people
    admin = (await office.join("boss", home=("organization-admin",))).people
    found = await grace.ListMembers(pb.ListMembersRequest())
    assert [member.username for member in found.members] == ["admin", "boss", "grace"]

    promote = pb.SetMemberRequest(username="grace", roles=["organization-admin"])
    for call in (
        grace.SetMember(promote),
        grace.RemoveMember(pb.RemoveMemberRequest(username="boss")),
    ):
        error = await refused(call)
        assert error.code.name == "PERMISSION_DENIED"
        assert error.metadata["permission"] == "organization.update"
    error = await refused(admin.SetMember(pb.SetMemberRequest(username="grace", roles=["owner"])))
    assert (error.code.name, error.field) == ("INVALID_ARGUMENT", "roles")
    assert await code_of(admin.SetMember(promote)) == "OK"
    assert await code_of(grace.RemoveMember(pb.RemoveMemberRequest(username="boss"))) == "OK"
