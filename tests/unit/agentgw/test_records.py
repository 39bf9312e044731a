"""Steps of claims, as the control plane hears of them."""

from __future__ import annotations

from agentgw.core.records import Phase, ReinitRecord
from agentgw.wire.truth import encode_record_reinits


def test_a_step_says_how_long_ago_it_was() -> None:
    records = [
        ReinitRecord(token_hash=b"x" * 32, claim_id="c", phase=phase, at_seconds=at_seconds)
        for phase, at_seconds in ((Phase.DELIVERED, 7.5), (Phase.APPLYING, 9.9996))
    ]
    request = encode_record_reinits(records, now_seconds=10.0)
    assert [(record.delivered, record.age_ms) for record in request.records] == [
        (True, 2500),
        (False, 0),
    ]
