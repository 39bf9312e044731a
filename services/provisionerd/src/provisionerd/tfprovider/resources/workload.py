"""What an agent runs and shows: `coder_script`, `coder_env`, `coder_app`, `coder_devcontainer`."""

from __future__ import annotations

from collections.abc import Iterable

from provisionerd.tfprovider.checks import (
    at_least,
    conflicts,
    is_given,
    length_max,
    matches,
    not_empty,
    one_of,
    url,
)
from provisionerd.tfprovider.context import ProviderContext
from provisionerd.tfprovider.cron import check_script_cron
from provisionerd.tfprovider.cty import Unknown
from provisionerd.tfprovider.kinds import Dice, Resource
from provisionerd.tfprovider.schema import (
    BOOL,
    NUMBER,
    STRING,
    Block,
    NestedBlock,
    Object,
    Problem,
    computed,
    optional,
    required,
)

__all__ = ["APP", "DEVCONTAINER", "ENV", "SCRIPT"]

_MERGE_STRATEGIES = ("replace", "append", "prepend", "error")


def _check_script(config: Object) -> Iterable[Problem]:
    runs = [config.get(name) for name in ("run_on_start", "run_on_stop", "cron")]
    if not any(run or isinstance(run, Unknown) for run in runs):
        yield Problem(
            summary="The script would never run",
            detail="None of run_on_start, run_on_stop and cron is set; at least one must be.",
        )
    if config.get("start_blocks_login") is True and not runs[0]:
        yield Problem(
            summary="start_blocks_login needs run_on_start",
            detail="start_blocks_login is true, run_on_start is not; a script that does not run at"
            " the start cannot hold up logins.",
            path=("start_blocks_login",),
        )


SCRIPT = Resource(
    name="coder_script",
    schema=Block(
        version=1,
        attributes=(
            computed("id"),
            required("agent_id"),
            required("display_name"),
            required("script"),
            optional("cron", STRING, check_script_cron),
            optional("icon", STRING, url),
            optional("log_path"),
            optional("run_on_start", BOOL, default=False),
            optional("run_on_stop", BOOL, default=False),
            optional("start_blocks_login", BOOL, default=False),
            optional("timeout", NUMBER, at_least(0), default=0),
        ),
    ),
    check=_check_script,
)

ENV = Resource(
    name="coder_env",
    schema=Block(
        version=1,
        attributes=(
            computed("id"),
            required("agent_id"),
            required(
                "name",
                STRING,
                matches("[a-zA-Z_][a-zA-Z0-9_]*", "the name of an environment variable"),
            ),
            optional("value"),
            optional("merge_strategy", STRING, one_of(*_MERGE_STRATEGIES), default="replace"),
        ),
    ),
)


def _check_app(config: Object) -> Iterable[Problem]:
    yield from conflicts(config, "command", "url", "subdomain", "healthcheck")
    if config.get("external") is not False:
        yield from conflicts(config, "external", "healthcheck", "command", "subdomain", "share")
    if config.get("hidden") is True:
        for name in ("display_name", "icon", "order"):
            if is_given(config.get(name)):
                yield Problem(
                    summary=f"{name} is set on a hidden app",
                    detail=f"hidden is true, so nobody will see {name}.",
                    path=(name,),
                    severity="warning",
                )


APP = Resource(
    name="coder_app",
    schema=Block(
        version=1,
        attributes=(
            computed("id"),
            required("agent_id"),
            required(
                "slug",
                STRING,
                matches(
                    "[a-z0-9](-?[a-z0-9])*",
                    "lower-case letters, digits and single hyphens inside",
                ),
            ),
            optional("url"),
            optional("command"),
            optional("display_name", STRING, length_max(64)),
            optional("icon", STRING, url),
            optional("group", STRING, length_max(64)),
            optional("tooltip", STRING, length_max(2048)),
            optional("order", NUMBER),
            optional("subdomain", BOOL),
            optional("share", STRING, one_of("owner", "authenticated", "public"), default="owner"),
            optional("external", BOOL, default=False),
            optional("hidden", BOOL, default=False),
            optional("open_in", STRING, one_of("tab", "slim-window"), default="slim-window"),
        ),
        blocks=(
            NestedBlock(
                name="healthcheck",
                nesting="set",
                items_max=1,
                block=Block(
                    attributes=(
                        required("url"),
                        required("interval", NUMBER),
                        required("threshold", NUMBER),
                    )
                ),
            ),
        ),
    ),
    check=_check_app,
)


def _make_devcontainer(context: ProviderContext, planned: Object, dice: Dice) -> Object:
    del context, planned
    return {"subagent_id": dice.new_id()}


DEVCONTAINER = Resource(
    name="coder_devcontainer",
    schema=Block(
        version=1,
        attributes=(
            computed("id"),
            required("agent_id"),
            required("workspace_folder", STRING, not_empty),
            optional("config_path"),
            computed("subagent_id"),
        ),
    ),
    make=_make_devcontainer,
)
