"""The agent's side of the wire: typed calls on one long-lived channel.

Every unary call has a deadline and waits for the connection rather than failing at once; every
failure is a `CallFailed`. The stream yields frames of `core` and is always cancelled when its
reader leaves, because an abandoned call is never cancelled by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol, TypedDict, TypeVar

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from agentsdk.connection import Connection, open_connection
from agentsdk.core import Frame
from agentsdk.decoding import decode_failure, decode_frame, decode_manifest
from agentsdk.errors import CallFailed
from agentsdk.limits import AgentLimits
from agentsdk.manifest import Manifest
from agentsdk.settings import AgentSettings, Token
from warmpool.agent.v1 import agent_pb2 as pb
from warmpool.common.v1 import types_pb2 as types

__all__ = ["AckPhase", "Gateway", "Lifecycle", "LogEntry", "open_gateway", "read_version"]

_ERROR_BYTES_MAX = 4_096
_Answer = TypeVar("_Answer")


class Lifecycle(Enum):
    """What the agent says of itself."""

    STARTING = types.AGENT_LIFECYCLE_STARTING
    READY = types.AGENT_LIFECYCLE_READY
    START_ERROR = types.AGENT_LIFECYCLE_START_ERROR
    START_TIMEOUT = types.AGENT_LIFECYCLE_START_TIMEOUT
    SHUTTING_DOWN = types.AGENT_LIFECYCLE_SHUTTING_DOWN
    OFF = types.AGENT_LIFECYCLE_OFF


class AckPhase(Enum):
    """How far the agent is with a claim."""

    APPLYING = types.REINIT_PHASE_APPLYING
    APPLIED = types.REINIT_PHASE_APPLIED
    FAILED = types.REINIT_PHASE_FAILED


class LogEntry(Protocol):
    """One line of a script's output."""

    @property
    def sequence(self) -> int: ...
    @property
    def written_at(self) -> datetime: ...
    @property
    def is_warning(self) -> bool: ...
    @property
    def stage(self) -> str: ...
    @property
    def text(self) -> str: ...


class _UnaryOptions(TypedDict):
    timeout: float
    metadata: tuple[tuple[str, str], ...]
    wait_for_ready: bool


