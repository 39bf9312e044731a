"""What is due for one workspace now.

Promises: nothing while a build is under way; one action at a time, the kindest first (waking comes
before deleting); what failed is tried again after an hour and not sooner; a start that is later
than an hour is left out. `store/sql/lifecycle.sql` finds the workspaces for which this is not None.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from reconciler.core.lifecycle.actions import (
    Action,
    Delete,
    MarkDormant,
    PlanStart,
    Start,
    Stop,
    StopReason,
    Wake,
)
from reconciler.core.lifecycle.autostart import Autostart, next_start
from reconciler.core.lifecycle.policy import TemplatePolicy, deletion_due_at

__all__ = ["RETRY_AFTER", "START_LATE_MAX", "WorkspaceFacts", "decide"]

RETRY_AFTER: Final = timedelta(hours=1)
START_LATE_MAX: Final = timedelta(hours=1)
_FINAL: Final = frozenset({"succeeded", "failed", "canceled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceFacts:
    """A person's workspace. `transition` and `job_status` are those of its latest build;
    `used_at` is when it was made if it was not used since.
    """

    transition: str
    job_status: str
    finished_at: datetime | None
    used_at: datetime
    is_owner_active: bool = True
    autostart: Autostart | None = None
    next_start_at: datetime | None = None
    deadline_at: datetime | None = None
    dormant_at: datetime | None = None
    deleting_at: datetime | None = None


def decide(policy: TemplatePolicy, workspace: WorkspaceFacts, now: datetime) -> Action | None:
    """The one thing to do; None if there is nothing."""
    if workspace.job_status not in _FINAL or _is_deleted(workspace):
        return None
    if workspace.dormant_at is not None:
        return _decide_dormant(workspace, workspace.dormant_at, now)
    if _is_idle(policy, workspace, now):
        return MarkDormant(deleting_at=deletion_due_at(policy, now))
    return _find_stop(policy, workspace, now) or _find_start(policy, workspace, now)


def _decide_dormant(
    workspace: WorkspaceFacts, dormant_at: datetime, now: datetime
) -> Action | None:
    if workspace.used_at > dormant_at:
        return Wake() if workspace.used_at <= now else None
    if _is_due(workspace.deleting_at, now) and not _rests(workspace, "delete", now):
        return Delete()
    if workspace.transition == "start" and dormant_at <= now:
        return Stop(reason=StopReason.DORMANCY)
    if _has_failed(workspace, "stop") and not _rests(workspace, "stop", now):
        return Stop(reason=StopReason.DORMANCY)
    return None


def _is_idle(policy: TemplatePolicy, workspace: WorkspaceFacts, now: datetime) -> bool:
    return policy.dormant_after_seconds > 0 and _is_due(
        workspace.used_at + timedelta(seconds=policy.dormant_after_seconds), now
    )


def _find_stop(policy: TemplatePolicy, workspace: WorkspaceFacts, now: datetime) -> Stop | None:
    if _has_failed(workspace, "stop"):
        is_due = _is_due(workspace.deadline_at, now) and not _rests(workspace, "stop", now)
        return Stop(reason=StopReason.AUTOSTOP) if is_due else None
    if workspace.transition != "start":
        return None
    if _is_due(workspace.deadline_at, now):
        return Stop(reason=StopReason.AUTOSTOP)
    if workspace.job_status == "failed" and policy.failure_ttl_seconds and workspace.finished_at:
        patience = timedelta(seconds=policy.failure_ttl_seconds)
        if _is_due(workspace.finished_at + patience, now):
            return Stop(reason=StopReason.FAILURE_TTL)
    return None


def _find_start(
    policy: TemplatePolicy, workspace: WorkspaceFacts, now: datetime
) -> Start | PlanStart | None:
    due_at = workspace.next_start_at
    if (
        not policy.is_autostart_allowed
        or not workspace.is_owner_active
        or workspace.autostart is None
        or workspace.transition == "delete"
        or due_at is None
        or due_at > now
    ):
        return None
    following = next_start(workspace.autostart, now)
    is_running = workspace.transition == "start" and workspace.job_status == "succeeded"
    if is_running or now - due_at > START_LATE_MAX:
        return PlanStart(next_start_at=following)
    return Start(next_start_at=following)


def _is_deleted(workspace: WorkspaceFacts) -> bool:
    return workspace.transition == "delete" and workspace.job_status == "succeeded"


def _has_failed(workspace: WorkspaceFacts, transition: str) -> bool:
    return workspace.transition == transition and workspace.job_status != "succeeded"


def _rests(workspace: WorkspaceFacts, transition: str, now: datetime) -> bool:
    """Whether the last try of this failed lately."""
    return (
        _has_failed(workspace, transition)
        and workspace.finished_at is not None
        and workspace.finished_at + RETRY_AFTER > now
    )


def _is_due(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now
