"""The claim: one prebuild, one person, once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from bus.errors import BusUnavailable
from bus.events import decode_claim
from bus.memory import MemoryBus
from bus.nats import connect_nats
from bus.subjects import claims_subject
from reconciler.core.claims import Verdict
from reconciler.core.hints import Promise
from reconciler.loops.outbox import OutboxLoop, Promises
from reconciler.rpc.gateway import GatewayServicer
from reconciler.store.gateway import ReinitStep
from reconciler.store.outbox import Outbox
from svckit.errors import AlreadyExists
from svckit.system import SystemClock, SystemEntropy
from testkit.clock import LoopClock
from testkit.eventually import eventually
from testkit.nats import OwnNats
from testkit.pool_world import AGENT_TIMEOUT, PoolWorld, RecordedHints, new_ids, token_hash
from warmpool.common.v1 import types_pb2
from warmpool.gateway.v1 import gateway_pb2

pytestmark = pytest.mark.integration

SAID = (
    types_pb2.AGENT_LIFECYCLE_STARTING,
    types_pb2.AGENT_LIFECYCLE_READY,
    types_pb2.AGENT_LIFECYCLE_START_ERROR,
    types_pb2.AGENT_LIFECYCLE_START_TIMEOUT,
    types_pb2.AGENT_LIFECYCLE_SHUTTING_DOWN,
    types_pb2.AGENT_LIFECYCLE_OFF,
)


async def test_a_claim_moves_the_oldest_ready_prebuild(world: PoolWorld) -> None:
    oldest = await world.ready_prebuild()
    world.clock.advance(1)
    await world.ready_prebuild()
    claimed = await world.claim()
    assert claimed == oldest
    view = await world.workspaces.get(oldest, world.clock.now())
    assert (view.owner_id, view.reason, view.build_number, view.job_status, view.is_prebuild) == (
        world.ada,
        "claim",
        2,
        "pending",
        False,
    )
    assert view.claim is not None
    assert view.claim.built_at is None


async def test_many_claims_at_once_never_share_a_prebuild(world: PoolWorld) -> None:
    members = {await world.ready_prebuild() for _ in range(3)}
    async with asyncio.TaskGroup() as tasks:
        claims = [tasks.create_task(world.claim()) for _ in range(12)]
    won = [claim.result() for claim in claims if claim.result() is not None]
    assert sorted(map(str, won)) == sorted(map(str, members))


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE agents SET lifecycle = 'starting'",
        "UPDATE agents SET last_seen_at = NULL",
        "UPDATE agents SET disconnected_at = last_seen_at",
        "UPDATE agents SET deleted_at = last_seen_at",
        "UPDATE workspaces SET invalidated_at = created_at",
        "UPDATE workspaces SET latest_transition = 'stop'",
        "UPDATE workspaces SET latest_job_status = 'running'",
        "UPDATE workspaces SET deleted_at = created_at",
        "UPDATE templates SET deleted_at = created_at",
        "UPDATE templates SET active_version_id = NULL",
    ],
)
async def test_what_is_not_eligible_is_not_claimed(world: PoolWorld, spoil: str) -> None:
    await world.ready_prebuild()
    await world.execute(spoil)
    assert await world.claim() is None


async def test_an_agent_not_heard_of_is_not_claimed(world: PoolWorld) -> None:
    workspace_id = await world.ready_prebuild()
    world.clock.advance(AGENT_TIMEOUT.total_seconds() + 1)
    assert await world.claim() is None
    await world.make_ready(workspace_id)
    assert await world.claim() == workspace_id


async def test_an_expired_member_is_not_claimed(world: PoolWorld) -> None:
    workspace_id = await world.ready_prebuild()
    await world.execute("UPDATE presets SET ttl_seconds = 3600")
    world.clock.advance(timedelta(hours=1).total_seconds())
    await world.make_ready(workspace_id)
    assert await world.claim() is None


async def test_a_taken_name_leaves_the_prebuild_in_the_pool(world: PoolWorld) -> None:
    first, second = await world.ready_prebuild(), await world.ready_prebuild()
    now = world.clock.now()
    await world.maker.claim(world.wanted(name="mine"), new_ids(), now)
    with pytest.raises(AlreadyExists, match='you already have a workspace called "mine"'):
        await world.maker.claim(world.wanted(name="mine"), new_ids(), now)
    assert {await world.is_in_pool(first), await world.is_in_pool(second)} == {False, True}


async def test_a_request_id_is_served_once(world: PoolWorld) -> None:
    await world.ready_prebuild()
    await world.ready_prebuild()
    now = world.clock.now()
    first = await world.maker.claim(world.wanted(request_id="r-1"), new_ids(), now)
    with pytest.raises(AlreadyExists) as raised:
        await world.maker.claim(world.wanted(request_id="r-1"), new_ids(), now)
    assert raised.value.reason == "REQUEST_SERVED"
    past = await world.maker.find_request(world.ada, "r-1")
    assert first is not None
    assert past is not None
    assert (past.workspace_id, past.warm) == (first.view.id, True)


async def test_the_end_of_the_claim_build_makes_it_deliverable_and_says_so(
    world: PoolWorld,
) -> None:
    workspace_id = await world.ready_prebuild()
    token = token_hash(workspace_id)
    assert await _verdict(world, token) is Verdict.UNCLAIMED
    await world.claim()
    assert await _verdict(world, token) is Verdict.CLAIM_PENDING
    aftermath = await world.complete(await world.acquire())
    assert aftermath is not None
    (row,) = await world.fetch("SELECT id, subject, payload FROM outbox")
    # a row of the outbox is a promise, field by field
    assert aftermath.promise == Promise(**row)  # pyright: ignore[reportArgumentType]
    assert await _verdict(world, token) is Verdict.DELIVERABLE
    said: list[tuple[str, bytes]] = []

    async def say(events: Sequence[tuple[str, bytes]]) -> None:
        said.extend(events)

    outbox = Outbox(world.database)
    assert [await outbox.drain(say), await outbox.drain(say)] == [1, 0]
    event = decode_claim(*said[0])
    assert (event.workspace_id, event.owner_id) == (str(workspace_id), str(world.ada))


async def test_what_the_bus_has_not_got_for_certain_is_said_later(
    world: PoolWorld, own_nats: OwnNats
) -> None:
    """A server that is frozen takes what is written to it, and may never read it."""
    promises = Promises()
    await world.ready_prebuild()
    await world.claim()
    aftermath = await world.complete(await world.acquire())
    assert aftermath is not None
    assert aftermath.promise is not None
    promises.add(aftermath.promise)
    async with AsyncExitStack() as stack:
        bus = await connect_nats(own_nats.url, name="test")
        stack.push_async_callback(bus.close)
        clock, entropy = SystemClock(), SystemEntropy()
        loop = OutboxLoop(Outbox(world.database), bus, promises, clock, entropy)
        heard = await stack.enter_async_context(bus.subscribe("warmpool.>"))
        await bus.flush()

        own_nats.freeze()
        assert await loop.say_fresh() == 1
        with pytest.raises(BusUnavailable):
            await loop.settle()
        assert len(await world.fetch("SELECT id FROM outbox")) == 1

        own_nats.thaw()
        assert await loop.say_fresh() == 0
        async with asyncio.timeout(60):
            while not await _look(loop):  # the client may stumble over an answer that comes so late
                pass
        assert await loop.run_once() == 0
        async with asyncio.timeout(10):
            message = await anext(heard)
    assert decode_claim(message.subject, message.payload).owner_id == str(world.ada)


async def test_what_was_just_committed_is_said_from_memory_and_the_rest_by_looking(
    world: PoolWorld,
) -> None:
    bus, clock, promises = MemoryBus(), LoopClock(), Promises()
    loop = OutboxLoop(Outbox(world.database), bus, promises, clock, SystemEntropy())
    left = await world.own_workspace()  # a replica that died has left this
    async with (
        asyncio.timeout(30),
        asyncio.TaskGroup() as tasks,
        bus.subscribe("warmpool.>") as ear,
    ):
        running = tasks.create_task(loop.run())
        assert (await anext(ear)).subject == claims_subject(str(left))
        await eventually(lambda: _assert_said(world))
        # what is promised from now on is said without a look
        await world.ready_prebuild()
        fresh = await world.claim()
        aftermath = await world.complete(await world.acquire())
        assert aftermath is not None
        assert aftermath.promise is not None
        promises.add(aftermath.promise)
        assert (await anext(ear)).subject == claims_subject(str(fresh))
        await eventually(lambda: _assert_said(world))
        running.cancel()


async def _look(loop: OutboxLoop) -> int:
    try:
        return await loop.run_once()
    except BusUnavailable:
        return 0


async def _assert_said(world: PoolWorld) -> None:
    assert await world.fetch("SELECT id FROM outbox") == []


async def test_an_acknowledged_claim_is_never_deliverable_again(world: PoolWorld) -> None:
    workspace_id = await world.ready_prebuild()
    token = token_hash(workspace_id)
    await world.claim()
    await world.complete(await world.acquire())
    claim_id = (await world.agents.check([token]))[0].claim_id
    assert claim_id is not None
    steps: list[Verdict] = []
    for step in ("delivered", "applying", "applied"):
        await world.record(token, claim_id, step)
        steps.append(await _verdict(world, token))
    assert steps == [Verdict.DELIVERABLE, Verdict.DELIVERABLE, Verdict.ALREADY_APPLIED]
    view = await world.workspaces.get(workspace_id, world.clock.now())
    assert view.claim is not None
    assert view.claim.applied_at is not None


async def test_steps_of_many_agents_are_recorded_by_one_statement(world: PoolWorld) -> None:
    """Several steps of one agent among them, one twice, one of somebody else's claim, one that was
    not told of at once, and one that seems to be from before the build.
    """
    tokens: list[bytes] = []
    claims: list[UUID] = []
    for _ in range(2):
        tokens.append(token_hash(await world.ready_prebuild()))
        await world.claim()
        await world.complete(await world.acquire())
        claim_id = (await world.agents.check(tokens[-1:]))[0].claim_id
        assert claim_id is not None
        claims.append(claim_id)

    def step(
        agent: int, claim: UUID, step: str, error: str = "", *, seconds_ago: float = 0
    ) -> ReinitStep:
        return ReinitStep(
            token_hash=tokens[agent],
            claim_id=claim,
            step=step,
            at=world.clock.now() - timedelta(seconds=seconds_ago),
            error=error,
        )

    first = world.clock.now()
    world.clock.advance(3)
    accepted, moved = await world.agents.record_reinits(
        [
            step(0, claims[0], "delivered", seconds_ago=60),
            step(1, claims[1], "delivered"),
            step(0, claims[0], "applying", seconds_ago=1),
            step(0, claims[1], "applied"),  # not its claim
            step(1, claims[1], "failed", "no disk"),
            step(1, claims[1], "failed", "no disk at all"),
            replace(step(0, claims[0], "applied"), token_hash=b"x" * 32),
        ]
    )
    assert accepted == [True, True, True, False, True, True, False]
    assert {claim.workspace_id for claim in moved} == {
        row["workspace_id"] for row in await world.fetch("SELECT workspace_id FROM claims")
    }
    world.clock.advance(5)
    accepted, _ = await world.agents.record_reinits(
        [step(0, claims[0], "delivered"), step(0, claims[0], "applied")]
    )
    assert accepted == [True, True]
    rows = {
        row["claim_id"]: row
        for row in await world.fetch(
            "SELECT claim_id, delivered_at, applying_at, applied_at, failed_at, error"
            " FROM claim_deliveries"
        )
    }
    assert rows == {
        claims[0]: {
            "claim_id": claims[0],
            "delivered_at": first,
            "applying_at": first + timedelta(seconds=2),
            "applied_at": world.clock.now(),
            "failed_at": None,
            "error": "",
        },
        claims[1]: {
            "claim_id": claims[1],
            "delivered_at": first + timedelta(seconds=3),
            "applying_at": None,
            "applied_at": None,
            "failed_at": first + timedelta(seconds=3),
            "error": "no disk",
        },
    }


async def test_a_step_is_noted_when_it_was_whenever_it_is_told_of(world: PoolWorld) -> None:
    """An age is never negative, nor before the build; who was there first is noted though told of
    last.
    """
    token = token_hash(await world.ready_prebuild())
    await world.claim()
    await world.complete(await world.acquire())
    (check,) = await world.agents.check([token])
    built_at = world.clock.now()
    gateway = GatewayServicer(world.agents, RecordedHints(), world.clock)

    async def tell(age_ms: int, phase: types_pb2.ReinitPhase.ValueType | None = None) -> None:
        record = gateway_pb2.ReinitRecord(
            token_hash=token,
            claim_id=str(check.claim_id),
            delivered=phase is None,
            phase=phase or types_pb2.REINIT_PHASE_UNSPECIFIED,
            age_ms=age_ms,
        )
        request = gateway_pb2.RecordReinitsRequest(records=[record])
        assert list((await gateway.RecordReinits(request, None)).accepted) == [True]

    async def times() -> tuple[object, ...]:
        (row,) = await world.fetch(
            "SELECT d.delivered_at, d.applying_at, d.applied_at, c.delivered_at AS all_delivered,"
            " c.applied_at AS all_applied FROM claim_deliveries d JOIN claims c ON c.id = claim_id"
        )
        return tuple(row.values())

    world.clock.advance(10)
    await tell(-5, types_pb2.REINIT_PHASE_APPLIED)
    end = built_at + timedelta(seconds=10)
    assert await times() == (end, None, end, end, end)
    await tell(1_500, types_pb2.REINIT_PHASE_APPLYING)
    begin = end - timedelta(seconds=1.5)
    assert await times() == (begin, begin, end, begin, end)
    await tell(10**18)
    assert await times() == (built_at, begin, end, built_at, end)
    world.clock.advance(10)
    for phase in (None, types_pb2.REINIT_PHASE_APPLYING, types_pb2.REINIT_PHASE_APPLIED):
        await tell(0, phase)
    assert await times() == (built_at, begin, end, built_at, end)


async def test_every_lifecycle_an_agent_reports_is_known(world: PoolWorld) -> None:
    """Created by its build, then whatever it says of itself; an older word changes nothing."""
    workspace_id = await world.create_prebuild()
    await world.complete(await world.acquire())
    gateway = GatewayServicer(world.agents, RecordedHints(), world.clock)

    async def say(lifecycle: types_pb2.AgentLifecycle.ValueType, changed_at: datetime) -> object:
        request = gateway_pb2.RecordLifecycleRequest(
            token_hash=token_hash(workspace_id), lifecycle=lifecycle, error="why"
        )
        request.changed_at.FromDatetime(changed_at)
        await gateway.RecordLifecycle(request, None)
        (row,) = await world.fetch("SELECT lifecycle FROM agents")
        return row["lifecycle"]

    (row,) = await world.fetch("SELECT lifecycle FROM agents")
    known = [row["lifecycle"]]
    for lifecycle in SAID:
        world.clock.advance(1)
        known.append(await say(lifecycle, world.clock.now()))
    old = world.clock.now() - timedelta(seconds=1)
    assert known == [
        "created",
        "starting",
        "ready",
        "start_error",
        "start_timeout",
        "shutting_down",
        "off",
    ]
    assert await say(types_pb2.AGENT_LIFECYCLE_READY, old) == "off"


async def test_a_later_build_makes_agents_that_owe_no_acknowledgement(world: PoolWorld) -> None:
    workspace_id = await world.ready_prebuild()
    await world.claim()
    await world.complete(await world.acquire())
    world.clock.advance(1)
    await world.workspaces.queue_build(
        workspace_id,
        world.ada,
        transition="start",
        version_id=None,
        parameters=None,
        initiator_id=world.ada,
        build_id=new_ids().build_id,
        job_id=new_ids().job_id,
        traceparent="",
        now=world.clock.now(),
    )
    await world.execute("DELETE FROM claim_deliveries")
    await world.execute("DELETE FROM agents")
    await world.complete(await world.acquire(), token="new")
    assert await _verdict(world, token_hash(workspace_id, "new")) is Verdict.ALREADY_APPLIED


async def test_a_failed_claim_build_is_told_and_a_later_one_delivers(world: PoolWorld) -> None:
    workspace_id = await world.ready_prebuild()
    token = token_hash(workspace_id)
    await world.claim()
    await world.fail(await world.acquire())
    (check,) = await world.agents.check([token])
    assert (check.verdict, check.error) == (Verdict.CLAIM_BUILD_FAILED, "it broke")
    await world.workspaces.queue_build(
        workspace_id,
        world.ada,
        transition="start",
        version_id=None,
        parameters=None,
        initiator_id=world.ada,
        build_id=new_ids().build_id,
        job_id=new_ids().job_id,
        traceparent="",
        now=world.clock.now(),
    )
    await world.complete(await world.acquire())
    assert await _verdict(world, token) is Verdict.DELIVERABLE


async def test_many_agents_are_checked_by_one_query(world: PoolWorld) -> None:
    prebuild = token_hash(await world.ready_prebuild())
    await world.maker.create(world.wanted(), new_ids(), "empty", world.clock.now())
    job = await world.acquire()
    await world.complete(job)
    assert job.workspace_id is not None
    checks = await world.agents.check([b"x" * 32, prebuild, token_hash(job.workspace_id), prebuild])
    assert [check.verdict for check in checks] == [
        Verdict.UNKNOWN_TOKEN,
        Verdict.UNCLAIMED,
        Verdict.NOT_A_PREBUILD,
        Verdict.UNCLAIMED,
    ]


async def _verdict(world: PoolWorld, token: bytes) -> Verdict:
    (check,) = await world.agents.check([token])
    return check.verdict
