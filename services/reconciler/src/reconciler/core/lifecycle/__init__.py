"""What workspaces of people do by themselves: start, stop, fall dormant, go."""

from __future__ import annotations

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
from reconciler.core.lifecycle.autostart import Autostart, next_start, parse_autostart
from reconciler.core.lifecycle.changes import LifecycleChange, Settings, change_settings
from reconciler.core.lifecycle.deadlines import Deadlines, begin_run, bump, extend, restart_run
from reconciler.core.lifecycle.decisions import RETRY_AFTER, START_LATE_MAX, WorkspaceFacts, decide
from reconciler.core.lifecycle.policy import TemplatePolicy, check_policy, deletion_due_at

__all__ = [
    "RETRY_AFTER",
    "START_LATE_MAX",
    "Action",
    "Autostart",
    "Deadlines",
    "Delete",
    "LifecycleChange",
    "MarkDormant",
    "PlanStart",
    "Settings",
    "Start",
    "Stop",
    "StopReason",
    "TemplatePolicy",
    "Wake",
    "WorkspaceFacts",
    "begin_run",
    "bump",
    "change_settings",
    "check_policy",
    "decide",
    "deletion_due_at",
    "extend",
    "next_start",
    "parse_autostart",
    "restart_run",
]
