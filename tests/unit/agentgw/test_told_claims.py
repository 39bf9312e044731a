"""What an agent was told a moment ago is known, and nothing else."""

from __future__ import annotations

from agentgw.core.told_claims import ToldClaims


def test_only_the_newest_claim_of_an_agent_is_known() -> None:
    told = ToldClaims()
    told.note(b"a", "one")
    assert not told.take(b"b", "one")
    told.note(b"a", "two")
    assert len(told) == 1
    assert (told.take(b"a", "one"), told.take(b"a", "two")) == (False, True)


def test_it_is_known_once() -> None:
    told = ToldClaims()
    told.note(b"a", "one")
    assert [told.take(b"a", "one") for _ in range(2)] == [True, False]
    assert len(told) == 0


def test_the_oldest_entry_makes_room() -> None:
    told = ToldClaims(claims_max=2)
    for token, claim in ((b"a", "one"), (b"b", "two"), (b"a", "one"), (b"c", "three")):
        told.note(token, claim)
    assert [told.take(*each) for each in ((b"a", "one"), (b"b", "two"), (b"c", "three"))] == [
        True,
        False,
        True,
    ]


def test_without_room_nothing_is_known() -> None:
    told = ToldClaims(claims_max=0)
    told.note(b"a", "one")
    assert not told.take(b"a", "one")
