"""The reconciler, put together: constructors in a straight line, readiness last.

What loops use outlives them: the database is opened first and closed last. The API drains before
the loops stop, so that what a call promised is still said.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path

from opentelemetry import metrics

from bus.nats import NatsBus, connect_nats
from reconciler.core.checks import Check
from reconciler.core.pools import PoolSettings, concurrency_limit
from reconciler.loops.bus_check import check_bus
from reconciler.loops.claims import ClaimBatches
from reconciler.loops.hints import BusHints
from reconciler.loops.instances import SelfReport
from reconciler.loops.lifecycle import LifecycleLoop
from reconciler.loops.listen import listen
from reconciler.loops.metrics import MetricsLoop, PoolMetrics
from reconciler.loops.notifications import NotificationMetrics, PlanLoop, SendLoop, SendSettings
from reconciler.loops.outbox import OutboxLoop
from reconciler.loops.pool import PoolLoop
from reconciler.loops.reaper import Reaper, ReaperSettings
from reconciler.loops.retention import RetentionLoop
from reconciler.loops.sealing import SealingLoop
from reconciler.rpc.authorizer import TokenAuthorizer
from reconciler.rpc.creation import Creation
from reconciler.rpc.gateway import GatewayServicer
from reconciler.rpc.instances import InstanceServicer
from reconciler.rpc.lifecycle import LivingWorkspaceServicer
from reconciler.rpc.notifications import NotificationServicer
from reconciler.rpc.people import PeopleServicer
from reconciler.rpc.pools import PoolServicer
from reconciler.rpc.provisioner import ProvisionerServicer, ProvisionerSettings
from reconciler.rpc.system import SystemServicer
from reconciler.rpc.templates import TemplateServicer
from reconciler.store.builds import JobEnds
from reconciler.store.cipher import StateCipher
from reconciler.store.claims import WorkspaceMaker
from reconciler.store.db import Database, open_database
from reconciler.store.gateway import Agents
from reconciler.store.identity import Identities, ensure_bootstrap
from reconciler.store.jobs import JobQueue
from reconciler.store.lifecycle import Lifecycles
from reconciler.store.manifests import Manifests
from reconciler.store.metrics import Measures
from reconciler.store.notifications import NotificationQueue
from reconciler.store.offers import Offers
from reconciler.store.outbox import Outbox
from reconciler.store.pools import Pools
from reconciler.store.quotas import Quotas
from reconciler.store.retention import Retention
from reconciler.store.system import SystemViews
from reconciler.store.tfstates import Tfstates
from reconciler.store.workspaces import Workspaces
from reconciler.wiring.migration import prepare_schema
from reconciler.wiring.settings import ReconcilerSettings
from reconciler.wiring.sinks import read_sinks
from svckit.addresses import write_port_file
from svckit.auth import hash_token
from svckit.certificate_files import CertificateFiles
from svckit.log import get_logger
from svckit.rungroup import RunGroup
from svckit.server import GrpcServer
from svckit.system import SystemClock, SystemEntropy, new_id, new_token
from warmpool.control.v1 import (
    notifications_pb2_grpc,
    people_pb2_grpc,
    pools_pb2_grpc,
    system_pb2_grpc,
    templates_pb2_grpc,
    workspaces_pb2_grpc,
)
from warmpool.gateway.v1 import gateway_pb2_grpc
from warmpool.instance.v1 import instance_pb2_grpc
from warmpool.provisioner.v1 import provisioner_pb2_grpc

__all__ = ["serve"]

LOG = get_logger(__name__)
# Callers look their peers up when a connection ends, so this is when they find new replicas.
# Streams are not cut: they stay on the old connection until they end by themselves.
CONNECTION_AGE_MS_MAX = 300_000


async def serve(settings: ReconcilerSettings, group: RunGroup) -> None:
    """Serves until the group is asked to stop."""
    url, cipher = settings.read_database_url(), settings.read_state_cipher()
    async with (
        open_database(url, pool_max=settings.database_pool_max) as database,
        open_database(url, pool_max=1, by_key=True) as claim_database,
    ):
        await _prepare(settings, database)
        connect = partial(
            connect_nats,
            settings.nats_url.get_secret_value(),
            name="reconciler",
            access=settings.nats_access(),
        )
        bus = await connect(hears_itself=False)  # its own hints go to its loops at once
        try:
            watch = partial(group.readiness.watch, clock=SystemClock())
            async with RunGroup(group.stopping, group.readiness) as loops:
                loops.start("watch-nats", partial(watch, "nats", bus.probe))
                loops.start("watch-postgres", partial(watch, "postgres", database.probe))
                check = partial(check_bus, bus, connect)
                await _serve(settings, database, claim_database, cipher, bus, check, loops)
        finally:
            await bus.close()


async def _prepare(settings: ReconcilerSettings, database: Database) -> None:
    """Brings the schema up to date and makes sure that the first credentials exist."""
    await prepare_schema(settings, database)
    await ensure_bootstrap(
        database,
        owner_token_hash=_read_hash(settings.bootstrap_owner_token_file),
        provisioner_key_hash=_read_hash(settings.bootstrap_provisioner_key_file),
        gateway_key_hash=_read_hash(settings.bootstrap_gateway_key_file),
        now=SystemClock().now(),
        new_id=new_id,
    )


async def _serve(
    settings: ReconcilerSettings,
    database: Database,
    claim_database: Database,
    cipher: StateCipher,
    bus: NatsBus,
    bus_check: Callable[[], Awaitable[Check]],
    loops: RunGroup,
) -> None:
    clock, entropy = SystemClock(), SystemEntropy()
    agent_timeout = timedelta(seconds=settings.agent_timeout_seconds)
    pool_settings = read_pool_settings(settings)

    hints = BusHints(bus)
    queue = JobQueue(database)
    tfstates = Tfstates(database, cipher)
    if unreadable := await tfstates.count_unreadable():
        LOG.error("no key of the state key file opens some tfstate", total=unreadable)
    manifests = Manifests(database, cipher)
    if unreadable := await manifests.count_unreadable():
        LOG.error("no key of the state key file opens some manifests", total=unreadable)
    ends = JobEnds(database, cipher)
    workspaces = Workspaces(database, agent_timeout=agent_timeout)
    pools = Pools(
        database,
        agent_timeout=agent_timeout,
        failure_lookback=timedelta(seconds=settings.pool_failure_lookback_seconds),
    )
    maker = WorkspaceMaker(database, agent_timeout=agent_timeout)
    # A connection of their own: claims never wait behind the pool's churn.
    claims = ClaimBatches(WorkspaceMaker(claim_database, agent_timeout=agent_timeout), clock)
    offers = Offers(workspaces, clock)
    creation = Creation(
        maker, claims, workspaces, offers, pools, Quotas(database), hints, clock, new_id
    )
    instruments = PoolMetrics(metrics.get_meter("reconciler"))
    pool_loop = PoolLoop(
        database,
        pools,
        hints,
        hints.pool,
        clock,
        entropy,
        new_id,
        settings=pool_settings,
        concurrency=concurrency_limit(settings.database_pool_max),
        tick_seconds=settings.reconcile_tick_seconds,
        observer=instruments,
    )
    lifecycles = Lifecycles(database)
    lifecycle_loop = LifecycleLoop(
        database,
        lifecycles,
        hints,
        clock,
        entropy,
        new_id,
        concurrency=max(1, concurrency_limit(settings.database_pool_max) // 2),
        tick_seconds=settings.lifecycle_tick_seconds,
    )
    figures = MetricsLoop(pools, Measures(database), instruments, clock, entropy, pool_settings)
    reaper = Reaper(
        database,
        queue,
        ends,
        hints,
        clock,
        entropy,
        ReaperSettings(
            unconfirmed_seconds=settings.job_unconfirmed_seconds,
            hung_seconds=settings.job_hung_seconds,
            pending_seconds=settings.job_pending_seconds,
            tick_seconds=settings.reaper_tick_seconds,
        ),
    )
    retention = RetentionLoop(
        database,
        Retention(database),
        clock,
        entropy,
        {
            "job_logs": settings.job_logs_days,
            "agent_logs": settings.agent_logs_days,
            "audit_log": settings.audit_days,
            "notification_deliveries": settings.notification_days,
        },
    )
    sealing = SealingLoop(database, manifests, clock, entropy)
    notification_metrics = NotificationMetrics(metrics.get_meter("reconciler"))
    notifications = NotificationQueue(database)
    send_loops = [
        SendLoop(
            notifications,
            sink,
            notification_metrics,
            clock,
            entropy,
            read_send_settings(settings),
        )
        for sink in read_sinks(settings, clock)
    ]
    targets = [loop.target for loop in send_loops]
    plan_loop = PlanLoop(
        database,
        notifications,
        targets,
        [loop.nudge for loop in send_loops],
        notification_metrics,
        clock,
        entropy,
        new_id,
        tick_seconds=settings.notification_tick_seconds,
        missing_seconds=settings.provisioners_missing_seconds,
    )
    outbox = OutboxLoop(
        Outbox(database), bus, hints.promises, clock, entropy, raw=settings.claim_events_raw
    )
    provisioner = ProvisionerServicer(
        queue,
        tfstates,
        ends,
        hints,
        hints,
        clock,
        ProvisionerSettings(
            access_url=settings.agent_url,
            heartbeat_seconds=settings.heartbeat_seconds,
            hung_seconds=settings.job_hung_seconds,
            cancel_grace_seconds=settings.cancel_grace_seconds,
        ),
        loops.stopping,
    )
    templates = TemplateServicer(database, hints, clock, new_id)
    users = LivingWorkspaceServicer(
        creation,
        offers,
        workspaces,
        lifecycles,
        queue,
        ends,
        hints,
        hints,
        clock,
        new_id,
        loops.stopping,
    )
    operators = PoolServicer(pools, hints, hints, clock, new_id, pool_settings, loops.stopping)
    gateway = GatewayServicer(Agents(database, cipher, agent_timeout=agent_timeout), hints, clock)
    release = version("warmpool-reconciler")
    system = SystemServicer(
        database,
        clock,
        release,
        [bus_check, *(loop.check for loop in send_loops)],
        settings.agent_url,
    )
    certificates = CertificateFiles(settings.certificate_files(), clock)
    views = SystemViews(database)
    instances = InstanceServicer(views, clock)
    self_report = SelfReport(
        views,
        loops.readiness,
        clock,
        instance_id=new_id(),
        name=socket.gethostname(),
        version=release,
        certificates=certificates,
    )
    inboxes = NotificationServicer(database, clock, new_id, targets)
    authorizer = TokenAuthorizer(Identities(database), clock)
    people = PeopleServicer(database, clock, new_id, new_token, authorizer.forget)
    server = GrpcServer(
        settings.listen,
        [
            partial(provisioner_pb2_grpc.add_ProvisionerServiceServicer_to_server, provisioner),
            partial(gateway_pb2_grpc.add_GatewayServiceServicer_to_server, gateway),
            partial(templates_pb2_grpc.add_TemplateServiceServicer_to_server, templates),
            partial(workspaces_pb2_grpc.add_WorkspaceServiceServicer_to_server, users),
            partial(pools_pb2_grpc.add_PoolServiceServicer_to_server, operators),
            partial(people_pb2_grpc.add_PeopleServiceServicer_to_server, people),
            partial(notifications_pb2_grpc.add_NotificationServiceServicer_to_server, inboxes),
            partial(system_pb2_grpc.add_SystemServiceServicer_to_server, system),
            partial(instance_pb2_grpc.add_InstanceServiceServicer_to_server, instances),
        ],
        authorizer,
        settings.tls(),
        settings.reflection,
        readiness=loops.readiness,
        options=[("grpc.max_connection_age_ms", CONNECTION_AGE_MS_MAX)],
        health_listen=settings.health_listen,
    )

    loops.start("claims", claims.run)
    loops.start("hints", hints.run)
    loops.start("listen", partial(listen, bus, hints, clock))
    loops.start("outbox", outbox.run)
    loops.start("reaper", reaper.run)
    loops.start("pool", pool_loop.run)
    loops.start("lifecycle", lifecycle_loop.run)
    loops.start("metrics", figures.run)
    loops.start("retention", retention.run)
    loops.start("sealing", sealing.run)
    loops.start("self-report", self_report.run)
    if settings.certificate_files():
        loops.start(
            "certificates",
            partial(loops.readiness.watch, "certificates", certificates.probe, clock),
        )
    loops.start("notifications", plan_loop.run)
    for number, send_loop in enumerate(send_loops):
        loops.start(f"sink {number}", send_loop.run)
    port = await server.start()
    write_port_file(settings.port_file, port)
    try:
        await loops.stopping.wait()
    finally:
        await server.stop(settings.drain_seconds)


def read_pool_settings(settings: ReconcilerSettings) -> PoolSettings:
    """The pool's policy, from the operator's settings."""
    return PoolSettings(
        backoff_interval_seconds=settings.pool_backoff_seconds,
        failure_lookback_seconds=settings.pool_failure_lookback_seconds,
        failure_hard_limit=settings.pool_failure_hard_limit,
        never_ready_timeout_seconds=settings.pool_never_ready_seconds,
        lost_timeout_seconds=settings.pool_lost_seconds,
        jobs_in_flight_max=settings.pool_jobs_in_flight_max,
    )


def read_send_settings(settings: ReconcilerSettings) -> SendSettings:
    """How notifications are sent, from the operator's settings."""
    return SendSettings(
        tick_seconds=settings.notification_tick_seconds,
        timeout_seconds=settings.notification_timeout_seconds,
        attempts_max=settings.notification_attempts_max,
        first_delay_seconds=settings.notification_retry_seconds,
    )


def _read_hash(path: Path | None) -> bytes | None:
    return None if path is None else hash_token(path.read_text().strip())
