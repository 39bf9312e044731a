"""Waits until the control plane answers and somebody is there to build."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import grpc
import grpc.aio

from svckit.system import Clock
from warmpool.control.v1.system_pb2 import GetSystemRequest, GetSystemResponse
from warmpool_cli.client import Client
from warmpool_cli.errors import OperationFailed

__all__ = ["wait_for_provisioner"]

POLL_SECONDS = 0.1  # nothing announces a provisioner to us; a call takes a millisecond
CALL_SECONDS = 5.0
_NOT_YET = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


async def wait_for_provisioner(
    client: Client, types: Collection[str], clock: Clock, timeout_seconds: float
) -> GetSystemResponse:
    """The system once a provisioner of every type is connected; OperationFailed if none comes."""
    seen = "the control plane does not answer"
    try:
        async with asyncio.timeout(timeout_seconds):
            while True:
                try:
                    answer = await client.system.GetSystem(GetSystemRequest(), timeout=CALL_SECONDS)
                except grpc.aio.AioRpcError as error:
                    if error.code() not in _NOT_YET:
                        raise
                else:
                    present = {t for p in answer.provisioners for t in p.provisioner_types}
                    if present.issuperset(types):
                        return answer
                    seen = f"connected provisioners build {', '.join(sorted(present)) or 'nothing'}"
                await clock.sleep(POLL_SECONDS)
    except TimeoutError:
        raise OperationFailed(
            f"no provisioner for {', '.join(types)} within {timeout_seconds:.0f} s: {seen}",
            "look into the logs of reconciler and provisionerd in the directory's services/logs",
        ) from None
