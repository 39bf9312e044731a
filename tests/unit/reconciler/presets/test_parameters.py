"""Values of parameters: which ones a build gets, and what is wrong with them."""

from __future__ import annotations

import pytest

from reconciler.core.presets import (
    Parameter,
    ParameterProblem,
    ParametersChecked,
    PatternInvalid,
    check_pattern,
    differs_in_immutable,
    validate_parameters,
)

REGION = Parameter(name="region", options=("eu", "us"), default_value="eu", has_default=True)
SIZE = Parameter(name="size", type="number", is_mutable=True, validation_min=1, validation_max=8)
DISK = Parameter(name="disk", type="number", is_mutable=True, validation_monotonic="increasing")
DEBUG = Parameter(
    name="debug",
    type="bool",
    is_mutable=True,
    is_ephemeral=True,
    default_value="false",
    has_default=True,
)


def problems(parameter: Parameter, value: str, previous: str | None = None) -> list[str]:
    before = None if previous is None else {parameter.name: previous}
    checked = validate_parameters([parameter], {parameter.name: value}, before)
    return [problem.what for problem in checked.problems]


def test_a_first_build_gets_what_is_given_and_defaults() -> None:
    assert validate_parameters([REGION, SIZE, DEBUG], {"size": "4"}) == ParametersChecked(
        {"region": "eu", "size": "4", "debug": "false"}, ()
    )


def test_a_later_build_keeps_what_is_not_given_but_for_what_was_for_one_build() -> None:
    before = {"region": "us", "size": "4", "debug": "true"}
    assert validate_parameters([REGION, SIZE, DEBUG], {"size": "5"}, before) == ParametersChecked(
        {"region": "us", "size": "5", "debug": "false"}, ()
    )


def test_every_problem_is_found_and_named() -> None:
    checked = validate_parameters([REGION, SIZE, DISK], {"region": "mars", "color": "red"})
    assert checked.problems == (
        ParameterProblem("color", 'is unknown; allowed are "disk", "region", "size".'),
        ParameterProblem("region", 'is "mars"; it must be one of "eu", "us".'),
        ParameterProblem("size", "has no value and no default; give it one."),
        ParameterProblem("disk", "has no value and no default; give it one."),
    )
    assert checked.problems[0].field == "parameters.color"
    assert str(checked.problems[1]) == (
        'parameter "region" is "mars"; it must be one of "eu", "us".'
    )


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        ("string", ["", " x ", "1"], []),
        ("number", ["1", "-2.5", "1e3"], ["", "one", " 1", "1_000", "nan", "inf", "١"]),
        ("bool", ["true", "false", "1", "F"], ["", "yes", "tRUE"]),
        ("list(string)", ["[]", '["a"]'], ["", "a", "[1]", '{"a": 1}', "[" * 100_000]),
        ("map", [], ["{}"]),
    ],
)
def test_a_value_is_of_its_type(type_: str, good: list[str], bad: list[str]) -> None:
    parameter = Parameter(name="it", type=type_)
    accepted = [value for value in (*good, *bad) if not problems(parameter, value)]
    assert accepted == good


def test_bounds_are_inclusive_and_explained() -> None:
    explained = Parameter(
        name="it",
        type="number",
        validation_min=1,
        validation_max=8,
        validation_error="From {min} to {max}, not {value}.",
    )
    assert [problems(explained, value) for value in ("0", "1", "8", "8.5")] == [
        ["is 0; it must be 1 or more. From 1 to 8, not 0."],
        [],
        [],
        ["is 8.5; it must be 8 or less. From 1 to 8, not 8.5."],
    ]


def test_a_number_only_moves_in_its_direction() -> None:
    shrinking = Parameter(
        name="it", type="number", is_mutable=True, validation_monotonic="decreasing"
    )
    assert [
        problems(DISK, "10", "20"),
        problems(DISK, "20", "20"),
        problems(DISK, "10"),
        problems(shrinking, "20", "10"),
        problems(shrinking, "5", "10"),
    ] == [
        ["is 10; it must be 20 or more, the value before (increasing)."],
        [],
        [],
        ["is 20; it must be 10 or less, the value before (decreasing)."],
        [],
    ]


def test_a_pattern_is_searched_for_and_cannot_hold_anybody_up() -> None:
    word = Parameter(name="it", validation_regex="^[a-z]+$", validation_error="Lower case.")
    loose = Parameter(name="it", validation_regex="b")
    slow = Parameter(name="it", validation_regex="(a+)+$")
    broken = Parameter(name="it", validation_regex="(")
    assert [
        problems(word, "ab"),
        problems(word, "Ab"),
        problems(loose, "abc"),
        problems(slow, "a" * 50_000 + "b"),
    ] == [
        [],
        ['is "Ab"; it must match "^[a-z]+$". Lower case.'],
        [],
        [f'is "{"a" * 200}…"; it must match "(a+)+$".'],
    ]
    (complaint,) = problems(broken, "x")
    assert complaint.startswith('cannot be checked: its pattern "(" is not an RE2 expression: ')
    with pytest.raises(PatternInvalid, match="is not an RE2 expression"):
        check_pattern(r"(?=look)")


def test_a_list_is_an_option_or_made_of_options() -> None:
    parameter = Parameter(name="it", type="list(string)", options=("a", "b", '["x", "y"]'))
    seen = {value: problems(parameter, value) for value in ('["a"]', '["x", "y"]', "[]", '["x"]')}
    assert [value for value, what in seen.items() if not what] == ['["a"]', '["x", "y"]', "[]"]


def test_an_empty_default_is_nobodys_mistake() -> None:
    parameter = Parameter(
        name="it", type="number", has_default=True, default_value="", validation_min=1
    )
    assert validate_parameters([parameter], {}) == ParametersChecked({"it": ""}, ())
    assert problems(parameter, "") == ['is ""; it must be a number.']


def test_what_cannot_change_is_refused_and_found_before_a_claim() -> None:
    before = {"region": "us", "size": "4"}
    wanted = {"region": "eu", "size": "5"}
    checked = validate_parameters([REGION, SIZE], wanted, before)
    assert checked.problems == (
        ParameterProblem("region", 'is "eu" and was "us"; it cannot change after the first build.'),
    )
    assert differs_in_immutable([REGION, SIZE], wanted, before) == ("region",)
    assert differs_in_immutable([REGION, SIZE], {"size": "5"}, before) == ()
    assert differs_in_immutable([REGION, SIZE], {"region": "us"}, before) == ()
    assert differs_in_immutable([REGION], {"region": "eu"}, {}) == ()
