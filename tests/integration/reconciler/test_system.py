"""What `doctor` is told, of a good installation and of one without its database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from reconciler.core.checks import Check
from reconciler.core.permissions import ServicePrincipal, UserPrincipal
from reconciler.loops.instances import SelfReport
from reconciler.rpc.instances import InstanceServicer
from reconciler.rpc.system import SystemServicer
from reconciler.store.db import Database, open_database
from reconciler.store.identity import Identities, ensure_bootstrap
from reconciler.store.jobs import JobQueue, Worker
from reconciler.store.migrate import list_migrations, migrate
from reconciler.store.system import SystemViews
from svckit.auth import current_principal, hash_token
from svckit.certificate_files import CertificateFile, CertificateFiles
from svckit.errors import InvalidArgument, PermissionDenied, Unavailable
from svckit.readiness import Readiness
from svckit.system import Clock, SystemClock
from testkit.certificates import make_identity
from testkit.clock import EPOCH, SettableClock
from testkit.eventually import eventually
from testkit.faultproxy import FaultProxy, fault_proxy
from testkit.postgres import DatabaseFactory, PostgresServer
from warmpool.control.v1 import system_pb2 as pb
from warmpool.instance.v1 import instance_pb2

pytestmark = pytest.mark.integration

SCHEMA = list_migrations()[-1].name


async def a_worker(database: Database, number: int, name: str, seen_at: datetime) -> None:
    await ensure_bootstrap(
        database, None, hash_token("key"), None, EPOCH, lambda: UUID(int=100 + number)
    )
    key = await Identities(database).find_credential(hash_token("key"))
    assert key is not None
    assert isinstance(key.principal, ServicePrincipal)
    worker = Worker(
        id=UUID(int=number),
        name=name,
        version="0.1.0",
        provisioner_types=("terraform", "process"),
        tags={"zone": "eu"},
        key_id=key.principal.key_id,
        organization_id=None,
    )
    await JobQueue(database).register(worker, seen_at)


async def ask(servicer: SystemServicer) -> pb.GetSystemResponse:
    return await servicer.GetSystem(pb.GetSystemRequest(), None)


async def a_probe() -> Check:
    return Check(name="nats", is_ok=False, message="not connected", fix="start it")


async def report(
    database: Database, clock: Clock, kind: str, *, key: int = 1, **fields: Any
) -> None:
    """A service tells of itself."""
    async with database.read() as connection:
        await connection.execute(
            "INSERT INTO service_keys (id, kind, name, key_hash, created_at)"
            " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING",
            UUID(int=key),
            kind,
            f"key {key}",
            hash_token(f"key {key}"),
            EPOCH,
        )
    current_principal.set(ServicePrincipal(kind=kind, key_id=UUID(int=key)))
    servicer = InstanceServicer(SystemViews(database), clock)
    await servicer.ReportInstance(instance_pb2.ReportInstanceRequest(**fields), None)


async def test_an_installation_is_told_in_every_respect(migrated_database: Database) -> None:
    clock = SystemClock()
    now = clock.now()
    await a_worker(migrated_database, 1, "here", now)
    await a_worker(migrated_database, 2, "gone", now - timedelta(seconds=61))

    answer = await ask(SystemServicer(migrated_database, clock, "0.1.0", probes=(a_probe,)))

    assert answer.version == "0.1.0"
    assert abs(answer.now.ToDatetime(tzinfo=UTC) - now) < timedelta(seconds=30)
    assert answer.schema_version == SCHEMA
    # The tests' own server forgets everything in a crash, which is what is wrong with it.
    assert [(check.name, check.ok, check.fix) for check in answer.checks] == [
        ("postgres", False, "set fsync = on"),
        ("postgres", False, "set full_page_writes = on"),
        (
            "postgres",
            False,
            "set synchronous_commit = on, for the role or in postgresql.conf",
        ),
        ("schema", True, ""),
        ("clock", True, ""),
        ("connections", True, ""),
        ("releases", True, ""),
        ("provisioners", True, ""),
        ("nats", False, "start it"),
    ]
    assert answer.checks[7].message == "1 connected: 1 × process, 1 × terraform"
    assert answer.provisioners[0].last_seen_at.ToDatetime(tzinfo=UTC) == now
    answer.provisioners[0].ClearField("last_seen_at")
    assert list(answer.provisioners) == [
        pb.ProvisionerWorker(
            id=str(UUID(int=1)),
            name="here",
            version="0.1.0",
            provisioner_types=["terraform", "process"],
            tags={"zone": "eu"},
        )
    ]


async def test_time_limits_of_the_server_that_are_too_short_are_told(
    database: DatabaseFactory,
) -> None:
    url = await database()
    connection = await asyncpg.connect(url)
    name = await connection.fetchval("SELECT current_database()")
    for setting in ("statement_timeout", "idle_in_transaction_session_timeout"):
        await connection.execute(f"ALTER DATABASE \"{name}\" SET {setting} = '7s'")
    await connection.close()
    async with open_database(url, pool_max=1) as opened:
        await migrate(opened)
        answer = await ask(SystemServicer(opened, SystemClock(), "0.1.0"))

    said = [check.message for check in answer.checks if check.name == "postgres"]
    assert any(message.startswith("statement_timeout is 7 s") for message in said)
    assert any(message.startswith("idle_in_transaction_session_timeout is 7 s") for message in said)


async def test_what_services_say_of_themselves_is_told_until_they_fall_silent(
    migrated_database: Database,
) -> None:
    clock = SettableClock(EPOCH)
    edge = str(UUID(int=7))
    sent_at = Timestamp()
    sent_at.FromDatetime(EPOCH - timedelta(seconds=9))
    await report(
        migrated_database,
        clock,
        "gateway",
        instance_id=edge,
        name="edge",
        version="0.3.0",
        sent_at=sent_at,
        problems=["nats: permissions violation"],
        certificates=[
            instance_pb2.Certificate(
                setting="tls_cert_file", issuer="root", names=["edge", "127.0.0.1"], ends_at=sent_at
            ),
            instance_pb2.Certificate(setting="nats_ca_file", problem="cannot be read"),
            instance_pb2.Certificate(setting="far", ends_at=Timestamp(seconds=10**15)),
        ],
    )
    await report(
        migrated_database,
        clock,
        "provisioner",
        instance_id=str(UUID(int=8)),
        name="builder",
        version="0.2.0",
        programs={"terraform": ""},
    )
    servicer = SystemServicer(migrated_database, clock, "0.1.0")

    answer = await ask(servicer)
    clock.advance(61)
    later = await ask(servicer)

    assert [(each.service, each.name, each.version) for each in answer.instances] == [
        ("gateway", "edge", "0.3.0"),
        ("provisioner", "builder", "0.2.0"),
    ]
    found = {(each.name, each.ok, each.warning, each.message) for each in answer.checks}
    assert {
        (
            "releases",
            False,
            False,
            "more than one release from 0.1.0, which is not tested and may not work: gateway edge"
            " (0.3.0)",
        ),
        (
            "gateway edge",
            False,
            False,
            "its clock is -9.0 s from ours, so times of logs and of claims are wrong",
        ),
        ("gateway edge", True, True, "nats: permissions violation"),
        (
            "gateway edge",
            False,
            True,
            "tls_cert_file: has expired on 2029-12-31; nobody trusts it any more",
        ),
        ("gateway edge", True, True, "nats_ca_file: cannot be read"),
        (
            "provisioner builder",
            True,
            True,
            "terraform is not there, so it takes no terraform jobs",
        ),
    } <= found
    assert list(later.instances) == []


async def test_a_key_tells_of_its_own_processes_alone(migrated_database: Database) -> None:
    clock, edge = SettableClock(EPOCH), str(UUID(int=7))
    for key, name in ((1, "edge"), (2, "forged")):
        await report(migrated_database, clock, "gateway", key=key, instance_id=edge, name=name)

    found = await SystemViews(migrated_database).list_instances(EPOCH - timedelta(days=1))

    assert [(each.id, each.name) for each in found] == [
        (UUID(edge), "edge"),
        (UUID(edge), "forged"),
    ]


async def test_a_key_has_so_many_processes_and_no_more(migrated_database: Database) -> None:
    clock, views = SettableClock(EPOCH), SystemViews(migrated_database)
    await report(migrated_database, clock, "gateway", key=2, instance_id=str(UUID(int=1)), name="a")
    await report(migrated_database, clock, "gateway", instance_id=str(UUID(int=2)), name="first")
    async with migrated_database.read() as connection:  # and 999 more, a little later
        await connection.execute(
            "INSERT INTO instances (id, service_key_id, service, name, version,"
            " clock_skew_seconds, problems, programs, last_seen_at)"
            " SELECT gen_random_uuid(), $1, 'gateway', 'other', '', 0, '{}', '{}', $2"
            " FROM generate_series(1, 999)",
            UUID(int=1),
            EPOCH + timedelta(seconds=1),
        )
    clock.advance(2)
    await report(migrated_database, clock, "gateway", instance_id=str(UUID(int=3)), name="last")

    async with migrated_database.read() as connection:
        rows = await connection.fetch(
            "SELECT name, count(*)::int FROM instances GROUP BY name ORDER BY name"
        )
    assert [tuple(row) for row in rows] == [("a", 1), ("last", 1), ("other", 999)]
    # AND a list is no longer than that
    assert len(await views.list_instances(EPOCH - timedelta(days=1))) == 1_000


async def test_nobody_but_a_service_reports_and_none_at_length(migrated_database: Database) -> None:
    servicer = InstanceServicer(SystemViews(migrated_database), SystemClock())
    request = instance_pb2.ReportInstanceRequest(instance_id=str(UUID(int=7)))
    current_principal.set(UserPrincipal(user_id=UUID(int=5), username="ada"))
    with pytest.raises(PermissionDenied):
        await servicer.ReportInstance(request, None)

    current_principal.set(ServicePrincipal(kind="gateway", key_id=UUID(int=1)))
    request.problems.extend(["x"] * 21)
    with pytest.raises(InvalidArgument, match="problems: 21; at most 20 are allowed"):
        await servicer.ReportInstance(request, None)


async def test_a_replica_tells_of_itself_and_forgets_who_is_long_gone(
    migrated_database: Database, tmp_path: Path
) -> None:
    clock, views = SettableClock(EPOCH), SystemViews(migrated_database)
    readiness = Readiness()
    readiness.set("nats", "not connected")
    root = make_identity(tmp_path, "root")
    given = [CertificateFile("nats_ca_file", root.cert_file)]
    reports = [
        SelfReport(
            views,
            readiness,
            clock,
            instance_id=UUID(int=n),
            name=f"r{n}",
            version="0.1.0",
            certificates=CertificateFiles(given, clock),
        )
        for n in (1, 2)
    ]

    await reports[0].run_once()
    clock.advance(25 * 3600)
    await reports[1].run_once()

    found = await views.list_instances(EPOCH - timedelta(days=9))
    assert [(each.service, each.name, each.problems) for each in found] == [
        ("reconciler", "r2", ("nats: not connected",))
    ]
    assert found[0].certificates == CertificateFiles(given, clock).look()
    assert found[0].certificates[0].names == ("127.0.0.1", "root.test")


async def test_a_clock_that_is_wrong_and_no_provisioner_are_told(
    migrated_database: Database,
) -> None:
    answer = await ask(SystemServicer(migrated_database, SettableClock(EPOCH), "0.1.0"))
    wrong = [check.name for check in answer.checks if not check.ok and check.name != "postgres"]
    assert wrong == ["clock", "provisioners"]


async def test_a_database_that_went_away_is_told_instead_of_failing(
    migrated_url: str, postgres_server: PostgresServer
) -> None:
    async with open_behind_proxy(migrated_url, postgres_server) as (proxy, database):
        servicer = SystemServicer(database, SystemClock(), "0.1.0")
        assert (await ask(servicer)).schema_version == SCHEMA
        proxy.refuse = True
        proxy.cut()
        answer = await ask(servicer)
    assert [(check.name, check.ok) for check in answer.checks] == [("postgres", False)]
    assert answer.checks[0].message.startswith("the database is not there: ")
    assert (answer.version, answer.schema_version) == ("0.1.0", "")


async def look(database: Database) -> None:
    async with database.snapshot() as connection:
        await connection.fetchval("SELECT 1")


@pytest.mark.parametrize("use", [Database.probe, look], ids=["statement", "transaction"])
async def test_a_connection_that_the_server_gave_up_is_not_used_again(
    migrated_url: str,
    postgres_server: PostgresServer,
    use: Callable[[Database], Awaitable[object]],
) -> None:
    async with open_behind_proxy(migrated_url, postgres_server) as (proxy, database):
        async with database.read() as connection:
            pid = await connection.fetchval("SELECT pg_backend_pid()")
        proxy.hold_ends = True  # its last word arrives, and the end of the connection later
        passed = proxy.passed_bytes
        admin = await asyncpg.connect(migrated_url)
        assert await admin.fetchval("SELECT pg_terminate_backend($1)", pid)
        await admin.close()

        def has_arrived() -> None:
            assert proxy.passed_bytes > passed

        await eventually(has_arrived)
        for _ in range(100):  # and is read
            await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="the database is not there: InternalClientError"):
            await use(database)
        proxy.hold_ends = False
        await use(database)


@asynccontextmanager
async def open_behind_proxy(
    database_url: str, server: PostgresServer
) -> AsyncGenerator[tuple[FaultProxy, Database]]:
    """The database by a single connection, and the proxy in front of it."""
    url = urlsplit(database_url)
    whoever = url.netloc.rpartition("@")[0]
    async with fault_proxy(str(server.socket_path)) as proxy:
        through = f"{url.scheme}://{whoever}@{proxy.address}{url.path}?sslmode=disable"
        async with open_database(through, pool_max=1) as database:
            yield proxy, database


async def test_callers_are_told_who_they_are(migrated_database: Database) -> None:
    servicer = SystemServicer(migrated_database, SystemClock(), "0.1.0")
    current_principal.set(
        UserPrincipal(user_id=UUID(int=5), username="ada", roles=frozenset({"owner", "auditor"}))
    )
    assert await servicer.WhoAmI(pb.WhoAmIRequest(), None) == pb.WhoAmIResponse(
        user_id=str(UUID(int=5)), username="ada", roles=["auditor", "owner"]
    )
    current_principal.set(ServicePrincipal(kind="gateway", key_id=UUID(int=6)))
    with pytest.raises(PermissionDenied):
        await servicer.WhoAmI(pb.WhoAmIRequest(), None)
