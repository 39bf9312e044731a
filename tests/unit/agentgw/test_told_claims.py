"""What an agent was told a moment ago is known, and nothing else."""

from __future__ import annotations

from agentgw.core.told_claims import ToldClaims


def test_only_the_newest_claim_of_an_agent_is_known() -> None:
    told = ToldClaims()
    told.note(b"a", "one")
    assert told.has(b"a", "one")
    assert not told.has(b"b", "one")
    told.note(b"a", "two")
    assert (told.has(b"a", "one"), told.has(b"a", "two")) == (False, True)
    assert len(told) == 1


def test_the_oldest_entry_makes_room() -> None:
    told = ToldClaims(claims_max=2)
    for token, claim in ((b"a", "one"), (b"b", "two"), (b"a", "one"), (b"c", "three")):
        told.note(token, claim)
    assert [told.has(*each) for each in ((b"a", "one"), (b"b", "two"), (b"c", "three"))] == [
        True,
        False,
        True,
    ]


def test_without_room_nothing_is_known() -> None:
    told = ToldClaims(claims_max=0)
    told.note(b"a", "one")
    assert not told.has(b"a", "one")
