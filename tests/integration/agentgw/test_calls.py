"""The unary calls of an agent: checked at the gateway, answered by the control plane."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable
from datetime import UTC, datetime

import grpc
import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from agentgw.rpc.control_plane import ControlPlane
from agentgw.wiring.service import REPEATABLE
from svckit.auth import hash_token
from svckit.channel import open_channel
from svckit.errors import Unavailable
from svckit.status import RemoteError, read_error
from svckit.system import SystemClock
from testkit.eventually import eventually
from testkit.fake_gateway_backend import FakeGatewayBackend
from testkit.gateway_site import (
    CLAIM,
    DELIVERABLE,
    OWNER,
    TOKEN,
    WORKSPACE,
    Site,
    collect_frames,
)
from warmpool.agent.v1 import agent_pb2
from warmpool.common.v1 import types_pb2
from warmpool.gateway.v1 import gateway_pb2

pytestmark = pytest.mark.integration

AS_AGENT = (("authorization", f"Bearer {TOKEN}"),)


async def failure_of(call: Awaitable[object]) -> RemoteError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return read_error(caught.value)


async def test_acknowledgements_reach_the_control_plane_under_the_gateways_key(site: Site) -> None:
    site.backend.put_agent(TOKEN, DELIVERABLE)
    for phase, error in (
        (types_pb2.REINIT_PHASE_APPLYING, "not said unless it failed"),
        (types_pb2.REINIT_PHASE_FAILED, "no disk"),
    ):
        await site.agents.AcknowledgeReinit(
            agent_pb2.AcknowledgeReinitRequest(claim_id=CLAIM, phase=phase, error=error),
            metadata=AS_AGENT,
        )
    mine = hash_token(TOKEN)
    assert site.backend.reinits == [
        gateway_pb2.ReinitRecord(
            token_hash=mine, claim_id=CLAIM, phase=types_pb2.REINIT_PHASE_APPLYING
        ),
        gateway_pb2.ReinitRecord(
            token_hash=mine, claim_id=CLAIM, phase=types_pb2.REINIT_PHASE_FAILED, error="no disk"
        ),
    ]
    assert site.backend.authorizations == {"Bearer the gateway's key"}


async def test_who_begins_to_apply_what_it_was_told_waits_for_no_record(site: Site) -> None:
    site.backend.put_agent(TOKEN, DELIVERABLE)
    site.backend.hold_records()
    await collect_frames(site.open_stream())
    request = agent_pb2.AcknowledgeReinitRequest(
        claim_id=CLAIM, phase=types_pb2.REINIT_PHASE_APPLYING
    )
    await site.agents.AcknowledgeReinit(request, metadata=AS_AGENT, timeout=10)
    assert site.backend.reinits == []
    site.backend.release_answers()
    await site.backend.until(lambda: len(site.backend.reinits) == 2)
    assert [(record.delivered, record.phase) for record in site.backend.reinits] == [
        (True, types_pb2.REINIT_PHASE_UNSPECIFIED),
        (False, types_pb2.REINIT_PHASE_APPLYING),
    ]


async def test_acknowledgements_that_come_together_are_recorded_together(site: Site) -> None:
    """One of them is of somebody else's claim, and only that one is refused."""
    names = [f"agent {number}" for number in range(50)]
    for name in names[1:]:
        site.backend.put_agent(name, DELIVERABLE)
    site.backend.hold_records()

    def all_wait() -> None:
        assert len(site.gateway.records) == len(names)

    async with asyncio.TaskGroup() as group:
        site.backend.put_agent("the first", DELIVERABLE)
        first = group.create_task(_acknowledge(site, "the first"))
        await site.backend.until(lambda: site.backend.reinit_calls == 1)
        answers = [group.create_task(_acknowledge(site, name)) for name in names]
        await eventually(all_wait)
        site.backend.release_answers()
    assert first.result() == ""
    assert [answer.result() for answer in answers] == ["CLAIM_UNKNOWN", *[""] * (len(names) - 1)]
    assert site.backend.reinit_calls == 2


async def test_an_acknowledgement_that_cannot_be_recorded_is_its_agents_to_repeat(
    site: Site,
) -> None:
    site.backend.put_agent(TOKEN, DELIVERABLE)
    site.backend.fail(grpc.StatusCode.UNAVAILABLE)
    assert await _acknowledge(site, TOKEN) == "CONTROL_PLANE_UNREACHABLE"
    site.backend.recover()
    assert await _acknowledge(site, TOKEN) == ""
    assert len(site.backend.reinits) == 1


