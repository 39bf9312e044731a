"""Uploads a template and sees its import through."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

import grpc.aio

from warmpool.common.v1.types_pb2 import JobStatus, LogLine
from warmpool.control.v1.system_pb2 import GetSystemRequest
from warmpool.control.v1.templates_pb2 import (
    GetTemplateVersionRequest,
    PushTemplateHeader,
    PushTemplateVersionRequest,
    PushTemplateVersionResponse,
    TemplateVersion,
)
from warmpool_cli.client import CALL_TIMEOUT_SECONDS, Client
from warmpool_cli.errors import OperationFailed
from warmpool_cli.flows.following import follow_job_logs
from warmpool_cli.flows.streams import Patience

__all__ = ["find_takers", "follow_import", "upload_template"]

CHUNK_BYTES = 256 * 1024  # of at most 1 MiB a message; small enough for a progress bar to move
UPLOAD_TIMEOUT_SECONDS = 300.0
ATTEMPTS = 5
LOST_ANSWER = "Internal error from Core"
"""What grpcio says in place of the answer if a server refuses a stream while it is written."""


async def upload_template(
    client: Client,
    header: PushTemplateHeader,
    content: bytes,
    on_sent: Callable[[int], None],
) -> PushTemplateVersionResponse:
    """Streams the archive; `on_sent` hears how many bytes each message took.

    A refusal that was lost on its way is asked for again: a server that ends the call before it
    has all parts has stored nothing.
    """

    async def parts() -> AsyncGenerator[PushTemplateVersionRequest]:
        yield PushTemplateVersionRequest(header=header)
        for offset in range(0, len(content), CHUNK_BYTES):
            chunk = content[offset : offset + CHUNK_BYTES]
            yield PushTemplateVersionRequest(chunk=chunk)
            on_sent(len(chunk))

    for attempts_left in reversed(range(ATTEMPTS)):
        try:
            return await client.templates.PushTemplateVersion(
                parts(), timeout=UPLOAD_TIMEOUT_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            if not attempts_left or LOST_ANSWER not in (error.details() or ""):
                raise
    raise AssertionError("the last attempt returns or raises")


async def find_takers(client: Client, header: PushTemplateHeader) -> bool | None:
    """Whether a connected provisioner can import it; None if we may not know."""
    try:
        answer = await client.system.GetSystem(GetSystemRequest(), timeout=CALL_TIMEOUT_SECONDS)
    except grpc.aio.AioRpcError:
        return None
    return any(
        header.provisioner_type in worker.provisioner_types
        and header.provisioner_tags.items() <= worker.tags.items()
        for worker in answer.provisioners
    )


async def follow_import(
    client: Client,
    version: TemplateVersion,
    on_line: Callable[[LogLine], None],
    patience: Patience | None = None,
) -> TemplateVersion:
    """The imported version; raises OperationFailed with the reason if its import failed."""
    is_said = False
    async for response in follow_job_logs(client, version.job_id, patience or Patience()):
        for line in response.lines:
            is_said = True
            on_line(line)
    answer = await client.templates.GetTemplateVersion(
        GetTemplateVersionRequest(version_id=version.id), timeout=CALL_TIMEOUT_SECONDS
    )
    if answer.version.import_status != JobStatus.JOB_STATUS_SUCCEEDED:
        raise OperationFailed(
            f"the import of version {version.name} failed: "
            f"{answer.version.import_error or 'no reason was given'}",
            "correct the template and push it again"
            + (f"; `warmpool logs --job {version.job_id}` says more" if is_said else ""),
        )
    return answer.version
