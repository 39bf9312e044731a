"""Workers that wait for jobs: as few looks at the queue as there are signs, and no sign lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

import pytest

from bus.memory import MemoryBus
from reconciler.loops.hints import BusHints
from reconciler.rpc.desks import Desks
from reconciler.store.jobs import Acquired, JobQueue, Worker
from testkit.pool_world import PoolWorld, new_ids

pytestmark = pytest.mark.integration

POLL_SECONDS = 5.0


class CountedQueue(JobQueue):
    """Counts looks; `meanwhile` happens after what a look saw, and before its answer is there."""

    looks = 0
    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    async def acquire_many(self, worker: Worker, count: int, now: datetime) -> Acquired:
        self.looks += 1
        acquired = await super().acquire_many(worker, count, now)
        self.meanwhile()
        return acquired


class Hall:
    """A replica's desks."""

    def __init__(self, world: PoolWorld) -> None:
        self.queue = CountedQueue(world.database)
        self.hints = BusHints(MemoryBus())
        self.desks = Desks(self.queue, self.hints, world.clock, POLL_SECONDS)

    async def take(self, worker: Worker) -> bool:
        return bool(await self.desks.of(worker).take(worker, 1))


@pytest.fixture
def hall(world: PoolWorld) -> Hall:
    return Hall(world)


async def test_nobody_looks_again_at_a_queue_that_is_known_to_be_empty(
    world: PoolWorld, hall: Hall
) -> None:
    desk = hall.desks.of(world.worker)
    assert [await hall.take(world.worker) for _ in range(3)] == [False] * 3
    assert hall.queue.looks == 1
    # a job takes one look, and it says that there is no other
    await world.create_prebuild()
    hall.hints.wake_workers()
    assert [await hall.take(world.worker) for _ in range(3)] == [True, False, False]
    assert hall.queue.looks == 2
    # two jobs take two, though they were said once
    for _ in range(2):
        await world.create_prebuild()
    hall.hints.wake_workers()
    assert [await hall.take(world.worker) for _ in range(3)] == [True, True, False]
    assert (hall.queue.looks, desk.seconds_to_poll) == (4, POLL_SECONDS)


async def test_a_job_nobody_heard_of_is_found_by_the_slow_poll(
    world: PoolWorld, hall: Hall
) -> None:
    desk = hall.desks.of(world.worker)
    assert not await hall.take(world.worker)
    await world.create_prebuild()
    world.clock.advance(POLL_SECONDS / 2)
    assert not await hall.take(world.worker)
    assert desk.seconds_to_poll == POLL_SECONDS / 2
    world.clock.advance(POLL_SECONDS / 2)
    assert await hall.take(world.worker)
    assert hall.queue.looks == 2


async def test_a_worker_that_comes_looks_whatever_was_known_before(
    world: PoolWorld, hall: Hall
) -> None:
    desk = hall.desks.of(world.worker)
    assert await desk.take(world.worker, 1) == ()
    await world.create_prebuild()  # nobody hears of it
    with desk.occupied():
        assert len(await desk.take(world.worker, 1)) == 1


async def test_a_sign_that_comes_during_a_look_leads_to_another(
    world: PoolWorld, hall: Hall
) -> None:
    desk = hall.desks.of(world.worker)
    hall.queue.meanwhile = hall.hints.wake_workers
    assert await desk.take(world.worker, 1) == ()
    await world.create_prebuild()
    hall.queue.meanwhile = lambda: None
    assert len(await desk.take(world.worker, 1)) == 1
    assert hall.queue.looks == 2


async def test_workers_of_a_kind_share_what_one_of_them_has_found(
    world: PoolWorld, hall: Hall
) -> None:
    await world.create_prebuild()
    got: list[bool] = []

    async def take(worker: Worker) -> None:
        got.append(await hall.take(worker))

    workers = [replace(world.worker, id=uuid4()) for _ in range(5)]
    desk = hall.desks.of(world.worker)
    assert [hall.desks.of(worker) for worker in workers] == [desk] * 5
    async with asyncio.TaskGroup() as tasks:
        for worker in workers:
            tasks.create_task(take(worker))
    assert (sorted(got), hall.queue.looks) == ([False] * 4 + [True], 1)


@pytest.mark.parametrize(
    "difference",
    [
        {"tags": {"gpu": "yes"}},
        {"provisioner_types": ("process", "terraform")},
        {"organization_id": uuid4()},
        {"key_id": uuid4()},
    ],
)
async def test_what_one_kind_of_worker_does_not_find_another_may(
    world: PoolWorld, hall: Hall, difference: dict[str, object]
) -> None:
    stranger = replace(world.worker, **difference)  # pyright: ignore[reportArgumentType]  one field of any type
    kept = hall.desks.of(stranger), hall.desks.of(world.worker)
    assert kept[0] is not kept[1]
    await world.execute("UPDATE service_keys SET revoked_at = created_at")
    assert not await hall.take(stranger)
    await world.execute("UPDATE service_keys SET revoked_at = NULL")
    await world.create_prebuild()
    assert await hall.take(world.worker)


async def test_of_many_jobs_each_worker_gets_its_share_at_once(
    world: PoolWorld, hall: Hall
) -> None:
    for _ in range(12):
        await world.create_prebuild()
    world.clock.advance(1)
    mine = (await world.maker.create(world.wanted(), new_ids(), "", world.clock.now())).job_id
    desk = hall.desks.of(world.worker)
    with desk.occupied():
        # nobody knows yet how many wait; a person's comes first
        (first,) = await desk.take(world.worker, 16)
        assert first.id == mine
        with desk.occupied(), desk.occupied():
            assert len(await desk.take(world.worker, 16)) == 12 // 3
            assert len(await desk.take(world.worker, 2)) == 2
        left = await desk.take(world.worker, 16)
        assert len(left) == 6
        assert [job.id for job in left] == sorted(job.id for job in left)  # all of one moment
        assert await desk.take(world.worker, 16) == ()
    assert (hall.queue.looks, await desk.take(world.worker, 0)) == (4, ())