async def _acknowledge(site: Site, token: str) -> str:
    """The reason it was refused for; empty if it was not."""
    try:
        await site.agents.AcknowledgeReinit(
            agent_pb2.AcknowledgeReinitRequest(
                claim_id=CLAIM, phase=types_pb2.REINIT_PHASE_APPLIED
            ),
            metadata=(("authorization", f"Bearer {token}"),),
        )
    except grpc.aio.AioRpcError as error:
        return read_error(error).reason
    return ""


@pytest.mark.parametrize("phase", [types_pb2.REINIT_PHASE_APPLYING, types_pb2.REINIT_PHASE_APPLIED])
async def test_a_claim_of_somebody_else_is_refused(
    site: Site, phase: types_pb2.ReinitPhase.ValueType
) -> None:
    site.backend.put_agent(TOKEN, DELIVERABLE)
    await collect_frames(site.open_stream())
    request = agent_pb2.AcknowledgeReinitRequest(claim_id=OWNER, phase=phase)
    failure = await failure_of(site.agents.AcknowledgeReinit(request, metadata=AS_AGENT))
    assert (failure.code, failure.reason, failure.field) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "CLAIM_UNKNOWN",
        "claim_id",
    )


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (agent_pb2.AcknowledgeReinitRequest(claim_id=CLAIM), "phase"),
        (
            agent_pb2.AcknowledgeReinitRequest(claim_id="x", phase=types_pb2.REINIT_PHASE_APPLIED),
            "claim_id",
        ),
        (
            agent_pb2.AcknowledgeReinitRequest(
                claim_id=CLAIM, phase=types_pb2.REINIT_PHASE_FAILED, error="x" * 5000
            ),
            "error",
        ),
    ],
)
async def test_malformed_acknowledgements_are_refused_by_field(
    site: Site, request_: agent_pb2.AcknowledgeReinitRequest, field: str
) -> None:
    failure = await failure_of(site.agents.AcknowledgeReinit(request_, metadata=AS_AGENT))
    assert (failure.code, failure.field) == (grpc.StatusCode.INVALID_ARGUMENT, field)
    assert site.backend.reinits == []


async def test_the_manifest_comes_through_whole(site: Site) -> None:
    script = gateway_pb2.ManifestScript(
        display_name="start", script="true", run_on_start=True, timeout_seconds=3, log_path="a"
    )
    manifest = gateway_pb2.AgentManifest(
        agent_name="main",
        workspace_id=WORKSPACE,
        owner_id=OWNER,
        claim_id=CLAIM,
        env={"A": "b"},
        scripts=[script],
    )
    site.backend.put_manifest(TOKEN, manifest)
    answer = await site.agents.GetManifest(agent_pb2.GetManifestRequest(), metadata=AS_AGENT)
    assert answer == agent_pb2.GetManifestResponse(
        agent_name="main",
        workspace_id=WORKSPACE,
        owner_id=OWNER,
        claim_id=CLAIM,
        env={"A": "b"},
        scripts=[
            agent_pb2.Script(
                display_name="start",
                script="true",
                run_on_start=True,
                timeout_seconds=3,
                log_path="a",
            )
        ],
    )


def test_both_manifests_are_the_same_on_the_wire() -> None:
    pairs = [
        (agent_pb2.GetManifestResponse.DESCRIPTOR, gateway_pb2.AgentManifest.DESCRIPTOR),
        (agent_pb2.Script.DESCRIPTOR, gateway_pb2.ManifestScript.DESCRIPTOR),
    ]
    for left, right in pairs:
        assert [(f.number, f.name, f.type) for f in left.fields] == [
            (f.number, f.name, f.type) for f in right.fields
        ]


