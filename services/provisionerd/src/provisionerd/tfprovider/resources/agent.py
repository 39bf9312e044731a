"""`coder_agent`: the agent inside a workspace.

Promises: id and token are made once, when the agent is created, and stay through refreshes, updates
and claims. The init script follows the access URL, except in a claim build, where a change of it
would replace the machine under the claimant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from provisionerd.tfprovider.checks import (
    absolute_path,
    at_least,
    between,
    duplicates,
    one_of,
    quote,
)
from provisionerd.tfprovider.context import ProviderContext, digest_key
from provisionerd.tfprovider.cty import MapOf, Unknown, Value
from provisionerd.tfprovider.kinds import Dice, Resource
from provisionerd.tfprovider.schema import (
    BOOL,
    NUMBER,
    STRING,
    Attribute,
    Block,
    NestedBlock,
    Object,
    Problem,
    computed,
    optional,
    required,
)

__all__ = ["AGENT"]

_DISPLAY_APPS: Object = {
    "vscode": True,
    "vscode_insiders": False,
    "web_terminal": True,
    "ssh_helper": True,
    "port_forwarding_helper": True,
}
_THRESHOLD = required("threshold", NUMBER, between(0, 100))

_METADATA = Block(
    attributes=(
        required("key"),
        required("script"),
        required("interval", NUMBER),
        optional("display_name"),
        optional("timeout", NUMBER),
        optional("order", NUMBER),
    )
)
_MONITORING = Block(
    attributes=(),
    blocks=(
        NestedBlock(
            name="memory",
            nesting="set",
            items_max=1,
            block=Block(attributes=(required("enabled", BOOL), _THRESHOLD)),
        ),
        NestedBlock(
            name="volume",
            nesting="set",
            block=Block(
                attributes=(
                    required("path", STRING, absolute_path),
                    required("enabled", BOOL),
                    _THRESHOLD,
                )
            ),
        ),
    ),
)

_SCHEMA = Block(
    version=1,
    attributes=(
        computed("id"),
        required("os", STRING, one_of("linux", "darwin", "windows")),
        required("arch", STRING, one_of("amd64", "armv7", "arm64")),
        optional(
            "auth",
            STRING,
            one_of(
                "token",
                "google-instance-identity",
                "aws-instance-identity",
                "azure-instance-identity",
            ),
            default="token",
        ),
        optional("api_key_scope", STRING, one_of("all", "no_user_data"), default="all"),
        optional("env", MapOf(STRING)),
        optional("dir"),
        optional("startup_script"),
        optional("shutdown_script"),
        optional(
            "startup_script_behavior",
            STRING,
            one_of("blocking", "non-blocking"),
            default="non-blocking",
        ),
        optional("connection_timeout", NUMBER, at_least(0), default=120),
        optional("troubleshooting_url"),
        optional("motd_file"),
        optional("order", NUMBER),
        computed("token", sensitive=True),
        computed("init_script"),
    ),
    blocks=(
        NestedBlock(name="metadata", nesting="list", block=_METADATA),
        NestedBlock(
            name="display_apps",
            nesting="set",
            items_max=1,
            block=Block(
                attributes=tuple(
                    Attribute(name=name, type=BOOL, optional=True, default=shown)
                    for name, shown in _DISPLAY_APPS.items()
                )
            ),
        ),
        NestedBlock(name="resources_monitoring", nesting="set", items_max=1, block=_MONITORING),
    ),
)


def _check(config: Object) -> Iterable[Problem]:
    yield from duplicates(config, "metadata", "key")
    monitoring = config.get("resources_monitoring")
    for block in monitoring if isinstance(monitoring, tuple) else ():
        volumes = block.get("volume") if isinstance(block, Mapping) else ()
        paths = [
            volume.get("path")
            for volume in (volumes if isinstance(volumes, tuple) else ())
            if isinstance(volume, Mapping)
        ]
        for path in sorted({p for p in paths if isinstance(p, str) and paths.count(p) > 1}):
            yield Problem(
                summary="Duplicate volume path",
                detail=f"resources_monitoring.volume.path is {quote(path)} more than once;"
                f" each volume needs its own.",
                path=("resources_monitoring",),
            )


def _shape(context: ProviderContext, prior: Object | None, planned: Object) -> Object:
    shaped = dict(planned)
    if not planned.get("display_apps"):
        shaped["display_apps"] = (_DISPLAY_APPS,)
    if prior is not None and _init_script_inputs(prior) != _init_script_inputs(planned):
        shaped["init_script"] = _init_script(context, planned)
    return shaped


def _make(context: ProviderContext, planned: Object, dice: Dice) -> Object:
    token = context.agent_tokens.get(digest_key(""))  # a provider by hand, one agent, a claim
    return {"token": token or dice.new_token(), "init_script": _init_script(context, planned)}


def _refresh(context: ProviderContext, stored: Object) -> Object:
    token = context.find_agent_token(str(stored.get("id")))
    fresh = dict(stored) if token is None else {**stored, "token": token}
    if not stored.get("display_apps"):
        fresh["display_apps"] = (_DISPLAY_APPS,)
    if not (context.is_prebuild_claim and stored.get("init_script")):
        fresh["init_script"] = _init_script(context, stored)
    return fresh


def _init_script_inputs(agent: Object) -> tuple[Value, ...]:
    return agent.get("os"), agent.get("arch"), agent.get("auth")


def _init_script(context: ProviderContext, agent: Object) -> Value:
    os, arch, auth = _init_script_inputs(agent)
    for each in (os, arch, auth):
        if isinstance(each, Unknown):
            return each
    return context.render_init_script(str(os), str(arch), str(auth or "token"))


AGENT = Resource(
    name="coder_agent",
    schema=_SCHEMA,
    check=_check,
    shape=_shape,
    make=_make,
    refresh=_refresh,
)
