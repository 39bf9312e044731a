"""A template of the `process` provisioner: its `warmpool.toml`, read strictly.

Promises: what passes here can be built: schedules are readable and do not overlap, defaults and
presets satisfy their parameters, every placeholder exists. examples/process/warmpool.toml shows
every part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from provisionerd.core.provisioner import AgentApp, AgentScript, ImportResult, Parameter, Preset
from provisionerd.process.document import Table, read_document
from provisionerd.process.offers import read_parameter, read_preset
from provisionerd.process.placeholders import check_placeholders
from provisionerd.tfprovider.checks import matches
from provisionerd.tfprovider.cron import check_script_cron

__all__ = ["AgentTemplate", "Template", "read_template"]

SETUP_TIMEOUT_SECONDS = 600
TIMEOUT_SECONDS_MAX = 86_400
CONNECTION_TIMEOUT_SECONDS = 120

_agent_name = matches(
    r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", "letters, digits, - and _, at most 63, no - or _ first"
)
_variable = matches(r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTemplate:
    """One agent. Its texts still have their placeholders."""

    name: str
    directory: str
    env: dict[str, str]
    scripts: tuple[AgentScript, ...]
    apps: tuple[AgentApp, ...]
    connection_timeout_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What a template asks, offers and runs. `setup` is empty if there is none."""

    parameters: tuple[Parameter, ...]
    presets: tuple[Preset, ...]
    agents: tuple[AgentTemplate, ...]
    setup: str
    setup_timeout_seconds: int

    @property
    def offer(self) -> ImportResult:
        """What an import reports."""
        return ImportResult(
            parameters=self.parameters,
            presets=self.presets,
            agent_names=tuple(agent.name for agent in self.agents),
        )


def read_template(template_dir: Path) -> Template:
    """Reads the template, or raises TemplateInvalid."""
    document = read_document(template_dir)
    parameters = tuple(read_parameter(table) for table in document.tables("parameters"))
    document.refuse_repeated("parameters", (parameter.name for parameter in parameters))
    presets = tuple(read_preset(table, parameters) for table in document.tables("presets"))
    document.refuse_repeated("presets", (preset.name for preset in presets))
    defaults = [preset.name for preset in presets if preset.is_default]
    if len(defaults) > 1:
        document.refuse("presets", f"has the defaults {', '.join(defaults)}; only one may be")
    names = tuple(parameter.name for parameter in parameters)
    agents = tuple(_read_agent(table, names) for table in document.tables("agents"))
    document.refuse_repeated("agents", (agent.name for agent in agents))
    if not agents:
        document.refuse("agents", "is empty; a workspace needs at least one ([[agents]])")
    setup, setup_timeout_seconds = _read_workspace(document, names)
    document.refuse_others()
    return Template(
        parameters=parameters,
        presets=presets,
        agents=agents,
        setup=setup,
        setup_timeout_seconds=setup_timeout_seconds,
    )


def _read_workspace(document: Table, parameters: tuple[str, ...]) -> tuple[str, int]:
    table = document.table("workspace")
    if table is None:
        return "", SETUP_TIMEOUT_SECONDS
    setup = table.text("setup", "")
    check_placeholders(table.where("setup"), setup, parameters, is_script=True)
    timeout_seconds = table.integer(
        "setup_timeout", SETUP_TIMEOUT_SECONDS, minimum=1, maximum=TIMEOUT_SECONDS_MAX
    )
    table.refuse_others()
    return setup, timeout_seconds


def _read_agent(table: Table, parameters: tuple[str, ...]) -> AgentTemplate:
    env = table.texts("env")
    for name, value in env.items():
        if complaint := _variable(name):
            table.refuse(f"env.{name}", complaint.rstrip("."))
        check_placeholders(table.where(f"env.{name}"), value, parameters, is_script=False)
    agent = AgentTemplate(
        name=table.text("name", None, _agent_name),
        directory=table.text("directory", "", _inside),
        env=env,
        scripts=tuple(_read_scripts(table, parameters)),
        apps=tuple(_read_apps(table, parameters)),
        connection_timeout_seconds=table.integer(
            "connection_timeout", CONNECTION_TIMEOUT_SECONDS, maximum=TIMEOUT_SECONDS_MAX
        ),
    )
    table.refuse_repeated("apps", (app.slug for app in agent.apps))
    table.refuse_others()
    return agent


def _read_scripts(agent: Table, parameters: tuple[str, ...]) -> Iterator[AgentScript]:
    for table in agent.tables("scripts"):
        script = AgentScript(
            display_name=table.text("display_name"),
            script=table.text("script"),
            run_on_start=table.boolean("run_on_start", False),
            run_on_stop=table.boolean("run_on_stop", False),
            timeout_seconds=table.integer("timeout", 0, maximum=TIMEOUT_SECONDS_MAX),
            start_blocks_login=table.boolean("start_blocks_login", False),
            cron=table.text("cron", "", check_script_cron),
            log_path=table.text("log_path", ""),
        )
        if not (script.run_on_start or script.run_on_stop or script.cron):
            table.refuse("run_on_start", "is not set, nor are run_on_stop and cron; one must be")
        check_placeholders(table.where("script"), script.script, parameters, is_script=True)
        table.refuse_others()
        yield script


def _read_apps(agent: Table, parameters: tuple[str, ...]) -> Iterator[AgentApp]:
    for table in agent.tables("apps"):
        app = AgentApp(
            slug=table.text("slug", None, _agent_name),
            display_name=table.text("display_name", ""),
            url=table.text("url", ""),
            command=table.text("command", ""),
        )
        if bool(app.url) == bool(app.command):
            table.refuse("url", "and command: exactly one of them must be given")
        check_placeholders(table.where("url"), app.url, parameters, is_script=False)
        check_placeholders(table.where("command"), app.command, parameters, is_script=True)
        table.refuse_others()
        yield app


def _inside(value: str) -> str | None:
    path = Path(value)
    if path.is_absolute() or ".." in path.parts:
        return f"is {value!r}; it must be a path inside the workspace's directory"
    return None
