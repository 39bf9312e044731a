"""What a person learns of a version without building anything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from reconciler.core.dryruns import CHECKS_MAX, WAITING_MAX, Findings, decide_dry_runs
from reconciler.core.jobs import JobKind
from reconciler.core.templates import ImportedPrebuilds, ImportedPreset, PresetView, VersionView
from reconciler.store.jobs import SQL as JOBS
from svckit.errors import InvalidArgument
from testkit.clock import EPOCH
from testkit.office import Office, code_of, refused, serve_office
from testkit.pool_world import PoolWorld
from warmpool.common.v1.types_pb2 import JobStatus, ParameterValue
from warmpool.control.v1 import people_pb2
from warmpool.control.v1 import templates_pb2 as pb
from warmpool.control.v1.workspaces_pb2 import WatchJobLogsRequest

pytestmark = pytest.mark.integration

REPLACED = (("docker_container.main", ("env", "name")),)
DEPENDENT = (("docker_container.main", ("hostname",)), ("docker_volume.home", ()))
CPU: dict[str, Any] = {
    "name": "cpu",
    "type": "number",
    "display_name": "",
    "description": "",
    "default_value": "2",
    "has_default": True,
    "mutable": False,
    "ephemeral": False,
    "options": [],
    "validation_regex": "",
    "validation_error": "",
    "validation_min": 1,
    "validation_max": 8,
    "validation_monotonic": "",
}


@pytest.fixture
async def office(world: PoolWorld) -> Any:
    await world.execute("UPDATE template_versions SET parameters = $1", [CPU])
    async with serve_office(world) as office:
        yield office


async def get(office: Office, job_id: str) -> pb.TemplateCheck:
    stubs = await office.calling()
    answer = await stubs.templates.GetTemplateCheck(pb.GetTemplateCheckRequest(job_id=job_id))
    return answer.check


async def end(office: Office, findings: Findings) -> str:
    """The worker takes the next job, which must be a dry run, and reports."""
    job = await office.world.acquire()
    assert job.kind is JobKind.DRY_RUN
    now = office.world.clock.now()
    assert await office.world.ends.complete_dry_run(job.id, 1, None, findings, (), now)
    return str(job.id)


async def test_a_claim_is_planned_upon_a_prebuild_that_is_there(office: Office) -> None:
    world = office.world
    workspace_id = await world.ready_prebuild()
    (row,) = await world.fetch("SELECT name FROM workspaces WHERE id = $1", workspace_id)
    stubs = await office.calling()
    answer = await stubs.templates.CheckTemplateVersion(
        pb.CheckTemplateVersionRequest(template="dev")
    )
    assert answer.version.name == "v1"
    (check,) = answer.checks
    assert check == pb.TemplateCheck(
        job_id=check.job_id,
        preset="standard",
        prebuild=str(row["name"]),
        job_status=JobStatus.JOB_STATUS_PENDING,
    )
    # THEN a worker plans the claim, by somebody who does not exist
    job = await world.acquire()
    assert job.build is not None
    assert (job.build.workspace_id, job.build.stage, job.build.username) == (
        workspace_id,
        "claim",
        "rehearsal",
    )
    now = world.clock.now()
    found = Findings(replacements=REPLACED)
    await world.ends.complete_dry_run(job.id, job.attempt, None, found, (), now)
    # AND who asked reads what it would cost
    assert await get(office, check.job_id) == pb.TemplateCheck(
        job_id=check.job_id,
        preset="standard",
        prebuild=str(row["name"]),
        job_status=JobStatus.JOB_STATUS_SUCCEEDED,
        replacements=[pb.PlannedChange(address="docker_container.main", paths=["env", "name"])],
    )
    # AND the prebuild is as it was: it can be claimed
    assert await world.claim() == workspace_id


async def test_without_a_prebuild_a_new_workspace_is_planned(office: Office) -> None:
    stubs = await office.calling()
    answer = await stubs.templates.CheckTemplateVersion(
        pb.CheckTemplateVersionRequest(template="dev", version="v1", preset="standard")
    )
    (check,) = answer.checks
    assert (check.preset, check.prebuild) == ("standard", "")
    found = Findings(resources=("docker_container.main",), owner_dependent=DEPENDENT)
    assert await end(office, found) == check.job_id
    done = await get(office, check.job_id)
    assert list(done.resources) == ["docker_container.main"]
    assert [(each.address, tuple(each.paths)) for each in done.owner_dependent] == list(DEPENDENT)


async def test_ones_own_values_are_checked_and_planned_for_a_new_workspace(office: Office) -> None:
    await office.world.ready_prebuild()
    stubs = await office.calling()
    request = pb.CheckTemplateVersionRequest(
        template="dev", preset="standard", parameters=[ParameterValue(name="cpu", value="4")]
    )
    (check,) = (await stubs.templates.CheckTemplateVersion(request)).checks
    assert check.prebuild == ""
    job = await office.world.acquire()
    assert (job.parameters, job.build) == ({"cpu": "4"}, None)
    request.parameters[0].value = "99"
    error = await refused(stubs.templates.CheckTemplateVersion(request))
    assert (error.reason, error.field) == ("PARAMETER_INVALID", "parameters.cpu")


async def test_a_failed_check_says_why_and_its_log_is_its_askers(office: Office) -> None:
    stubs = await office.calling()
    (check,) = (
        await stubs.templates.CheckTemplateVersion(pb.CheckTemplateVersionRequest(template="dev"))
    ).checks
    await office.world.fail(await office.world.acquire())
    done = await get(office, check.job_id)
    assert (done.job_status, done.error) == (JobStatus.JOB_STATUS_FAILED, "it broke")
    stream = stubs.workspaces.WatchJobLogs(WatchJobLogsRequest(job_id=check.job_id))
    assert [answer.job_status async for answer in stream] == [JobStatus.JOB_STATUS_FAILED]


async def test_a_plan_whose_findings_the_release_before_dropped_is_no_check(
    office: Office,
) -> None:
    await office.world.ready_prebuild()
    stubs = await office.calling()
    request = pb.CheckTemplateVersionRequest(template="dev")
    (check,) = (await stubs.templates.CheckTemplateVersion(request)).checks
    assert await end(office, Findings(replacements=REPLACED)) == check.job_id
    # as a replica of 0.1 ends a dry run: it stores no more than that it succeeded
    await office.world.execute(
        "UPDATE jobs SET result = result - 'resources' - 'replacements' - 'owner_dependent'"
        " WHERE kind = 'template_version_dry_run'"
    )
    done = await get(office, check.job_id)
    assert done.job_status == JobStatus.JOB_STATUS_FAILED
    assert "was not recorded" in done.error


@pytest.mark.parametrize(
    ("asked", "reason", "field"),
    [
        (pb.CheckTemplateVersionRequest(template="nope"), "TEMPLATE_UNKNOWN", "template"),
        (
            pb.CheckTemplateVersionRequest(template="dev", version="v9"),
            "VERSION_UNKNOWN",
            "version",
        ),
        (
            pb.CheckTemplateVersionRequest(template="dev", preset="huge"),
            "PRESET_UNKNOWN",
            "preset",
        ),
    ],
)
async def test_what_cannot_be_checked_is_named(
    office: Office, asked: pb.CheckTemplateVersionRequest, reason: str, field: str
) -> None:
    stubs = await office.calling()
    error = await refused(stubs.templates.CheckTemplateVersion(asked))
    assert (error.reason, error.field) == (reason, field)


async def test_a_version_that_is_not_there_yet_is_not_checked(office: Office) -> None:
    await office.world.execute("UPDATE templates SET active_version_id = NULL")
    stubs = await office.calling()
    request = pb.CheckTemplateVersionRequest(template="dev")
    assert (await refused(stubs.templates.CheckTemplateVersion(request))).reason == (
        "NO_ACTIVE_VERSION"
    )
    await office.world.execute(
        "UPDATE jobs SET status = 'pending', finished_at = NULL"
        " WHERE kind = 'template_version_import'"
    )
    request.version = "v1"
    assert (await refused(stubs.templates.CheckTemplateVersion(request))).reason == (
        "VERSION_NOT_IMPORTED"
    )


async def test_who_may_not_change_templates_may_not_check_them(office: Office) -> None:
    stubs = await office.calling()
    asked = await stubs.templates.CheckTemplateVersion(
        pb.CheckTemplateVersionRequest(template="dev")
    )
    await stubs.people.CreateOrganization(people_pb2.CreateOrganizationRequest(name="elsewhere"))
    member = await office.join("grace", organization="default")
    outsider = await office.join("eve", home=("organization-admin",), organization="elsewhere")
    check = pb.CheckTemplateVersionRequest(template="dev")
    get_check = pb.GetTemplateCheckRequest(job_id=asked.checks[0].job_id)
    nobodys = pb.GetTemplateCheckRequest(job_id=str(UUID(int=1)))
    codes = [
        await code_of(member.templates.CheckTemplateVersion(check)),
        await code_of(member.templates.GetTemplateCheck(get_check)),
        await code_of(outsider.templates.CheckTemplateVersion(check)),
        await code_of(outsider.templates.GetTemplateCheck(get_check)),
        await code_of(stubs.templates.GetTemplateCheck(nobodys)),
    ]
    assert codes == ["PERMISSION_DENIED"] * 2 + ["NOT_FOUND"] * 3


async def test_a_build_goes_before_every_check_that_waits(office: Office) -> None:
    world = office.world
    await world.ready_prebuild()
    stubs = await office.calling()
    request = pb.CheckTemplateVersionRequest(template="dev")
    for _ in range(3):
        await stubs.templates.CheckTemplateVersion(request)
    world.clock.advance(1)
    assert await world.claim()
    kinds = [(await world.acquire()).kind for _ in range(4)]
    assert kinds == [JobKind.BUILD, *[JobKind.DRY_RUN] * 3]


async def test_the_next_job_is_found_without_sorting_those_that_wait(office: Office) -> None:
    async with office.world.database.read() as connection:
        await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        key = await connection.fetchval("SELECT id FROM service_keys LIMIT 1")
        now = office.world.clock.now()
        plan = await connection.fetch(
            f"EXPLAIN {JOBS.acquire_jobs}",
            UUID(int=1),
            ["process"],
            {"a": "b"},
            None,
            now,
            key,
            3,
            1,
        )
    taking, _, rest = "\n".join(row[0] for row in plan).partition("CTE taken")
    assert "Index Scan using jobs_waiting_by_kind" in taking.partition("CTE next")[2]
    assert "Sort Key" not in taking.partition("CTE next")[2]
    assert rest  # the few that are taken may be sorted


async def test_so_many_checks_of_an_organization_may_wait_and_no_more(office: Office) -> None:
    stubs = await office.calling()
    request = pb.CheckTemplateVersionRequest(template="dev")
    await stubs.templates.CheckTemplateVersion(request)
    await office.world.execute(
        "INSERT INTO jobs SELECT (jsonb_populate_record(j, jsonb_build_object('id',"
        " gen_random_uuid()))).* FROM jobs j, generate_series(3, $1::int) n"
        " WHERE j.kind = 'template_version_dry_run'",
        WAITING_MAX,
    )
    await stubs.templates.CheckTemplateVersion(request)  # the last one there is room for
    error = await refused(stubs.templates.CheckTemplateVersion(request))
    assert (error.code.name, error.reason, error.field) == (
        "RESOURCE_EXHAUSTED",
        "TOO_MANY_CHECKS",
        "template",
    )
    await office.world.acquire()
    await stubs.templates.CheckTemplateVersion(request)


def test_a_template_with_too_many_pools_is_checked_by_name() -> None:
    presets = tuple(
        PresetView(
            id=UUID(int=n),
            preset=ImportedPreset(name=f"p{n}", prebuilds=ImportedPrebuilds(instances=1)),
        )
        for n in range(CHECKS_MAX + 1)
    )
    version = VersionView(
        id=UUID(int=1),
        template_id=UUID(int=2),
        organization_id=UUID(int=3),
        name="v1",
        job_id=UUID(int=4),
        import_status="succeeded",
        import_error="",
        is_active=True,
        created_at=EPOCH,
        message="",
        parameters=(),
        presets=presets,
    )
    with pytest.raises(InvalidArgument, match="name one"):
        decide_dry_runs(version, "", {})
    assert len(decide_dry_runs(version, "p3", {})) == 1
    bare = replace(version, presets=())
    (one,) = decide_dry_runs(bare, "", {})
    assert (one.preset, one.pool_id) == ("", None)
