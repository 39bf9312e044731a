"""The installation and the caller, for `warmpool doctor` and everybody else who asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reconciler.core.checks import (
    WORKER_SEEN,
    Check,
    PostgresView,
    WorkerView,
    check_clock,
    check_provisioners,
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


class SystemServicer(rpc.SystemServiceServicer):
    """Implements SystemService. `probes` look at what else the replica depends on, at once."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        version: str,
        probes: Sequence[Callable[[], Check]] = (),
    ) -> None:
        self._views = SystemViews(database)
        self._clock = clock
        self._version = version
        self._probes = tuple(probes)

    async def GetSystem(
        self, request: pb.GetSystemRequest, context: object
    ) -> pb.GetSystemResponse:
        now = self._clock.now()
        response = pb.GetSystemResponse(version=self._version, now=encode_time(now))
        checks: list[Check] = []
        try:
            postgres = await self._views.get_postgres()
            workers = await self._views.list_workers(now - WORKER_SEEN)
        except Unavailable as error:
            checks.append(Check(name="postgres", is_ok=False, message=error.message))
        else:
            checks += self._judge(postgres, workers)
            response.schema_version = postgres.schema_version
            response.postgres_version = postgres.version
            response.provisioners.extend(map(_encode_worker, workers))
        checks += [probe() for probe in self._probes]
        response.checks.extend(
            pb.Check(name=check.name, ok=check.is_ok, message=check.message) for check in checks
        )
        return response

    async def WhoAmI(self, request: pb.WhoAmIRequest, context: object) -> pb.WhoAmIResponse:
        caller = calling_user()
        return pb.WhoAmIResponse(
            user_id=str(caller.user_id), username=caller.username, roles=sorted(caller.roles)
        )

    def _judge(self, postgres: PostgresView, workers: tuple[WorkerView, ...]) -> list[Check]:
        return [
            Check(name="postgres", is_ok=True, message=f"version {postgres.version}"),
            check_schema(postgres.schema_version, list_migrations()[-1].name),
            check_clock(self._clock.now(), postgres.now),
            check_provisioners(workers),
        ]


def _encode_worker(worker: WorkerView) -> pb.ProvisionerWorker:
    return pb.ProvisionerWorker(
        id=str(worker.id),
        name=worker.name,
        version=worker.version,
        provisioner_types=worker.provisioner_types,
        tags=worker.tags,
        last_seen_at=encode_time(worker.last_seen_at),
    )
