"""The `process` provisioner: a workspace is a directory and agents that run on this host.

Promises, beyond those of `provisionerd.core.provisioner`: no program but the agent and the
template's own scripts is run, so a build takes milliseconds; a claim touches nothing that runs: the
agents keep id, token and process, and the result names the new owner's environment; stop and
delete end everything that was started in the workspace.

What it does not do: separate workspaces from each other, or from this host. They run as the user
we run as. It is for one machine, demos, tests, and agents that are trusted.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from provisionerd.core.errors import ProvisionCanceled, ProvisionError
from provisionerd.core.provisioner import (
    Agent,
    Build,
    BuildResult,
    DryRun,
    ImportResult,
    Job,
    Level,
    Replacement,
    Resource,
    Stage,
    Transition,
)
from provisionerd.process.placeholders import build_values, fill
from provisionerd.process.record import AgentRecord, Record, decode_record, encode_record
from provisionerd.process.settings import ProcessSettings, inherit, read_agent_command
from provisionerd.process.setup import run_setup
from provisionerd.process.template import AgentTemplate, Template, read_template
from provisionerd.process.values import resolve
from provisionerd.process.workspace import Workspace
from provisionerd.tfprovider.dice import SystemDice
from provisionerd.tfprovider.kinds import Dice

__all__ = ["ProcessProvisioner"]

STAGE = "build"
_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class ProcessProvisioner:
    """Implements `Provisioner` with processes of this host. `environment` is what the allow-list is
    applied to; by default our own.
    """

    def __init__(
        self,
        settings: ProcessSettings,
        *,
        environment: Mapping[str, str] | None = None,
        dice: Dice | None = None,
    ) -> None:
        self._settings = settings
        self._environment = os.environ if environment is None else environment
        self._dice = dice or SystemDice()

    @property
    def type(self) -> str:
        """The name templates are pushed with."""
        return "process"

    async def import_template(self, job: Job) -> ImportResult:
        """Reads `warmpool.toml`."""
        return (await asyncio.to_thread(read_template, job.template_dir)).offer

    async def dry_run(self, job: Job, parameters: dict[str, str]) -> DryRun:
        """Checks values and names what would be made."""
        template = await asyncio.to_thread(read_template, job.template_dir)
        resolve(template.parameters, parameters, {})
        return DryRun(resources=tuple(each.address for each in _list_resources(template)))

    async def rehearse(self, job: Job, build: Build) -> tuple[Replacement, ...]:
        """A claim replaces nothing here: agents are told of their new owner where they are."""
        return ()

    async def build(self, job: Job, build: Build) -> BuildResult:
        """Starts, stops or deletes."""
        _refuse_canceled(job)
        workspace = Workspace(self._settings.workspaces_dir, build.workspace_id)
        record = decode_record(job.state, workspace.id)
        match build.transition:
            case Transition.START:
                return await self._start(job, build, workspace, record)
            case Transition.STOP:
                await self._end(job, workspace, record)
                job.log(Level.INFO, STAGE, "Stopped; the directory is kept.")
                return BuildResult(resources=(_directory(),))
            case Transition.DELETE:
                await self._end(job, workspace, record)
                await workspace.remove()
                job.log(Level.INFO, STAGE, "Deleted; nothing is left of it.")
                return BuildResult()

    async def _start(
        self, job: Job, build: Build, workspace: Workspace, record: Record
    ) -> BuildResult:
        template = await asyncio.to_thread(read_template, job.template_dir)
        values = build_values(
            build, resolve(template.parameters, build.parameters, build.previous_parameters)
        )
        agents = tuple(
            self._fill_agent(workspace, agent, values, record) for agent in template.agents
        )
        setup = fill(template.setup, values, is_script=True)

        is_claim = build.stage is Stage.CLAIM
        wanted = tuple(_recall(agent, record, build.access_url) for agent in agents)
        names = {agent.name for agent in agents}
        removed = tuple(agent for agent in record.agents if agent.name not in names)
        moved = tuple(agent for agent in wanted if agent.url != build.access_url and not is_claim)
        await self._end_agents(job, workspace, (*removed, *moved))
        kept = await asyncio.to_thread(lambda: [workspace.find_running(each) for each in wanted])
        current = Record(workspace_id=workspace.id, agents=tuple(kept))
        await _keep(job, current)
        await asyncio.to_thread(workspace.make, tuple(agent.name for agent in agents))
        missing = [agent for agent in kept if not agent.pid]
        if missing:
            if is_claim:
                lost = ", ".join(agent.name for agent in missing)
                job.log(Level.WARN, STAGE, f"Agents that had ended are started again: {lost}.")
            current = await self._start_missing(
                job, template, workspace, current, setup=setup, url=build.access_url
            )
        else:
            job.log(Level.INFO, STAGE, "Every agent runs already and is left alone.")
        await _keep(job, current)
        return BuildResult(agents=agents, resources=_list_resources(template))

    async def _start_missing(
        self,
        job: Job,
        template: Template,
        workspace: Workspace,
        record: Record,
        *,
        setup: str,
        url: str,
    ) -> Record:
        """Runs the setup and starts agents; whatever it started ends if it does not get through."""
        command = read_agent_command(self._environment)
        inherited = inherit(self._environment, self._settings.env_allowed)
        fresh = tuple(agent for agent in record.agents if not agent.pid)
        nobody_ran = len(fresh) == len(record.agents)

        def abandon() -> None:
            if nobody_ran:
                workspace.terminate_all()
            for agent in fresh:
                workspace.terminate_agent(agent)

        async with _undone_by(abandon):
            await asyncio.to_thread(abandon)  # what a crashed build or an ended agent left
            if setup and nobody_ran:
                await run_setup(
                    job,
                    setup,
                    directory=workspace.home,
                    env=workspace.environment(inherited),
                    timeout_seconds=template.setup_timeout_seconds,
                    settings=self._settings,
                )
            for agent in fresh:
                _refuse_canceled(job)
                started = await workspace.start(replace(agent, url=url), command, inherited)
                job.log(Level.INFO, STAGE, f"Agent {agent.name} runs as process {started.pid}.")
                record = _replaced(record, started)
                await _keep(job, record)
        return record

    async def _end(self, job: Job, workspace: Workspace, record: Record) -> None:
        await self._end_agents(job, workspace, record.agents)
        await workspace.sweep(grace_seconds=self._settings.sweep_grace_seconds, cancel=job.cancel)
        if job.state:
            await _keep(job, Record(workspace_id=workspace.id))

    async def _end_agents(
        self, job: Job, workspace: Workspace, agents: tuple[AgentRecord, ...]
    ) -> None:
        if agents:
            names = ", ".join(agent.name for agent in agents)
            job.log(Level.INFO, STAGE, f"Ending agents: {names}.")
            await workspace.end_agents(
                agents, grace_seconds=self._settings.stop_grace_seconds, cancel=job.cancel
            )

    def _fill_agent(
        self,
        workspace: Workspace,
        agent: AgentTemplate,
        values: Mapping[str, str],
        record: Record,
    ) -> Agent:
        known = record.find(agent.name)
        return Agent(
            id=known.id if known else self._dice.new_id(),
            name=agent.name,
            token=known.token if known else self._dice.new_token(),
            os="darwin" if sys.platform == "darwin" else "linux",
            arch=_ARCHITECTURES.get(platform.machine().lower(), platform.machine().lower()),
            directory=str(workspace.home / agent.directory),
            env={name: fill(value, values, is_script=False) for name, value in agent.env.items()},
            scripts=tuple(
                replace(script, script=fill(script.script, values, is_script=True))
                for script in agent.scripts
            ),
            apps=tuple(
                replace(
                    app,
                    url=fill(app.url, values, is_script=False),
                    command=fill(app.command, values, is_script=True),
                )
                for app in agent.apps
            ),
            connection_timeout_seconds=agent.connection_timeout_seconds,
        )


def _recall(agent: Agent, record: Record, url: str) -> AgentRecord:
    known = record.find(agent.name)
    return known or AgentRecord(name=agent.name, id=agent.id, token=agent.token, url=url)


def _replaced(record: Record, agent: AgentRecord) -> Record:
    return replace(
        record,
        agents=tuple(agent if each.name == agent.name else each for each in record.agents),
    )


async def _keep(job: Job, record: Record) -> None:
    try:
        await job.keep_state(encode_record(record))
    except ProvisionError:
        raise
    except Exception as error:
        raise ProvisionError("the tfstate could not be stored", retryable=True) from error


def _refuse_canceled(job: Job) -> None:
    if job.cancel.graceful.is_set() or job.cancel.forced.is_set():
        raise ProvisionCanceled


def _directory() -> Resource:
    return Resource(address="directory.workspace", type="directory")


def _list_resources(template: Template) -> tuple[Resource, ...]:
    processes = tuple(
        Resource(address=f"process.{agent.name}", type="process", agent_names=(agent.name,))
        for agent in template.agents
    )
    return (_directory(), *processes)


@asynccontextmanager
async def _undone_by(abandon: Callable[[], None]) -> AsyncGenerator[None]:
    """Undoes the body, at once and without waiting, if it does not get to its end."""
    try:
        yield
    except BaseException:
        abandon()
        raise
