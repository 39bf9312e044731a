"""Claims made together: each request has its own answer, whatever the others asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID, uuid4

import asyncpg
import pytest

from reconciler.loops.claims import ClaimBatches
from reconciler.store.claims import Claimed, NewIds, Wanted
from reconciler.store.db import Connection
from svckit.errors import AlreadyExists, Unavailable
from svckit.system import SystemClock
from testkit.eventually import eventually
from testkit.pool_world import PoolWorld, new_ids

pytestmark = pytest.mark.integration

Answer = Claimed | Exception | None


def show(answer: Answer) -> UUID | str | None:
    """What a test compares: the workspace, the reason of the refusal, or None."""
    match answer:
        case Claimed(view=view):
            return view.id
        case AlreadyExists() as error:
            return error.reason
        case Exception() as error:
            return type(error).__name__
        case None:
            return None


async def claim_many(world: PoolWorld, *wanted: Wanted) -> list[UUID | str | None]:
    asked = [(each, new_ids()) for each in wanted]
    return [show(a) for a in await world.maker.claim_many(asked, world.clock.now())]


async def ready_prebuilds(world: PoolWorld, count: int) -> list[UUID]:
    """Oldest first."""
    members: list[UUID] = []
    for _ in range(count):
        members.append(await world.ready_prebuild())
        world.clock.advance(1)
    return members


async def test_a_claim_tells_its_place_in_the_queue_as_it_was_a_moment_ago(
    world: PoolWorld,
) -> None:
    async def claim() -> tuple[tuple[int, int], tuple[int, int]]:
        """What the claim says of its job's place and wait, and what is counted then."""
        claimed = await world.maker.claim(world.wanted(), new_ids(), world.clock.now())
        assert claimed is not None
        views = claimed.view, await world.workspaces.get(claimed.view.id, world.clock.now())
        first, counted = ((view.queue_position, view.expected_wait_seconds) for view in views)
        return first, counted

    # GIVEN a pool, whose builds took 40 s, a worker that builds, and a person who waits
    members: list[UUID] = []
    for _ in range(4):
        members.append(await world.create_prebuild())
        job = await world.acquire()
        world.clock.advance(40)
        await world.complete(job)
    await world.create_prebuild()
    await world.acquire()
    await world.maker.create(world.wanted(), new_ids(), "", world.clock.now())
    for member in members:
        await world.make_ready(member)
    world.clock.advance(1)
    # THEN claims stand behind that person, and behind each other
    assert await claim() == ((1, 80), (1, 80))
    world.clock.advance(0.1)
    assert await claim() == ((2, 120), (2, 120))
    # AND what others do meanwhile is known a second later
    await world.acquire()
    world.clock.advance(0.1)
    assert await claim() == ((3, 160), (2, 60))
    world.clock.advance(2)
    assert await claim() == ((3, 80), (3, 80))


@asynccontextmanager
async def batches(world: PoolWorld) -> AsyncGenerator[ClaimBatches]:
    claims = ClaimBatches(world.maker, SystemClock())
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(claims.run())
        yield claims
        running.cancel()


async def test_good_and_bad_requests_of_a_batch_each_get_their_own_answer(
    world: PoolWorld,
) -> None:
    members = await ready_prebuilds(world, 4)
    first = await claim_many(world, world.wanted(name="mine", request_id="r-1"))
    answers = await claim_many(
        world,
        world.wanted(name="one"),
        world.wanted(name="mine"),
        replace(world.wanted(name="two"), preset_id=uuid4()),
        world.wanted(name="three", request_id="r-1"),
        world.wanted(name="four", request_id="r-2"),
    )
    assert first + answers == [
        members[0],
        members[1],
        "NAME_TAKEN",
        None,
        "REQUEST_SERVED",
        members[2],
    ]
    assert await world.is_in_pool(members[3])


async def test_a_batch_does_what_single_claims_do(world: PoolWorld) -> None:
    await ready_prebuilds(world, 3)
    alone = await world.maker.claim(world.wanted(name="a"), new_ids(), world.clock.now())
    ids = [new_ids(), new_ids()]
    together = await world.maker.claim_many(
        [(world.wanted(name=name), each) for name, each in zip("bc", ids, strict=True)],
        world.clock.now(),
    )
    assert alone is not None
    for place, (answer, made) in enumerate(zip(together, ids, strict=True), 1):
        assert isinstance(answer, Claimed)
        view = await world.workspaces.get(answer.view.id, world.clock.now())
        # in the queue the two came at the same moment, so either may be told to be the first
        here = replace(view, queue_position=place)
        assert answer == Claimed(view=here, provisioner_type="process")
        assert view.claim is not None
        assert (view.build_id, view.job_id, view.claim.id) == (
            made.build_id,
            made.job_id,
            made.claim_id,
        )
    rows = await world.fetch(
        "SELECT w.owner_id, w.latest_build_number, w.latest_job_status, w.last_used_at,"
        " b.stage, b.reason, b.parameters, b.initiator_id, j.is_system, j.status, j.kind,"
        " c.claimant_id, c.preset_id, c.claimed_at FROM workspaces w"
        " JOIN workspace_builds b ON b.id = w.latest_build_id JOIN jobs j ON j.id = b.job_id"
        " JOIN claims c ON c.build_id = b.id"
    )
    assert rows[1:] == rows[:1] * 2


