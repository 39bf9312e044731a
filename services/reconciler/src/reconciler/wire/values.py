"""Small values that many messages share: ids, times, parameters, log lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from reconciler.core.jobs import JobStatus
from svckit.errors import InvalidArgument
from warmpool.common.v1 import types_pb2 as common

__all__ = [
    "JOB_STATUSES",
    "LEVELS",
    "LEVEL_NAMES",
    "decode_parameters",
    "decode_time",
    "decode_uuid",
    "encode_parameters",
    "encode_time",
]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
PARAMETER_VALUE_BYTES_MAX = 64 * 1024

JOB_STATUSES: Final[Mapping[str, common.JobStatus.ValueType]] = {
    JobStatus.PENDING.value: common.JOB_STATUS_PENDING,
    JobStatus.RUNNING.value: common.JOB_STATUS_RUNNING,
    JobStatus.CANCELING.value: common.JOB_STATUS_CANCELING,
    JobStatus.SUCCEEDED.value: common.JOB_STATUS_SUCCEEDED,
    JobStatus.FAILED.value: common.JOB_STATUS_FAILED,
    JobStatus.CANCELED.value: common.JOB_STATUS_CANCELED,
}
LEVELS: Final[Mapping[str, common.LogLevel.ValueType]] = {
    "debug": common.LOG_LEVEL_DEBUG,
    "info": common.LOG_LEVEL_INFO,
    "warn": common.LOG_LEVEL_WARN,
    "error": common.LOG_LEVEL_ERROR,
}
LEVEL_NAMES: Final[Mapping[int, str]] = {number: name for name, number in LEVELS.items()}


def decode_uuid(text: str, field: str) -> UUID:
    """An id, or InvalidArgument that names the field."""
    try:
        return UUID(text)
    except ValueError:
        raise InvalidArgument(
            f'{field}: "{text[:64]}" is not an id (expected a UUID such as'
            " 123e4567-e89b-42d3-a456-426614174000)",
            reason="ID_INVALID",
            field=field,
        ) from None


def encode_time(moment: datetime | None) -> Timestamp | None:
    """A moment; None stays unset."""
    if moment is None:
        return None
    since = moment - _EPOCH  # by hand: FromDatetime costs more than the rest of most messages
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)


def decode_time(stamp: Timestamp, fallback: datetime) -> datetime:
    """A moment; `fallback` if it is unset or beyond what a calendar holds."""
    if not (stamp.seconds or stamp.nanos):
        return fallback
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        return fallback


def encode_parameters(values: Mapping[str, str]) -> list[common.ParameterValue]:
    """Named values, by name."""
    return [common.ParameterValue(name=name, value=value) for name, value in sorted(values.items())]


def decode_parameters(values: Iterable[common.ParameterValue]) -> dict[str, str]:
    """Named values; a name may come once."""
    found: dict[str, str] = {}
    for value in values:
        if not value.name or value.name in found:
            raise InvalidArgument(
                f'parameters: "{value.name[:64]}" is '
                + ("given twice" if value.name else "not a name; every value needs one"),
                reason="PARAMETER_INVALID",
                field="parameters",
            )
        if len(value.value.encode()) > PARAMETER_VALUE_BYTES_MAX or "\0" in value.value:
            raise InvalidArgument(
                f'parameters: the value of "{value.name[:64]}" is longer than'
                f" {PARAMETER_VALUE_BYTES_MAX} bytes or holds a NUL",
                reason="PARAMETER_INVALID",
                field="parameters",
            )
        found[value.name] = value.value
    return found
