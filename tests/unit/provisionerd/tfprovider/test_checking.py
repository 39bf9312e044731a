"""Configurations that are wrong are refused with the attribute, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from provisionerd.tfprovider.catalog import DATA_SOURCES, RESOURCES
from provisionerd.tfprovider.checking import check_config
from provisionerd.tfprovider.cty import UNKNOWN, Value
from provisionerd.tfprovider.schema import Object, Problem

Configure = Callable[..., Object]
KINDS = {**RESOURCES, **DATA_SOURCES}
AGENT: dict[str, Value] = {"os": "linux", "arch": "amd64"}
APP: dict[str, Value] = {"agent_id": "a", "slug": "app"}
SCRIPT: dict[str, Value] = {"agent_id": "a", "display_name": "d", "script": "true"}
PRESET: dict[str, Value] = {"name": "p"}


def prebuilds(**values: Value) -> dict[str, Value]:
    return {**PRESET, "prebuilds": ({"instances": 1, **values},)}


def scheduling(*crons: str, timezone: str = "UTC") -> dict[str, Value]:
    schedule = tuple({"cron": cron, "instances": 1} for cron in crons)
    return prebuilds(scheduling=({"timezone": timezone, "schedule": schedule},))


WRONG: list[tuple[str, dict[str, Value], str]] = [
    (
        "coder_agent",
        AGENT | {"arch": "x86"},
        'arch is "x86"; it must be one of "amd64", "armv7", "arm64".',
    ),
    ("coder_agent", AGENT | {"os": "plan9"}, 'os is "plan9"; it must be one of "linux", "darwin"'),
    ("coder_agent", AGENT | {"auth": "none"}, 'auth is "none"; it must be one of "token", '),
    (
        "coder_agent",
        AGENT | {"connection_timeout": -1},
        "connection_timeout is -1; it must be 0 or more.",
    ),
    (
        "coder_agent",
        AGENT | {"metadata": ({"key": "k"}, {"key": "k"})},
        'metadata.1.key is "k", as in an earlier metadata block; each needs its own.',
    ),
    (
        "coder_agent",
        AGENT | {"resources_monitoring": ({"memory": ({"threshold": 101},)},)},
        "resources_monitoring.memory.threshold is 101; it must be between 0 and 100.",
    ),
    (
        "coder_agent",
        AGENT | {"resources_monitoring": ({"volume": ({"path": "home"},)},)},
        'resources_monitoring.volume.path is "home"; it must be an absolute path.',
    ),
    (
        "coder_agent",
        AGENT | {"resources_monitoring": ({"volume": ({"path": "/h"}, {"path": "/h"})},)},
        'resources_monitoring.volume.path is "/h" more than once',
    ),
    (
        "coder_app",
        APP | {"slug": "My_App"},
        'slug is "My_App"; it must be lower-case letters, digits and single hyphens inside',
    ),
    ("coder_app", APP | {"slug": "a\n"}, "slug is "),
    ("coder_app", APP | {"share": "all"}, 'share is "all"; it must be one of "owner", "auth'),
    ("coder_app", APP | {"open_in": "window"}, 'it must be one of "tab", "slim-window".'),
    (
        "coder_app",
        APP | {"display_name": "x" * 65},
        "display_name is 65 characters long; at most 64 are allowed.",
    ),
    ("coder_app", APP | {"command": "a", "url": "b"}, "command and url are both set"),
    ("coder_app", APP | {"external": True, "share": "owner"}, "external and share are both set"),
    (
        "coder_app",
        APP | {"command": "a", "healthcheck": ({"url": "u"},)},
        "command and healthcheck are both set",
    ),
    ("coder_app", APP | {"hidden": True, "icon": "/i"}, "nobody will see icon"),
    ("coder_script", SCRIPT, "None of run_on_start, run_on_stop and cron is set"),
    (
        "coder_script",
        SCRIPT | {"run_on_stop": True, "start_blocks_login": True},
        "start_blocks_login is true, run_on_start is not",
    ),
    ("coder_script", SCRIPT | {"cron": "* * *"}, 'cron is "* * *"; it has 3 fields'),
    (
        "coder_env",
        {"agent_id": "a", "name": "A-B"},
        'name is "A-B"; it must be the name of an environment variable',
    ),
    (
        "coder_env",
        {"agent_id": "a", "name": "A", "merge_strategy": "join"},
        'merge_strategy is "join"; it must be one of "replace", "append", "prepend", "error".',
    ),
    ("coder_devcontainer", {"workspace_folder": ""}, "workspace_folder is empty"),
    ("coder_ai_task", {}, "app_id is not set"),
    ("coder_ai_task", {"app_id": "app"}, 'app_id is "app"; it must be a UUID.'),
    ("coder_metadata", {"item": ({"key": "k"}, {"key": "k"})}, 'item.1.key is "k"'),
    ("coder_parameter", {"name": "p", "type": "int"}, '"string", "number", "bool", "list(string)"'),
    (
        "coder_parameter",
        {"name": "p", "default": "x", "option": ({"name": "A", "value": "a"},)},
        'default is "x"; it must be one of "a".',
    ),
    (
        "coder_parameter",
        {"name": "p", "type": "number", "option": ({"name": "A", "value": "a"},)},
        'option.0.value is "a"; it must be a number.',
    ),
    (
        "coder_parameter",
        {
            "name": "p",
            "option": ({"name": "A", "value": "a"}, {"name": "B", "value": "a"}),
        },
        'option.1.value is "a", as in an earlier option block',
    ),
    (
        "coder_parameter",
        {
            "name": "p",
            "type": "number",
            "default": "1",
            "option": ({"name": "One", "value": "1"}, {"name": "Two", "value": "2"}),
            "validation": ({"min": 2},),
        },
        "default is 1; it must be 2 or more",
    ),
    (
        "coder_parameter",
        {"name": "p", "validation": ({"min": 1},)},
        "validation.min is set on a parameter of type string; it is allowed for type number only.",
    ),
    (
        "coder_parameter",
        {"name": "p", "type": "number", "validation": ({"regex": "1", "error": "e"},)},
        "validation.regex is set on a parameter of type number",
    ),
    (
        "coder_parameter",
        {"name": "p", "validation": ({"regex": "1"},)},
        "validation.regex is set and validation.error is not",
    ),
    (
        "coder_parameter",
        {"name": "p", "type": "number", "validation": ({"monotonic": "up"},)},
        'validation.0.monotonic is "up"; it must be one of "increasing", "decreasing".',
    ),
    (
        "coder_parameter",
        {"name": "p", "ephemeral": True, "mutable": True},
        "ephemeral is true and default is not set",
    ),
    (
        "coder_parameter",
        {"name": "p", "ephemeral": True, "default": "d"},
        "ephemeral is true, mutable is not",
    ),
    (
        "coder_parameter",
        {"name": "p", "type": "bool", "form_type": "slider"},
        'form_type is "slider"; a parameter of type bool without options allows "checkbox", "sw',
    ),
    ("coder_workspace_preset", {"name": ""}, "name is empty; a text is needed."),
    (
        "coder_workspace_preset",
        PRESET | {"parameters": {"region": ""}},
        'parameters has no value for "region"',
    ),
    ("coder_workspace_preset", PRESET | {"description": "x" * 129}, "at most 128 are allowed."),
    (
        "coder_workspace_preset",
        prebuilds(instances=-1),
        "prebuilds.instances is -1; it must be 0 or more.",
    ),
    (
        "coder_workspace_preset",
        prebuilds(expiration_policy=({"ttl": 60},)),
        "prebuilds.expiration_policy.ttl is 60; it must be 0 or between 3600 and 31536000.",
    ),
    (
        "coder_workspace_preset",
        scheduling("* * * * *", timezone="Mars/Olympus"),
        'prebuilds.scheduling.0.timezone is "Mars/Olympus"; it must be an IANA time zone',
    ),
    (
        "coder_workspace_preset",
        scheduling("* * * * *", timezone="../../etc/passwd"),
        "it must be an IANA time zone",
    ),
    (
        "coder_workspace_preset",
        scheduling("5 * * * *"),
        'prebuilds.scheduling.0.schedule.0.cron is "5 * * * *"; its minute field is "5"',
    ),
    (
        "coder_workspace_preset",
        scheduling("* 8-18 * * 1-5", "* 12 * * *"),
        '"* 8-18 * * 1-5" and "* 12 * * *" are open at the same time; schedules must not overlap.',
    ),
    ("coder_secret", {"help_message": "h"}, "Of env and file, neither is set."),
    ("coder_secret", {"help_message": "h", "env": "A", "file": "/a"}, "both are set."),
    ("coder_secret", {"help_message": "h", "file": "a"}, "a path that starts with ~/ or /"),
    ("coder_external_auth", {"id": ""}, "id is empty; a text is needed."),
]


def problems(kind: str, values: dict[str, Value], configure: Configure) -> list[Problem]:
    return list(check_config(KINDS[kind], configure(KINDS[kind], **values)))


@pytest.mark.parametrize(("kind", "values", "detail"), WRONG)
def test_a_wrong_configuration_is_refused_in_so_many_words(
    kind: str, values: dict[str, Value], detail: str, configure: Configure
) -> None:
    (problem,) = problems(kind, values, configure)
    assert detail in problem.detail
    assert problem.severity == ("warning" if "nobody" in detail else "error")


RIGHT: list[tuple[str, dict[str, Value]]] = [
    ("coder_agent", AGENT),
    ("coder_app", APP | {"command": "top"}),
    ("coder_app", APP | {"url": "https://x", "external": True}),
    ("coder_app", APP | {"external": False, "share": "owner", "hidden": False}),
    ("coder_app", APP | {"url": "http://localhost:1", "subdomain": True, "share": "public"}),
    ("coder_script", SCRIPT | {"cron": "0 0 22 * * *"}),
    ("coder_parameter", {"name": "p", "type": "number", "default": "3"}),
    ("coder_parameter", {"name": "p", "type": "number", "validation": ({"min": 1, "error": "e"},)}),
    ("coder_parameter", {"name": "p", "default": "", "option": ({"name": "A", "value": "a"},)}),
    ("coder_workspace_preset", PRESET),
    ("coder_workspace_preset", prebuilds(expiration_policy=({"ttl": 0},))),
    ("coder_workspace_preset", scheduling("* 8-18 * * 1-5", "* 8-14 * * 6", timezone="Asia/Tokyo")),
    ("coder_secret", {"help_message": "h", "file": "~/.aws/credentials"}),
]


@pytest.mark.parametrize(("kind", "values"), RIGHT)
def test_a_right_configuration_passes(
    kind: str, values: dict[str, Value], configure: Configure
) -> None:
    assert problems(kind, values, configure) == []


@pytest.mark.parametrize("name", KINDS)
def test_what_is_not_known_yet_is_not_judged(name: str, configure: Configure) -> None:
    schema = KINDS[name].schema
    values: dict[str, Value] = {each.name: UNKNOWN for each in (*schema.attributes, *schema.blocks)}
    assert problems(name, values, configure) == []


def test_a_problem_leads_to_its_attribute(configure: Configure) -> None:
    (in_a_list,) = problems(
        "coder_parameter",
        {"name": "p", "type": "number", "validation": ({"monotonic": "up"},)},
        configure,
    )
    assert in_a_list.path == ("validation", 0, "monotonic")
    (in_a_set,) = problems("coder_workspace_preset", prebuilds(instances=-1), configure)
    assert in_a_set.path == ("prebuilds", "instances")
