"""Schedule windows in the time zone they are written for."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table

from warmpool.control.v1.pools_pb2 import ScheduleWindow
from warmpool_cli.render.tables import plain_table
from warmpool_cli.render.words import moment, span

__all__ = ["windows_table"]


def windows_table(windows: Iterable[ScheduleWindow], timezone: str) -> Table:
    """One line a window, in order."""
    zone = _zone(timezone)
    return plain_table(
        ("from", "to", "length", "PREBUILDS", "schedule", "note"),
        (
            (
                _in_zone(window.starts_at, zone),
                _in_zone(window.ends_at, zone),
                span(moment(window.ends_at) - moment(window.starts_at)),
                str(window.instances),
                window.cron or "default",
                window.note,
            )
            for window in windows
        ),
    )


def _zone(name: str) -> tzinfo:
    """The zone, or UTC where this machine has no data for a zone that the server knows."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def _in_zone(timestamp: Timestamp, zone: tzinfo) -> str:
    return moment(timestamp).astimezone(zone).strftime("%a %Y-%m-%d %H:%M:%S %Z")
