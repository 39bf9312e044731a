"""The schema is upstream's, attribute by attribute; written here a second time, from its docs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provisionerd.tfprovider.catalog import DATA_SOURCES, RESOURCES
from provisionerd.tfprovider.cty import encode_type
from provisionerd.tfprovider.schema import Attribute, Block

# r required, o optional, c computed, ! sensitive; S N B string number bool, others in full
EXPECTED = {
    "coder_agent": """
        id cS; os rS; arch rS; auth oS; api_key_scope oS; env o["map","string"]; dir oS
        startup_script oS; shutdown_script oS; startup_script_behavior oS; connection_timeout oN
        troubleshooting_url oS; motd_file oS; order oN; token c!S; init_script cS
        metadata list; metadata.key rS; metadata.script rS; metadata.interval rN
        metadata.display_name oS; metadata.timeout oN; metadata.order oN
        display_apps set 1; display_apps.vscode oB; display_apps.vscode_insiders oB
        display_apps.web_terminal oB; display_apps.ssh_helper oB
        display_apps.port_forwarding_helper oB
        resources_monitoring set 1; resources_monitoring.memory set 1
        resources_monitoring.memory.enabled rB; resources_monitoring.memory.threshold rN
        resources_monitoring.volume set; resources_monitoring.volume.path rS
        resources_monitoring.volume.enabled rB; resources_monitoring.volume.threshold rN""",
    "coder_app": """
        id cS; agent_id rS; slug rS; url oS; command oS; display_name oS; icon oS; group oS
        tooltip oS; order oN; subdomain oB; share oS; external oB; hidden oB; open_in oS
        healthcheck set 1; healthcheck.url rS; healthcheck.interval rN; healthcheck.threshold rN""",
    "coder_script": """
        id cS; agent_id rS; display_name rS; script rS; cron oS; icon oS; log_path oS
        run_on_start oB; run_on_stop oB; start_blocks_login oB; timeout oN""",
    "coder_env": "id cS; agent_id rS; name rS; value oS; merge_strategy oS",
    "coder_metadata": """
        id cS; resource_id rS; hide oB; icon oS; daily_cost oN; item list; item.key rS
        item.value oS; item.sensitive oB; item.is_null cB""",
    "coder_agent_instance": "id cS; agent_id rS; instance_id rS",
    "coder_external_agent": "id cS; agent_id rS",
    "coder_devcontainer": "id cS; agent_id rS; workspace_folder rS; config_path oS; subagent_id cS",
    "coder_ai_task": """
        id cS; app_id ocS; prompt cS; enabled cB; sidebar_app set 1; sidebar_app.id rS""",
    "data.coder_workspace": """
        id cS; name cS; access_url cS; access_port cN; transition cS; start_count cN
        prebuild_count cN; is_prebuild cB; is_prebuild_claim cB; template_id cS; template_name cS
        template_version cS""",
    "data.coder_workspace_owner": """
        id cS; name cS; full_name cS; email cS; login_type cS; ssh_public_key cS
        ssh_private_key c!S; session_token c!S; oidc_access_token c!S; groups c["list","string"]
        rbac_roles c["list",["object",{"name":"string","org_id":"string"}]]""",
    "data.coder_parameter": """
        id cS; name rS; type oS; form_type ocS; display_name oS; description oS; default oS
        icon oS; order oN; mutable oB; ephemeral oB; styling oS; value cS; optional cB
        option list; option.name rS; option.value rS; option.description oS; option.icon oS
        validation list 1; validation.min oN; validation.max oN; validation.monotonic oS
        validation.regex oS; validation.error oS; validation.min_disabled cB
        validation.max_disabled cB""",
    "data.coder_workspace_preset": """
        id cS; name rS; description oS; icon oS; default oB; parameters o["map","string"]
        prebuilds set 1; prebuilds.instances rN; prebuilds.expiration_policy set 1
        prebuilds.expiration_policy.ttl rN; prebuilds.scheduling list 1
        prebuilds.scheduling.timezone rS; prebuilds.scheduling.schedule list min 1
        prebuilds.scheduling.schedule.cron rS; prebuilds.scheduling.schedule.instances rN""",
    "data.coder_external_auth": "id rS; optional oB; access_token c!S",
    "data.coder_git_auth": "id rS; access_token c!S",
    "data.coder_secret": "id cS; help_message rS; env oS; file oS; value c!S",
    "data.coder_task": "id cS; enabled cB; prompt cS",
    "data.coder_provisioner": "id cS; os cS; arch cS",
    "data.coder_workspace_tags": 'id cS; tags o["map","string"]',
}
SCHEMAS = {name: kind.schema for name, kind in RESOURCES.items()} | {
    f"data.{name}": kind.schema for name, kind in DATA_SOURCES.items()
}


def describe(block: Block, prefix: str = "") -> Iterator[str]:
    for attribute in block.attributes:
        yield f"{prefix}{attribute.name} {describe_attribute(attribute)}"
    for nested in block.blocks:
        least = f" min {nested.items_min}" if nested.items_min else ""
        most = f" {nested.items_max}" if nested.items_max else ""
        yield f"{prefix}{nested.name} {nested.nesting}{least}{most}"
        yield from describe(nested.block, f"{prefix}{nested.name}.")


def describe_attribute(attribute: Attribute) -> str:
    type_ = encode_type(attribute.type).decode()
    return "".join(
        (
            "r" * attribute.required,
            "o" * attribute.optional,
            "c" * attribute.computed,
            "!" * attribute.sensitive,
            {'"string"': "S", '"number"': "N", '"bool"': "B"}.get(type_, type_),
        )
    )


def test_nothing_is_missing_and_nothing_is_more() -> None:
    assert SCHEMAS.keys() == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_the_schema_is_upstreams(name: str) -> None:
    expected = {
        line.strip() for part in EXPECTED[name].splitlines() for line in part.split(";")
    } - {""}
    assert set(describe(SCHEMAS[name])) == expected
