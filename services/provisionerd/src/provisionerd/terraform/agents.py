"""Turns a tfstate into what a build made: agents, and the resources they live on.

Promises: agents and resources come in the order of the tfstate; a script, app or variable belongs
to the agent whose id it names; an agent lives on the nearest resource that depends on it, nearest
meaning that none of the other candidates lies between. A tfstate's dependencies know no instance
keys, so a resource in a module that is made several times is the home of the agents of its own
module instance. Agent names are unique without regard to case and app slugs are unique, or
`TemplateInvalid` says which is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from provisionerd.core.errors import TemplateInvalid
from provisionerd.core.provisioner import Agent, AgentApp, AgentScript, Resource
from provisionerd.terraform.jsonvalues import boolean, integer, text, texts
from provisionerd.terraform.tfstate import Instance

__all__ = ["read_agents", "read_resources", "refuse_repeated"]


def read_agents(instances: Sequence[Instance]) -> tuple[Agent, ...]:
    """The agents of a tfstate, with all that hangs on them."""
    apps = [instance for instance in instances if instance.type == "coder_app"]
    refuse_repeated("app slug", (text(app.attributes.get("slug")) for app in apps))
    agents = tuple(
        _read_agent(instance, instances) for instance in instances if instance.type == "coder_agent"
    )
    refuse_repeated("agent name", (agent.name for agent in agents))
    return agents


def read_resources(instances: Sequence[Instance]) -> tuple[Resource, ...]:
    """Everything but `coder_*`, each with the agents that live on it."""
    managed = [instance for instance in instances if instance.managed]
    others = [instance for instance in managed if not instance.type.startswith("coder_")]
    homes: dict[str, list[str]] = {}
    for agent in managed:
        if agent.type == "coder_agent":
            for home in _find_homes(agent, others):
                homes.setdefault(home.address, []).append(agent.name)
    return tuple(
        Resource(
            address=instance.address,
            type=instance.type,
            agent_names=tuple(homes.get(instance.address, ())),
        )
        for instance in others
    )


def refuse_repeated(what: str, names: Iterable[str]) -> None:
    """Raises `TemplateInvalid` if two names are the same without regard to case."""
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise TemplateInvalid(f"{what} {name!r} is used twice; each must be unique")
        seen.add(name.lower())


def _find_homes(agent: Instance, others: Sequence[Instance]) -> tuple[Instance, ...]:
    candidates = [other for other in others if agent.resource in other.dependencies]
    names = {candidate.resource for candidate in candidates}
    return tuple(
        candidate
        for candidate in candidates
        if not (candidate.dependencies & names) - {candidate.resource}
        and _is_same_expansion(agent, candidate)
    )


def _is_same_expansion(one: Instance, other: Instance) -> bool:
    """Whether the module instances in which both lie agree, as far as they share modules."""
    for mine, theirs in zip(one.modules, other.modules, strict=False):
        if mine[0] != theirs[0]:
            return True
        if mine[1] != theirs[1]:
            return False
    return True


def _read_agent(instance: Instance, instances: Sequence[Instance]) -> Agent:
    fields = instance.attributes
    agent_id = text(fields.get("id"))
    ours = [other for other in instances if text(other.attributes.get("agent_id")) == agent_id]
    return Agent(
        id=agent_id,
        name=instance.name,
        token=text(fields.get("token")),
        os=text(fields.get("os")),
        arch=text(fields.get("arch")),
        directory=text(fields.get("dir")),
        env=_merge_env(
            texts(fields.get("env")),
            [other.attributes for other in ours if other.type == "coder_env"],
        ),
        scripts=(
            *_read_inline_scripts(fields),
            *(_read_script(other.attributes) for other in ours if other.type == "coder_script"),
        ),
        apps=tuple(_read_app(other.attributes) for other in ours if other.type == "coder_app"),
        connection_timeout_seconds=integer(fields.get("connection_timeout")) or 0,
    )


def _read_inline_scripts(fields: Mapping[str, object]) -> Iterable[AgentScript]:
    if script := text(fields.get("startup_script")):
        yield AgentScript(
            display_name="Startup Script",
            script=script,
            run_on_start=True,
            start_blocks_login=text(fields.get("startup_script_behavior")) == "blocking",
            log_path="coder-startup-script.log",
        )
    if script := text(fields.get("shutdown_script")):
        yield AgentScript(
            display_name="Shutdown Script",
            script=script,
            run_on_stop=True,
            log_path="coder-shutdown-script.log",
        )


def _read_script(fields: Mapping[str, object]) -> AgentScript:
    return AgentScript(
        display_name=text(fields.get("display_name")),
        script=text(fields.get("script")),
        run_on_start=boolean(fields.get("run_on_start")),
        run_on_stop=boolean(fields.get("run_on_stop")),
        timeout_seconds=integer(fields.get("timeout")) or 0,
        start_blocks_login=boolean(fields.get("start_blocks_login")),
        cron=text(fields.get("cron")),
        log_path=text(fields.get("log_path")),
    )


def _read_app(fields: Mapping[str, object]) -> AgentApp:
    return AgentApp(
        slug=text(fields.get("slug")),
        display_name=text(fields.get("display_name")),
        url=text(fields.get("url")),
        command=text(fields.get("command")),
    )


def _merge_env(base: dict[str, str], added: Iterable[Mapping[str, object]]) -> dict[str, str]:
    """`coder_env` resources are laid over the agent's own `env`, in the order of the tfstate."""
    env = dict(base)
    for fields in added:
        name, value = text(fields.get("name")), text(fields.get("value"))
        match text(fields.get("merge_strategy")):
            case "append" if name in env:
                env[name] = f"{env[name]}:{value}"
            case "prepend" if name in env:
                env[name] = f"{value}:{env[name]}"
            case "error" if name in env:
                raise TemplateInvalid(
                    f"coder_env {name!r} is set twice and its merge_strategy is 'error'"
                )
            case _:
                env[name] = value
    return env
