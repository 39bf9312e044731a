"""What a template may ask and offer, and what its author is told otherwise."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from reconciler.core.imports import find_problems, require_importable, to_rows
from reconciler.core.parameters import read_parameters
from reconciler.core.presets import Parameter
from reconciler.core.templates import (
    ImportedOption,
    ImportedParameter,
    ImportedPrebuilds,
    ImportedPreset,
    ImportedSchedule,
    ImportResult,
)
from svckit.errors import InvalidArgument

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)

REGION = ImportedParameter(
    name="region",
    options=(ImportedOption(name="Paris", value="eu"), ImportedOption(name="Ohio", value="us")),
)
CPUS = ImportedParameter(
    name="cpus",
    type="number",
    default_value="2",
    has_default=True,
    mutable=True,
    validation_min=1,
    validation_max=8,
    validation_monotonic="increasing",
)
SCHEDULES = (
    ImportedSchedule(cron="* 8-17 * * 1-5", instances=5),
    ImportedSchedule(cron="* 8-17 * * 6", instances=1),
)
POOL = ImportedPrebuilds(
    instances=2, ttl_seconds=86400, timezone="Europe/Paris", schedules=SCHEDULES
)
SMALL = ImportedPreset(name="small", is_default=True, parameters={"region": "eu"}, prebuilds=POOL)
GOOD = ImportResult(parameters=(REGION, CPUS), presets=(SMALL,), agent_names=("main", "db"))


def problems(result: ImportResult) -> list[str]:
    return [str(problem) for problem in find_problems(result, NOW)]


def with_pool(**changes: object) -> ImportResult:
    pool = replace(POOL, **changes)  # pyright: ignore[reportArgumentType] - named by tests
    return replace(GOOD, presets=(replace(SMALL, prebuilds=pool),))


def with_parameter(**changes: object) -> ImportResult:
    changed = replace(CPUS, **changes)  # pyright: ignore[reportArgumentType] - named by tests
    return replace(GOOD, parameters=(REGION, changed))


@pytest.mark.parametrize(
    "result",
    [
        GOOD,
        ImportResult(),
        with_pool(instances=0, ttl_seconds=0, timezone="", schedules=()),
        with_pool(ttl_seconds=3600),
        with_pool(ttl_seconds=31_536_000),
        with_pool(instances=1000),
        replace(GOOD, presets=(SMALL, replace(SMALL, name="other", is_default=False))),
    ],
)
def test_a_good_template_has_no_problems(result: ImportResult) -> None:
    assert problems(result) == []
    require_importable(result, NOW)


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        (
            with_pool(ttl_seconds=3599),
            'preset "small".prebuilds.ttl_seconds is 3599;'
            " allowed is 0 for never, or 3600 to 31536000",
        ),
        (
            with_pool(ttl_seconds=31_536_001),
            'preset "small".prebuilds.ttl_seconds is 31536001;'
            " allowed is 0 for never, or 3600 to 31536000",
        ),
        (
            with_pool(instances=-1),
            'preset "small".prebuilds.instances is -1; allowed is 0 to 1000',
        ),
        (
            with_pool(instances=1001),
            'preset "small".prebuilds.instances is 1001; allowed is 0 to 1000',
        ),
        (
            with_pool(timezone="Europe/Atlantis"),
            'preset "small".prebuilds.timezone is "Europe/Atlantis"; allowed is'
            ' an IANA time zone, such as "Europe/Paris" or "UTC"',
        ),
        (
            with_pool(schedules=(ImportedSchedule(cron="* 8 * * 1", instances=-3),)),
            'preset "small".prebuilds.schedules.0.instances is -3; allowed is 0 to 1000',
        ),
        (
            replace(GOOD, presets=(SMALL, replace(SMALL, name="tiny"))),
            "presets has the defaults small, tiny; allowed is at most one",
        ),
        (
            replace(GOOD, presets=(SMALL, replace(SMALL, is_default=False))),
            'presets has "small" 2 times; allowed is each name once',
        ),
        (
            replace(GOOD, presets=(replace(SMALL, name=""),)),
            'presets has the name ""; allowed is 1 to 128 characters',
        ),
        (
            replace(GOOD, agent_names=("main", "main")),
            'agent_names has "main" 2 times; allowed is each name once',
        ),
        (
            replace(GOOD, agent_names=tuple(map(str, range(65)))),
            "agent_names has 65 entries; allowed is at most 64",
        ),
        (
            with_parameter(type="integer"),
            'parameter "cpus".type is "integer";'
            " allowed is one of string, number, bool, list(string)",
        ),
        (
            with_parameter(validation_monotonic="up"),
            'parameter "cpus".validation.monotonic is "up";'
            " allowed is increasing, decreasing or empty",
        ),
        (
            with_parameter(validation_min=9),
            'parameter "cpus".validation.min is 9; allowed is at most validation.max, 8',
        ),
        (
            with_parameter(description="a\0b"),
            "template.parameters.1.description is too long or holds a NUL;"
            " allowed is at most 65536 bytes without a NUL",
        ),
        (
            replace(GOOD, presets=(replace(SMALL, parameters={"region": "eu", "a\0b": ""}),)),
            "a name in template.presets.0.parameters is too long or holds a NUL;"
            " allowed is at most 65536 bytes without a NUL",
        ),
        (
            replace(GOOD, presets=(replace(SMALL, parameters={"region": "mars"}),)),
            'preset "small".parameters.region is "mars"; it must be one of "eu", "us"',
        ),
        (
            replace(GOOD, presets=(replace(SMALL, parameters={}),)),
            'preset "small".parameters.region has no value and no default; give it one',
        ),
        (
            replace(GOOD, presets=(replace(SMALL, parameters={"region": "eu", "disk": "1"}),)),
            'preset "small".parameters.disk is unknown; allowed are "cpus", "region"',
        ),
    ],
)
def test_a_problem_names_its_field_and_what_is_allowed(result: ImportResult, problem: str) -> None:
    assert problems(result) == [problem]


@pytest.mark.parametrize(
    "result",
    [
        with_pool(schedules=(ImportedSchedule(cron="*/5 * * * *", instances=1),)),
        with_pool(schedules=(*SCHEDULES, ImportedSchedule(cron="* 17-20 * * 5", instances=2))),
        with_parameter(type="string", validation_regex="(?=a)", validation_monotonic=""),
    ],
)
def test_what_others_judge_is_told_once(result: ImportResult) -> None:
    assert len(problems(result)) == 1


def test_a_preset_without_a_pool_may_leave_a_value_to_its_user_but_not_give_a_wrong_one() -> None:
    open_preset = replace(SMALL, prebuilds=None, parameters={"cpus": "4"})
    assert problems(replace(GOOD, presets=(open_preset,))) == []
    assert problems(replace(GOOD, presets=(replace(open_preset, parameters={"cpus": "9"}),))) == [
        'preset "small".parameters.cpus is 9; it must be 8 or less'
    ]


def test_every_problem_is_told_in_one_error() -> None:
    bad = replace(with_pool(instances=-1, ttl_seconds=60), agent_names=("a", "a"))
    with pytest.raises(InvalidArgument) as caught:
        require_importable(bad, NOW)
    assert caught.value.reason == "TEMPLATE_INVALID"
    assert caught.value.field == "agent_names"
    assert caught.value.message == (
        'the template cannot be imported: agent_names has "a" 2 times; allowed is each name once.'
        ' preset "small".prebuilds.instances is -1; allowed is 0 to 1000.'
        ' preset "small".prebuilds.ttl_seconds is 60; allowed is 0 for never, or 3600 to 31536000.'
    )


def test_a_flood_of_problems_is_cut_short() -> None:
    presets = tuple(
        replace(SMALL, name=f"p{n}", is_default=False, prebuilds=replace(POOL, instances=-1))
        for n in range(50)
    )
    with pytest.raises(InvalidArgument, match=r"And 30 more\.$"):
        require_importable(replace(GOOD, presets=presets), NOW)


def test_rows_are_read_back_as_the_parameters_builds_are_checked_with() -> None:
    assert read_parameters(to_rows(GOOD.parameters)) == (
        Parameter(name="region", options=("eu", "us")),
        Parameter(
            name="cpus",
            type="number",
            default_value="2",
            has_default=True,
            is_mutable=True,
            validation_min=1,
            validation_max=8,
            validation_monotonic="increasing",
        ),
    )
