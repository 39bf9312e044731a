"""What data sources answer, null and empty conventions included."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from provisionerd.tfprovider import ProviderContext, RbacRole
from provisionerd.tfprovider.catalog import DATA_SOURCES
from provisionerd.tfprovider.cty import Value, encode, is_wholly_known
from provisionerd.tfprovider.kinds import Refused
from provisionerd.tfprovider.lifecycle import read_data_source
from provisionerd.tfprovider.schema import Object
from provisionerd.tfprovider.sources.parameter import PARAMETER
from provisionerd.tfprovider.sources.secrets import EXTERNAL_AUTH, SECRET
from provisionerd.tfprovider.sources.workspace import OWNER, WORKSPACE

Configure = Callable[..., Object]
EMPTY = ProviderContext()


def pick(values: Object, *names: str) -> dict[str, Value]:
    return {name: values[name] for name in names}


@pytest.mark.parametrize("name", DATA_SOURCES)
def test_every_answer_is_wholly_known_fits_its_schema_and_stays_the_same(
    name: str, configure: Configure
) -> None:
    source = DATA_SOURCES[name]
    given = {"coder_external_auth": {"id": "gh"}, "coder_git_auth": {"id": "gh"}}.get(name, {})
    config = configure(source, **given)
    values = read_data_source(source, EMPTY, config)
    assert is_wholly_known(values)
    assert encode(source.schema.type(), values)
    assert isinstance(values["id"], str) or name == "coder_workspace_preset"
    assert read_data_source(source, EMPTY, config) == values


@pytest.mark.parametrize(
    ("prebuild", "claim", "expected"),
    [
        (False, False, (False, 0, False)),
        (True, False, (True, 1, False)),
        (False, True, (False, 0, True)),
        (True, True, (False, 0, True)),  # the claim wins
    ],
)
def test_a_workspace_knows_its_stage(
    prebuild: bool, claim: bool, expected: tuple[bool, int, bool], configure: Configure
) -> None:
    context = ProviderContext(is_prebuild=prebuild, is_prebuild_claim=claim)
    values = read_data_source(WORKSPACE, context, configure(WORKSPACE))
    assert (
        values["is_prebuild"],
        values["prebuild_count"],
        values["is_prebuild_claim"],
    ) == expected


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("https://w.example", 443),
        ("http://w.example/sub", 80),
        ("http://w.example:7080", 7080),
        ("https://[::1]:1", 1),
    ],
)
def test_the_access_port_follows_the_url(url: str, port: int, configure: Configure) -> None:
    values = read_data_source(WORKSPACE, ProviderContext(access_url=url), configure(WORKSPACE))
    assert pick(values, "access_url", "access_port") == {"access_url": url, "access_port": port}


def test_a_stopped_workspace_has_no_start_count(configure: Configure) -> None:
    values = read_data_source(WORKSPACE, ProviderContext(transition="stop"), configure(WORKSPACE))
    assert pick(values, "transition", "start_count") == {"transition": "stop", "start_count": 0}


def test_an_owner_without_a_workspace_is_upstreams_placeholder(configure: Configure) -> None:
    values = read_data_source(OWNER, EMPTY, configure(OWNER))
    assert pick(values, "name", "full_name", "email", "login_type", "groups", "session_token") == {
        "name": "default",
        "full_name": "default",
        "email": "default@example.com",
        "login_type": None,
        "groups": (),
        "session_token": "",
    }


def test_an_owner_has_groups_and_roles(configure: Configure) -> None:
    context = ProviderContext(
        owner_groups=("a", "b"), owner_rbac_roles=(RbacRole(name="r", org_id="o"),)
    )
    values = read_data_source(OWNER, context, configure(OWNER))
    assert pick(values, "groups", "rbac_roles") == {
        "groups": ("a", "b"),
        "rbac_roles": ({"name": "r", "org_id": "o"},),
    }


def test_secrets_do_not_show() -> None:
    context = ProviderContext(
        owner_session_token="s3cret",
        owner_ssh_private_key="s3cret",
        agent_tokens={"a": "s3cret"},
        external_auth_tokens={"a": "s3cret"},
        secrets_by_env={"A": "s3cret"},
    )
    assert "s3cret" not in repr(context)


def test_unset_is_null_at_the_top_and_empty_inside(configure: Configure) -> None:
    option = configure(PARAMETER, name="p", option=({"name": "A", "value": "a"},))
    values = read_data_source(PARAMETER, EMPTY, option)
    assert pick(values, "description", "default", "order", "validation", "styling", "type") == {
        "description": None,
        "default": None,
        "order": None,
        "validation": (),
        "styling": "{}",
        "type": "string",
    }
    assert values["option"] == ({"name": "A", "value": "a", "description": "", "icon": ""},)

    bounded = configure(PARAMETER, name="p", type="number", validation=({"min": 0},))
    assert read_data_source(PARAMETER, EMPTY, bounded)["validation"] == (
        {
            "min": 0,
            "max": 0,
            "monotonic": "",
            "regex": "",
            "error": "",
            "min_disabled": False,
            "max_disabled": True,
        },
    )


@pytest.mark.parametrize(
    ("default", "given", "expected"),
    [
        (None, None, ("", False)),
        ("d", None, ("d", True)),
        ("", None, ("", True)),
        ("d", "g", ("g", True)),
        (None, "g", ("g", False)),
        ("d", "", ("", True)),
    ],
)
def test_a_given_value_wins_over_the_default(
    default: str | None, given: str | None, expected: tuple[str, bool], configure: Configure
) -> None:
    context = ProviderContext(parameters={} if given is None else {"p": given})
    values = read_data_source(PARAMETER, context, configure(PARAMETER, name="p", default=default))
    assert (values["value"], values["optional"]) == expected


@pytest.mark.parametrize(
    ("type_", "with_options", "form"),
    [
        ("string", False, "input"),
        ("string", True, "radio"),
        ("number", False, "input"),
        ("bool", False, "checkbox"),
        ("list(string)", False, "tag-select"),
        ("list(string)", True, "radio"),
    ],
)
def test_the_form_follows_the_type(
    type_: str, with_options: bool, form: str, configure: Configure
) -> None:
    options = ({"name": "A", "value": "1"},) if with_options else ()
    config = configure(PARAMETER, name="p", type=type_, option=options)
    assert read_data_source(PARAMETER, EMPTY, config)["form_type"] == form


NUMBER = {"type": "number", "default": "5"}
SIZES = ({"name": "S", "value": "small"}, {"name": "L", "value": "large"})


@pytest.mark.parametrize(
    ("config", "value", "complaint"),
    [
        (NUMBER, "five", 'value is "five"; it must be a number.'),
        ({"type": "bool"}, "yes", 'value is "yes"; it must be "true" or "false".'),
        ({"type": "list(string)"}, "a,b", "it must be a JSON list of strings"),
        ({"type": "list(string)"}, "[1]", "it must be a JSON list of strings"),
        ({"option": SIZES}, "huge", 'is "huge"; it must be one of "small", "large".'),
        (NUMBER | {"validation": ({"min": 1, "max": 9},)}, "0", "is 0; it must be 1 or more."),
        (
            NUMBER | {"validation": ({"max": 9, "error": "{value} is over {max}"},)},
            "10",
            "is 10; it must be 9 or less. 10 is over 9",
        ),
        (
            {"validation": ({"regex": "^[a-z]+$", "error": "Lower case, please."},)},
            "A",
            'is "A"; it must match "^[a-z]+$". Lower case, please.',
        ),
        (
            {"validation": ({"regex": "(?=a)", "error": "e"},)},
            "A",
            'cannot be checked: validation.regex "(?=a)" is not an RE2 expression',
        ),
        (
            NUMBER | {"validation": ({"monotonic": "increasing"},)},
            "4",
            "is 4; it must be 5 or more, the value before (increasing).",
        ),
        (
            NUMBER | {"validation": ({"monotonic": "decreasing"},)},
            "6",
            "is 6; it must be 5 or less, the value before (decreasing).",
        ),
        (
            {
                "type": "list(string)",
                "form_type": "multi-select",
                "option": SIZES,
            },
            '["small", "huge"]',
            'is "huge"; it must be one of "small", "large".',
        ),
    ],
)
def test_a_value_that_does_not_fit_is_refused(
    config: dict[str, Value], value: str, complaint: str, configure: Configure
) -> None:
    context = ProviderContext(parameters={"p": value}, previous_parameters={"p": "5"})
    with pytest.raises(Refused) as refused:
        read_data_source(PARAMETER, context, configure(PARAMETER, name="p", **config))
    (problem,) = refused.value.problems
    assert problem.summary == 'Invalid value of parameter "p"'
    assert complaint in problem.detail


@pytest.mark.parametrize(
    ("config", "value"),
    [
        (NUMBER, "1.5"),
        ({"type": "bool"}, "true"),
        ({"type": "list(string)"}, '["a"]'),
        ({"option": SIZES}, "large"),
        ({"type": "list(string)", "form_type": "multi-select", "option": SIZES}, '["large"]'),
        ({"validation": ({"regex": r"^[[:alpha:]]+\z", "error": "e"},)}, "abc"),
        (NUMBER | {"validation": ({"monotonic": "increasing"},)}, "5"),
    ],
)
def test_a_value_that_fits_passes(
    config: dict[str, Value], value: str, configure: Configure
) -> None:
    context = ProviderContext(parameters={"p": value}, previous_parameters={"p": "5"})
    values = read_data_source(PARAMETER, context, configure(PARAMETER, name="p", **config))
    assert values["value"] == value


def test_a_hostile_value_cannot_hold_a_pattern_up(configure: Configure) -> None:
    # exponential for a backtracking engine: this test would not end
    validation = ({"regex": "^(a|aa)+$", "error": "e"},)
    context = ProviderContext(parameters={"p": "a" * 100_000 + "b"})
    with pytest.raises(Refused, match="Invalid value of parameter"):
        read_data_source(PARAMETER, context, configure(PARAMETER, name="p", validation=validation))


def test_external_tokens_come_by_id(configure: Configure) -> None:
    context = ProviderContext(external_auth_tokens={"gh": "t"})
    config = configure(EXTERNAL_AUTH, id="gh")
    assert read_data_source(EXTERNAL_AUTH, context, config)["access_token"] == "t"
    assert read_data_source(EXTERNAL_AUTH, EMPTY, config)["access_token"] == ""


def test_a_missing_secret_stops_a_start_only(configure: Configure) -> None:
    config = configure(SECRET, env="TOKEN", help_message="Add TOKEN in your settings.")
    start = ProviderContext(build_id="b", secrets_by_env={"OTHER": "x"})
    with pytest.raises(Refused, match="Missing required secret") as refused:
        read_data_source(SECRET, start, config)
    assert refused.value.problems[0].detail == "Add TOKEN in your settings."
    for context in (EMPTY, ProviderContext(build_id="b", transition="destroy")):
        assert read_data_source(SECRET, context, config)["value"] == ""
    given = ProviderContext(build_id="b", secrets_by_env={"TOKEN": "x"})
    values = read_data_source(SECRET, given, config)
    assert pick(values, "id", "value") == {"id": "env:TOKEN", "value": "x"}
