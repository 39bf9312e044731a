"""Enums, times and spans as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from warmpool.common.v1.types_pb2 import AgentLifecycle, JobStatus, LogLevel, Transition
from warmpool.control.v1.pools_pb2 import PoolHealth
from warmpool.control.v1.workspaces_pb2 import PoolMiss

__all__ = [
    "agent_word",
    "counted",
    "health_word",
    "job_word",
    "level_word",
    "local_time",
    "miss_word",
    "moment",
    "since",
    "span",
    "transition_word",
]


def counted(number: int, noun: str) -> str:
    """A number of things, for example "1 pool" or "2 pools"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def job_word(value: JobStatus.ValueType) -> str:
    """A job's status, for example "succeeded"."""
    return _word(JobStatus.Name(value), "JOB_STATUS_") if value in JobStatus.values() else "unknown"


def transition_word(value: Transition.ValueType) -> str:
    """A transition, for example "start"."""
    if value not in Transition.values():
        return "unknown"
    return _word(Transition.Name(value), "TRANSITION_")


def agent_word(value: AgentLifecycle.ValueType) -> str:
    """What an agent says of itself, for example "ready"."""
    if value not in AgentLifecycle.values():
        return "unknown"
    return _word(AgentLifecycle.Name(value), "AGENT_LIFECYCLE_")


def level_word(value: LogLevel.ValueType) -> str:
    """A log level, for example "info"."""
    return _word(LogLevel.Name(value), "LOG_LEVEL_") if value in LogLevel.values() else "unknown"


def health_word(value: PoolHealth.ValueType) -> str:
    """Whether a pool may create, for example "hard-limited"."""
    if value not in PoolHealth.values():
        return "unknown"
    return _word(PoolHealth.Name(value), "POOL_HEALTH_")


def miss_word(value: PoolMiss.ValueType) -> str:
    """Why a pool was missed, for example "empty"."""
    return _word(PoolMiss.Name(value), "POOL_MISS_") if value in PoolMiss.values() else "unknown"


def moment(timestamp: Timestamp) -> datetime:
    """A timestamp as an aware UTC time."""
    return timestamp.ToDatetime(tzinfo=UTC)


def local_time(timestamp: Timestamp) -> str:
    """A timestamp in the reader's own zone, to the second."""
    return moment(timestamp).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def since(timestamp: Timestamp, now: datetime) -> str:
    """How long ago, or "in" how long; one unit, for example "5m"."""
    passed = now - moment(timestamp)
    return f"in {span(-passed)}" if passed < timedelta() else span(passed)


def span(length: timedelta) -> str:
    """A length of time in its largest unit, rounded down."""
    seconds = int(length.total_seconds())
    for name, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{name}"
    return f"{max(seconds, 0)}s"


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower().replace("_", "-")
