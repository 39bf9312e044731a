"""A system whose services are replaced one by one, by other code or by more of it.

One Postgres, one nats-server, real sockets. Every service listens at the same port whatever code it
runs, and what is started is started by name: "reconciler", "provisionerd", "agentgw". A workspace's
agent runs the code that its template asks for in the first line of its setup: see `agent_setup`.
A gateway finds a claim by its hint or not at all: sweeps are an hour apart.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from embedded import (
    EmbeddedNats,
    EmbeddedPostgres,
    Supervisor,
    find_free_port,
    read_or_make_secret,
)
from embedded.files import write_private
from testkit.nats import OwnNats
from testkit.releases import TODAY, Code
from testkit.system import SHORT_PAUSES, RunningSystem
from warmpool_cli.client import open_client
from warmpool_cli.connection import Connection
from warmpool_cli.local.environment import (
    LocalSettings,
    agentgw_environment,
    base_environment,
    provisionerd_environment,
    reconciler_environment,
)
from warmpool_cli.local.layout import Layout

__all__ = ["Rollout", "Service", "agent_setup", "run_rollout"]

Service = Literal["reconciler", "provisionerd", "agentgw"]

_SETTINGS: Final[Mapping[Service, Mapping[str, str]]] = {
    "reconciler": {"WARMPOOL_RECONCILER_MIGRATE_POST": "false"},
    "provisionerd": {},
    "agentgw": {"WARMPOOL_AGENTGW_SWEEP_SECONDS": "3600"},
}
# Each workspace says in a file which code its agent runs.
_AGENT_SHELL: Final = """\
case "$(cat agent-code)" in
{cases}
esac
exec {python} -P -m agentsdk
"""


def agent_setup(code: Code) -> str:
    """The line of a template's setup that chooses the agent's code."""
    return f"echo {code.name} > agent-code"


@dataclass(slots=True, kw_only=True)
class Rollout:
    """What runs, and which code each service runs. Made by `run_rollout`."""

    system: RunningSystem
    database_url: str
    running: dict[str, Code] = field(default_factory=dict[str, Code])
    _environ: dict[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])

    async def start(
        self,
        service: Service,
        code: Code,
        *,
        name: str = "",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Starts a service, under another name if one is given; returns when it is ready."""
        name = name or service
        port_file = self.system.layout.port_file(name)
        own = {
            **_environment(service, self.system),
            **SHORT_PAUSES.get(service, {}),
            **_SETTINGS[service],
            f"WARMPOOL_{service.upper()}_PORT_FILE": str(port_file),
            **(environ or {}),
            **code.environment,
        }
        await self.system.supervisor.start_service(name, service, own, port_file=port_file)
        self.running[name] = code
        self._environ[name] = environ or {}

    async def stop(self, name: str) -> None:
        """Ends a service in order."""
        await self.system.supervisor.stop_service(name)
        del self.running[name]

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncGenerator[RunningSystem]:
        """The same system, asked through the reconciler at this address."""
        token = self.system.layout.owner_token_file.read_text().strip()
        connection = Connection(address=address, token=token, source="this test")
        async with open_client(connection) as client:
            yield replace(self.system, client=client)

    async def arrange(
        self, service: Service, code: Code, *, environ: Mapping[str, str] | None = None
    ) -> None:
        """Ends a service and starts this code in its place, unless it runs just so already."""
        if (self.running.get(service), self._environ.get(service)) == (code, environ or {}):
            return
        await self.stop(service)
        await self.start(service, code, environ=environ)


def _environment(service: Service, system: RunningSystem) -> dict[str, str]:
    match service:
        case "reconciler":
            return reconciler_environment(system.layout, system.settings, system.nats.url)
        case "provisionerd":
            shell = system.layout.root / "agent.sh"
            return {
                **provisionerd_environment(system.layout, system.settings, os.environ),
                "WARMPOOL_PROVISIONERD_WORKSPACES_DIR": str(system.layout.workspaces),
                "WARMPOOL_AGENT_COMMAND": shlex.join(("sh", str(shell))),
            }
        case "agentgw":
            return agentgw_environment(system.layout, system.settings, system.nats.url)


@asynccontextmanager
async def run_rollout(directory: Path, *codes: Code) -> AsyncGenerator[Rollout]:
    """Postgres, NATS and nothing else yet. `codes` are what agents may run, besides today's.

    Leave and enter it on the main thread and in one event loop: the supervisor's timers live there.
    """
    layout = Layout(directory)
    layout.make()
    _write_agent_shell(layout, (TODAY, *codes))
    async with AsyncExitStack() as ending:
        postgres = EmbeddedPostgres(layout.postgres, fast=True)
        ending.push_async_callback(postgres.stop)
        await postgres.start()
        write_private(layout.database_url_file, postgres.url + "\n")
        nats = EmbeddedNats(layout.nats)
        ending.push_async_callback(nats.stop)
        await nats.start()
        for secret in (
            layout.provisioner_key_file,
            layout.gateway_key_file,
            layout.state_key_file,
        ):
            read_or_make_secret(secret)
        token = read_or_make_secret(layout.owner_token_file)
        supervisor = Supervisor(layout.services, base_environment())
        ending.push_async_callback(supervisor.stop)
        await supervisor.prepare()
        settings = LocalSettings(port=find_free_port(), agent_port=find_free_port(), metrics=False)
        client = await ending.enter_async_context(
            open_client(Connection(address=settings.address, token=token, source="this test"))
        )
        system = RunningSystem(
            layout=layout,
            settings=settings,
            client=client,
            supervisor=supervisor,
            nats=OwnNats(nats),
            postgres=postgres,
        )
        yield Rollout(system=system, database_url=postgres.url)


def _write_agent_shell(layout: Layout, codes: tuple[Code, ...]) -> None:
    cases = [f"{code.name}) export PYTHONPATH={shlex.quote(code.python_path)} ;;" for code in codes]
    text = _AGENT_SHELL.format(cases="\n".join(cases), python=shlex.quote(sys.executable))
    (layout.root / "agent.sh").write_text(text)