async def test_who_loses_a_race_for_a_name_costs_the_others_nothing(
    world: PoolWorld, migrated_url: str
) -> None:
    members = await ready_prebuilds(world, 3)
    rival = await asyncpg.connect(migrated_url)
    try:
        async with asyncio.TaskGroup() as tasks, rival.transaction():
            await rival.execute(
                "UPDATE workspaces SET owner_id = $2, name = 'raced' WHERE id = $1",
                members[2],
                world.ada,
            )
            racing = tasks.create_task(
                claim_many(world, world.wanted(name="raced"), world.wanted(name="free"))
            )
            await eventually(lambda: _is_blocked(rival))
        answers = racing.result()
    finally:
        await rival.close()
    assert answers == ["NAME_TAKEN", members[0]]
    assert await world.is_in_pool(members[1])


async def _is_blocked(connection: Connection) -> None:
    assert await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted")


async def test_what_no_database_takes_is_its_senders_problem(world: PoolWorld) -> None:
    (member, _) = await ready_prebuilds(world, 2)
    bad = replace(world.wanted(), parameters={"region": "\0"})
    answers = await claim_many(world, bad, world.wanted())
    assert answers == ["InvalidArgument", member]


async def test_claims_at_once_share_nothing_and_run_out_in_order(world: PoolWorld) -> None:
    members = await ready_prebuilds(world, 5)
    async with batches(world) as claims, asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(_claim(claims, world, world.wanted())) for _ in range(40)]
    won = [task.result() for task in asked]
    assert won == [*members, *[None] * 35]


async def test_one_request_sent_twice_at_once_is_served_once(world: PoolWorld) -> None:
    members = await ready_prebuilds(world, 2)
    async with batches(world) as claims, asyncio.TaskGroup() as tasks:
        asked = [
            tasks.create_task(_claim(claims, world, world.wanted(request_id="r-1")))
            for _ in range(2)
        ]
    assert [task.result() for task in asked] == [members[0], "REQUEST_SERVED"]
    assert await world.is_in_pool(members[1])


async def test_one_name_asked_for_twice_at_once_is_given_once(world: PoolWorld) -> None:
    members = await ready_prebuilds(world, 3)
    async with batches(world) as claims, asyncio.TaskGroup() as tasks:
        asked = [
            tasks.create_task(_claim(claims, world, world.wanted(name=name)))
            for name in ("same", "same", "other")
        ]
    assert [task.result() for task in asked] == [members[0], "NAME_TAKEN", members[1]]
    assert await world.is_in_pool(members[2])


async def test_a_caller_that_leaves_takes_nobody_along(world: PoolWorld) -> None:
    members = await ready_prebuilds(world, 2)
    claims = ClaimBatches(world.maker, SystemClock())
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(_claim(claims, world, world.wanted())) for _ in range(3)]
        await asyncio.sleep(0)  # all of them wait
        asked[0].cancel()
        running = tasks.create_task(claims.run())
        done, _ = await asyncio.wait(asked[1:])
        running.cancel()
    assert {task.result() for task in done} == set(members)


async def test_who_waits_when_it_ends_is_told_to_repeat(world: PoolWorld) -> None:
    await ready_prebuilds(world, 1)
    claims = ClaimBatches(world.maker, SystemClock())
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(claims.run())
        await asyncio.sleep(0)  # it waits for claims
        asked = tasks.create_task(_raise_claim(claims, world))
        await asyncio.sleep(0)
        running.cancel()
    with pytest.raises(Unavailable, match="repeat it with the same request id"):
        raise asked.result()


async def _claim(claims: ClaimBatches, world: PoolWorld, wanted: Wanted) -> UUID | str | None:
    try:
        return show(await claims.claim(wanted, new_ids()))
    except AlreadyExists as error:
        return error.reason


async def _raise_claim(claims: ClaimBatches, world: PoolWorld) -> Exception:
    ids: NewIds = new_ids()
    try:
        await claims.claim(world.wanted(), ids)
    except Unavailable as error:
        return error
    raise AssertionError("it was served")
