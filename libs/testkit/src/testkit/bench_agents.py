"""Many waiting agents in a process of their own, each with a connection of its own.

`python -m testkit.bench_agents ADDRESS METHOD FIRST COUNT [TOKENS_FILE]` opens COUNT streams at
once, says "connected SECONDS REFUSED BROKEN" when each has had its first message, then "event
NUMBER MOMENT" for every other message that is not a heartbeat, with the moment by the monotonic
clock, which all processes share. REFUSED is how often one was told when to come back, and did so;
BROKEN how often a stream broke otherwise until then (gRPC cancels some in a crowd), and was opened
again at once.

Their channels have an agent's own options: its probes are part of what it costs.

Agent N's token, and the body of its request on the bare server, is "agent-N", or line N of
TOKENS_FILE. With that file, agents also acknowledge what they are told, and the moment is when that
was answered: APPLYING and APPLIED at a gateway, two calls at the bare server.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic

import grpc.aio

from agentsdk import AgentLimits
from agentsdk.connection import channel_options
from svckit.status import read_error
from testkit.bench_echo import BEAT, CALL, HOLD
from warmpool.agent.v1.agent_pb2 import (
    AcknowledgeReinitRequest,
    WaitForReinitRequest,
    WaitForReinitResponse,
)
from warmpool.common.v1 import types_pb2

__all__ = ["WAIT"]

WAIT = "/warmpool.agent.v1.AgentService/WaitForReinit"
ACKNOWLEDGE = "/warmpool.agent.v1.AgentService/AcknowledgeReinit"
PHASES = (types_pb2.REINIT_PHASE_APPLYING, types_pb2.REINIT_PHASE_APPLIED)
CONNECT_SECONDS = 300.0

_Metadata = tuple[tuple[str, str], ...]


class _Agents:
    def __init__(self, method: str, count: int, tokens: list[str] | None) -> None:
        self._method = method
        self._is_bare = method == HOLD
        self._count = count
        self._waiting: set[int] = set()  # had a first message, once
        self._tokens = tokens
        self.refused = 0
        self.broken = 0
        self.connected = asyncio.Event()

    async def wait(self, channel: grpc.aio.Channel, number: int) -> None:
        """Waits as an agent does: whose stream breaks, or is refused, comes again."""
        while True:
            retry_seconds = await self._try(channel, number)
            if retry_seconds is None:
                return
            await asyncio.sleep(retry_seconds)

    async def _try(self, channel: grpc.aio.Channel, number: int) -> float | None:
        """None after a stream that was accepted, else in how many seconds to come again."""
        token = f"agent-{number}" if self._tokens is None else self._tokens[number]
        metadata = (("authorization", f"Bearer {token}"),)
        request = token.encode() if self._is_bare else WaitForReinitRequest().SerializeToString()
        method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(self._method)
        stream = method(request, metadata=metadata, timeout=3600, wait_for_ready=True)
        is_first = True
        try:
            async for message in stream:
                if is_first:
                    is_first = False
                    self._waiting.add(number)
                    if len(self._waiting) == self._count:
                        self.connected.set()
                else:
                    await self._hear(channel, number, metadata, message)
        except grpc.aio.AioRpcError as error:
            retry_seconds = read_error(error).retry_after_seconds
            self.refused += retry_seconds is not None
            self.broken += retry_seconds is None
            return retry_seconds or 0.0
        return None

    async def _hear(
        self, channel: grpc.aio.Channel, number: int, metadata: _Metadata, message: bytes
    ) -> None:
        frame = None if self._is_bare else WaitForReinitResponse.FromString(message)
        if message == BEAT or (frame is not None and frame.HasField("heartbeat")):
            return
        if self._tokens is not None:
            method = CALL if frame is None else ACKNOWLEDGE
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
            for phase in PHASES:
                claim_id = "" if frame is None else frame.reinit.claim_id
                request = AcknowledgeReinitRequest(claim_id=claim_id, phase=phase)
                await call(request.SerializeToString(), metadata=metadata, timeout=60)
        print(f"event {number} {monotonic():.6f}", flush=True)


async def _run(address: str, method: str, first: int, count: int, tokens: list[str] | None) -> None:
    agents = _Agents(method, count, tokens)
    options = channel_options(AgentLimits())
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address, options=options))
            for _ in range(count)
        ]
        started_at = monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number, channel in enumerate(channels, start=first):
                tasks.create_task(agents.wait(channel, number))
            async with asyncio.timeout(CONNECT_SECONDS):
                await agents.connected.wait()
            seconds = monotonic() - started_at
            print(f"connected {seconds:.3f} {agents.refused} {agents.broken}", flush=True)


if __name__ == "__main__":
    tokens = Path(sys.argv[5]).read_text().split() if len(sys.argv) > 5 else None
    asyncio.run(_run(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), tokens))
