"""What is due for a workspace: one thing at a time, and an end to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.lifecycle import (
    RETRY_AFTER,
    START_LATE_MAX,
    Action,
    Delete,
    MarkDormant,
    PlanStart,
    Start,
    Stop,
    StopReason,
    TemplatePolicy,
    Wake,
    WorkspaceFacts,
    decide,
    parse_autostart,
)

NOW = datetime(2030, 1, 1, 8, tzinfo=UTC)
DAY = 86_400
PAST, SOON = NOW - timedelta(minutes=1), NOW + timedelta(seconds=1)
RUNNING = WorkspaceFacts(transition="start", job_status="succeeded", finished_at=PAST, used_at=PAST)
STOPPED = replace(RUNNING, transition="stop")
MORNINGS = parse_autostart("0 8 * * *", "")
TOMORROW = NOW + timedelta(days=1)
KEEP = TemplatePolicy()

CASES: dict[str, tuple[TemplatePolicy, WorkspaceFacts, Action | None]] = {
    "nothing is set": (KEEP, RUNNING, None),
    "its deadline has come": (
        KEEP,
        replace(RUNNING, deadline_at=NOW),
        Stop(reason=StopReason.AUTOSTOP),
    ),
    "its deadline comes soon": (KEEP, replace(RUNNING, deadline_at=SOON), None),
    "it is stopped already": (KEEP, replace(STOPPED, deadline_at=PAST), None),
    "its stop failed lately": (
        KEEP,
        replace(STOPPED, job_status="failed", deadline_at=PAST),
        None,
    ),
    "its stop failed an hour ago": (
        KEEP,
        replace(STOPPED, job_status="failed", deadline_at=PAST, finished_at=NOW - RETRY_AFTER),
        Stop(reason=StopReason.AUTOSTOP),
    ),
    "a person's stop failed": (
        KEEP,
        replace(STOPPED, job_status="failed", finished_at=NOW - RETRY_AFTER),
        None,
    ),
    "its start failed": (
        TemplatePolicy(failure_ttl_seconds=60),
        replace(RUNNING, job_status="failed"),
        Stop(reason=StopReason.FAILURE_TTL),
    ),
    "its start failed just now": (
        TemplatePolicy(failure_ttl_seconds=61),
        replace(RUNNING, job_status="failed"),
        None,
    ),
    "it starts": (
        KEEP,
        replace(STOPPED, autostart=MORNINGS, next_start_at=NOW),
        Start(next_start_at=TOMORROW),
    ),
    "it starts soon": (KEEP, replace(STOPPED, autostart=MORNINGS, next_start_at=SOON), None),
    "it runs when it should start": (
        KEEP,
        replace(RUNNING, autostart=MORNINGS, next_start_at=NOW),
        PlanStart(next_start_at=TOMORROW),
    ),
    "its start is too late": (
        KEEP,
        replace(
            STOPPED,
            autostart=MORNINGS,
            next_start_at=NOW - START_LATE_MAX - timedelta(seconds=1),
        ),
        PlanStart(next_start_at=TOMORROW),
    ),
    "its start failed and comes again": (
        KEEP,
        replace(RUNNING, job_status="failed", autostart=MORNINGS, next_start_at=NOW),
        Start(next_start_at=TOMORROW),
    ),
    "its template allows no autostart": (
        TemplatePolicy(is_autostart_allowed=False),
        replace(STOPPED, autostart=MORNINGS, next_start_at=NOW),
        None,
    ),
    "its owner may not log in": (
        KEEP,
        replace(STOPPED, autostart=MORNINGS, next_start_at=NOW, is_owner_active=False),
        None,
    ),
    "its deletion failed and it should start": (
        KEEP,
        replace(
            STOPPED,
            transition="delete",
            job_status="failed",
            autostart=MORNINGS,
            next_start_at=NOW,
        ),
        None,
    ),
    "nobody uses it": (
        TemplatePolicy(dormant_after_seconds=DAY, delete_dormant_after_seconds=DAY),
        replace(RUNNING, used_at=NOW - timedelta(days=1)),
        MarkDormant(deleting_at=TOMORROW),
    ),
    "nobody uses it and it stays": (
        TemplatePolicy(dormant_after_seconds=DAY),
        replace(RUNNING, used_at=NOW - timedelta(days=1)),
        MarkDormant(deleting_at=None),
    ),
    "it is dormant and runs": (
        KEEP,
        replace(RUNNING, used_at=PAST, dormant_at=NOW),
        Stop(reason=StopReason.DORMANCY),
    ),
    "it is dormant and should start": (
        KEEP,
        replace(STOPPED, dormant_at=NOW, autostart=MORNINGS, next_start_at=NOW),
        None,
    ),
    "it is dormant and was used": (
        KEEP,
        replace(STOPPED, used_at=NOW, dormant_at=PAST, deleting_at=PAST),
        Wake(),
    ),
    "it was dormant for long enough": (
        KEEP,
        replace(STOPPED, dormant_at=NOW, deleting_at=NOW),
        Delete(),
    ),
    "its deletion failed lately": (
        KEEP,
        replace(STOPPED, transition="delete", job_status="failed", dormant_at=NOW, deleting_at=NOW),
        None,
    ),
    "it has been deleted": (
        KEEP,
        replace(
            STOPPED,
            transition="delete",
            job_status="succeeded",
            used_at=PAST,
            dormant_at=NOW,
            deleting_at=NOW,
        ),
        None,
    ),
    "its deletion failed an hour ago": (
        KEEP,
        replace(
            STOPPED,
            transition="delete",
            job_status="failed",
            used_at=PAST,
            dormant_at=NOW,
            deleting_at=NOW,
            finished_at=NOW - RETRY_AFTER,
        ),
        Delete(),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_table(case: str) -> None:
    policy, workspace, expected = CASES[case]
    assert decide(policy, workspace, NOW) == expected


seconds = st.sampled_from([0, 60, 3600, DAY])
moments = st.none() | st.sampled_from(
    [NOW + timedelta(hours=hours) for hours in (-50, -2, -0.5, 0, 0.5, 50)]
)
policies = st.builds(
    TemplatePolicy,
    dormant_after_seconds=seconds,
    delete_dormant_after_seconds=seconds,
    failure_ttl_seconds=seconds,
    is_autostart_allowed=st.booleans(),
)
workspaces = st.builds(
    WorkspaceFacts,
    transition=st.sampled_from(["start", "stop", "delete"]),
    job_status=st.sampled_from(["pending", "running", "canceling", "succeeded", "failed"]),
    finished_at=moments,
    used_at=moments.map(lambda at: at or NOW),
    is_owner_active=st.booleans(),
    autostart=st.none() | st.just(MORNINGS),
    next_start_at=moments,
    deadline_at=moments,
    dormant_at=moments,
    deleting_at=moments,
)


@given(policy=policies, workspace=workspaces)
def test_nothing_is_done_while_a_build_is_under_way(
    policy: TemplatePolicy, workspace: WorkspaceFacts
) -> None:
    for status in ("pending", "running", "canceling"):
        assert decide(policy, replace(workspace, job_status=status), NOW) is None


@given(policy=policies, workspace=workspaces, fails=st.booleans())
def test_doing_what_is_due_comes_to_an_end(
    policy: TemplatePolicy, workspace: WorkspaceFacts, fails: bool
) -> None:
    """Every action changes something, and a few of them settle any workspace, even if each build
    fails.
    """
    workspace = replace(workspace, job_status="succeeded")
    for _ in range(6):
        action = decide(policy, workspace, NOW)
        if action is None:
            return
        changed = carry_out(workspace, action, "failed" if fails else "succeeded")
        assert changed != workspace
        workspace = changed
        if isinstance(action, Delete) and not fails:
            return
    raise AssertionError(workspace)


def carry_out(workspace: WorkspaceFacts, action: Action, ended: str) -> WorkspaceFacts:
    """The workspace after an action whose build ended so."""
    built = replace(workspace, job_status=ended, finished_at=NOW)
    stopped = None if ended == "succeeded" else workspace.deadline_at
    match action:
        case Start(next_start_at=next_start_at):
            return replace(built, transition="start", next_start_at=next_start_at, deadline_at=None)
        case PlanStart(next_start_at=next_start_at):
            return replace(workspace, next_start_at=next_start_at)
        case Stop():
            return replace(built, transition="stop", deadline_at=stopped)
        case MarkDormant(deleting_at=deleting_at):
            return replace(workspace, dormant_at=NOW, deleting_at=deleting_at)
        case Wake():
            return replace(workspace, dormant_at=None, deleting_at=None)
        case Delete():
            return replace(built, transition="delete")
