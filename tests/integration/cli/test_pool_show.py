"""pool show: what keeps a pool from being full, and who is in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from testkit.fake_control import FakeControl
from warmpool.common.v1.types_pb2 import JobStatus, Transition
from warmpool.control.v1.pools_pb2 import ListPoolsResponse, Pool, PoolHealth
from warmpool.control.v1.workspaces_pb2 import (
    ListWorkspacesRequest,
    ListWorkspacesResponse,
    Workspace,
    WorkspaceBuild,
)
from warmpool_cli.render.pool import pool_facts

pytestmark = pytest.mark.integration
Cli = Callable[..., Awaitable[Any]]
NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
LIMITED = PoolHealth.POOL_HEALTH_HARD_LIMITED


def at(minutes: float) -> Timestamp:
    moment = Timestamp()
    moment.FromDatetime(NOW + timedelta(minutes=minutes))
    return moment


def a_pool(**changes: Any) -> Pool:
    values: dict[str, Any] = {
        "preset_id": "1",
        "template_name": "demo",
        "version_name": "v1",
        "preset_name": "Standard",
        "organization_name": "default",
        "active": True,
        "health": PoolHealth.POOL_HEALTH_HEALTHY,
        "desired": 2,
        **changes,
    }
    return Pool(**values)


def a_member(name: str, status: JobStatus.ValueType, **changes: Any) -> Workspace:
    build = WorkspaceBuild(
        number=1,
        transition=Transition.TRANSITION_START,
        job_status=status,
        template_version_name="v1",
        job_error="no disk left" if status == JobStatus.JOB_STATUS_FAILED else "",
    )
    values: dict[str, Any] = {
        "preset_name": "Standard",
        "is_prebuild": True,
        "latest_build": build,
        **changes,
    }
    return Workspace(name=name, created_at=at(-5), **values)


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, []),
        (
            {"health": LIMITED, "stop_reason": "builds failed 3 times in a row; it stopped"},
            [
                "builds failed 3 times in a row; it stopped",
                "go on: warmpool pool resume demo Standard",
            ],
        ),
        (
            {"health": LIMITED, "resumed_at": at(-2)},
            [
                "too many failures in a row; the pool stopped until it is resumed",
                "resumed 2m ago: one probe build decides",
            ],
        ),
        (
            {"health": PoolHealth.POOL_HEALTH_VALIDATION_FAILED, "stop_reason": "size is 9"},
            ["size is 9; push a version that mends it"],
        ),
        (
            {"paused": True, "paused_by": "ada", "paused_at": at(-90)},
            ["paused by ada 1h ago; go on: warmpool pool resume demo Standard"],
        ),
        ({"active": False}, ["its version is not active: what is left goes away"]),
        ({"schedule_error": "bad"}, ["its schedules are not used: bad"]),
        ({"delete_failed": 2}, ["2 deletions failed and will be tried again"]),
    ],
)
def test_a_pool_says_why_it_is_not_full(changes: dict[str, Any], reasons: list[str]) -> None:
    facts = pool_facts(a_pool(**changes), NOW, is_all_paused=False)
    assert [value for name, value in facts if name == "why"] == reasons


def test_what_comes_by_itself_is_told_with_its_time() -> None:
    pool = a_pool(backoff_until=at(3), next_change_at=at(60), last_error="no disk left")
    facts = pool_facts(pool, NOW, is_all_paused=True)
    told = {name: value for name, value in facts if name in ("next schedule change", "last error")}
    assert told.pop("next schedule change").endswith("(in 1h)")
    assert told == {"last error": "no disk left"}
    reasons = [value for name, value in facts if name == "why"]
    assert reasons[0] == "everything is paused; go on: warmpool pool resume"
    assert reasons[1].startswith("waits after failures until ")
    assert reasons[1].endswith("(in 3m)")


async def test_members_are_listed_and_a_failed_one_says_why(cli: Cli, control: FakeControl) -> None:
    members = [
        a_member("kept", JobStatus.JOB_STATUS_FAILED),
        a_member("warm", JobStatus.JOB_STATUS_SUCCEEDED),
        a_member("mine", JobStatus.JOB_STATUS_SUCCEEDED, is_prebuild=False),
        a_member("other", JobStatus.JOB_STATUS_SUCCEEDED, preset_name="Large"),
    ]
    control.on("ListPools", ListPoolsResponse(pools=[a_pool(eligible=1, failed=1)]))
    control.on("ListWorkspaces", ListWorkspacesResponse(workspaces=members))

    ran = await cli("pool", "show", "demo", "Standard")

    assert ran.code == 0
    assert "1 of 2" in ran.out
    lines = [line.split() for line in ran.out.splitlines()]
    rows = [line for line in lines if line and line[0] in {w.name for w in members}]
    assert [row[0] for row in rows] == ["kept", "warm"]
    assert rows[0][-3:] == ["no", "disk", "left"]
    assert control.asked(ListWorkspacesRequest) == [
        ListWorkspacesRequest(owner="*", template="demo", include_system=True, page_size=500)
    ]


async def test_a_pool_that_is_not_there_is_not_found(cli: Cli, control: FakeControl) -> None:
    control.on("ListPools", ListPoolsResponse(pools=[a_pool()]))
    control.on("ListWorkspaces", ListWorkspacesResponse())

    ran = await cli("pool", "show", "demo", "Tiny")

    assert (ran.code, ran.err.splitlines()[0]) == (5, "error: template demo has no pool Tiny")


async def test_the_list_says_which_pools_wait_for_somebody_and_why(
    cli: Cli, control: FakeControl
) -> None:
    pools = [
        a_pool(preset_id="2", preset_name="Large", health=LIMITED, stop_reason="it broke"),
        a_pool(preset_id="3", preset_name="Small", paused=True, paused_by="ada", paused_at=at(0)),
        a_pool(),
    ]
    control.on("ListPools", ListPoolsResponse(pools=pools))

    ran = await cli("pool", "list")

    told = [line for line in ran.out.splitlines() if ": " in line]
    assert [line.split(" ", 2)[:2] for line in told] == [
        ["demo/Large:", "it"],
        ["demo/Small:", "paused"],
    ]
