"""Plans keep what is known, applies make what is not, refreshes change nothing an agent owns."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from provisionerd.tfprovider import ProviderContext
from provisionerd.tfprovider.catalog import RESOURCES
from provisionerd.tfprovider.context import digest_key
from provisionerd.tfprovider.cty import UNKNOWN, is_wholly_known
from provisionerd.tfprovider.kinds import Dice, Refused, Resource
from provisionerd.tfprovider.lifecycle import (
    apply_change,
    plan_change,
    refresh_resource,
    upgrade_tfstate,
)
from provisionerd.tfprovider.resources.agent import AGENT
from provisionerd.tfprovider.resources.links import AI_TASK, METADATA
from provisionerd.tfprovider.resources.workload import APP, DEVCONTAINER, ENV, SCRIPT
from provisionerd.tfprovider.schema import Object

Configure = Callable[..., Object]
CONTEXT = ProviderContext(access_url="https://warm.example:8443/base/")
A_UUID = "5e4a6b0e-6f0a-4c9e-8a57-0f4f5d3a2b11"


def create(resource: Resource, config: Object, dice: Dice) -> Object:
    planned = plan_change(resource, CONTEXT, None, config)
    new = apply_change(resource, CONTEXT, config, planned, dice)
    assert new is not None
    assert is_wholly_known(new)
    return new


def test_a_new_agent_is_unknown_until_it_is_made(configure: Configure, dice: Dice) -> None:
    config = configure(AGENT, os="linux", arch="amd64")
    planned = plan_change(AGENT, CONTEXT, None, config)
    assert planned is not None
    assert [planned[name] for name in ("id", "token", "init_script")] == [UNKNOWN] * 3
    assert plan_change(AGENT, CONTEXT, None, config) == planned  # Terraform plans twice

    new = apply_change(AGENT, CONTEXT, config, planned, dice)
    assert new is not None
    assert (new["id"], new["token"]) == ("id-1", "token-1")
    assert "https://warm.example:8443/base/}" in str(new["init_script"])
    defaults = {
        "auth": "token",
        "api_key_scope": "all",
        "connection_timeout": 120,
        "startup_script_behavior": "non-blocking",
    }
    assert {name: new[name] for name in defaults} == defaults


def test_display_apps_are_filled_in_when_absent_and_kept_when_given(
    configure: Configure, dice: Dice
) -> None:
    absent = create(AGENT, configure(AGENT, os="linux", arch="amd64"), dice)
    given = create(
        AGENT, configure(AGENT, os="linux", arch="amd64", display_apps=({"vscode": False},)), dice
    )
    all_apps = {
        "vscode": True,
        "vscode_insiders": False,
        "web_terminal": True,
        "ssh_helper": True,
        "port_forwarding_helper": True,
    }
    assert absent["display_apps"] == (all_apps,)
    assert given["display_apps"] == ({**all_apps, "vscode": False},)


def test_a_claim_updates_in_place_and_keeps_id_and_token(configure: Configure, dice: Dice) -> None:
    before = create(AGENT, configure(AGENT, os="linux", arch="amd64", env={"WHO": "pool"}), dice)
    claim = ProviderContext(access_url="https://elsewhere.example", is_prebuild_claim=True)

    refreshed = refresh_resource(AGENT, claim, before)
    assert refreshed == before
    proposed = {**before, "env": {"WHO": "ann"}}
    planned = plan_change(AGENT, claim, refreshed, proposed)
    assert planned == proposed
    config = configure(AGENT, os="linux", arch="amd64", env={"WHO": "ann"})
    assert apply_change(AGENT, claim, config, planned, dice) == proposed


def test_outside_a_claim_the_init_script_follows_the_access_url(
    configure: Configure, dice: Dice
) -> None:
    before = create(AGENT, configure(AGENT, os="linux", arch="amd64"), dice)
    moved = ProviderContext(access_url="https://moved.example")
    refreshed = refresh_resource(AGENT, moved, before)
    assert refreshed is not None
    assert "https://moved.example/" in str(refreshed["init_script"])
    assert {**refreshed, "init_script": before["init_script"]} == before


def test_another_authentication_means_another_init_script(configure: Configure, dice: Dice) -> None:
    before = create(AGENT, configure(AGENT, os="linux", arch="amd64"), dice)
    planned = plan_change(AGENT, CONTEXT, before, {**before, "auth": "aws-instance-identity"})
    assert planned is not None
    assert "aws-instance-identity" in str(planned["init_script"])
    assert planned["token"] == before["token"]


def test_a_running_token_wins_at_refresh(configure: Configure, dice: Dice) -> None:
    before = create(AGENT, configure(AGENT, os="linux", arch="amd64"), dice)
    for key in ("id-1", digest_key("id-1")):
        context = ProviderContext(agent_tokens={key: "running"})
        refreshed = refresh_resource(AGENT, context, before)
        assert refreshed is not None
        assert refreshed["token"] == "running"


@pytest.mark.parametrize("name", RESOURCES)
def test_an_update_keeps_every_computed_value(name: str, configure: Configure, dice: Dice) -> None:
    resource = RESOURCES[name]
    given = {
        "coder_agent": {"os": "linux", "arch": "amd64"},
        "coder_script": {"run_on_start": True},
        "coder_ai_task": {"app_id": A_UUID},
        "coder_app": {"slug": "app"},
        "coder_env": {"name": "A"},
        "coder_devcontainer": {"workspace_folder": "/src"},
    }.get(name, {})
    before = create(resource, configure(resource, **given), dice)
    planned = plan_change(resource, CONTEXT, before, before)
    assert planned == before


def test_nothing_becomes_of_what_is_deleted(configure: Configure, dice: Dice) -> None:
    before = create(ENV, configure(ENV, agent_id="a", name="A"), dice)
    assert plan_change(ENV, CONTEXT, before, None) is None
    assert apply_change(ENV, CONTEXT, None, None, dice) is None
    assert refresh_resource(ENV, CONTEXT, None) is None


def test_metadata_tells_null_from_unknown(configure: Configure, dice: Dice) -> None:
    items = ({"key": "a", "value": None}, {"key": "b", "value": UNKNOWN}, {"key": "c", "value": ""})
    planned = plan_change(METADATA, CONTEXT, None, configure(METADATA, item=items))
    assert planned is not None
    assert isinstance(planned["item"], tuple)
    told = [item["is_null"] for item in planned["item"] if isinstance(item, dict)]
    assert told == [True, UNKNOWN, False]
    known = configure(METADATA, resource_id="r", item=({"key": "b", "value": "v"},))
    expected = {"key": "b", "value": "v", "sensitive": False, "is_null": False}
    assert create(METADATA, known, dice)["item"] == (expected,)


def test_a_task_is_enabled_by_its_id(configure: Configure, dice: Dice) -> None:
    config = configure(AI_TASK, sidebar_app=({"id": A_UUID},))
    task = ProviderContext(task_id="t-1", task_prompt="Fix it")
    planned = plan_change(AI_TASK, task, None, config)
    new = apply_change(AI_TASK, task, config, planned, dice)
    assert new is not None
    assert (new["id"], new["app_id"], new["prompt"], new["enabled"]) == (
        "t-1",
        A_UUID,
        "Fix it",
        True,
    )
    assert create(AI_TASK, config, dice)["enabled"] is False


def test_a_devcontainer_gets_a_subagent(configure: Configure, dice: Dice) -> None:
    new = create(DEVCONTAINER, configure(DEVCONTAINER, agent_id="a", workspace_folder="/src"), dice)
    assert sorted([str(new["id"]), str(new["subagent_id"])]) == ["id-1", "id-2"]


def test_what_only_an_apply_can_know_is_checked_there(configure: Configure, dice: Dice) -> None:
    planned = plan_change(APP, CONTEXT, None, configure(APP, agent_id="a", slug=UNKNOWN))
    with pytest.raises(Refused, match="Invalid value for slug"):
        apply_change(APP, CONTEXT, configure(APP, agent_id="a", slug="Not a slug"), planned, dice)


def test_a_tfstate_of_another_version_is_upgraded() -> None:
    stored = {"id": "i", "agent_id": "a", "name": "N", "value": "v", "from_the_future": [1]}
    upgraded = upgrade_tfstate(ENV.schema, json.dumps(stored).encode())
    assert upgraded == {
        "id": "i",
        "agent_id": "a",
        "name": "N",
        "value": "v",
        "merge_strategy": None,
    }


@pytest.mark.parametrize("raw", [b"", b"{", b'{"name": ["N"]}'])
def test_a_tfstate_that_cannot_be_read_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        upgrade_tfstate(ENV.schema, raw)


def test_scripts_start_with_upstreams_defaults(configure: Configure, dice: Dice) -> None:
    config = configure(SCRIPT, agent_id="a", display_name="d", script="true", run_on_stop=True)
    new = create(SCRIPT, config, dice)
    defaults = {"run_on_start": False, "start_blocks_login": False, "timeout": 0, "cron": None}
    assert {name: new[name] for name in defaults} == defaults
