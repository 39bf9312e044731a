"""How many workspaces each person may have in an organization, however they ask."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.core.identity import DEFAULT_ORGANIZATION_ID, SYSTEM_USER_ID
from reconciler.store.db import open_database
from reconciler.store.quotas import Quotas
from testkit.eventually import eventually
from testkit.office import Office, code_of, refused
from testkit.pool_world import PoolWorld
from warmpool.control.v1 import people_pb2
from warmpool.control.v1 import workspaces_pb2 as pb

pytestmark = pytest.mark.integration


def create(owner: str = "", request_id: str = "") -> pb.CreateWorkspaceRequest:
    return pb.CreateWorkspaceRequest(
        template="dev", preset="standard", owner=owner, request_id=request_id
    )


async def limit(office: Office, count: int | None) -> None:
    people = (await office.calling()).people
    await people.SetOrganizationQuota(
        people_pb2.SetOrganizationQuotaRequest(workspaces_per_user_max=count)
    )
    office.world.clock.advance(2)  # offers are remembered for a second


async def test_who_has_enough_gets_no_more_and_no_prebuild_is_lost(office: Office) -> None:
    await limit(office, 2)
    grace, owner = await office.join("grace"), await office.calling()
    first = await grace.workspaces.CreateWorkspace(create(request_id="r-1"))
    await owner.workspaces.CreateWorkspace(create(owner="grace"))
    for _ in range(2):
        await office.world.complete(await office.world.acquire())
    prebuild = await office.world.ready_prebuild()
    for calls, owner_name in ((grace, ""), (owner, "grace")):
        error = await refused(calls.workspaces.CreateWorkspace(create(owner=owner_name)))
        assert (error.code.name, error.reason, error.field) == (
            "RESOURCE_EXHAUSTED",
            "QUOTA_EXCEEDED",
            "owner",
        )
        assert 'has 2 workspaces in "default", where each person may have 2' in error.message
    assert await office.world.is_in_pool(prebuild)
    # AND a request that was served gets its answer again, others their own workspaces
    again = await grace.workspaces.CreateWorkspace(create(request_id="r-1"))
    assert again.workspace.id == first.workspace.id
    assert (await owner.workspaces.CreateWorkspace(create())).warm
    # AND what was deleted counts no more
    await office.world.execute(
        "UPDATE workspaces SET deleted_at = created_at WHERE id = $1", first.workspace.id
    )
    assert await code_of(grace.workspaces.CreateWorkspace(create())) == "OK"


async def test_requests_that_come_at_once_do_not_slip_through(office: Office) -> None:
    await limit(office, 3)
    grace = await office.join("grace")
    for _ in range(2):
        await office.world.ready_prebuild()  # two warm, one cold
    async with asyncio.TaskGroup() as tasks:
        asked = [
            tasks.create_task(code_of(grace.workspaces.CreateWorkspace(create())))
            for _ in range(10)
        ]
    codes = sorted(each.result() for each in asked)
    assert codes == ["OK"] * 3 + ["RESOURCE_EXHAUSTED"] * 7


async def test_replicas_count_one_after_the_other(world: PoolWorld, migrated_url: str) -> None:
    home = DEFAULT_ORGANIZATION_ID
    await world.ready_prebuild()
    async with open_database(migrated_url, pool_max=4) as database, asyncio.TaskGroup() as tasks:

        async def count_there() -> int:
            async with Quotas(database).hold(world.ada, home) as count:
                return count

        async def is_waiting() -> None:
            assert await world.fetch(
                "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database"
                " = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )

        async with Quotas(world.database).hold(world.ada, home) as here:
            there = tasks.create_task(count_there())
            await eventually(is_waiting)
            async with Quotas(database).hold(SYSTEM_USER_ID, home):
                pass  # nobody else waits
            assert await world.claim() is not None
    assert (here, there.result()) == (0, 1)


async def test_who_asks_for_much_keeps_nobody_else_waiting(
    world: PoolWorld, migrated_url: str
) -> None:
    home = DEFAULT_ORGANIZATION_ID
    async with open_database(migrated_url, pool_max=8) as database, asyncio.TaskGroup() as tasks:
        quotas = Quotas(database)  # with two slots

        async def count() -> int:
            async with quotas.hold(world.ada, home) as count:
                return count

        async with quotas.hold(world.ada, home):
            asked = [tasks.create_task(count()) for _ in range(100)]
            await asyncio.sleep(0)  # all of them wait
            async with asyncio.timeout(5), quotas.hold(SYSTEM_USER_ID, home):
                assert not any(each.done() for each in asked)
    assert [each.result() for each in asked] == [0] * 100


async def test_the_limit_is_set_by_who_looks_after_the_organization(office: Office) -> None:
    grace = await office.join("grace", "template-admin")
    boss = await office.join("boss", home=("organization-admin",))
    request = people_pb2.SetOrganizationQuotaRequest(workspaces_per_user_max=0)
    assert await code_of(grace.people.SetOrganizationQuota(request)) == "PERMISSION_DENIED"
    await boss.people.SetOrganizationQuota(request)
    answer = await boss.people.SetOrganizationQuota(request)  # that changes nothing
    assert answer.organization.workspaces_per_user_max == 0
    assert answer.organization.HasField("workspaces_per_user_max")
    office.world.clock.advance(2)
    assert await code_of(boss.workspaces.CreateWorkspace(create())) == "RESOURCE_EXHAUSTED"
    await limit(office, None)
    assert await code_of(boss.workspaces.CreateWorkspace(create())) == "OK"
    deeds = await office.audit("organization.set_quota")
    assert [(d["actor"], d["details"]["workspaces_per_user_max"]) for d in deeds] == [
        ("boss", 0),
        ("admin", None),
    ]
    negative = people_pb2.SetOrganizationQuotaRequest(workspaces_per_user_max=-1)
    error = await refused(boss.people.SetOrganizationQuota(negative))
    assert (error.code.name, error.field) == ("INVALID_ARGUMENT", "workspaces_per_user_max")
