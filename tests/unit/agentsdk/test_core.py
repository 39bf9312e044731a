"""Every thing a reinit stream can say, and what the agent decides."""

from __future__ import annotations

import grpc
import pytest

from agentsdk.core import (
    PACES,
    AskAgain,
    Decision,
    Deliver,
    Heard,
    Heartbeat,
    OpenAnother,
    Pace,
    ReadOn,
    Reconnect,
    ReinitEvent,
    ReinitSettled,
    StreamEnded,
    StreamSilent,
    UnknownFrame,
    decide,
    is_worth_repeating,
)

EVENT = ReinitEvent(workspace_id="w", owner_id="o", reason="prebuild_claimed", claim_id="c")


@pytest.mark.parametrize(
    ("heard", "decision"),
    [
        (Heartbeat(interval_seconds=15.0), ReadOn()),
        (UnknownFrame(), ReadOn()),
        (EVENT, Deliver(event=EVENT)),
        (
            ReinitEvent(workspace_id="w", owner_id="o", reason="r", claim_id=""),
            AskAgain(pace=Pace.SLOW),
        ),
        (Reconnect(after_seconds=1.5), OpenAnother(after_seconds=1.5)),
        (StreamSilent(), AskAgain(pace=Pace.FAST)),
        (StreamEnded(code="OK"), AskAgain(pace=Pace.FAST)),
        (StreamEnded(code="CANCELLED"), AskAgain(pace=Pace.FAST)),
        (StreamEnded(code="UNAVAILABLE"), AskAgain(pace=Pace.FAST)),
        (
            StreamEnded(code="UNAVAILABLE", retry_after_seconds=7.0),
            AskAgain(pace=Pace.FAST, not_before_seconds=7.0),
        ),
        (
            StreamEnded(code="UNAVAILABLE", retry_after_seconds=-7.0),
            AskAgain(pace=Pace.FAST, not_before_seconds=0.0),
        ),
        (
            StreamEnded(code="FAILED_PRECONDITION", reason="NOT_A_PREBUILD"),
            ReinitSettled(reason="NOT_A_PREBUILD"),
        ),
        (
            StreamEnded(code="FAILED_PRECONDITION", reason="CLAIM_ALREADY_APPLIED"),
            ReinitSettled(reason="CLAIM_ALREADY_APPLIED"),
        ),
        (
            StreamEnded(code="FAILED_PRECONDITION", reason="CLAIM_BUILD_FAILED"),
            AskAgain(pace=Pace.SLOW, alive=True),
        ),
        (StreamEnded(code="FAILED_PRECONDITION"), AskAgain(pace=Pace.SLOW, alive=True)),
        (StreamEnded(code="UNAVAILABLE", reason="NOT_A_PREBUILD"), AskAgain(pace=Pace.FAST)),
        (StreamEnded(code="UNAUTHENTICATED"), AskAgain(pace=Pace.SLOW)),
        (StreamEnded(code="A_CODE_OF_TOMORROW"), AskAgain(pace=Pace.SLOW)),
    ],
)
def test_each_thing_heard_has_its_decision(heard: Heard, decision: Decision) -> None:
    assert decide(heard, was_accepted=True) == decision


def test_a_token_that_was_never_accepted_is_tried_again_soon() -> None:
    heard = StreamEnded(code="UNAUTHENTICATED")
    assert decide(heard, was_accepted=False) == AskAgain(pace=Pace.FAST)


def test_every_status_code_has_a_pace() -> None:
    assert set(PACES) == {code.name for code in grpc.StatusCode}


def test_only_refusals_that_no_time_mends_are_final() -> None:
    assert {code for code in PACES if not is_worth_repeating(code)} == {
        "ALREADY_EXISTS",
        "FAILED_PRECONDITION",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
    }
