"""When a wait is over, and when it never will be."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from warmpool.common.v1.types_pb2 import JobStatus, Transition
from warmpool.control.v1.workspaces_pb2 import Claim, Workspace, WorkspaceAgent, WorkspaceBuild
from warmpool_cli.errors import OperationFailed
from warmpool_cli.flows.waiting import describe_progress, is_built, is_claim_applied

AT = Timestamp(seconds=1)


def a_workspace(
    status: JobStatus.ValueType = JobStatus.JOB_STATUS_SUCCEEDED,
    *,
    number: int = 2,
    claim: Claim | None = None,
    error: str = "",
    reason: str = "claim",
) -> Workspace:
    return Workspace(
        name="web",
        agents=[WorkspaceAgent(name="main")],
        claim=claim,
        latest_build=WorkspaceBuild(
            number=number,
            transition=Transition.TRANSITION_START,
            job_status=status,
            job_error=error,
            reason=reason,
            queue_position=3 if status == JobStatus.JOB_STATUS_PENDING else 0,
            expected_wait_seconds=150 if status == JobStatus.JOB_STATUS_PENDING else 0,
        ),
    )


def test_an_older_build_is_not_the_one_waited_for():
    assert not is_built(3)(a_workspace(number=2))
    assert is_built(2)(a_workspace(number=2))


def test_a_running_build_is_not_done():
    assert not is_built(2)(a_workspace(JobStatus.JOB_STATUS_RUNNING))


def test_a_failed_build_says_why():
    workspace = a_workspace(JobStatus.JOB_STATUS_FAILED, error="no capacity")

    with pytest.raises(OperationFailed) as caught:
        is_built(2)(workspace)

    assert caught.value.cause == "the start build of web failed: no capacity"
    assert caught.value.fix == "read its log with `warmpool logs web`"


def test_a_claim_is_done_when_the_agent_said_so_and_not_before():
    told = Claim(id="c", delivered_at=AT)

    assert not is_claim_applied(a_workspace(claim=told))
    told.applied_at.CopyFrom(AT)
    assert is_claim_applied(a_workspace(claim=told))


def test_a_claimed_workspace_without_agents_is_done_when_it_is_built():
    workspace = a_workspace(claim=Claim(id="c"))
    del workspace.agents[:]

    assert is_claim_applied(workspace)


def test_a_failed_claim_says_why():
    with pytest.raises(OperationFailed) as caught:
        is_claim_applied(a_workspace(claim=Claim(id="c", error="the start script failed")))

    assert caught.value.cause == "the claim of web failed: the start script failed"


@pytest.mark.parametrize(
    ("workspace", "words"),
    [
        (
            a_workspace(JobStatus.JOB_STATUS_PENDING),
            "start build pending, 3 before it, about 2m to wait",
        ),
        (a_workspace(claim=Claim(id="c"), reason="initiator"), "start build succeeded"),
        (
            a_workspace(claim=Claim(id="c")),
            "start build succeeded, agent not told yet (main unspecified)",
        ),
        (
            a_workspace(claim=Claim(id="c", delivered_at=AT)),
            "start build succeeded, agent told, restarting under its new owner",
        ),
    ],
)
def test_progress_is_a_phrase(workspace: Workspace, words: str):
    assert describe_progress(workspace) == words
