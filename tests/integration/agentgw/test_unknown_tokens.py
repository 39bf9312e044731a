"""A flood of wrong tokens costs the control plane little, and a token that becomes valid works."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import grpc
import grpc.aio
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from svckit.channel import open_channel
from svckit.status import RemoteError, read_error
from testkit.eventually import eventually
from testkit.fake_gateway_backend import FakeGatewayBackend
from testkit.gateway_plane import serve_plane
from testkit.gateway_site import QUIET, TOKEN, UNCLAIMED, Site, read_end, read_heartbeat, serve_site
from testkit.pool_world import PoolWorld
from warmpool.agent.v1 import agent_pb2
from warmpool.common.v1 import types_pb2

pytestmark = pytest.mark.integration

FLOOD = 20
FOR_A_MINUTE = replace(QUIET, unknown_token_seconds=60.0)
FOR_A_MOMENT = replace(QUIET, unknown_token_seconds=0.1)
METADATA = (("authorization", f"Bearer {TOKEN}"),)


async def test_a_wrong_token_is_looked_up_once_whatever_it_asks_for(
    backend: FakeGatewayBackend,
) -> None:
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("test")
    async with serve_site(backend, FOR_A_MINUTE, meter=meter) as site:
        ends = [await read_end(site.open_stream()) for _ in range(FLOOD)]
        ends += [await end_of(call) for call in unary_calls(site)]
        backend.put_agent("another", UNCLAIMED)
        other = site.open_stream("another")
        await read_heartbeat(other)
        other.cancel()
    assert {(end.code, end.reason) for end in ends} == {
        (grpc.StatusCode.UNAUTHENTICATED, "UNKNOWN_TOKEN")
    }
    assert [len(checked) for checked in backend.checks] == [1, 1]
    assert (backend.lifecycles, backend.logs) == ([], [])
    assert count_of(reader) == len(ends) - 1


async def test_what_the_control_plane_says_of_a_call_counts_for_streams_too(
    world: PoolWorld,
) -> None:
    async with serve_plane(world) as plane:
        channel = open_channel(plane.address, token="the gateway's key")
        async with serve_site(FakeGatewayBackend(), FOR_A_MINUTE, channel=channel) as site:
            reasons = [(await end_of(unary_calls(site)[0])).reason for _ in range(3)]
            reasons.append((await read_end(site.open_stream())).reason)
        assert reasons == ["AGENT_UNKNOWN", *["UNKNOWN_TOKEN"] * 3]
        assert plane.manifests_count == 1


async def test_a_token_that_becomes_valid_works_soon(backend: FakeGatewayBackend) -> None:
    async with serve_site(backend, FOR_A_MOMENT) as site:
        assert (await read_end(site.open_stream())).reason == "UNKNOWN_TOKEN"
        backend.put_agent(TOKEN, UNCLAIMED)

        async def look() -> None:
            stream = site.open_stream()
            try:
                await read_heartbeat(stream)
            except grpc.aio.AioRpcError as error:
                raise AssertionError(read_error(error)) from error
            finally:
                stream.cancel()

        await eventually(look)


def unary_calls(site: Site) -> list[Callable[[], Awaitable[object]]]:
    agents = site.agents
    return [
        lambda: agents.GetManifest(agent_pb2.GetManifestRequest(), metadata=METADATA),
        lambda: agents.ReportLifecycle(
            agent_pb2.ReportLifecycleRequest(lifecycle=types_pb2.AGENT_LIFECYCLE_READY),
            metadata=METADATA,
        ),
        lambda: agents.ReportLiveness(agent_pb2.ReportLivenessRequest(), metadata=METADATA),
        lambda: agents.SendLogs(agent_pb2.SendLogsRequest(), metadata=METADATA),
    ]


async def end_of(call: Callable[[], Awaitable[object]]) -> RemoteError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call()
    return read_error(raised.value)


def count_of(reader: InMemoryMetricReader) -> int:
    found = reader.get_metrics_data()
    assert found is not None
    points = [
        point
        for resource in found.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "warmpool_gateway_unknown_tokens_total"
        for point in metric.data.data_points
    ]
    return sum(int(point.value) for point in points if isinstance(point, NumberDataPoint))
