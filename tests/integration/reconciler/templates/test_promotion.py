"""Which version is the active one, and what becomes of a template's pools when it is deleted."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import grpc
import pytest

from reconciler.core.identity import DEFAULT_ORGANIZATION_ID, SYSTEM_USER_ID
from svckit.status import read_error
from testkit.clock import EPOCH
from warmpool.control.v1 import templates_pb2 as pb

pytestmark = pytest.mark.integration

Plane = Any  # the control plane of conftest.py


async def test_promotion_moves_the_pools_and_is_audited_once(plane: Plane) -> None:
    first = await plane.push_and_import()
    second = await plane.push_and_import(promote=False)
    assert (first.active, second.active) == (True, False)

    async with plane.client("home-admin") as stub:
        request = pb.PromoteTemplateVersionRequest(template="docker", version="v2")
        promoted = await stub.PromoteTemplateVersion(request)
        assert await stub.PromoteTemplateVersion(request) == promoted
    assert promoted.template.active_version_name == "v2"
    pools = {UUID(version.presets[1].id) for version in (first, second)}
    assert {preset_id for preset_id, _ in plane.hints.pools} == pools
    assert [reason for _, reason in plane.hints.pools] == ["promoted", "promoted"]
    assert await plane.fetch(
        "SELECT u.username, a.action, a.target_kind, a.target_id, a.organization_id, a.details"
        " FROM audit_log a JOIN users u ON u.id = a.actor_id WHERE a.action = 'template.promote'"
        " ORDER BY a.happened_at"
    ) == [
        {
            "username": username,
            "action": "template.promote",
            "target_kind": "template",
            "target_id": first.template_id,
            "organization_id": DEFAULT_ORGANIZATION_ID,
            "details": {"template": "docker", "version_id": version, "before": before},
        }
        for username, version, before in (
            ("admin", first.id, ""),
            ("home-admin", second.id, first.id),
        )
    ]


async def test_a_push_that_is_imported_late_does_not_take_over_from_a_later_one(
    plane: Plane,
) -> None:
    jobs: list[Any] = []
    for _ in range(2):
        plane.clock.advance(1)
        await plane.push()
        jobs.append(await plane.acquire())
    second = await plane.complete(jobs[1])
    assert len(second) == 1
    assert await plane.complete(jobs[0]) == ()

    async with plane.client() as stub:
        got = await stub.GetTemplate(pb.GetTemplateRequest(template="docker"))
    assert got.template.active_version_name == "v2"


async def test_a_deleted_template_drains_its_pools_and_frees_its_name(plane: Plane) -> None:
    version = await plane.push_and_import()
    async with plane.client() as stub:
        await stub.DeleteTemplate(pb.DeleteTemplateRequest(template="docker"))
        listed = await stub.ListTemplates(pb.ListTemplatesRequest())
    assert list(listed.templates) == []
    assert plane.hints.pools == [(UUID(version.presets[1].id), "template_deleted")]
    assert await plane.fetch(
        "SELECT target_id, details FROM audit_log WHERE action = 'template.delete'"
    ) == [{"target_id": version.template_id, "details": {"template": "docker"}}]

    again = await plane.push(provisioner_type="process")
    assert again.template.id != version.template_id
    assert again.version.name == "v1"


async def test_a_version_of_a_deleted_template_is_imported_but_not_promoted(
    plane: Plane,
) -> None:
    await plane.push()
    async with plane.client() as stub:
        await stub.DeleteTemplate(pb.DeleteTemplateRequest(template="docker"))
    assert await plane.import_next() == ()
    assert await plane.fetch("SELECT active_version_id FROM templates") == [
        {"active_version_id": None}
    ]


async def test_a_template_is_kept_while_people_have_workspaces_of_it(plane: Plane) -> None:
    version = await plane.push_and_import()
    await plane.make_workspace(version, SYSTEM_USER_ID)
    (admin,) = await plane.fetch("SELECT id FROM users WHERE username = 'admin'")
    assert isinstance(admin["id"], UUID)
    await plane.make_workspace(version, admin["id"])

    async with plane.client() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.DeleteTemplate(pb.DeleteTemplateRequest(template="docker"))
        error = read_error(caught.value)
        assert (error.code, error.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "TEMPLATE_IN_USE",
        )
        assert 'people have 1 workspaces of "docker"' in error.message

        await plane.execute(
            "UPDATE workspaces SET deleted_at = $1 WHERE owner_id = $2", EPOCH, admin["id"]
        )
        await stub.DeleteTemplate(pb.DeleteTemplateRequest(template="docker"))


async def test_a_version_that_is_not_imported_cannot_be_active(plane: Plane) -> None:
    await plane.push()
    async with plane.client() as stub:
        for version, code, reason in (
            ("v1", "FAILED_PRECONDITION", "VERSION_NOT_IMPORTED"),
            ("v2", "NOT_FOUND", "VERSION_UNKNOWN"),
            ("", "INVALID_ARGUMENT", "NAME_INVALID"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.PromoteTemplateVersion(
                    pb.PromoteTemplateVersionRequest(template="docker", version=version)
                )
            error = read_error(caught.value)
            assert (error.code.name, error.reason, error.field) == (code, reason, "version")
