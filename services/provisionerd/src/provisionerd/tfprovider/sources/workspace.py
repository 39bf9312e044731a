"""What a template asks about its workspace: `coder_workspace`, `coder_workspace_owner`,
`coder_provisioner`, `coder_workspace_tags`, `coder_task`.

Upstream's placeholders stand in where there is no workspace yet (a template's import).
"""

from __future__ import annotations

import uuid

from provisionerd.tfprovider.context import ProviderContext
from provisionerd.tfprovider.cty import ListOf, MapOf, ObjectOf
from provisionerd.tfprovider.kinds import DataSource, refuse
from provisionerd.tfprovider.schema import (
    BOOL,
    NUMBER,
    STRING,
    Block,
    Object,
    computed,
    optional,
)

__all__ = ["OWNER", "PROVISIONER", "TAGS", "TASK", "WORKSPACE", "stable_id"]

_NAMESPACE = uuid.UUID("7d0f4c3e-2f0b-5a86-9c44-3f1f5b7f9c11")


def stable_id(*parts: str) -> str:
    """The same UUID for the same parts: reading twice never looks like a change."""
    return str(uuid.uuid5(_NAMESPACE, "\0".join(parts)))


def _read_workspace(context: ProviderContext, config: Object) -> Object:
    del config
    if context.build_id and not (context.template_id and context.template_name):
        raise refuse(
            "The build has no template",
            "A build needs template_id, template_name and template_version.",
        )
    name = context.workspace_name or "default"
    return {
        "id": context.workspace_id or stable_id("workspace", name),
        "name": name,
        "access_url": context.access_url,
        "access_port": context.access_port,
        "transition": context.transition,
        "start_count": 1 if context.transition == "start" else 0,
        "is_prebuild": context.is_unclaimed_prebuild,
        "prebuild_count": 1 if context.is_unclaimed_prebuild else 0,
        "is_prebuild_claim": context.is_prebuild_claim,
        "template_id": context.template_id,
        "template_name": context.template_name,
        "template_version": context.template_version,
    }


WORKSPACE = DataSource(
    name="coder_workspace",
    schema=Block(
        attributes=(
            computed("id"),
            computed("name"),
            computed("access_url"),
            computed("access_port", NUMBER),
            computed("transition"),
            computed("start_count", NUMBER),
            computed("is_prebuild", BOOL),
            computed("prebuild_count", NUMBER),
            computed("is_prebuild_claim", BOOL),
            computed("template_id"),
            computed("template_name"),
            computed("template_version"),
        )
    ),
    read=_read_workspace,
)


def _read_owner(context: ProviderContext, config: Object) -> Object:
    del config
    username = context.owner_username or "default"
    return {
        "id": context.owner_id or stable_id("owner", username),
        "name": username,
        "full_name": context.owner_full_name or "default",
        "email": context.owner_email or "default@example.com",
        "login_type": context.owner_login_type or None,
        "ssh_public_key": context.owner_ssh_public_key,
        "ssh_private_key": context.owner_ssh_private_key,
        "session_token": context.owner_session_token,
        "oidc_access_token": context.owner_oidc_access_token,
        "groups": context.owner_groups,
        "rbac_roles": tuple(
            {"name": role.name, "org_id": role.org_id} for role in context.owner_rbac_roles
        ),
    }


OWNER = DataSource(
    name="coder_workspace_owner",
    schema=Block(
        attributes=(
            computed("id"),
            computed("name"),
            computed("full_name"),
            computed("email"),
            computed("login_type"),
            computed("ssh_public_key"),
            computed("ssh_private_key", sensitive=True),
            computed("session_token", sensitive=True),
            computed("oidc_access_token", sensitive=True),
            computed("groups", ListOf(STRING)),
            computed("rbac_roles", ListOf(ObjectOf({"name": STRING, "org_id": STRING}))),
        )
    ),
    read=_read_owner,
)

PROVISIONER = DataSource(
    name="coder_provisioner",
    schema=Block(attributes=(computed("id"), computed("os"), computed("arch"))),
    read=lambda context, _config: {
        "id": stable_id("provisioner", context.provisioner_os, context.provisioner_arch),
        "os": context.provisioner_os,
        "arch": context.provisioner_arch,
    },
)

TAGS = DataSource(
    name="coder_workspace_tags",
    schema=Block(attributes=(computed("id"), optional("tags", MapOf(STRING)))),
    read=lambda _context, _config: {"id": stable_id("tags")},
)

TASK = DataSource(
    name="coder_task",
    schema=Block(attributes=(computed("id"), computed("enabled", BOOL), computed("prompt"))),
    read=lambda context, _config: {
        "id": context.task_id or stable_id("task"),
        "enabled": bool(context.task_id),
        "prompt": context.task_prompt,
    },
)
