"""Events: what other releases write is read, what strangers write is refused."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import EventInvalid
from bus.events import (
    EVENT_BYTES_MAX,
    Event,
    JobPosted,
    PoolChanged,
    PrebuildClaimed,
    WorkspaceChanged,
    decode_claim,
    decode_job_posted,
    decode_pool_changed,
    decode_workspace_changed,
    encode_event,
)
from bus.subjects import claims_subject, pools_changed_subject, workspaces_changed_subject

WORKSPACE = "6f1c1bc2-98a3-4cc7-9f4e-6f5ee0c5b000"
OWNER = "6f1c1bc2-98a3-4cc7-9f4e-6f5ee0c5b001"
CLAIM = "6f1c1bc2-98a3-4cc7-9f4e-6f5ee0c5b002"
SUBJECT = claims_subject(WORKSPACE)
CLAIMED = PrebuildClaimed(
    workspace_id=WORKSPACE, owner_id=OWNER, reason="prebuild_claimed", claim_id=CLAIM
)


def claim_payload(**changes: object) -> bytes:
    fields: dict[str, object] = {
        "version": 1,
        "workspace_id": WORKSPACE,
        "owner_id": OWNER,
        "reason": "prebuild_claimed",
        "claim_id": CLAIM,
    }
    return json.dumps(fields | changes).encode()


def test_a_claim_is_written_as_deployed_peers_read_it() -> None:
    assert json.loads(encode_event(CLAIMED)) == json.loads(claim_payload())
    assert encode_event(CLAIMED, raw=True) == b"prebuild_claimed"


def test_every_event_is_read_back() -> None:
    job = JobPosted(job_id=CLAIM, provisioner_type="terraform")
    pool = PoolChanged(preset_id=WORKSPACE, reason="claimed")
    workspace = WorkspaceChanged(workspace_id=WORKSPACE)
    assert decode_claim(SUBJECT, encode_event(CLAIMED)) == CLAIMED
    assert decode_job_posted(encode_event(job)) == job
    assert decode_pool_changed(pools_changed_subject(WORKSPACE), encode_event(pool)) == pool
    subject = workspaces_changed_subject(WORKSPACE)
    assert decode_workspace_changed(subject, encode_event(workspace)) == workspace


@pytest.mark.parametrize(
    "event",
    [
        JobPosted(job_id=CLAIM, provisioner_type="terraform"),
        PoolChanged(preset_id=WORKSPACE, reason="claimed"),
        WorkspaceChanged(workspace_id=WORKSPACE),
    ],
)
def test_only_claims_have_a_raw_form(event: Event) -> None:
    with pytest.raises(ValueError, match="only claims"):
        encode_event(event, raw=True)


def test_a_raw_reason_is_a_claim_of_the_workspace_in_the_subject() -> None:
    expected = PrebuildClaimed(workspace_id=WORKSPACE, reason="prebuild_claimed")
    assert decode_claim(SUBJECT, b"prebuild_claimed") == expected


@pytest.mark.parametrize(
    "payload", [b"", b"null", b"7", b'"x"', b"[1,2]", b"{not json", b"1" * 5000]
)
def test_anything_short_that_is_no_object_is_a_raw_reason(payload: bytes) -> None:
    if len(payload) > 256:
        with pytest.raises(EventInvalid):
            decode_claim(SUBJECT, payload)
    else:
        expected = PrebuildClaimed(workspace_id=WORKSPACE, reason=payload.decode())
        assert decode_claim(SUBJECT, payload) == expected


def test_a_newer_version_with_unknown_fields_is_read() -> None:
    payload = claim_payload(version=7, colour="blue", nested={"a": [1]})
    assert decode_claim(SUBJECT, payload) == CLAIMED


def test_missing_fields_are_empty() -> None:
    expected = PrebuildClaimed(workspace_id=WORKSPACE)
    assert decode_claim(SUBJECT, b"{}") == expected


@pytest.mark.parametrize(
    "payload",
    [
        claim_payload(version="1"),
        claim_payload(version=True),
        claim_payload(version=0),
        claim_payload(workspace_id=7),
        claim_payload(workspace_id=OWNER),
        claim_payload(workspace_id="not an id"),
        claim_payload(owner_id=["x"]),
        claim_payload(owner_id="../../etc"),
        claim_payload(reason={"a": 1}),
        claim_payload(reason="x" * 300),
        claim_payload(reason="two\nlines"),
        claim_payload(claim_id="1"),
        claim_payload(padding="x" * EVENT_BYTES_MAX),
        b"\xff\xfe\x00",
        b"line\nline",
        b"[" * 8000,
        b'{"a":' * 1000,
        b'{"a":' + b"[" * 100 + b"]" * 100 + b"}",
        b"x" * (EVENT_BYTES_MAX + 1),
    ],
)
def test_hostile_claims_are_refused(payload: bytes) -> None:
    with pytest.raises(EventInvalid):
        decode_claim(SUBJECT, payload)


@pytest.mark.parametrize("payload", [b"", b"[]", b"x", b'{"job_id":"x"}', b'{"version":null}'])
def test_hostile_jobs_are_refused(payload: bytes) -> None:
    with pytest.raises(EventInvalid):
        decode_job_posted(payload)


@given(st.binary(max_size=300))
def test_no_payload_breaks_the_reader(payload: bytes) -> None:
    try:
        claimed = decode_claim(SUBJECT, payload)
    except EventInvalid:
        return
    assert claimed.workspace_id == WORKSPACE
    assert claimed.owner_id == "" or UUID(claimed.owner_id)


@given(
    st.dictionaries(
        st.sampled_from(["version", "workspace_id", "owner_id", "reason", "claim_id", "other"]),
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text())
        ),
    )
)
def test_no_object_breaks_the_reader(fields: dict[str, object]) -> None:
    try:
        claimed = decode_claim(SUBJECT, json.dumps(fields).encode())
    except EventInvalid:
        return
    assert claimed.workspace_id == WORKSPACE
