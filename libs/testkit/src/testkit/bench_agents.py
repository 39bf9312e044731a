"""Many waiting agents in a process of their own, each with a connection of its own.

`python -m testkit.bench_agents ADDRESS METHOD FIRST COUNT` opens COUNT streams at once, says
"connected SECONDS RETRIES" when each has had its first message, then "event NUMBER MOMENT" for
every other message that is not a heartbeat, with the moment by the monotonic clock, which all
processes share.
Agent N's token, and the body of its request on the bare server, is "agent-N".
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from time import monotonic

import grpc.aio

from testkit.bench_echo import HOLD
from warmpool.agent.v1.agent_pb2 import WaitForReinitRequest, WaitForReinitResponse

__all__ = ["WAIT"]

WAIT = "/warmpool.agent.v1.AgentService/WaitForReinit"
OPTIONS = (("grpc.use_local_subchannel_pool", 1),)
CONNECT_SECONDS = 300.0


class _Agents:
    def __init__(self, method: str, count: int) -> None:
        self._method = method
        self._left = count
        self.retries = 0
        self.connected = asyncio.Event()

    async def wait(self, channel: grpc.aio.Channel, number: int) -> None:
        """Waits as an agent does: who is turned away before the first message comes again."""
        while not await self._try(channel, number):
            self.retries += 1

    async def _try(self, channel: grpc.aio.Channel, number: int) -> bool:
        token = f"agent-{number}"
        is_bare = self._method == HOLD
        request = token.encode() if is_bare else WaitForReinitRequest().SerializeToString()
        method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(self._method)
        stream = method(
            request,
            metadata=(("authorization", f"Bearer {token}"),),
            timeout=3600,
            wait_for_ready=True,
        )
        is_first = True
        try:
            async for message in stream:
                if is_first:
                    is_first = False
                    self._left -= 1
                    if self._left == 0:
                        self.connected.set()
                elif is_bare or not WaitForReinitResponse.FromString(message).HasField("heartbeat"):
                    print(f"event {number} {monotonic():.6f}", flush=True)
        except grpc.aio.AioRpcError:
            if not is_first:
                raise
        return not is_first


async def _run(address: str, method: str, first: int, count: int) -> None:
    agents = _Agents(method, count)
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address, options=OPTIONS))
            for _ in range(count)
        ]
        started_at = monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number, channel in enumerate(channels, start=first):
                tasks.create_task(agents.wait(channel, number))
            async with asyncio.timeout(CONNECT_SECONDS):
                await agents.connected.wait()
            print(f"connected {monotonic() - started_at:.3f} {agents.retries}", flush=True)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
