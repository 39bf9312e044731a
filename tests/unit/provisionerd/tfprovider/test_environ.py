"""A provider started by hand reads the variables upstream's provisioner sets."""

from __future__ import annotations

import json

import pytest

from provisionerd.tfprovider.context import ProviderContext, RbacRole, digest_key
from provisionerd.tfprovider.environ import EnvironmentInvalid, read_context, read_platform

PARAMETER = digest_key("Region (primary)").removeprefix("sha256:")


def test_nothing_set_is_the_default() -> None:
    os, arch = read_platform()
    assert read_context({}) == ProviderContext(provisioner_os=os, provisioner_arch=arch)


def test_every_variable_has_its_place() -> None:
    context = read_context(
        {
            "CODER_AGENT_URL": "https://warm.example",
            "CODER_WORKSPACE_TRANSITION": "destroy",
            "CODER_WORKSPACE_NAME": "w",
            "CODER_WORKSPACE_BUILD_ID": "b",
            "CODER_WORKSPACE_IS_PREBUILD_CLAIM": "true",
            "CODER_WORKSPACE_OWNER": "ann",
            "CODER_WORKSPACE_OWNER_GROUPS": json.dumps(["a", "b"]),
            "CODER_WORKSPACE_OWNER_RBAC_ROLES": json.dumps([{"name": "r", "org_id": "o"}]),
            f"CODER_PARAMETER_{PARAMETER}": "now",
            f"CODER_PARAMETER_PREVIOUS_{PARAMETER}": "before",
            "CODER_EXTERNAL_AUTH_ACCESS_TOKEN_gh": "new",
            "CODER_GIT_AUTH_ACCESS_TOKEN_gh": "old",
            "CODER_SECRET_ENV_TOKEN": "s",
            f"CODER_SECRET_FILE_{b'~/.netrc'.hex()}": "f",
            "CODER_AGENT_SCRIPT_linux_amd64": "start ${ACCESS_URL} ${AUTH_TYPE}",
            "CODER_TASK_PROMPT": "Fix it",
        }
    )
    assert context.access_url == "https://warm.example"
    assert (context.transition, context.workspace_name, context.build_id) == ("destroy", "w", "b")
    assert (context.is_prebuild, context.is_prebuild_claim) == (False, True)
    assert (context.owner_username, context.owner_groups) == ("ann", ("a", "b"))
    assert context.owner_rbac_roles == (RbacRole(name="r", org_id="o"),)
    assert context.find_parameter("Region (primary)") == "now"
    assert context.find_previous_parameter("Region (primary)") == "before"
    assert context.find_parameter("Region") is None
    assert context.external_auth_tokens == {"gh": "new"}
    assert (context.secrets_by_env, context.secrets_by_file) == ({"TOKEN": "s"}, {"~/.netrc": "f"})
    script = context.render_init_script("linux", "amd64", "token")
    assert script == "start https://warm.example/ token"
    assert context.task_prompt == "Fix it"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("CODER_WORKSPACE_TRANSITION", "delete", "it must be start, stop or destroy"),
        ("CODER_WORKSPACE_OWNER_GROUPS", "a,b", "CODER_WORKSPACE_OWNER_GROUPS must be a JSON list"),
        ("CODER_WORKSPACE_OWNER_GROUPS", "{}", "must be a JSON list"),
        ("CODER_WORKSPACE_OWNER_RBAC_ROLES", '["r"]', "objects with name and org_id"),
        ("CODER_SECRET_FILE_zz", "f", "must end in a path as hex"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, value: str, message: str) -> None:
    with pytest.raises(EnvironmentInvalid, match=message):
        read_context({name: value})


def test_names_win_over_digests() -> None:
    both = {"p": "by name", digest_key("p"): "by digest"}
    assert ProviderContext(parameters=both).find_parameter("p") == "by name"


@pytest.mark.parametrize(
    ("os", "arch", "start"), [("linux", "arm64", "#!/bin/sh"), ("windows", "amd64", "# Starts")]
)
def test_each_system_has_an_init_script(os: str, arch: str, start: str) -> None:
    script = ProviderContext(access_url="https://w.example").render_init_script(os, arch, "token")
    assert script.startswith(start)
    assert "https://w.example/" in script
    assert "${ACCESS_URL}" not in script
    assert "${AUTH_TYPE}" not in script
