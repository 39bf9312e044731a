"""Whoever may write to the bus can harm nobody: what is no claim is counted, and told once."""

from __future__ import annotations

import logging
from typing import cast

import nats
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from bus.nats import connect_nats
from bus.subjects import claims_subject
from testkit.eventually import eventually
from testkit.fake_gateway_backend import FakeGatewayBackend
from testkit.gateway_site import (
    DELIVERABLE,
    REINIT,
    TOKEN,
    UNCLAIMED,
    WORKSPACE,
    collect_frames,
    serve_site,
)
from testkit.nats import OwnNats
from warmpool.agent.v1 import agent_pb2

pytestmark = pytest.mark.integration

SUBJECT = claims_subject(WORKSPACE)
INVALID = {
    "binary": (SUBJECT, b"\xff\xfe\x00\x01"),
    "a NUL": (SUBJECT, b"prebuild\0claimed"),
    "as large as the server takes": (SUBJECT, b"x" * 60_000),
    "deep": (SUBJECT, b'{"a":' * 5_000 + b"1" + b"}" * 5_000),
    "a wrong type": (SUBJECT, b'{"owner_id":7}'),
    "a wrong version": (SUBJECT, b'{"version":NaN}'),
    "another workspace": (SUBJECT, b'{"workspace_id":"6f1c1bc2-98a3-4cc7-9f4e-6f5ee0c5b0aa"}'),
    "the same key twice": (SUBJECT, b'{"workspace_id":"%s","workspace_id":1}' % SUBJECT.encode()),
    "a wildcard": ("warmpool.v1.claims.*", b"{}"),
    "the wildcard for the rest": ("warmpool.v1.claims.>", b"{}"),
    "no identifier": ("warmpool.v1.claims.workspace", b"{}"),
}
HARMLESS = {
    "no message": (SUBJECT, b""),
    "a list": (SUBJECT, b"[1,2]"),
    "unknown fields and a newer version": (SUBJECT, b'{"version":9,"x":{"y":NaN}}'),
    "half an object": (SUBJECT, b'{"version":1,'),
    "a subject below": (f"{SUBJECT}.more", b"{}"),
}


async def test_hostile_messages_are_counted_logged_once_and_harm_nobody(
    backend: FakeGatewayBackend, own_nats: OwnNats, caplog: pytest.LogCaptureFixture
) -> None:
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("agentgw")
    bus = await connect_nats(own_nats.url, name="agentgw")
    stranger = await nats.connect(own_nats.url)  # pyright: ignore[reportUnknownMemberType]
    try:
        async with serve_site(backend, bus=bus, meter=meter) as site:
            backend.put_agent(TOKEN, UNCLAIMED)
            stream = site.open_stream()
            await site.until_waiting()
            with caplog.at_level(logging.WARNING):
                for subject, payload in [*INVALID.values(), *HARMLESS.values()] * 3:
                    await stranger.publish(subject, payload)
                await stranger.flush()
                await eventually(lambda: _is(count_of(reader), 3 * len(INVALID)))
            told = [record for record in caplog.records if "is no claim" in record.getMessage()]
            assert len(told) == 1
            await site.until_waiting()  # none of them was taken for more than a hint
            backend.put_agent(TOKEN, DELIVERABLE)
            await site.announce()
            frames = await collect_frames(stream)
            assert frames == [agent_pb2.WaitForReinitResponse(reinit=REINIT)]
    finally:
        await stranger.close()
        await bus.close()


def count_of(reader: InMemoryMetricReader) -> int:
    """How many messages the gateway has counted as no claim."""
    data = reader.get_metrics_data()
    if data is None:
        return 0
    return sum(
        int(cast("NumberDataPoint", point).value)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "warmpool_gateway_invalid_hints_total"
        for point in metric.data.data_points
    )


def _is(left: object, right: object) -> None:
    assert left == right
