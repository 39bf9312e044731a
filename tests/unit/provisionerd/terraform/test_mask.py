"""Secrets do not get past the masker."""

from __future__ import annotations

from provisionerd.terraform.mask import MASK, Masker


def test_every_secret_is_hidden_wherever_it_stands() -> None:
    masker = Masker(["correct-horse", "battery-staple"])
    assert masker.hide("a correct-horse, a battery-staple") == f"a {MASK}, a {MASK}"


def test_a_secret_inside_a_longer_one_does_not_leave_the_rest_visible() -> None:
    masker = Masker(["correct-horse", "correct-horse-battery"])
    assert masker.hide("correct-horse-battery") == MASK


def test_each_line_of_a_secret_of_several_lines_is_one() -> None:
    masker = Masker(["-----BEGIN-----\nMIIEowIBAAKC\n"])
    assert masker.hide("got MIIEowIBAAKC") == f"got {MASK}"


def test_short_values_are_left_alone() -> None:
    assert Masker(["", "true", "main"]).hide("main is true") == "main is true"


def test_secrets_learned_later_count() -> None:
    masker = Masker()
    assert masker.hide("0123456789") == "0123456789"
    masker.add(["0123456789"])
    assert masker.hide("0123456789") == MASK
