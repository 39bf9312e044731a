"""What can be due for a workspace. None stands for nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

__all__ = ["Action", "Delete", "MarkDormant", "PlanStart", "Start", "Stop", "StopReason", "Wake"]


class StopReason(StrEnum):
    """Why a workspace is stopped; its build is shown with it."""

    AUTOSTOP = "autostop"
    DORMANCY = "dormancy"
    FAILURE_TTL = "failure_ttl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Queue a start build, and plan the start after it; None if there is none."""

    next_start_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStart:
    """Leave this start out, because it is running already or too late, and plan the next."""

    next_start_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Queue a stop build."""

    reason: StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkDormant:
    """It is not used; `deleting_at` says when it goes, None if it stays."""

    deleting_at: datetime | None


@dataclass(frozen=True, slots=True)
class Wake:
    """It is dormant and was used since."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Queue a delete build: it was dormant for long enough."""


Action = Start | PlanStart | Stop | MarkDormant | Wake | Delete
