"""When an event announces what the agent already runs."""

from __future__ import annotations

import pytest

from agentsdk.core import ReinitEvent
from agentsdk.life import is_duplicate
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