class Gateway:
    """The gateway, as this agent."""

    def __init__(
        self,
        connection: Connection,
        token: Token,
        limits: AgentLimits,
        call_failed: Callable[[CallFailed], None],
    ) -> None:
        self._connection = connection
        self._token = token
        self._call_seconds = limits.call_seconds
        self._call_failed = call_failed

    async def move(self) -> None:
        """Has later calls go over a new connection, because the gateway asked for it."""
        await self._connection.renew()

    async def get_manifest(self) -> Manifest:
        """What to run now. Raises `CallFailed`."""
        answer = await self._call(
            self._connection.stub.GetManifest(pb.GetManifestRequest(), **self._unary_options())
        )
        return decode_manifest(answer)

    async def acknowledge_reinit(self, claim_id: str, phase: AckPhase, error: str) -> None:
        """Says how far the agent is with a claim. Raises `CallFailed`."""
        request = pb.AcknowledgeReinitRequest(
            claim_id=claim_id, phase=phase.value, error=_shorten(error)
        )
        await self._call(self._connection.stub.AcknowledgeReinit(request, **self._unary_options()))

    async def report_lifecycle(
        self, lifecycle: Lifecycle, changed_at: datetime, error: str
    ) -> None:
        """Says what state the agent is in. Raises `CallFailed`."""
        request = pb.ReportLifecycleRequest(
            lifecycle=lifecycle.value, changed_at=_timestamp(changed_at), error=_shorten(error)
        )
        await self._call(self._connection.stub.ReportLifecycle(request, **self._unary_options()))

    async def report_liveness(self) -> float:
        """A sign of life; returns in how many seconds to send the next. Raises `CallFailed`."""
        request = pb.ReportLivenessRequest(agent_version=read_version())
        answer = await self._call(
            self._connection.stub.ReportLiveness(request, **self._unary_options())
        )
        return answer.interval_ms / 1_000

    async def send_logs(self, entries: Sequence[LogEntry], session_id: str) -> bool:
        """Sends lines that this run has numbered; returns True if the agent's log is full. Lines
        that are sent again are stored once. Raises `CallFailed`.
        """
        request = pb.SendLogsRequest(
            lines=[
                types.LogLine(
                    sequence=entry.sequence,
                    written_at=_timestamp(entry.written_at),
                    level=types.LOG_LEVEL_WARN if entry.is_warning else types.LOG_LEVEL_INFO,
                    stage=entry.stage,
                    text=entry.text,
                )
                for entry in entries
            ],
            session_id=session_id,
        )
        answer = await self._call(self._connection.stub.SendLogs(request, **self._unary_options()))
        return answer.truncated

    @asynccontextmanager
    async def open_reinit_stream(
        self, last_applied_claim_id: str, session_id: str
    ) -> AsyncGenerator[AsyncIterator[Frame]]:
        """A stream of frames, ended when the context is left. Reading raises `CallFailed`."""
        call = self._connection.stub.WaitForReinit(
            pb.WaitForReinitRequest(
                last_applied_claim_id=last_applied_claim_id,
                agent_version=read_version(),
                session_id=session_id,
            ),
            metadata=self._metadata(),
            wait_for_ready=True,
        )
        try:
            async with aclosing(self._read_frames(call)) as frames:
                yield frames
        finally:
            call.cancel()

    async def _read_frames(
        self, call: grpc.aio.UnaryStreamCall[pb.WaitForReinitRequest, pb.WaitForReinitResponse]
    ) -> AsyncGenerator[Frame]:
        try:
            while isinstance(frame := await call.read(), pb.WaitForReinitResponse):
                yield decode_frame(frame)
        except grpc.aio.AioRpcError as error:
            raise self._read_failure(error) from error
        except asyncio.CancelledError as error:
            _raise_if_ours(error)
            raise self._note(_cancelled()) from error

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self._token.value}"),)

    def _unary_options(self) -> _UnaryOptions:
        return {
            "timeout": self._call_seconds,
            "metadata": self._metadata(),
            "wait_for_ready": True,
        }

    async def _call(self, call: Awaitable[_Answer]) -> _Answer:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise self._read_failure(error) from error
        except asyncio.CancelledError as error:
            _raise_if_ours(error)
            raise self._note(_cancelled()) from error

    def _read_failure(self, error: grpc.aio.AioRpcError) -> CallFailed:
        failure = decode_failure(error)
        if failure.code == "UNAUTHENTICATED":
            self._token.reload()
        return self._note(failure)

    def _note(self, failure: CallFailed) -> CallFailed:
        self._call_failed(failure)
        return failure


def _ignore(_failure: CallFailed) -> None: ...


@asynccontextmanager
async def open_gateway(
    settings: AgentSettings,
    limits: AgentLimits,
    call_failed: Callable[[CallFailed], None] = _ignore,
) -> AsyncGenerator[Gateway]:
    """A connection to the gateway for as long as the context lasts. It connects when first used.
    `call_failed` hears of every call, and every stream, that ended with a status other than OK.

    Raises `SettingsInvalid` if the certificates cannot be read.
    """
    connection = open_connection(settings, limits)
    try:
        yield Gateway(connection, settings.token, limits, call_failed)
    finally:
        await connection.close()


def read_version() -> str:
    """This package's release; "unknown" if it runs without having been installed."""
    try:
        return version("warmpool-agentsdk")
    except PackageNotFoundError:
        return "unknown"


def _raise_if_ours(error: asyncio.CancelledError) -> None:
    """A crowd of simultaneous connections makes gRPC cancel calls that nobody cancelled: only a
    cancellation that this task was asked for is passed on.
    """
    task = asyncio.current_task()
    if task is None or task.cancelling():
        raise error


def _cancelled() -> CallFailed:
    return CallFailed(
        code="CANCELLED", reason="", message="not cancelled by us", retry_after_seconds=None
    )


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def _shorten(error: str) -> str:
    return error.encode()[:_ERROR_BYTES_MAX].decode(errors="ignore")
