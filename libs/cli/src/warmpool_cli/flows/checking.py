"""Sees a check of a template through."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from warmpool.common.v1.types_pb2 import LogLevel
from warmpool.control.v1.templates_pb2 import GetTemplateCheckRequest, TemplateCheck
from warmpool_cli.client import CALL_TIMEOUT_SECONDS, Client
from warmpool_cli.errors import OperationFailed
from warmpool_cli.flows.following import follow_job_logs
from warmpool_cli.flows.streams import Patience

__all__ = ["follow_check"]


async def follow_check(
    client: Client,
    check: TemplateCheck,
    on_progress: Callable[[str], None],
    *,
    timeout_seconds: float,
    patience: Patience,
) -> TemplateCheck:
    """The check once its job has ended. Raises OperationFailed when the time is up."""
    try:
        async with asyncio.timeout(timeout_seconds):
            async for response in follow_job_logs(client, check.job_id, patience):
                for line in response.lines:
                    if line.level != LogLevel.LOG_LEVEL_DEBUG:
                        on_progress(f"{line.stage}: {line.text}")
    except TimeoutError:
        raise OperationFailed(
            f"the check is not done after {timeout_seconds:.0f} s",
            f"`warmpool logs --job {check.job_id} --follow` shows how far it is",
        ) from None
    answer = await client.templates.GetTemplateCheck(
        GetTemplateCheckRequest(job_id=check.job_id), timeout=CALL_TIMEOUT_SECONDS
    )
    return answer.check
