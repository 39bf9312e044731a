"""Steps of claims, as the control plane hears of them."""

from __future__ import annotations

import asyncio

from opentelemetry.metrics import NoOpMeter

from agentgw.core.records import Phase, ReinitRecord
from agentgw.store.metrics import GatewayMetrics
from agentgw.store.records import RECORDS_PER_CALL_MAX, PendingRecords
from agentgw.wire.truth import encode_record_reinits
from svckit.errors import Unavailable


def a_record(phase: Phase, at_seconds: float = 0.0) -> ReinitRecord:
    return ReinitRecord(token_hash=b"x" * 32, claim_id="c", phase=phase, at_seconds=at_seconds)


def test_a_step_says_how_long_ago_it_was() -> None:
    records = [a_record(Phase.DELIVERED, 7.5), a_record(Phase.APPLYING, 9.9996)]
    request = encode_record_reinits(records, now_seconds=10.0)
    assert [(record.delivered, record.age_ms) for record in request.records] == [
        (True, 2500),
        (False, 0),
    ]


async def test_a_failure_is_urgent_to_nobody_who_came_before_it() -> None:
    """However many there are: else what cannot be told is told again without a pause."""
    records = PendingRecords(GatewayMetrics(NoOpMeter("test")))
    for _ in range(RECORDS_PER_CALL_MAX):
        records.add(a_record(Phase.DELIVERED))
    async with asyncio.TaskGroup() as tasks:
        late = tasks.create_task(records.record(a_record(Phase.APPLIED)))
        await asyncio.sleep(0)
        records.put_back(records.take(), Unavailable("not now"))
        waiting = tasks.create_task(records.wait_until_awaited(60))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        other = tasks.create_task(records.record(a_record(Phase.APPLIED)))
        await waiting
        for task in (late, other):
            task.cancel()


async def test_who_has_gone_is_waited_for_no_more() -> None:
    records = PendingRecords(GatewayMetrics(NoOpMeter("test")))
    for _ in range(RECORDS_PER_CALL_MAX):
        records.add(a_record(Phase.DELIVERED))
    gone = asyncio.create_task(records.record(a_record(Phase.APPLIED)))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    assert len(records.take()) == RECORDS_PER_CALL_MAX
    waiting = asyncio.create_task(records.wait_until_awaited(60))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
