"""Follows the log of a job to the job's end."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import grpc.aio

from warmpool.common.v1.types_pb2 import JobStatus
from warmpool.control.v1.workspaces_pb2 import WatchJobLogsRequest, WatchJobLogsResponse
from warmpool_cli.client import CALL_TIMEOUT_SECONDS, Client
from warmpool_cli.flows.streams import Patience, read_stream

__all__ = ["follow_job_logs", "is_final", "read_job_logs"]

_FINAL = frozenset(
    {JobStatus.JOB_STATUS_SUCCEEDED, JobStatus.JOB_STATUS_FAILED, JobStatus.JOB_STATUS_CANCELED}
)
LogCall = grpc.aio.UnaryStreamCall[WatchJobLogsRequest, WatchJobLogsResponse]


def is_final(status: JobStatus.ValueType) -> bool:
    """True once a job will not change any more."""
    return status in _FINAL


async def follow_job_logs(
    client: Client, job_id: str, patience: Patience
) -> AsyncGenerator[WatchJobLogsResponse]:
    """Yields a job's lines, each once, until the job has ended and all are read."""
    seen = 0
    status = JobStatus.JOB_STATUS_UNSPECIFIED

    def start() -> LogCall:
        request = WatchJobLogsRequest(job_id=job_id, after_sequence=seen, follow=True)
        return client.workspaces.WatchJobLogs(request)

    def is_over() -> bool:
        return is_final(status)

    async for response in read_stream(start, is_over, patience):
        status = response.job_status
        fresh = [line for line in response.lines if line.sequence > seen]
        seen = max((line.sequence for line in fresh), default=seen)
        yield WatchJobLogsResponse(lines=fresh, job_status=status)


async def read_job_logs(client: Client, job_id: str) -> AsyncGenerator[WatchJobLogsResponse]:
    """Yields the lines a job has written so far."""
    call = client.workspaces.WatchJobLogs(
        WatchJobLogsRequest(job_id=job_id, follow=False), timeout=CALL_TIMEOUT_SECONDS
    )
    try:
        async for response in call:
            yield response
    finally:
        call.cancel()
