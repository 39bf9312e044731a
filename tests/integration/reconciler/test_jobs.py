"""The queue: people first, one live attempt, nothing lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from reconciler.core.builds import BuiltWorkspace, LogLine
from reconciler.core.claims import Verdict
from reconciler.core.identity import DEFAULT_ORGANIZATION_ID
from reconciler.core.jobs import JobStatus, Silence
from reconciler.store.cipher import StateCipher
from reconciler.store.jobs import LOG_BYTES_MAX, TRUNCATED, SilentJob
from reconciler.store.tfstates import Tfstates
from svckit.errors import Aborted, FailedPrecondition, NotFound
from testkit.pool_world import PoolWorld, new_ids, token_hash

pytestmark = pytest.mark.integration


async def test_a_person_never_waits_behind_the_pool(world: PoolWorld) -> None:
    for _ in range(50):
        await world.create_prebuild()
    world.clock.advance(60)
    created = await world.maker.create(world.wanted(), new_ids(), "empty", world.clock.now())
    job = await world.acquire()
    assert job.id == created.job_id


async def test_a_claim_is_a_persons_job(world: PoolWorld) -> None:
    workspace_id = await world.ready_prebuild()
    await world.create_prebuild()
    await world.claim()
    assert (await world.acquire()).workspace_id == workspace_id


async def test_a_person_is_told_how_many_are_before_them_and_how_long_that_may_take(
    world: PoolWorld,
) -> None:
    async def ask() -> tuple[int, int]:
        world.clock.advance(1)
        created = await world.maker.create(world.wanted(), new_ids(), "", world.clock.now())
        view = await world.workspaces.get(created.workspace_id, world.clock.now())
        return view.queue_position, view.expected_wait_seconds

    # GIVEN a job that took 40 s, and another that runs
    await world.create_prebuild()
    took = await world.acquire()
    world.clock.advance(40)
    await world.complete(took)
    await world.create_prebuild()
    assert await ask() == (0, 0)  # nothing is under way: nothing is in its way
    await world.acquire()
    # THEN who comes now waits for it, and the next one for both
    assert [await ask(), await ask()] == [(0, 40), (1, 80)]
    # AND with two workers at it, half as long
    await world.acquire()
    assert await ask() == (1, 40)


@pytest.mark.parametrize("is_other", ["organization", "tags"])
async def test_what_others_wait_for_says_nothing_about_ones_own_wait(
    world: PoolWorld, is_other: str
) -> None:
    other = uuid4()
    await world.execute(
        "INSERT INTO organizations (id, name, created_at) VALUES ($1, 'other', $2)",
        other,
        world.clock.now(),
    )

    async def set_apart(job_id: UUID) -> None:
        if is_other == "organization":
            await world.execute("UPDATE jobs SET organization_id = $2 WHERE id = $1", job_id, other)
        else:
            await world.execute('UPDATE jobs SET tags = \'{"gpu": "yes"}\' WHERE id = $1', job_id)

    async def ask() -> UUID:
        world.clock.advance(1)
        await world.maker.create(world.wanted(), ids := new_ids(), "", world.clock.now())
        return ids.workspace_id

    # GIVEN others whose jobs take an hour, of which one runs and one waits
    for seconds in (40, 3600):
        await world.create_prebuild()
        job = await world.acquire()
        world.clock.advance(seconds)
        await world.complete(job)
    await set_apart(job.id)
    for _ in range(2):
        await world.create_prebuild()
    await set_apart((await world.acquire()).id)
    await world.acquire()
    waiting = await ask()
    (row,) = await world.fetch("SELECT latest_job_id FROM workspaces WHERE id = $1", waiting)
    assert isinstance(row["latest_job_id"], UUID)
    await set_apart(row["latest_job_id"])
    # THEN who waits for workers of their own is told of these
    view = await world.workspaces.get(await ask(), world.clock.now())
    assert view.expected_wait_seconds == 40


async def test_a_worker_gets_only_what_it_can_run(world: PoolWorld) -> None:
    await world.create_prebuild()
    await world.execute("""UPDATE jobs SET tags = '{"gpu": "yes"}' WHERE status = 'pending'""")
    assert await world.queue.acquire(world.worker, world.clock.now()) is None
    await world.execute("UPDATE jobs SET tags = '{}', provisioner_type = 'terraform'")
    assert await world.queue.acquire(world.worker, world.clock.now()) is None


async def test_a_key_of_one_organization_reaches_no_job_of_another(world: PoolWorld) -> None:
    await world.create_prebuild()
    elsewhere = uuid4()
    stranger = replace(world.worker, organization_id=elsewhere)
    now = world.clock.now()
    assert await world.queue.acquire(stranger, now) is None
    # AND a job that somebody else runs is not even there for it
    job = await world.acquire()
    at_home = (job.id, job.attempt, DEFAULT_ORGANIZATION_ID)
    abroad = (job.id, job.attempt, elsewhere)
    for reach in (
        lambda: world.queue.heartbeat(*abroad, (), now),
        lambda: world.queue.read_archive(*abroad),
        lambda: world.tfstates.read(*abroad),
        lambda: world.tfstates.keep(*abroad, b"{}"),
        lambda: world.ends.release(*abroad, now),
        lambda: world.ends.complete_build(*abroad, BuiltWorkspace(), (), now),
        lambda: world.ends.fail(
            *abroad, error="x", reason="INTERNAL", is_retryable=False, lines=(), now=now
        ),
    ):
        with pytest.raises(NotFound):
            await reach()
    assert await world.queue.heartbeat(*at_home, (), now) is None


async def test_a_superseded_attempt_is_refused_whatever_it_says(world: PoolWorld) -> None:
    await world.create_prebuild()
    first = await world.acquire()
    await world.ends.release(first.id, first.attempt, None, world.clock.now())
    second = await world.acquire()
    assert (second.id, second.attempt) == (first.id, first.attempt + 1)
    now = world.clock.now()
    with pytest.raises(Aborted):
        await world.queue.heartbeat(first.id, first.attempt, None, (), now)
    with pytest.raises(Aborted):
        await world.complete(first)
    with pytest.raises(Aborted):
        await world.fail(first)
    with pytest.raises(Aborted):
        await world.tfstates.keep(first.id, first.attempt, None, b"{}")
    with pytest.raises(Aborted):
        await world.ends.release(first.id, first.attempt, None, now)
    assert await world.complete(second) is not None


async def test_saying_the_end_twice_is_harmless(world: PoolWorld) -> None:
    await world.create_prebuild()
    job = await world.acquire()
    assert await world.complete(job) is not None
    assert await world.complete(job) is None
    assert await world.fail(job) is None


async def test_a_job_that_never_arrived_goes_back(world: PoolWorld) -> None:
    await world.create_prebuild()
    job = await world.acquire()
    world.clock.advance(16)
    (silent,) = await _silent(world)
    assert silent.silence is Silence.UNCONFIRMED
    aftermath = await world.ends.settle_silent(silent, world.clock.now())
    assert aftermath is not None
    assert (aftermath.status, aftermath.requeued) == (JobStatus.PENDING, "process")
    assert (await world.acquire()).attempt == job.attempt + 1


async def test_a_hung_prebuild_job_fails_and_a_hung_claim_is_tried_again(world: PoolWorld) -> None:
    await world.ready_prebuild()
    await world.claim()
    for attempt in (1, 2, 3):
        job = await world.acquire()
        assert job.attempt == attempt
        await world.queue.heartbeat(job.id, job.attempt, None, (), world.clock.now())
        world.clock.advance(301)
        (silent,) = await _silent(world)
        aftermath = await world.ends.settle_silent(silent, world.clock.now())
        assert aftermath is not None
        expected = JobStatus.PENDING if attempt < 3 else JobStatus.FAILED
        assert aftermath.status is expected
    await world.create_prebuild()
    job = await world.acquire()
    await world.queue.heartbeat(job.id, job.attempt, None, (), world.clock.now())
    world.clock.advance(301)
    (silent,) = await _silent(world)
    aftermath = await world.ends.settle_silent(silent, world.clock.now())
    assert aftermath is not None
    assert (aftermath.status, aftermath.error) == (
        JobStatus.FAILED,
        "the provisioner fell silent",
    )


async def test_a_job_nobody_takes_fails(world: PoolWorld) -> None:
    await world.create_prebuild()
    world.clock.advance(1801)
    (silent,) = await _silent(world)
    aftermath = await world.ends.settle_silent(silent, world.clock.now())
    assert aftermath is not None
    assert aftermath.status is JobStatus.FAILED


async def test_a_claim_nobody_takes_waits_on(world: PoolWorld) -> None:
    await world.ready_prebuild()
    await world.claim()
    for _ in range(2):
        world.clock.advance(1801)
        (silent,) = await _silent(world)
        aftermath = await world.ends.settle_silent(silent, world.clock.now())
        assert aftermath is not None
        assert (aftermath.status, aftermath.requeued) == (JobStatus.PENDING, "process")
        assert await _silent(world) == ()
    await world.complete(await world.acquire())


async def test_a_job_that_spoke_meanwhile_is_left_alone(world: PoolWorld) -> None:
    await world.create_prebuild()
    job = await world.acquire()
    world.clock.advance(16)
    (silent,) = await _silent(world)
    await world.complete(job)
    assert await world.ends.settle_silent(silent, world.clock.now()) is None


async def test_cancelling_ends_a_waiting_job_and_asks_a_running_one(world: PoolWorld) -> None:
    created = await world.maker.create(world.wanted(), new_ids(), "empty", world.clock.now())
    aftermath = await world.ends.cancel(created.job_id, world.clock.now())
    assert aftermath.status is JobStatus.CANCELED
    with pytest.raises(FailedPrecondition, match="has ended already: canceled"):
        await world.ends.cancel(created.job_id, world.clock.now())
    running = await world.maker.create(world.wanted(), new_ids(), "empty", world.clock.now())
    job = await world.acquire()
    assert (await world.ends.cancel(running.job_id, world.clock.now())).status is (
        JobStatus.CANCELING
    )
    asked_at = await world.queue.heartbeat(job.id, job.attempt, None, (), world.clock.now())
    assert asked_at == world.clock.now()
    # The work was done before the word came: success wins.
    aftermath = await world.complete(job)
    assert aftermath is not None
    assert aftermath.status is JobStatus.SUCCEEDED


async def test_a_log_line_sent_twice_is_stored_once_and_a_full_log_says_so(
    world: PoolWorld,
) -> None:
    await world.create_prebuild()
    job = await world.acquire()
    line = _line(world, 1, "hello")
    for _ in range(2):
        await world.queue.heartbeat(job.id, job.attempt, None, (line,), world.clock.now())
    lines = await world.queue.list_lines(job.id, 0, 10)
    assert [(each.text, each.level) for each in lines] == [("hello", "info")]
    long = [_line(world, n + 2, "x" * 8000) for n in range(LOG_BYTES_MAX // 8000 + 2)]
    await world.queue.heartbeat(job.id, job.attempt, None, long, world.clock.now())
    await world.queue.heartbeat(
        job.id, job.attempt, None, (_line(world, 9999, "more"),), world.clock.now()
    )
    stored = await world.queue.list_lines(job.id, 0, 10_000)
    assert stored[-1].text == TRUNCATED
    assert sum(each.text == TRUNCATED for each in stored) == 1


async def test_partial_state_is_what_the_next_build_starts_from(world: PoolWorld) -> None:
    workspace_id = await world.create_prebuild()
    job = await world.acquire()
    await world.tfstates.keep(job.id, job.attempt, None, b"half")
    await world.fail(job)
    await world.pools.delete_prebuild(workspace_id, "failed", new_ids(), world.clock.now())
    again = await world.acquire()
    assert await world.tfstates.read(again.id, again.attempt, None) == b"half"


async def test_tfstate_is_not_in_clear_in_the_database(world: PoolWorld) -> None:
    await world.create_prebuild()
    job = await world.acquire()
    await world.tfstates.keep(job.id, job.attempt, None, b'{"password": "hunter2"}')
    (row,) = await world.fetch("SELECT tfstate FROM workspace_builds")
    stored = row["tfstate"]
    assert isinstance(stored, bytes)
    assert b"password" not in stored
    # GIVEN a reconciler that lost the key, it says so and gives nothing
    lost = Tfstates(world.database, StateCipher([b"x" * 32]))
    assert (await world.tfstates.count_unreadable(), await lost.count_unreadable()) == (0, 1)
    with pytest.raises(FailedPrecondition, match="state_key_file does not hold"):
        await lost.read(job.id, job.attempt, None)
    # AND a row from before there was a key is read as it is
    await world.execute("UPDATE workspace_builds SET tfstate = '{}'")
    assert await world.tfstates.read(job.id, job.attempt, None) == b"{}"


async def test_a_job_without_a_workspace_has_no_tfstate(world: PoolWorld) -> None:
    await world.execute(
        "UPDATE jobs SET status = 'pending', finished_at = NULL"
        " WHERE kind = 'template_version_import'"
    )
    job = await world.acquire()
    assert await world.tfstates.read(job.id, job.attempt, None) is None
    with pytest.raises(NotFound, match="has no build"):
        await world.tfstates.keep(job.id, job.attempt, None, b"{}")


async def test_the_token_stays_valid_during_the_claim_build(world: PoolWorld) -> None:
    workspace_id = await world.ready_prebuild()
    await world.claim()
    await world.acquire()
    (check,) = await world.agents.check([token_hash(workspace_id)])
    assert check.verdict is Verdict.CLAIM_PENDING
    manifest = await world.agents.get_manifest(token_hash(workspace_id))
    assert (manifest.owner_name, manifest.claim_id) == ("ada", None)


async def _silent(world: PoolWorld) -> tuple[SilentJob, ...]:
    return await world.queue.list_silent(
        world.clock.now(),
        unconfirmed=timedelta(seconds=15),
        hung=timedelta(seconds=300),
        stale=timedelta(seconds=1800),
        limit=10,
    )


def _line(world: PoolWorld, sequence: int, text: str) -> LogLine:
    return LogLine(
        sequence=sequence, written_at=world.clock.now(), level="info", stage="apply", text=text
    )
