"""How many workspaces each person may have in an organization, however they ask."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from reconciler.core.identity import DEFAULT_ORGANIZATION_ID, SYSTEM_USER_ID
from reconciler.loops.claims import ClaimBatches
from reconciler.rpc.creation import Creation, Request
from reconciler.store.db import open_database
from reconciler.store.offers import Offer, Offers
from reconciler.store.quotas import Quotas
from svckit.errors import ResourceExhausted
from svckit.system import SystemClock
from testkit.eventually import eventually
from testkit.office import Office, code_of, refused
from testkit.pool_world import PoolWorld, RecordedHints
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


async def test_who_goes_away_is_counted_once_their_claim_is_made(
    world: PoolWorld, migrated_url: str
) -> None:
    await world.execute("UPDATE organizations SET workspaces_per_user_max = 1")
    for _ in range(2):
        await world.ready_prebuild()
    offers = Offers(world.workspaces, world.clock)
    offer = await offers.read("default", "dev", "")
    assert offer is not None
    claims, hints = ClaimBatches(world.maker, SystemClock()), RecordedHints()
    request = Request(
        organization="default",
        template="dev",
        version="",
        preset="standard",
        parameters={},
        name="",
        request_id="",
        owner_id=world.ada,
        initiator_id=world.ada,
        requested_at=world.clock.now(),
        traceparent="",
    )

    def creation(quotas: Quotas) -> Creation:
        return Creation(
            world.maker,
            claims,
            world.workspaces,
            offers,
            world.pools,
            quotas,
            hints,
            world.clock,
            uuid4,
        )

    async def await_locks(kind: str) -> None:
        assert await world.fetch(
            "SELECT pid FROM pg_locks WHERE locktype = $1 AND NOT granted AND database"
            " = (SELECT oid FROM pg_database WHERE datname = current_database())",
            kind,
        )

    rival = await asyncpg.connect(migrated_url)
    try:
        async with (
            open_database(migrated_url, pool_max=4) as database,
            asyncio.TaskGroup() as tasks,
        ):
            running = tasks.create_task(claims.run())
            async with rival.transaction():
                await rival.execute("LOCK TABLE claims IN ACCESS EXCLUSIVE MODE")
                gone = tasks.create_task(creation(Quotas(world.database)).create(request, offer))
                await eventually(lambda: await_locks("relation"))
                # GIVEN a claim that is under way, WHEN who asked for it goes away
                gone.cancel()
                again = tasks.create_task(refused_by(creation(Quotas(database)), request, offer))
                # THEN their next request waits until it is known what came of the claim
                await eventually(lambda: await_locks("advisory"), seconds=5)
            assert (await again).metadata["count"] == "1"
            running.cancel()
    finally:
        await rival.close()
    assert gone.cancelled()


async def refused_by(creation: Creation, request: Request, offer: Offer) -> ResourceExhausted:
    with pytest.raises(ResourceExhausted) as caught:
        await creation.create(request, offer)
    return caught.value


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
