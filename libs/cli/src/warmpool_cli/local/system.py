"""Starts and ends the whole system: Postgres, NATS and the three services, as real processes.

Dependencies first: Postgres, the bus, the control plane, then what calls it. The end is the
reverse, and is complete however the start went: no process of ours and no agent stays.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from embedded import EmbeddedNats, EmbeddedPostgres, Supervisor
from embedded.files import read_or_make_secret, write_private
from svckit.system import Clock
from warmpool.control.v1.system_pb2 import GetSystemResponse
from warmpool_cli.client import Client, open_client
from warmpool_cli.connection import Connection, ConnectionFile
from warmpool_cli.flows.beside import together
from warmpool_cli.local.environment import (
    LocalSettings,
    agentgw_environment,
    base_environment,
    provisionerd_environment,
    reconciler_environment,
)
from warmpool_cli.local.keeping import keep_running
from warmpool_cli.local.layout import Layout
from warmpool_cli.local.readiness import wait_for_provisioner
from warmpool_cli.local.renewal import renew_pools

__all__ = ["GATEWAY", "LocalSystem", "ServiceModules", "StepReport", "run_local_system"]

GATEWAY = "agentgw"
RECONCILER = "reconciler"
READY_SECONDS = 60.0

StepReport = Callable[[str, float], None]
"""Hears what has come up and how many seconds it took."""
Note = Callable[[str], None]
"""Hears in one line when a service ended by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceModules:
    """The Python modules that are the services."""

    reconciler: str = "reconciler"
    provisionerd: str = "provisionerd"
    agentgw: str = "agentgw"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSystem:
    """A system that runs."""

    layout: Layout
    settings: LocalSettings
    client: Client
    supervisor: Supervisor
    postgres: EmbeddedPostgres
    nats: EmbeddedNats
    described: GetSystemResponse


@asynccontextmanager
async def run_local_system(
    layout: Layout,
    settings: LocalSettings,
    *,
    environ: Mapping[str, str],
    clock: Clock,
    report: StepReport,
    note: Note,
    modules: ServiceModules | None = None,
    service_environ: Mapping[str, Mapping[str, str]] | None = None,
) -> AsyncGenerator[LocalSystem]:
    """A system that is ready to build, for as long as the block runs. `service_environ` is what a
    service, by its name, gets besides its usual environment, or instead of a part of it.

    Raises EmbeddedError if a process does not come up, OperationFailed if no provisioner connects.
    """
    modules = modules or ServiceModules()
    layout.make()
    async with AsyncExitStack() as ending:
        took = _Stopwatch(clock, report)
        postgres = EmbeddedPostgres(layout.postgres)
        ending.push_async_callback(postgres.stop)
        await postgres.start()
        write_private(layout.database_url_file, postgres.url + "\n")
        took("postgres")

        nats = EmbeddedNats(layout.nats)
        ending.push_async_callback(nats.stop)
        await nats.start()
        took("nats-server")

        token = read_or_make_secret(layout.owner_token_file)
        read_or_make_secret(layout.provisioner_key_file)
        read_or_make_secret(layout.gateway_key_file)
        read_or_make_secret(layout.state_key_file)
        supervisor = Supervisor(layout.services, base_environment(), report=note)
        ending.push_async_callback(supervisor.stop)
        group = await ending.enter_async_context(together())
        for keeper in _keepers(layout, postgres, nats, supervisor, clock, note):
            ending.callback(group.create_task(keeper).cancel)
        services = (
            (
                RECONCILER,
                modules.reconciler,
                reconciler_environment(layout, settings, nats.url),
            ),
            (
                "provisionerd",
                modules.provisionerd,
                provisionerd_environment(layout, settings, environ),
            ),
            (GATEWAY, modules.agentgw, agentgw_environment(layout, settings, nats.url)),
        )
        for name, module, environment in services:
            more = (service_environ or {}).get(name, {})
            await supervisor.start_service(
                name, module, {**environment, **more}, port_file=layout.port_file(name)
            )
            took(name)

        client = await ending.enter_async_context(
            open_client(Connection(address=settings.address, token=token, source="this command"))
        )
        described = await wait_for_provisioner(
            client, settings.provisioner_types, clock, READY_SECONDS
        )
        took("provisioner connected")
        await renew_pools(client, note)
        ending.callback(layout.connection_file.unlink, missing_ok=True)
        stored = ConnectionFile(
            address=settings.address,
            token_file=str(layout.owner_token_file.relative_to(layout.root)),
            agent_url=settings.agent_url,
        )
        write_private(layout.connection_file, stored.encode())
        yield LocalSystem(
            layout=layout,
            settings=settings,
            client=client,
            supervisor=supervisor,
            postgres=postgres,
            nats=nats,
            described=described,
        )


def _keepers(
    layout: Layout,
    postgres: EmbeddedPostgres,
    nats: EmbeddedNats,
    supervisor: Supervisor,
    clock: Clock,
    note: Note,
) -> Iterator[Coroutine[None, None, None]]:
    known_url = postgres.url

    def on_postgres_back() -> None:
        if postgres.url != known_url:  # its socket had to move; the control plane has the old place
            write_private(layout.database_url_file, postgres.url + "\n")
            supervisor.terminate(RECONCILER)

    yield keep_running(
        "postgres",
        postgres,
        log_path=layout.postgres / "postgres.log",
        clock=clock,
        note=note,
        on_back=on_postgres_back,
    )
    yield keep_running(
        "nats-server",
        nats,
        log_path=layout.nats / "nats.log",
        clock=clock,
        note=note,
        on_back=lambda: None,
    )


class _Stopwatch:
    """Reports each step with the seconds since the step before."""

    def __init__(self, clock: Clock, report: StepReport) -> None:
        self._clock = clock
        self._report = report
        self._last = clock.monotonic()

    def __call__(self, step: str) -> None:
        now = self._clock.monotonic()
        self._report(step, now - self._last)
        self._last = now
