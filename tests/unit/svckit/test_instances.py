"""A process tells of itself, and no failure in that ends anything."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from uuid import UUID

import grpc.aio

from svckit.instances import REPORT_SECONDS, InstanceReporter
from svckit.readiness import Readiness
from testkit.clock import SettableClock
from testkit.eventually import eventually


async def test_a_probe_that_fails_does_not_end_the_loop() -> None:
    asked: list[int] = []

    async def find_programs() -> Mapping[str, str]:
        asked.append(len(asked))
        raise OSError("Text file busy")

    clock = SettableClock()

    def look(times: int) -> None:
        assert len(asked) == times
        assert clock.sleeping == 1

    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        reporter = InstanceReporter(
            channel,
            Readiness(),
            clock,
            instance_id=UUID(int=1),
            name="here",
            version="1.0.0",
            find_programs=find_programs,
        )
        async with asyncio.TaskGroup() as group:
            running = group.create_task(reporter.run())
            await eventually(lambda: look(1))
            clock.advance(REPORT_SECONDS)
            await eventually(lambda: look(2))
            running.cancel()
