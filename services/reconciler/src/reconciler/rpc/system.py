"""The installation and the caller, for `warmpool doctor` and everybody else who asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from reconciler.core.checks import (
    WORKER_SEEN,
    Check,
    InstanceView,
    WorkerView,
    check_certificates,
    check_instances,
    check_manifests,
    check_provisioners,
    check_versions,
)
from reconciler.core.postgres_checks import (
    PostgresView,
    check_clock,
    check_connections,
    check_postgres,
    check_schema,
)
from reconciler.rpc.principals import calling_user
from reconciler.store.db import Database
from reconciler.store.migrate import list_migrations
from reconciler.store.system import SystemViews
from reconciler.wire.values import encode_time
from svckit.errors import Unavailable
from svckit.system import Clock
from warmpool.control.v1 import system_pb2 as pb
from warmpool.control.v1 import system_pb2_grpc as rpc

__all__ = ["SystemServicer"]

CLAIM_CONNECTIONS = 1  # beside the pool, see wiring


class SystemServicer(rpc.SystemServiceServicer):
    """Implements SystemService. `probes` look at what else the replica depends on."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        version: str,
        probes: Sequence[Callable[[], Awaitable[Check]]] = (),
        agent_url: str = "",
    ) -> None:
        self._views = SystemViews(database)
        self._connections = database.pool_max + CLAIM_CONNECTIONS
        self._clock = clock
        self._version = version
        self._probes = tuple(probes)
        self._agent_url = agent_url

    async def GetSystem(
        self, request: pb.GetSystemRequest, context: object
    ) -> pb.GetSystemResponse:
        now = self._clock.now()
        response = pb.GetSystemResponse(version=self._version, now=encode_time(now))
        checks: list[Check] = []
        try:
            postgres = await self._views.get_postgres()
            workers = await self._views.list_workers(now - WORKER_SEEN)
            instances = await self._views.list_instances(now - WORKER_SEEN)
            manifests = await self._views.get_manifests()
        except Unavailable as error:
            checks.append(
                Check(
                    name="postgres",
                    is_ok=False,
                    message=error.message,
                    fix="start Postgres, or set right database_url",
                )
            )
        else:
            checks += self._judge(postgres, workers, instances)
            checks += check_manifests(self._version, manifests, instances)
            response.schema_version = postgres.schema_version
            response.postgres_version = postgres.version
            response.provisioners.extend(map(_encode_worker, workers))
            response.instances.extend(map(_encode_instance, instances))
        checks += [await probe() for probe in self._probes]
        response.checks.extend(map(_encode_check, checks))
        return response

    async def WhoAmI(self, request: pb.WhoAmIRequest, context: object) -> pb.WhoAmIResponse:
        caller = calling_user()
        return pb.WhoAmIResponse(
            user_id=str(caller.user_id), username=caller.username, roles=sorted(caller.roles)
        )

    def _judge(
        self,
        postgres: PostgresView,
        workers: tuple[WorkerView, ...],
        instances: tuple[InstanceView, ...],
    ) -> list[Check]:
        replicas = sum(each.service == "reconciler" for each in instances)
        return [
            *check_postgres(postgres),
            check_schema(postgres.schema_version, list_migrations()[-1].name),
            check_clock(self._clock.now(), postgres.now),
            check_connections(postgres.connections_max, self._connections, replicas),
            check_versions(self._version, instances),
            check_provisioners(workers),
            *check_instances(instances),
            *check_certificates(instances, self._clock.now(), self._agent_url),
        ]


def _encode_check(check: Check) -> pb.Check:
    return pb.Check(
        name=check.name,
        ok=check.is_ok,
        message=check.message,
        warning=check.is_warning,
        fix=check.fix,
    )


def _encode_instance(instance: InstanceView) -> pb.Instance:
    return pb.Instance(
        id=str(instance.id),
        service=instance.service,
        name=instance.name,
        version=instance.version,
        last_seen_at=encode_time(instance.last_seen_at),
        programs=instance.programs,
    )


def _encode_worker(worker: WorkerView) -> pb.ProvisionerWorker:
    return pb.ProvisionerWorker(
        id=str(worker.id),
        name=worker.name,
        version=worker.version,
        provisioner_types=worker.provisioner_types,
        tags=worker.tags,
        last_seen_at=encode_time(worker.last_seen_at),
    )
