"""What gateways report of agents, when reports come late, twice, or from a release before."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest

from reconciler.core.builds import LogLine
from reconciler.store.gateway import LOG_LINE_BYTES_MIN
from testkit.pool_world import PoolWorld, token_hash

pytestmark = pytest.mark.integration

OLD, NEW, NOBODY = uuid4(), uuid4(), None


class Reports:
    """One agent, and what gateways say of it a second apart."""

    def __init__(self, world: PoolWorld, workspace_id: UUID) -> None:
        self._world = world
        self._token = token_hash(workspace_id)

    async def arrived(self, gateway: UUID | None) -> None:
        await self._say(gateway, connected=[self._token], arrived=[self._token])

    async def still_there(self, gateway: UUID | None) -> None:
        await self._say(gateway, connected=[self._token])

    async def gone(self, gateway: UUID | None) -> None:
        await self._say(gateway, disconnected=[self._token])

    async def _say(
        self,
        gateway: UUID | None,
        *,
        connected: Sequence[bytes] = (),
        arrived: Sequence[bytes] = (),
        disconnected: Sequence[bytes] = (),
    ) -> None:
        self._world.clock.advance(1)
        await self._world.agents.record_liveness(
            connected, disconnected, self._world.clock.now(), gateway_id=gateway, arrived=arrived
        )


@pytest.fixture
async def reports(world: PoolWorld) -> Reports:
    return Reports(world, await world.ready_prebuild())


async def test_what_an_agent_has_left_cannot_make_it_gone(
    world: PoolWorld, reports: Reports
) -> None:
    await reports.arrived(OLD)
    await reports.arrived(NEW)
    await reports.gone(OLD)
    assert await world.claim() is not None


async def test_a_connection_that_is_dead_unnoticed_does_not_take_an_agent_back(
    world: PoolWorld, reports: Reports
) -> None:
    await reports.arrived(OLD)
    await reports.arrived(NEW)
    await reports.still_there(OLD)
    await reports.gone(OLD)
    assert await world.claim() is not None


async def test_who_holds_an_agent_makes_it_gone(world: PoolWorld, reports: Reports) -> None:
    await reports.arrived(OLD)
    await reports.arrived(NEW)
    await reports.gone(NEW)
    assert await world.claim() is None


async def test_an_agent_that_came_back_is_held_by_whom_it_came_back_to(
    world: PoolWorld, reports: Reports
) -> None:
    await reports.arrived(OLD)
    await reports.arrived(NEW)
    await reports.arrived(OLD)
    await reports.gone(OLD)
    assert await world.claim() is None


async def test_who_sees_an_agent_that_was_gone_holds_it(world: PoolWorld, reports: Reports) -> None:
    await reports.arrived(NEW)
    await reports.gone(NEW)
    await reports.still_there(OLD)
    await reports.gone(OLD)
    assert await world.claim() is None


@pytest.mark.parametrize(("held_by", "lost_by"), [(NEW, NOBODY), (NOBODY, OLD)])
async def test_a_gateway_that_does_not_say_who_it_is_is_believed(
    world: PoolWorld, reports: Reports, held_by: UUID | None, lost_by: UUID | None
) -> None:
    await reports.still_there(held_by)
    await reports.gone(lost_by)
    assert await world.claim() is None


class AgentLog:
    """The log of one agent."""

    def __init__(self, world: PoolWorld, workspace_id: UUID) -> None:
        self._world = world
        self._token = token_hash(workspace_id)

    async def send(self, session_id: UUID | None, *numbers: int) -> None:
        now = self._world.clock.now()
        lines = [
            LogLine(sequence=number, written_at=now, level="info", stage="s", text=f"line {number}")
            for number in numbers
        ]
        await self._world.agents.insert_logs(self._token, lines, session_id)

    async def stored(self) -> list[int]:
        rows = await self._world.fetch("SELECT text FROM agent_logs ORDER BY position")
        return [int(str(row["text"]).removeprefix("line ")) for row in rows]

    async def size(self) -> object:
        (row,) = await self._world.fetch("SELECT log_bytes FROM agents")
        return row["log_bytes"]


@pytest.fixture
async def log(world: PoolWorld) -> AgentLog:
    return AgentLog(world, await world.ready_prebuild())


async def test_lines_that_come_again_are_stored_and_counted_once(log: AgentLog) -> None:
    run = uuid4()
    await log.send(run, 1, 2)
    await log.send(run, 1, 2, 3)
    await log.send(run, 2)
    assert (await log.stored(), await log.size()) == ([1, 2, 3], 3 * LOG_LINE_BYTES_MIN)


async def test_every_run_has_numbers_of_its_own(log: AgentLog) -> None:
    first, second = uuid4(), uuid4()
    await log.send(first, 1, 2)
    await log.send(second, 1)
    await log.send(first, 2, 3)
    assert await log.stored() == [1, 2, 1, 3]


async def test_lines_without_a_run_or_a_number_are_stored_as_they_come(log: AgentLog) -> None:
    run = uuid4()
    await log.send(None, 1)
    await log.send(None, 1)
    await log.send(run, 5)
    await log.send(run, 0)
    assert await log.stored() == [1, 1, 5, 0]
