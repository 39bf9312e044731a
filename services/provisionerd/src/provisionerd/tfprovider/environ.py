"""The provider's values from CODER_* variables, for a provider started by hand or by Terraform.

Inside provisionerd nothing of this is used: there the values never enter an environment.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from typing import Any, Final, cast

from provisionerd.tfprovider.context import ProviderContext, RbacRole, TransitionName

__all__ = ["EnvironmentInvalid", "read_context", "read_platform"]

_PLAIN: Final[Mapping[str, str]] = {
    "CODER_WORKSPACE_BUILD_ID": "build_id",
    "CODER_WORKSPACE_ID": "workspace_id",
    "CODER_WORKSPACE_NAME": "workspace_name",
    "CODER_WORKSPACE_TEMPLATE_ID": "template_id",
    "CODER_WORKSPACE_TEMPLATE_NAME": "template_name",
    "CODER_WORKSPACE_TEMPLATE_VERSION": "template_version",
    "CODER_WORKSPACE_OWNER_ID": "owner_id",
    "CODER_WORKSPACE_OWNER": "owner_username",
    "CODER_WORKSPACE_OWNER_NAME": "owner_full_name",
    "CODER_WORKSPACE_OWNER_EMAIL": "owner_email",
    "CODER_WORKSPACE_OWNER_LOGIN_TYPE": "owner_login_type",
    "CODER_WORKSPACE_OWNER_SSH_PUBLIC_KEY": "owner_ssh_public_key",
    "CODER_WORKSPACE_OWNER_SSH_PRIVATE_KEY": "owner_ssh_private_key",
    "CODER_WORKSPACE_OWNER_SESSION_TOKEN": "owner_session_token",
    "CODER_WORKSPACE_OWNER_OIDC_ACCESS_TOKEN": "owner_oidc_access_token",
    "CODER_TASK_ID": "task_id",
    "CODER_TASK_PROMPT": "task_prompt",
}
_TRANSITIONS: Final[Mapping[str, TransitionName]] = {
    "": "start",
    "start": "start",
    "stop": "stop",
    "destroy": "destroy",
}
_PREVIOUS_PARAMETER = "CODER_PARAMETER_PREVIOUS_"
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class EnvironmentInvalid(ValueError):
    """A CODER_* variable cannot be read; the message names it and what it should hold."""


def read_context(environment: Mapping[str, str]) -> ProviderContext:
    """The values that CODER_* variables hold. Those that are not set keep their defaults."""
    fields: dict[str, Any] = {
        field: environment[name] for name, field in _PLAIN.items() if environment.get(name)
    }
    if environment.get("CODER_AGENT_URL"):
        fields["access_url"] = environment["CODER_AGENT_URL"]
    fields["init_scripts"] = {
        **ProviderContext().init_scripts,
        **_with_prefix(environment, "CODER_AGENT_SCRIPT_"),
    }
    os, arch = read_platform()
    return ProviderContext(
        transition=_read_transition(environment),
        is_prebuild=environment.get("CODER_WORKSPACE_IS_PREBUILD") == "true",
        is_prebuild_claim=environment.get("CODER_WORKSPACE_IS_PREBUILD_CLAIM") == "true",
        owner_groups=_read_groups(environment),
        owner_rbac_roles=_read_roles(environment),
        parameters=_by_digest(environment, "CODER_PARAMETER_", but=_PREVIOUS_PARAMETER),
        previous_parameters=_by_digest(environment, _PREVIOUS_PARAMETER),
        agent_tokens=_by_digest(environment, "CODER_RUNNING_WORKSPACE_AGENT_TOKEN_"),
        external_auth_tokens={
            **_with_prefix(environment, "CODER_GIT_AUTH_ACCESS_TOKEN_"),
            **_with_prefix(environment, "CODER_EXTERNAL_AUTH_ACCESS_TOKEN_"),
        },
        secrets_by_env=_with_prefix(environment, "CODER_SECRET_ENV_"),
        secrets_by_file=_read_secret_files(environment),
        provisioner_os=os,
        provisioner_arch=arch,
        **fields,
    )


def read_platform() -> tuple[str, str]:
    """This machine's operating system and architecture, in the words templates use."""
    machine = platform.machine().lower()
    arch = _MACHINES.get(machine, "armv7" if machine.startswith("armv7") else machine)
    return platform.system().lower(), arch


def _read_transition(environment: Mapping[str, str]) -> TransitionName:
    given = environment.get("CODER_WORKSPACE_TRANSITION", "")
    transition = _TRANSITIONS.get(given)
    if transition is None:
        raise EnvironmentInvalid(
            f'CODER_WORKSPACE_TRANSITION is "{given}"; it must be start, stop or destroy.'
        )
    return transition


def _read_groups(environment: Mapping[str, str]) -> tuple[str, ...]:
    groups = _read_list(environment, "CODER_WORKSPACE_OWNER_GROUPS")
    return tuple(str(group) for group in groups)


def _read_roles(environment: Mapping[str, str]) -> tuple[RbacRole, ...]:
    name = "CODER_WORKSPACE_OWNER_RBAC_ROLES"
    roles: list[RbacRole] = []
    for role in _read_list(environment, name):
        if not isinstance(role, Mapping):
            raise EnvironmentInvalid(f"{name} must be a JSON list of objects with name and org_id.")
        fields = cast("Mapping[str, object]", role)
        roles.append(
            RbacRole(name=str(fields.get("name", "")), org_id=str(fields.get("org_id", "")))
        )
    return tuple(roles)


def _read_list(environment: Mapping[str, str], name: str) -> list[object]:
    try:
        parsed: object = json.loads(environment.get(name) or "[]")
    except ValueError as error:
        raise EnvironmentInvalid(f"{name} must be a JSON list: {error}") from error
    if not isinstance(parsed, list):
        raise EnvironmentInvalid(f"{name} must be a JSON list.")
    return cast("list[object]", parsed)


def _read_secret_files(environment: Mapping[str, str]) -> dict[str, str]:
    prefix = "CODER_SECRET_FILE_"
    try:
        return {
            bytes.fromhex(path).decode(): value
            for path, value in _with_prefix(environment, prefix).items()
        }
    except ValueError as error:
        raise EnvironmentInvalid(f"{prefix}* must end in a path as hex: {error}") from error


def _by_digest(environment: Mapping[str, str], prefix: str, *, but: str = "\0") -> dict[str, str]:
    return {
        f"sha256:{digest.lower()}": value
        for digest, value in _with_prefix(environment, prefix).items()
        if not (prefix + digest).startswith(but)
    }


def _with_prefix(environment: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {
        name.removeprefix(prefix): value
        for name, value in environment.items()
        if name.startswith(prefix)
    }