async def test_lifecycle_and_logs_reach_the_control_plane(site: Site) -> None:
    changed_at = Timestamp()
    changed_at.FromDatetime(datetime(2030, 1, 1, tzinfo=UTC))
    await site.agents.ReportLifecycle(
        agent_pb2.ReportLifecycleRequest(
            lifecycle=types_pb2.AGENT_LIFECYCLE_READY, changed_at=changed_at
        ),
        metadata=AS_AGENT,
    )
    line = types_pb2.LogLine(sequence=1, text="hello", stage="start")
    for number in range(11):
        answer = await site.agents.SendLogs(
            agent_pb2.SendLogsRequest(lines=[line]), metadata=AS_AGENT
        )
        assert answer.truncated is (number == 10)
    assert site.backend.lifecycles == [
        gateway_pb2.RecordLifecycleRequest(
            token_hash=hash_token(TOKEN),
            lifecycle=types_pb2.AGENT_LIFECYCLE_READY,
            changed_at=changed_at,
        )
    ]
    expected = gateway_pb2.RecordAgentLogsRequest(token_hash=hash_token(TOKEN), lines=[line])
    assert site.backend.logs == [expected] * 11


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ([types_pb2.LogLine(text="x")] * 501, "lines"),
        ([types_pb2.LogLine(text="x" * 9000)], "lines.text"),
        ([types_pb2.LogLine(stage="x" * 300)], "lines.stage"),
    ],
)
async def test_too_many_or_too_long_lines_are_refused(
    site: Site, lines: list[types_pb2.LogLine], field: str
) -> None:
    call = site.agents.SendLogs(agent_pb2.SendLogsRequest(lines=lines), metadata=AS_AGENT)
    failure = await failure_of(call)
    assert (failure.code, failure.field) == (grpc.StatusCode.INVALID_ARGUMENT, field)


async def test_a_lifecycle_must_be_said(site: Site) -> None:
    call = site.agents.ReportLifecycle(agent_pb2.ReportLifecycleRequest(), metadata=AS_AGENT)
    failure = await failure_of(call)
    assert (failure.code, failure.field) == (grpc.StatusCode.INVALID_ARGUMENT, "lifecycle")


async def test_a_sign_of_life_is_reported_with_the_others(site: Site) -> None:
    answer = await site.agents.ReportLiveness(agent_pb2.ReportLivenessRequest(), metadata=AS_AGENT)
    assert answer == agent_pb2.ReportLivenessResponse(interval_ms=300_000)
    await site.backend.until(lambda: bool(site.backend.liveness))
    assert site.backend.connected_tokens() == {hash_token(TOKEN)}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.NOT_FOUND),
        (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.FAILED_PRECONDITION),
        (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INVALID_ARGUMENT),
        (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE),
        (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE),
        (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE),
        (grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE),
    ],
)
async def test_failures_pass_with_their_code_but_never_blame_the_agent_for_the_gateway(
    site: Site, code: grpc.StatusCode, expected: grpc.StatusCode
) -> None:
    site.backend.fail(code, "as told")
    call = site.agents.GetManifest(agent_pb2.GetManifestRequest(), metadata=AS_AGENT)
    assert (await failure_of(call)).code == expected


async def test_a_connection_that_is_closed_under_a_call_is_a_failure_of_the_call() -> None:
    """Not a cancellation of whoever waits for it, which would end a loop in silence."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        channel = open_channel(f"127.0.0.1:{silent.getsockname()[1]}", token="key")
        call = asyncio.create_task(
            ControlPlane(channel, gateway_id="", clock=SystemClock()).read_manifest(
                hash_token(TOKEN)
            )
        )
        await asyncio.sleep(0)  # it is under way
        await channel.close()
        with pytest.raises(Unavailable) as caught:
            await call
    assert caught.value.reason == "CONTROL_PLANE_UNREACHABLE"


async def test_log_lines_are_not_sent_twice_and_everything_else_may_be(
    backend: FakeGatewayBackend,
) -> None:
    """Who stores lines and is cut off before the answer would store them again."""
    backend.fail(grpc.StatusCode.UNAVAILABLE)
    async with open_channel(backend.address, token="key", repeatable=REPEATABLE) as channel:
        control_plane = ControlPlane(channel, gateway_id="", clock=SystemClock())
        with pytest.raises(Unavailable):
            await control_plane.record_agent_logs(gateway_pb2.RecordAgentLogsRequest())
        assert backend.calls == 1
    (service,) = gateway_pb2.DESCRIPTOR.services_by_name.values()
    assert set(REPEATABLE) == {
        f"{service.full_name}/{method.name}" for method in service.methods
    } - {f"{service.full_name}/RecordAgentLogs"}


async def test_only_so_many_calls_wait_for_the_control_plane(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentgw.rpc.agents.FORWARDED_MAX", 2)
    site.backend.put_manifest(TOKEN, gateway_pb2.AgentManifest())
    site.backend.hold_answers()
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(_get_manifest(site))
        await site.backend.until(lambda: site.backend.calls == 2)
        failure = await failure_of(_get_manifest(site))
        site.backend.release_answers()
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "TOO_MANY_CALLS")
    assert failure.retry_after_seconds == 5.0
    await _get_manifest(site)  # there is room again


async def _get_manifest(site: Site) -> None:
    await site.agents.GetManifest(agent_pb2.GetManifestRequest(), metadata=AS_AGENT)
