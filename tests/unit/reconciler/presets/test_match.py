"""Which preset a request means that names none."""

from __future__ import annotations

from itertools import permutations
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.presets import PresetChoice, match_preset


def a_preset(name: str, *, is_default: bool = False, **parameters: str) -> PresetChoice:
    return PresetChoice(
        preset_id=UUID(bytes=name.encode().ljust(16)),
        name=name,
        is_default=is_default,
        parameters=parameters,
    )


PRESETS = (
    a_preset("plain"),
    a_preset("paris", region="eu"),
    a_preset("paris-big", region="eu", size="big"),
    a_preset("big", size="big", is_default=True),
    a_preset("boston", region="us"),
    a_preset("austin", region="us"),
)


@pytest.mark.parametrize(
    ("given_values", "expected"),
    [
        ({}, "plain"),
        ({"region": "asia"}, "plain"),
        ({"region": "eu"}, "paris"),
        ({"region": "eu", "size": "big", "extra": "1"}, "paris-big"),
        ({"region": "us", "size": "big"}, "big"),  # one value each: the default one
        ({"region": "us"}, "austin"),  # one value each: by name
    ],
)
def test_the_largest_match_wins_in_any_order(given_values: dict[str, str], expected: str) -> None:
    found = [match_preset(given_values, order) for order in permutations(PRESETS)]
    assert {choice and choice.name for choice in found} == {expected}


def test_no_match_is_none() -> None:
    assert match_preset({"region": "asia"}, PRESETS[1:]) is None


values = st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), max_size=3)


@given(given_values=values, offered=st.lists(values, max_size=5), default=st.integers(0, 5))
def test_a_match_is_never_beaten(
    given_values: dict[str, str], offered: list[dict[str, str]], default: int
) -> None:
    presets = [
        a_preset(str(index), is_default=index == default, **parameters)
        for index, parameters in enumerate(offered)
    ]
    fitting = [
        preset
        for preset in presets
        if all(given_values.get(key) == value for key, value in preset.parameters.items())
    ]
    found = match_preset(given_values, presets)
    assert (found is None) == (not fitting)
    if found is not None:
        assert found in fitting
        sizes = [len(preset.parameters) for preset in fitting]
        assert len(found.parameters) == max(sizes)
        tied = [preset for preset in fitting if len(preset.parameters) == max(sizes)]
        assert found.is_default or not any(preset.is_default for preset in tied)
