"""The values templates see, as one frozen value given by whoever runs Terraform.

Promises: nothing the provider answers comes from anywhere but this value, the configuration and the
tfstate, so two answers to the same question are the same. Secrets do not show in its `repr`.

Keys of `parameters`, `previous_parameters` and `agent_tokens` are plain names (or agent ids). The
environment of a provider started by hand only holds digests of them: such keys are
`sha256:<hex digest>` and are found all the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from provisionerd.tfprovider.initscript import INIT_SCRIPT, INIT_SCRIPT_WINDOWS

__all__ = ["ProviderContext", "RbacRole", "TransitionName", "digest_key"]

TransitionName = Literal["start", "stop", "destroy"]
_DEFAULT_PORTS = {"https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class RbacRole:
    """A role of the owner; `org_id` is empty for site-wide ones."""

    name: str
    org_id: str = ""


def _no_values() -> dict[str, str]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderContext:
    """Everything the data sources and the agent resource answer from; one per build.

    `is_prebuild` is true while the pool owns the workspace, `is_prebuild_claim` for the one build
    that moves it to its claimant (it wins if both are set). Values that default to empty are
    replaced by upstream's placeholders where upstream has any (a plan without a workspace).
    """

    access_url: str = "http://localhost"
    transition: TransitionName = "start"
    build_id: str = ""
    is_prebuild: bool = False
    is_prebuild_claim: bool = False

    workspace_id: str = ""
    workspace_name: str = ""
    template_id: str = ""
    template_name: str = ""
    template_version: str = ""

    owner_id: str = ""
    owner_username: str = ""
    owner_full_name: str = ""
    owner_email: str = ""
    owner_login_type: str = ""
    owner_groups: tuple[str, ...] = ()
    owner_rbac_roles: tuple[RbacRole, ...] = ()
    owner_ssh_public_key: str = ""
    owner_ssh_private_key: str = field(default="", repr=False)
    owner_session_token: str = field(default="", repr=False)
    owner_oidc_access_token: str = field(default="", repr=False)

    parameters: Mapping[str, str] = field(default_factory=_no_values)
    previous_parameters: Mapping[str, str] = field(default_factory=_no_values)
    agent_tokens: Mapping[str, str] = field(default_factory=_no_values, repr=False)
    external_auth_tokens: Mapping[str, str] = field(default_factory=_no_values, repr=False)
    secrets_by_env: Mapping[str, str] = field(default_factory=_no_values, repr=False)
    secrets_by_file: Mapping[str, str] = field(default_factory=_no_values, repr=False)
    task_id: str = ""
    task_prompt: str = ""

    provisioner_os: str = "linux"
    provisioner_arch: str = "amd64"
    init_script: str = INIT_SCRIPT
    init_scripts: Mapping[str, str] = field(
        default_factory=lambda: {
            "windows_amd64": INIT_SCRIPT_WINDOWS,
            "windows_arm64": INIT_SCRIPT_WINDOWS,
        }
    )
    """Templates of init scripts by `<os>_<arch>`; `init_script` serves every other pair."""

    @property
    def access_port(self) -> int:
        """The port agents connect to, told by the access URL."""
        parts = urlsplit(self.access_url)
        return parts.port or _DEFAULT_PORTS.get(parts.scheme, 80)

    @property
    def is_unclaimed_prebuild(self) -> bool:
        """Whether templates see a prebuild: a claim build already belongs to its claimant."""
        return self.is_prebuild and not self.is_prebuild_claim

    def find_parameter(self, name: str) -> str | None:
        """The value given for a parameter, None if there is none."""
        return _find(self.parameters, name)

    def find_previous_parameter(self, name: str) -> str | None:
        """The value of the build before, None if there is none."""
        return _find(self.previous_parameters, name)

    def find_agent_token(self, agent_id: str) -> str | None:
        """The token a running agent must keep, None to leave what the tfstate says."""
        return _find(self.agent_tokens, agent_id)

    def render_init_script(self, os: str, arch: str, auth: str) -> str:
        """The init script of an agent, its placeholders filled."""
        template = self.init_scripts.get(f"{os}_{arch}", self.init_script)
        url = self.access_url.rstrip("/") + "/"
        return template.replace("${ACCESS_URL}", url).replace("${AUTH_TYPE}", auth)


def digest_key(name: str) -> str:
    """The key that stands for a name of which only the SHA-256 is known."""
    return "sha256:" + hashlib.sha256(name.encode()).hexdigest()


def _find(values: Mapping[str, str], name: str) -> str | None:
    found = values.get(name)
    return values.get(digest_key(name)) if found is None else found
