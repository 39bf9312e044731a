"""What becomes of a push, from the header to the imported version."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

import grpc
import pytest

from reconciler.core.identity import DEFAULT_ORGANIZATION_ID
from reconciler.core.templates import ImportedPrebuilds, ImportedPreset, ImportResult
from svckit.errors import InvalidArgument
from svckit.status import read_error
from testkit.clock import EPOCH
from warmpool.common.v1 import types_pb2 as common
from warmpool.control.v1 import templates_pb2 as pb

pytestmark = pytest.mark.integration

Plane = Any  # the control plane of conftest.py

ARCHIVE = b"\x1f\x8b" + b"other" * 1000


async def test_a_push_is_a_version_whose_import_waits_in_the_queue(plane: Plane) -> None:
    pushed = await plane.push(
        archive=ARCHIVE, message="first", provisioner_tags={"zone": "eu"}, organization="default"
    )

    version = pushed.version
    assert pushed.template == pb.Template(
        id=pushed.template.id,
        organization_id=str(DEFAULT_ORGANIZATION_ID),
        name="docker",
        provisioner_type="terraform",
        created_at=version.created_at,
        policy=pb.TemplatePolicy(allow_autostart=True),
    )
    assert version == pb.TemplateVersion(
        id=version.id,
        template_id=pushed.template.id,
        name="v1",
        job_id=version.job_id,
        import_status=common.JOB_STATUS_PENDING,
        created_at=version.created_at,
        message="first",
    )
    assert version.created_at.ToSeconds() == int(EPOCH.timestamp())
    assert await plane.fetch(
        "SELECT kind, provisioner_type, tags, template_version_id::text, is_system, status"
        " FROM jobs"
    ) == [
        {
            "kind": "template_version_import",
            "provisioner_type": "terraform",
            "tags": {"zone": "eu"},
            "template_version_id": version.id,
            "is_system": False,
            "status": "pending",
        }
    ]
    assert await plane.fetch("SELECT sha256, content FROM archives") == [
        {"sha256": hashlib.sha256(ARCHIVE).digest(), "content": ARCHIVE}
    ]
    assert plane.hints.jobs == [(DEFAULT_ORGANIZATION_ID, UUID(version.job_id), "terraform")]
    assert await plane.fetch(
        "SELECT u.username, a.action, a.target_id, a.organization_id, a.details"
        " FROM audit_log a JOIN users u ON u.id = a.actor_id"
    ) == [
        {
            "username": "admin",
            "action": "template.push",
            "target_id": pushed.template.id,
            "organization_id": DEFAULT_ORGANIZATION_ID,
            "details": {
                "template": "docker",
                "version": "v1",
                "version_id": version.id,
                "promote": True,
            },
        }
    ]


async def test_an_import_fills_the_version_and_makes_it_active(plane: Plane) -> None:
    pushed = await plane.push()
    affected = await plane.import_next()

    async with plane.client("member") as stub:
        got = await stub.GetTemplateVersion(
            pb.GetTemplateVersionRequest(version_id=pushed.version.id)
        )
        template = await stub.GetTemplate(pb.GetTemplateRequest(template="docker"))
    bare, small = got.version.presets
    assert got.version == pb.TemplateVersion(
        id=pushed.version.id,
        template_id=pushed.template.id,
        name="v1",
        job_id=pushed.version.job_id,
        import_status=common.JOB_STATUS_SUCCEEDED,
        active=True,
        created_at=pushed.version.created_at,
        parameters=[
            pb.Parameter(
                name="region",
                type="string",
                display_name="Region",
                options=[
                    pb.ParameterOption(name="Paris", value="eu", description="near"),
                    pb.ParameterOption(name="Ohio", value="us"),
                ],
            ),
            pb.Parameter(
                name="cpus",
                type="number",
                default_value="2",
                has_default=True,
                mutable=True,
                validation_min=1,
                validation_max=8,
            ),
        ],
        presets=[
            pb.Preset(
                id=bare.id,
                name="bare",
                description="no pool",
                parameters=[common.ParameterValue(name="region", value="us")],
            ),
            pb.Preset(
                id=small.id,
                name="small",
                is_default=True,
                parameters=[common.ParameterValue(name="region", value="eu")],
                instances=2,
                ttl_seconds=7200,
                scheduling_timezone="Europe/Paris",
                schedules=[pb.Schedule(cron="* 8-17 * * 1-5", instances=5)],
            ),
        ],
    )
    assert not got.version.parameters[0].HasField("validation_min")
    assert template.template.active_version_id == pushed.version.id
    assert template.template.active_version_name == "v1"
    assert affected == (UUID(small.id),)
    assert await plane.fetch("SELECT name, instances FROM presets ORDER BY name") == [
        {"name": "bare", "instances": None},
        {"name": "small", "instances": 2},
    ]
    assert await plane.fetch("SELECT agent_names FROM template_versions") == [
        {"agent_names": ["main"]}
    ]


async def test_a_template_that_offers_nonsense_is_not_imported(plane: Plane) -> None:
    await plane.push()
    nonsense = ImportResult(
        presets=(ImportedPreset(name="p", prebuilds=ImportedPrebuilds(instances=1, ttl_seconds=5)),)
    )
    with pytest.raises(InvalidArgument, match="ttl_seconds is 5; allowed is 0 for never"):
        await plane.import_next(nonsense)
    assert await plane.fetch("SELECT imported_at FROM template_versions") == [{"imported_at": None}]
    assert await plane.fetch("SELECT status FROM jobs") == [{"status": "running"}]
    assert await plane.fetch("SELECT id FROM presets") == []


async def test_versions_are_numbered_on_and_files_are_kept_once(plane: Plane) -> None:
    names: list[str] = []
    for version in ("", "v7", "beta", "", ""):
        plane.clock.advance(1)
        names.append((await plane.push(version=version)).version.name)
    assert names == ["v1", "v7", "beta", "v8", "v9"]

    async with plane.client() as stub:
        listed = await stub.ListTemplateVersions(pb.ListTemplateVersionsRequest(template="docker"))
    assert [version.name for version in listed.versions] == ["v9", "v8", "beta", "v7", "v1"]
    assert await plane.fetch("SELECT count(*) AS n FROM archives") == [{"n": 1}]


async def test_a_later_push_gives_tags_or_keeps_them(plane: Plane) -> None:
    await plane.push(provisioner_tags={"zone": "eu"})
    await plane.push()
    await plane.push(provisioner_tags={"zone": "us"})
    assert await plane.fetch("SELECT tags FROM jobs ORDER BY created_at, id") == [
        {"tags": {"zone": "eu"}},
        {"tags": {"zone": "eu"}},
        {"tags": {"zone": "us"}},
    ]


def chunk(content: bytes) -> pb.PushTemplateVersionRequest:
    return pb.PushTemplateVersionRequest(chunk=content)


HEADER = pb.PushTemplateVersionRequest(
    header=pb.PushTemplateHeader(template="docker", provisioner_type="terraform")
)


@pytest.mark.parametrize(
    ("parts", "code", "reason"),
    [
        ((), "INVALID_ARGUMENT", "HEADER_MISSING"),
        ((chunk(ARCHIVE),), "INVALID_ARGUMENT", "HEADER_MISSING"),
        ((HEADER, HEADER, chunk(ARCHIVE)), "INVALID_ARGUMENT", "CHUNK_MISSING"),
        ((HEADER, pb.PushTemplateVersionRequest()), "INVALID_ARGUMENT", "CHUNK_MISSING"),
        ((HEADER,), "INVALID_ARGUMENT", "ARCHIVE_INVALID"),
        ((HEADER, chunk(b"plain")), "INVALID_ARGUMENT", "ARCHIVE_INVALID"),
        ((HEADER, chunk(bytes(2**20 + 1))), "INVALID_ARGUMENT", "CHUNK_TOO_LARGE"),
        ((HEADER, *(chunk(bytes(2**20)),) * 33), "RESOURCE_EXHAUSTED", "ARCHIVE_TOO_LARGE"),
    ],
)
async def test_a_broken_upload_leaves_nothing(
    plane: Plane, parts: tuple[pb.PushTemplateVersionRequest, ...], code: str, reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await plane.push(parts=parts)
    error = read_error(caught.value)
    assert (error.code.name, error.reason) == (code, reason)
    assert await plane.fetch("SELECT sha256 FROM archives") == []
    assert await plane.fetch("SELECT id FROM templates") == []
    assert (plane.hints.jobs, plane.hints.pools) == ([], [])


@pytest.mark.parametrize(
    ("header", "code", "reason", "field"),
    [
        ({"version": "v1"}, "ALREADY_EXISTS", "VERSION_NAME_TAKEN", "header.version"),
        (
            {"provisioner_type": "process"},
            "FAILED_PRECONDITION",
            "PROVISIONER_TYPE_DIFFERS",
            "header.provisioner_type",
        ),
        ({"template": "Docker"}, "INVALID_ARGUMENT", "NAME_INVALID", "header.template"),
        ({"organization": "moon"}, "NOT_FOUND", "ORGANIZATION_UNKNOWN", "header.organization"),
        ({"organization": "Moon"}, "INVALID_ARGUMENT", "NAME_INVALID", "header.organization"),
    ],
)
async def test_a_push_that_does_not_fit_changes_nothing(
    plane: Plane, header: dict[str, str], code: str, reason: str, field: str
) -> None:
    await plane.push()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await plane.push(**header, archive=ARCHIVE)
    error = read_error(caught.value)
    assert (error.code.name, error.reason, error.field) == (code, reason, field)
    assert await plane.fetch("SELECT name FROM template_versions") == [{"name": "v1"}]
    assert await plane.fetch("SELECT count(*) AS n FROM archives") == [{"n": 1}]
