"""What `doctor` is told, of a good installation and of one without its database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from reconciler.core.checks import Check
from reconciler.core.permissions import ServicePrincipal, UserPrincipal
from reconciler.rpc.system import SystemServicer
from reconciler.store.db import Database, open_database
from reconciler.store.identity import Identities, ensure_bootstrap
from reconciler.store.jobs import JobQueue, Worker
from reconciler.store.migrate import list_migrations
from svckit.auth import current_principal, hash_token
from svckit.errors import PermissionDenied
from svckit.system import SystemClock
from testkit.clock import EPOCH, SettableClock
from testkit.faultproxy import fault_proxy
from testkit.postgres import PostgresServer
from warmpool.control.v1 import system_pb2 as pb

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


async def test_a_good_installation_is_well_in_every_respect(migrated_database: Database) -> None:
    clock = SystemClock()
    now = clock.now()
    await a_worker(migrated_database, 1, "here", now)
    await a_worker(migrated_database, 2, "gone", now - timedelta(seconds=61))

    servicer = SystemServicer(
        migrated_database,
        clock,
        "0.1.0",
        probes=(lambda: Check(name="nats", is_ok=False, message="not connected"),),
    )
    answer = await ask(servicer)

    assert answer.version == "0.1.0"
    assert abs(answer.now.ToDatetime(tzinfo=UTC) - now) < timedelta(seconds=30)
    assert answer.schema_version == SCHEMA
    assert [(check.name, check.ok) for check in answer.checks] == [
        ("postgres", True),
        ("schema", True),
        ("clock", True),
        ("provisioners", True),
        ("nats", False),
    ]
    assert answer.checks[0].message == f"version {answer.postgres_version}"
    assert answer.checks[3].message == "1 connected: 1 × process, 1 × terraform"
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


async def test_a_clock_that_is_wrong_and_no_provisioner_are_told(
    migrated_database: Database,
) -> None:
    answer = await ask(SystemServicer(migrated_database, SettableClock(EPOCH), "0.1.0"))
    assert [check.name for check in answer.checks if not check.ok] == ["clock", "provisioners"]


async def test_a_database_that_went_away_is_told_instead_of_failing(
    migrated_url: str, postgres_server: PostgresServer
) -> None:
    url = urlsplit(migrated_url)
    async with fault_proxy(str(postgres_server.socket_path)) as proxy:
        whoever = url.netloc.rpartition("@")[0]
        through = f"{url.scheme}://{whoever}@{proxy.address}{url.path}?sslmode=disable"
        async with open_database(through, pool_max=1) as database:
            servicer = SystemServicer(database, SystemClock(), "0.1.0")
            assert (await ask(servicer)).checks[0].ok
            proxy.refuse = True
            proxy.cut()
            answer = await ask(servicer)
    assert [(check.name, check.ok) for check in answer.checks] == [("postgres", False)]
    assert answer.checks[0].message.startswith("the database is not there: ")
    assert (answer.version, answer.schema_version) == ("0.1.0", "")


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
