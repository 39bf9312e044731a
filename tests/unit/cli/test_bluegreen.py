"""What the blue/green exercise takes for noticed."""

from __future__ import annotations

import pytest

from agentsdk import AckPhase
from agentsdk.core import Reconnect, ReinitEvent, StreamEnded, StreamSilent
from svckit.system import SystemClock
from warmpool_cli.bluegreen.agents import Notes
from warmpool_cli.bluegreen.crowd import Member, Record
from warmpool_cli.bluegreen.people import People
from warmpool_cli.bluegreen.verdict import GatewayStep, find_faults

GATEWAY = GatewayStep(waiting=3, reconnects=2, claims_heard=1, drain_seconds=1.0)
EVENT = ReinitEvent(workspace_id="w", owner_id="o", reason="claimed", claim_id="c")


def _people(*claims: str) -> People:
    client: object = None  # nobody calls
    return People(
        client=client,  # pyright: ignore[reportArgumentType]
        clock=SystemClock(),
        template="t",
        claimed={f"workspace of {claim}": claim for claim in claims},
    )


def _notes(*, waiting: int = 1, agents: int = 2, errors: dict[str, int] | None = None) -> Notes:
    return Notes(agents=agents, waiting=waiting, applied={"c": 1}, errors=errors or {})


def test_nobody_noticed():
    assert find_faults(_notes(), _people("c"), GATEWAY) == []


@pytest.mark.parametrize(
    ("total", "people", "gateway", "fault"),
    [
        (_notes(waiting=0), _people("c"), GATEWAY, "1 agents without a stream at the end"),
        (
            _notes(),
            _people("c"),
            GatewayStep(waiting=9, reconnects=1, claims_heard=1, drain_seconds=1),
            "7 agents not sent elsewhere by the old gateway",
        ),
        (_notes(), _people("c", "d"), GATEWAY, "1 claims that no agent applied"),
        (_notes(), _people(), GATEWAY, "1 claims that nobody made"),
        (
            Notes(agents=2, waiting=1, applied={"c": 2}),
            _people("c"),
            GATEWAY,
            "1 claims doubled",
        ),
        (_notes(errors={"INTERNAL": 3}), _people("c"), GATEWAY, "3 x INTERNAL"),
    ],
)
def test_somebody_noticed(total: Notes, people: People, gateway: GatewayStep, fault: str):
    assert find_faults(total, people, gateway) == [fault]


def test_a_stream_that_ends_with_ok_and_no_word_is_an_error():
    record = Record()
    told = Member(record).callbacks()

    told.stream_began()
    told.stream_ended(StreamEnded(code="OK"))

    assert sum(record.errors.values()) == 1
    assert Notes(**record.take()).missing == 1  # pyright: ignore[reportArgumentType]


def test_an_agent_that_lost_its_stream_is_missing_until_it_waits_again_or_has_its_answer():
    record = Record()
    told = Member(record).callbacks()
    seen: list[int] = []

    def look() -> None:
        total.add(Notes(**record.take()))  # pyright: ignore[reportArgumentType]
        seen.append(total.missing)

    total = Notes()
    look()
    told.stream_began()
    look()
    told.stream_ended(Reconnect(after_seconds=0.1))
    look()
    told.stream_began()
    look()
    told.stream_ended(EVENT)
    look()
    told.claim_acknowledged("c", AckPhase.APPLIED)
    told.asking_ended("APPLIED")
    look()

    assert seen == [0, 0, 1, 0, 1, 0]
    assert (total.reconnects, total.claims_heard, total.errors_count) == (1, 1, 0)


def test_an_agent_that_no_claim_will_reach_is_not_missing_and_a_silent_stream_is_an_error():
    record = Record()
    told = Member(record).callbacks()

    told.stream_began()
    told.stream_ended(StreamSilent())
    told.stream_ended(StreamEnded(code="FAILED_PRECONDITION", reason="NOT_A_PREBUILD"))
    told.asking_ended("NOT_A_PREBUILD")

    notes = Notes(**record.take())  # pyright: ignore[reportArgumentType]
    assert (notes.missing, notes.errors_count) == (0, 1)
