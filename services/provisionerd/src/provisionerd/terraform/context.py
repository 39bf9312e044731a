"""What the provider is told, made from what the job says.

Promises: a claim hands every agent of the tfstate its own token again, so that an agent that
reconnects in the middle of the build is known; secrets of the owner are not passed on, because we
hold none.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import replace

from provisionerd.core.provisioner import Build, Stage, Transition
from provisionerd.terraform.jsonvalues import text
from provisionerd.terraform.tfstate import Tfstate
from provisionerd.tfprovider import ProviderContext, TransitionName

__all__ = ["build_context", "plan_context", "pool_context"]

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def plan_context(parameters: Mapping[str, str]) -> ProviderContext:
    """For a plan that belongs to no workspace: import and dry run."""
    return ProviderContext(
        parameters=dict(parameters), provisioner_os=_our_os(), provisioner_arch=_our_arch()
    )


def pool_context(parameters: Mapping[str, str]) -> ProviderContext:
    """For the same plan as the pool would make it: whatever a template can see of the workspace's
    owner is another's.
    """
    return replace(
        plan_context(parameters),
        is_prebuild=True,
        workspace_id="00000000-0000-4000-8000-0000000000fd",
        workspace_name="prebuild",
        owner_id="00000000-0000-4000-8000-0000000000ff",
        owner_username="prebuilds",
        owner_full_name="Prebuilds",
        owner_email="prebuilds@example.invalid",
    )


def build_context(build: Build, before: Tfstate) -> ProviderContext:
    """For a build. `before` is the tfstate it starts from."""
    return ProviderContext(
        access_url=build.access_url,
        transition=_name(build.transition),
        build_id=build.build_id,
        is_prebuild=build.stage is Stage.CREATE,
        is_prebuild_claim=build.stage is Stage.CLAIM,
        workspace_id=build.workspace_id,
        workspace_name=build.workspace_name,
        template_id=build.template_id,
        template_name=build.template_name,
        template_version=build.template_version_name,
        owner_id=build.owner.id,
        owner_username=build.owner.username,
        owner_full_name=build.owner.full_name,
        owner_email=build.owner.email,
        owner_login_type=build.owner.login_type,
        owner_groups=build.owner.groups,
        parameters=dict(build.parameters),
        previous_parameters=dict(build.previous_parameters),
        agent_tokens=_read_tokens(before) if build.stage is Stage.CLAIM else {},
        provisioner_os=_our_os(),
        provisioner_arch=_our_arch(),
    )


def _read_tokens(tfstate: Tfstate) -> dict[str, str]:
    return {
        text(instance.attributes.get("id")): text(instance.attributes.get("token"))
        for instance in tfstate.managed
        if instance.type == "coder_agent" and instance.attributes.get("token")
    }


def _name(transition: Transition) -> TransitionName:
    match transition:
        case Transition.START:
            return "start"
        case Transition.STOP:
            return "stop"
        case Transition.DELETE:
            return "destroy"


def _our_os() -> str:
    return "darwin" if sys.platform == "darwin" else "linux"


def _our_arch() -> str:
    machine = platform.machine().lower()
    return _ARCHITECTURES.get(machine, machine)
