"""When an event announces what the agent already runs, and when a claim was left unfinished."""

from __future__ import annotations

import pytest

from agentsdk.core import ReinitEvent
from agentsdk.life import is_duplicate, is_unfinished
from agentsdk.manifest import Manifest
from agentsdk.memory import NOTHING, ClaimProgress, ClaimRecord

EVENT = ReinitEvent(workspace_id="w", owner_id="alice", reason="r", claim_id="claim-1")


@pytest.mark.parametrize(
    ("claim_id", "owner_id", "progress", "expected"),
    [
        ("claim-1", "alice", ClaimProgress.APPLIED, True),
        ("claim-2", "alice", ClaimProgress.APPLIED, True),
        ("claim-1", "bob", ClaimProgress.APPLIED, True),
        ("claim-2", "bob", ClaimProgress.APPLIED, False),
        ("claim-1", "alice", ClaimProgress.APPLYING, False),
        ("claim-1", "alice", ClaimProgress.FAILED, False),
    ],
)
def test_only_what_was_applied_is_a_duplicate(
    claim_id: str, owner_id: str, progress: ClaimProgress, expected: bool
) -> None:
    record = ClaimRecord(claim_id=claim_id, owner_id=owner_id, progress=progress)
    assert is_duplicate(EVENT, record) is expected


def test_the_first_claim_is_no_duplicate() -> None:
    assert not is_duplicate(EVENT, NOTHING)


@pytest.mark.parametrize(
    ("manifest_claim_id", "progress", "expected"),
    [
        ("claim-1", ClaimProgress.APPLYING, True),
        ("claim-1", ClaimProgress.FAILED, True),
        ("claim-1", ClaimProgress.APPLIED, False),
        ("claim-2", ClaimProgress.APPLYING, False),
        ("", ClaimProgress.APPLYING, False),
    ],
)
def test_a_claim_is_unfinished_if_its_manifest_is_here_and_its_end_is_not(
    manifest_claim_id: str, progress: ClaimProgress, expected: bool
) -> None:
    manifest = Manifest(
        agent_id="a",
        agent_name="main",
        workspace_id="w",
        workspace_name="dev",
        owner_id="alice",
        owner_name="alice",
        is_prebuild=False,
        claim_id=manifest_claim_id,
    )
    earlier = ClaimRecord(claim_id="claim-1", owner_id="alice", progress=progress)
    assert is_unfinished(earlier, manifest) is expected
    assert not is_unfinished(NOTHING, manifest)
