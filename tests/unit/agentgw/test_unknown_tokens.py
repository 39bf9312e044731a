"""How long a wrong token stays wrong without another look."""

from __future__ import annotations

from agentgw.core.unknown_tokens import UnknownTokens


def test_a_wrong_token_is_one_for_a_while_from_when_it_was_found() -> None:
    tokens = UnknownTokens(keep_seconds=2.0)
    tokens.note(b"a", now_seconds=10.0)
    tokens.note(b"a", now_seconds=11.9)  # looked up at the same time as the first
    assert [tokens.has(b"a", now_seconds=at) for at in (10.0, 11.9, 12.0)] == [True, True, False]
    assert not tokens.has(b"b", now_seconds=10.0)
    tokens.note(b"a", now_seconds=12.0)
    assert tokens.has(b"a", now_seconds=13.9)


def test_it_holds_so_many_and_forgets_the_oldest() -> None:
    tokens = UnknownTokens(keep_seconds=2.0, tokens_max=2)
    for number, token in enumerate((b"a", b"b", b"c")):
        tokens.note(token, now_seconds=float(number) / 10)
    assert [tokens.has(token, now_seconds=0.3) for token in (b"a", b"b", b"c")] == [
        False,
        True,
        True,
    ]
    tokens.note(b"d", now_seconds=9.0)
    assert len(tokens) == 1  # what is over takes no room


def test_it_can_be_told_to_hold_nothing() -> None:
    tokens = UnknownTokens(keep_seconds=0.0)
    tokens.note(b"a", now_seconds=0.0)
    assert not tokens.has(b"a", now_seconds=0.0)
