"""Who may look at templates, who may change them, and who must not know that they exist."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any
from uuid import UUID

import grpc
import pytest

from svckit.status import read_error
from testkit.clock import EPOCH
from warmpool.control.v1 import templates_pb2 as pb

pytestmark = pytest.mark.integration

Plane = Any  # the control plane of conftest.py


async def refusal(call: Awaitable[object]) -> str:
    """The code of a call; OK if it went well."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


@pytest.mark.parametrize(
    ("token", "read", "change"),
    [
        ("member", "OK", "PERMISSION_DENIED"),
        ("home-admin", "OK", "OK"),
        ("template-admin", "OK", "OK"),
        ("owner-token", "OK", "OK"),
        ("stranger", "PERMISSION_DENIED", "PERMISSION_DENIED"),
        ("key", "PERMISSION_DENIED", "PERMISSION_DENIED"),
        ("nobody", "UNAUTHENTICATED", "UNAUTHENTICATED"),
    ],
)
async def test_who_may_read_and_who_may_change(
    plane: Plane, token: str, read: str, change: str
) -> None:
    version = await plane.push_and_import()
    name = "docker"
    parts = (
        pb.PushTemplateVersionRequest(
            header=pb.PushTemplateHeader(template=name, provisioner_type="terraform")
        ),
        pb.PushTemplateVersionRequest(chunk=b"\x1f\x8b"),
    )
    async with plane.client(token) as stub:
        reads = {
            await refusal(stub.GetTemplate(pb.GetTemplateRequest(template=name))),
            await refusal(stub.ListTemplates(pb.ListTemplatesRequest())),
            await refusal(stub.ListTemplateVersions(pb.ListTemplateVersionsRequest(template=name))),
            await refusal(
                stub.GetTemplateVersion(pb.GetTemplateVersionRequest(version_id=version.id))
            ),
        }
        promote = pb.PromoteTemplateVersionRequest(template=name, version="v1")
        changes = {
            await refusal(
                stub.PushTemplateVersion(iter(parts)),
            ),
            await refusal(stub.PromoteTemplateVersion(promote)),
            await refusal(stub.DeleteTemplate(pb.DeleteTemplateRequest(template=name))),
        }
    assert (reads, changes) == ({read}, {change})


async def test_templates_of_other_organizations_do_not_exist_for_members(
    plane: Plane,
) -> None:
    await plane.execute(
        "INSERT INTO organizations (id, name, created_at) VALUES ($1, 'moon', $2)",
        UUID(int=7),
        EPOCH,
    )
    here = await plane.push("here")
    there = await plane.push("there", organization="moon")

    async with plane.client("member") as stub:
        listed = await stub.ListTemplates(pb.ListTemplatesRequest())
        assert list(listed.templates) == [here.template]
        for call, field in (
            (stub.ListTemplates(pb.ListTemplatesRequest(organization="moon")), "organization"),
            (
                stub.GetTemplate(pb.GetTemplateRequest(organization="moon", template="there")),
                "organization",
            ),
            (stub.GetTemplate(pb.GetTemplateRequest(template="there")), "template"),
            (
                stub.GetTemplateVersion(pb.GetTemplateVersionRequest(version_id=there.version.id)),
                "version_id",
            ),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            error = read_error(caught.value)
            assert (error.code.name, error.field) == ("NOT_FOUND", field)

    async with plane.client("template-admin") as stub:
        everywhere = await stub.ListTemplates(pb.ListTemplatesRequest())
        moon = await stub.ListTemplates(pb.ListTemplatesRequest(organization="moon"))
    assert list(everywhere.templates) == [here.template, there.template]
    assert list(moon.templates) == [there.template]


async def test_an_id_that_is_none_is_refused(plane: Plane) -> None:
    async with plane.client() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetTemplateVersion(pb.GetTemplateVersionRequest(version_id="v1"))
    error = read_error(caught.value)
    assert (error.code.name, error.reason) == ("INVALID_ARGUMENT", "ID_INVALID")


async def test_an_admin_elsewhere_may_change_nothing_here(plane: Plane) -> None:
    moon_id = UUID(int=7)
    await plane.execute(
        "INSERT INTO organizations (id, name, created_at) VALUES ($1, 'moon', $2)", moon_id, EPOCH
    )
    await plane.execute(
        "INSERT INTO organization_members (organization_id, user_id, roles, created_at)"
        " SELECT $1, id, '{organization-admin}', $2 FROM users WHERE username = 'member'",
        moon_id,
        EPOCH,
    )
    await plane.push_and_import()
    async with plane.client("member") as stub:
        for call in (
            stub.PromoteTemplateVersion(
                pb.PromoteTemplateVersionRequest(template="docker", version="v1")
            ),
            stub.DeleteTemplate(pb.DeleteTemplateRequest(template="docker")),
            stub.PushTemplateVersion(
                iter(
                    [
                        pb.PushTemplateVersionRequest(
                            header=pb.PushTemplateHeader(
                                template="docker", provisioner_type="terraform"
                            )
                        )
                    ]
                )
            ),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            error = read_error(caught.value)
            assert (error.code.name, error.reason, error.metadata["organization"]) == (
                "PERMISSION_DENIED",
                "PERMISSION_MISSING",
                "default",
            )
        gone = pb.DeleteTemplateRequest(organization="moon", template="docker")
        assert await refusal(stub.DeleteTemplate(gone)) == "NOT_FOUND"  # allowed, but not there
