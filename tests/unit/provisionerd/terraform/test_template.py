"""What a template asks and offers, read from the JSON form of a plan."""

from __future__ import annotations

import json

import pytest

from provisionerd.core.errors import ProvisionError, TemplateInvalid
from provisionerd.core.provisioner import (
    ImportResult,
    Option,
    Parameter,
    Prebuilds,
    Preset,
    Schedule,
)
from provisionerd.terraform.template import read_template

Json = dict[str, object]


def _a_source(type_: str, address: str = "x", **values: object) -> Json:
    return {"address": f"data.{type_}.{address}", "type": type_, "mode": "data", "values": values}


def _a_plan(*sources: Json, nested: tuple[Json, ...] = (), agents: tuple[str, ...] = ()) -> bytes:
    made: list[Json] = [{"type": "coder_agent", "name": name, "values": {}} for name in agents]
    child = {"address": "module.m", "resources": list(nested)}
    return json.dumps(
        {
            "format_version": "1.2",
            "prior_state": {
                "values": {"root_module": {"resources": list(sources), "child_modules": [child]}}
            },
            "planned_values": {"root_module": {"child_modules": [{"resources": made}]}},
        }
    ).encode()


def test_parameters_presets_and_agents_are_read_at_any_depth() -> None:
    plan = _a_plan(
        _a_source(
            "coder_parameter",
            name="size",
            type="string",
            display_name="Size",
            default="small",
            mutable=False,
            ephemeral=False,
            optional=True,
            order=2,
            option=[
                {"name": "Small", "value": "small", "description": "", "icon": ""},
                {"name": "Large", "value": "large", "description": "more", "icon": ""},
            ],
            validation=[],
        ),
        _a_source(
            "coder_workspace_preset",
            name="Standard",
            default=True,
            description=None,
            icon=None,
            parameters={"size": "small"},
            prebuilds=[
                {
                    "instances": 2,
                    "expiration_policy": [{"ttl": 86400}],
                    "scheduling": [
                        {
                            "timezone": "Europe/Oslo",
                            "schedule": [{"cron": "* 8-18 * * 1-5", "instances": 5}],
                        }
                    ],
                }
            ],
        ),
        nested=(
            _a_source(
                "coder_parameter",
                name="cpus",
                type="number",
                default=None,
                mutable=True,
                optional=False,
                order=1,
                option=None,
                validation=[
                    {
                        "min": 1,
                        "max": 0,
                        "min_disabled": False,
                        "max_disabled": True,
                        "monotonic": "increasing",
                        "regex": "",
                        "error": "",
                    }
                ],
            ),
        ),
        agents=("main", "gpu"),
    )
    assert read_template(plan) == ImportResult(
        parameters=(
            Parameter(name="cpus", type="number", mutable=True, minimum=1, monotonic="increasing"),
            Parameter(
                name="size",
                type="string",
                display_name="Size",
                default="small",
                options=(
                    Option(name="Small", value="small"),
                    Option(name="Large", value="large", description="more"),
                ),
            ),
        ),
        presets=(
            Preset(
                name="Standard",
                is_default=True,
                parameters={"size": "small"},
                prebuilds=Prebuilds(
                    instances=2,
                    ttl_seconds=86400,
                    timezone="Europe/Oslo",
                    schedules=(Schedule(cron="* 8-18 * * 1-5", instances=5),),
                ),
            ),
        ),
        agent_names=("main", "gpu"),
    )


def test_a_preset_may_keep_no_pool() -> None:
    (preset,) = read_template(_a_plan(_a_source("coder_workspace_preset", name="Plain"))).presets
    assert preset == Preset(name="Plain")


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (
            _a_plan(_a_source("coder_parameter", name="a"), _a_source("coder_parameter", name="A")),
            "parameter name 'A' is used twice",
        ),
        (
            _a_plan(
                _a_source("coder_workspace_preset", name="a", default=True),
                _a_source("coder_workspace_preset", name="b", default=True),
            ),
            "presets a, b are all default",
        ),
        (_a_plan(agents=("main", "main")), "agent name 'main' is used twice"),
    ],
)
def test_what_must_be_unique_is(plan: bytes, message: str) -> None:
    with pytest.raises(TemplateInvalid, match=message):
        read_template(plan)


def test_half_a_plan_is_an_error_that_may_go_away() -> None:
    with pytest.raises(ProvisionError) as caught:
        read_template(b'{"format')
    assert caught.value.retryable
