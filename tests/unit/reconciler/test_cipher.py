"""What lies in the database tells nothing, and tells when it was tampered with."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.store.cipher import StateCipher, cipher_from_text
from svckit.errors import FailedPrecondition, InvalidArgument

OLD, NEW = b"o" * 32, b"n" * 32
MINE, OTHERS = UUID(int=1), UUID(int=2)
TFSTATE = b'{"token": "a very secret token"}'


@given(st.binary(max_size=200))
def test_what_was_sealed_is_what_is_opened(plain: bytes) -> None:
    cipher = StateCipher([NEW])
    assert cipher.open(cipher.seal(plain, MINE), MINE) == plain


def test_nothing_of_it_is_in_clear_and_no_two_are_alike() -> None:
    cipher = StateCipher([NEW])
    first, second = (cipher.seal(TFSTATE, MINE) for _ in range(2))
    assert first != second
    assert b"token" not in first


def test_the_first_key_seals_and_every_key_opens() -> None:
    before = StateCipher([OLD]).seal(TFSTATE, MINE)
    both = StateCipher([NEW, OLD])
    assert both.open(before, MINE) == TFSTATE
    after = both.seal(TFSTATE, MINE)
    assert StateCipher([NEW]).open(after, MINE) == TFSTATE
    with pytest.raises(FailedPrecondition) as refused:
        StateCipher([OLD]).open(after, MINE)
    assert refused.value.reason == "STATE_KEY_UNKNOWN"
    headers = [before[:16], after[:16], TFSTATE[:16], b""]
    assert [cipher.count_unreadable(headers) for cipher in (both, StateCipher([NEW]))] == [0, 1]


def test_a_row_from_before_there_was_a_key_is_read_as_it_is() -> None:
    plain = StateCipher([])
    assert (plain.is_plain, StateCipher([NEW]).is_plain) == (True, False)
    assert plain.seal(TFSTATE, MINE) == TFSTATE
    assert StateCipher([NEW]).open(TFSTATE, MINE) == TFSTATE
    with pytest.raises(FailedPrecondition, match="state_key_file"):
        plain.open(StateCipher([NEW]).seal(TFSTATE, MINE), MINE)


def test_one_workspaces_tfstate_is_not_taken_for_anothers() -> None:
    cipher = StateCipher([NEW])
    with pytest.raises(FailedPrecondition, match="is damaged in the database, or another's"):
        cipher.open(cipher.seal(TFSTATE, MINE), OTHERS)


@given(st.data())
def test_a_change_anywhere_is_found(data: st.DataObject) -> None:
    cipher = StateCipher([NEW])
    sealed = bytearray(cipher.seal(TFSTATE, MINE))
    at = data.draw(st.integers(5, len(sealed) - 1))  # behind the mark
    sealed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FailedPrecondition):
        cipher.open(bytes(sealed), MINE)


@pytest.mark.parametrize("length", range(5, 37))
def test_a_cut_is_found(length: int) -> None:
    cipher = StateCipher([NEW])
    with pytest.raises(FailedPrecondition):
        cipher.open(cipher.seal(TFSTATE, MINE)[:length], MINE)


def test_a_key_file_is_lines_of_secrets() -> None:
    new, old = "n" * 43, "o" * 43
    sealed = cipher_from_text(f"\n{old}\n").seal(TFSTATE, MINE)
    rotated = cipher_from_text(f"# exchanged in May\n  {new}  \n\n{old}\n")
    assert rotated.open(sealed, MINE) == TFSTATE
    with pytest.raises(FailedPrecondition):
        cipher_from_text(old).open(rotated.seal(TFSTATE, MINE), MINE)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "state_key_file: empty; it needs a line with a random secret"),
        ("# nothing\n", "state_key_file: empty; it needs a line with a random secret"),
        (
            "k" * 43 + "\nhunter2",
            "state_key_file: line 2 has 7 characters; at least 32 random ones are needed",
        ),
    ],
)
def test_a_weak_key_file_is_refused_without_telling_it(text: str, complaint: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        cipher_from_text(text)
    assert str(refused.value) == complaint
