"""Claims through the public API beside their two floors, in the same run.

A real reconciler process on a durable Postgres; the client is this process, with a few connections,
as many users and a name per claim. Floor one is the claim statement alone, through asyncpg, in this
process; floor two is a unary call with messages of the same size between two bare grpc.aio
processes. Every claim must be warm and give another workspace. Prints tables and writes
bench-results/claim.json; asserts no time.

WARMPOOL_BENCH_CLAIMS is the number of claims per line (1000).
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import grpc.aio
import pytest

from reconciler.core.identity import SYSTEM_USER_ID
from reconciler.store.queries import load_queries
from testkit.bench import Rate, Report, cpu_seconds, run_closed, run_open
from testkit.bench_echo import CALL
from testkit.bench_system import BenchSystem, bench_system, seed_pool, seed_template, seed_users
from warmpool.control.v1 import workspaces_pb2 as pb
from warmpool.control.v1.workspaces_pb2_grpc import WorkspaceServiceStub

pytestmark = pytest.mark.bench

CLAIMS = int(os.environ.get("WARMPOOL_BENCH_CLAIMS", "1000"))
WIDTHS = (1, 16, 64)
CHANNELS = 4
USERS = 50
PRESETS = 4
OWN_CONNECTIONS = (("grpc.use_local_subchannel_pool", 1),)
SPREAD = tuple(f"preset-{number}" for number in range(PRESETS))


class Claimants:
    """People who claim, and everything they were given."""

    def __init__(self, channels: Sequence[grpc.aio.Channel], tokens: Sequence[str]) -> None:
        self._stubs = itertools.cycle([WorkspaceServiceStub(channel) for channel in channels])
        self._tokens = itertools.cycle(tokens)
        self._numbers = itertools.count(1)
        self.given: list[str] = []
        self.last = pb.CreateWorkspaceResponse()

    def request(self, preset: str) -> pb.CreateWorkspaceRequest:
        """A request nobody has made before."""
        return pb.CreateWorkspaceRequest(
            template="dev",
            preset=preset,
            name=f"work-{next(self._numbers)}",
            request_id=str(uuid4()),
        )

    def claim_from(self, presets: Sequence[str]) -> Callable[[], Awaitable[object]]:
        """Claims, from these presets in turn."""
        turns = itertools.cycle(presets)

        async def claim() -> None:
            token = next(self._tokens)
            response = await next(self._stubs).CreateWorkspace(
                self.request(next(turns)), metadata=(("authorization", f"Bearer {token}"),)
            )
            assert response.warm, response
            self.given.append(response.workspace.id)
            self.last = response

        return claim


@asynccontextmanager
async def open_channels(address: str) -> AsyncGenerator[list[grpc.aio.Channel]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                grpc.aio.insecure_channel(address, options=OWN_CONNECTIONS)
            )
            for _ in range(CHANNELS)
        ]


async def measure_echo(
    system: BenchSystem, request: bytes, response_bytes: int
) -> list[tuple[Rate, float]]:
    """Floor two."""
    address = await system.start_echo(response_bytes)
    async with open_channels(address) as channels:
        methods: list[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = [
            channel.unary_unary(CALL) for channel in channels
        ]
        calls = itertools.cycle(methods)

        async def act() -> None:
            await next(calls)(request)

        await run_closed(act, count=200, width=16)
        pid = system.supervisor.pid_of("echo")
        assert pid is not None
        return [await measure_with_cpu(pid, act, width) for width in WIDTHS]


async def measure_with_cpu(
    pid: int, act: Callable[[], Awaitable[object]], width: int
) -> tuple[Rate, float]:
    """The rate, and the milliseconds of CPU that each call cost that process."""
    before = cpu_seconds(pid)
    rate = await run_closed(act, count=CLAIMS, width=width)
    return rate, 1000 * (cpu_seconds(pid) - before) / CLAIMS


async def measure_statement(system: BenchSystem, preset_ids: Sequence[UUID]) -> list[Rate]:
    """Floor one: the single claim statement on as many connections as the reconciler has."""
    statement = load_queries("claims").claim_prebuild
    turns, numbers = itertools.cycle(preset_ids), itertools.count(1)
    async with asyncpg.create_pool(
        system.database_url, min_size=16, max_size=16, init=_use_json
    ) as pool:
        owner_id = await pool.fetchval("SELECT id FROM users WHERE NOT is_system LIMIT 1")

        async def act() -> None:
            now = datetime.now(UTC)
            row = await pool.fetchrow(
                statement,
                next(turns),
                SYSTEM_USER_ID,
                owner_id,
                f"bare-{next(numbers)}",
                {},
                owner_id,
                str(uuid4()),
                uuid4(),
                uuid4(),
                uuid4(),
                now,
                now,
                now - timedelta(hours=1),
                "",
            )
            assert row is not None

        await run_closed(act, count=200, width=16)
        return [await run_closed(act, count=CLAIMS, width=width) for width in WIDTHS]


async def _use_json(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await connection.set_type_codec(
        "jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog"
    )


async def _seed(system: BenchSystem, names: Sequence[str], size: int) -> list[UUID]:
    async with system.connect() as connection:
        version_id = await connection.fetchval("SELECT active_version_id FROM templates")
        if version_id is None:
            version_id = await seed_template(connection, "dev")
        return [await seed_pool(connection, version_id, name, size) for name in names]


async def test_claims_beside_the_statement_and_the_echo(tmp_path: Path) -> None:
    async with bench_system(tmp_path) as system:
        async with system.connect() as connection:
            tokens = await seed_users(connection, USERS)
        per_preset = (CLAIMS * (len(WIDTHS) + 1)) // PRESETS + 500
        await _seed(system, SPREAD, per_preset)
        await _seed(system, ["one"], CLAIMS + 400)
        async with open_channels(system.address) as channels:
            claimants = Claimants(channels, tokens)
            spread = claimants.claim_from(SPREAD)
            await run_closed(spread, count=200, width=16)
            ours = [
                await measure_with_cpu(system.reconciler_pid, spread, width) for width in WIDTHS
            ]
            together = await run_closed(claimants.claim_from(["one"]), count=CLAIMS, width=64)
            steady = await run_open(spread, count=500, per_second=100)
            burst = await run_open(claimants.claim_from(["one"]), count=300)
        assert len(set(claimants.given)) == len(claimants.given)
        request = claimants.request(SPREAD[0])
        echo = await measure_echo(system, request.SerializeToString(), claimants.last.ByteSize())
        floor_preset_ids = await _seed(
            system, [f"floor-{number}" for number in range(PRESETS)], per_preset
        )
        statement = await measure_statement(system, floor_preset_ids)

    report = Report("claim", "Claims through the public API, and their floors")
    for width, (rate, cpu), bare, (call, call_cpu) in zip(
        WIDTHS, ours, statement, echo, strict=True
    ):
        report.add_rate(f"bare claim statement, asyncpg, {width} in flight", bare)
        report.add_rate(f"bare grpc.aio echo, {width} in flight", call, server_cpu_ms=call_cpu)
        report.add_rate(
            f"claim, {width} in flight",
            rate,
            server_cpu_ms=cpu,
            of_statement=rate.per_second / bare.per_second,
            of_echo=rate.per_second / call.per_second,
        )
    report.add_rate("claim, 64 in flight, one preset", together)
    report.add_rate("claim, 100 per second", steady)
    report.add_rate("burst of 300 claims, one preset", burst)
    report.print()
