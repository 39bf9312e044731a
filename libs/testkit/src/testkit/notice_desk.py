"""The sending of notifications, put together around the sinks a test has, and what is sent."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import random
import ssl
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from reconciler.core.notifications.sinks import Message, Sink
from reconciler.loops.notifications import NotificationMetrics, PlanLoop, SendLoop, SendSettings
from reconciler.store.notifications import NotificationQueue
from svckit.system import new_id
from testkit.pool_world import PoolWorld

__all__ = ["NoticeDesk", "Tls", "a_message", "make_tls"]


SENDING = SendSettings(timeout_seconds=5.0, attempts_max=3)


@dataclass
class NoticeDesk:
    """The control plane's part of sending, put together around the sinks a test has."""

    world: PoolWorld
    sinks: tuple[Sink, ...] = ()
    settings: SendSettings = SENDING

    def __post_init__(self) -> None:
        self.queue = NotificationQueue(self.world.database)
        self._reader = InMemoryMetricReader()
        provider = MeterProvider(metric_readers=[self._reader])
        self.metrics = NotificationMetrics(provider.get_meter("test"))

    def planner(self, *, missing_seconds: float = 0.0) -> PlanLoop:
        """Plans for these sinks."""
        return PlanLoop(
            self.world.database,
            self.queue,
            [sink.target for sink in self.sinks],
            [],
            self.metrics,
            self.world.clock,
            random.Random(1),
            new_id,
            tick_seconds=5.0,
            missing_seconds=missing_seconds,
        )

    def sender(self, sink: Sink) -> SendLoop:
        """Sends to one of them."""
        entropy = random.Random(1)
        return SendLoop(self.queue, sink, self.metrics, self.world.clock, entropy, self.settings)

    def figures(self) -> dict[tuple[str, ...], int | float]:
        """What Prometheus would be shown, by metric and labels."""
        found = self._reader.get_metrics_data()
        return {
            (metric.name, *(str(value) for _, value in sorted((point.attributes or {}).items()))): (
                point.value
            )
            for resource in (found.resource_metrics if found else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
            if isinstance(point, NumberDataPoint)
        }

    def counted(self) -> dict[tuple[str, ...], int | float]:
        """Those that are not zero."""
        return {name: value for name, value in self.figures().items() if value}

    async def plan(self) -> int:
        """Plans what there is."""
        return await self.planner().run_once()

    async def send(self) -> int:
        """Every sink has one turn; returns how many sends were tried."""
        async with asyncio.TaskGroup() as tasks:
            turns = [tasks.create_task(self.sender(sink).run_once()) for sink in self.sinks]
        return sum(turn.result() for turn in turns)

    async def hire(self, username: str, *roles: str, email: str = "") -> UUID:
        """A person with site-wide roles."""
        user_id = uuid4()
        await self.world.execute(
            "INSERT INTO users (id, username, email, roles, created_at)"
            " VALUES ($1, $2, $3, $4, $5)",
            user_id,
            username,
            email,
            list(roles),
            self.world.clock.now(),
        )
        return user_id

    async def happen(self, kind: str = "pool.hard_limited", message: str = "it stopped") -> None:
        """Something that those who look after templates are told."""
        await self.world.execute(
            "INSERT INTO notifications (key, organization_id, kind, message, created_at)"
            " SELECT $1, id, $2, $3, $4 FROM organizations WHERE is_default",
            str(uuid4()),
            kind,
            message,
            self.world.clock.now(),
        )

    async def rows(self) -> list[tuple[object, ...]]:
        """Deliveries as channel, status, attempts and error, inbox left out."""
        rows = await self.world.fetch(
            "SELECT channel, status, attempts, error FROM notification_deliveries"
            " WHERE channel <> 'inbox' ORDER BY channel, target"
        )
        return [tuple(row.values()) for row in rows]


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate for localhost that is its own root, and the two ends of a connection."""

    cert_file: Path
    server: ssl.SSLContext
    client: ssl.SSLContext


def make_tls(directory: Path) -> Tls:
    """One of its own, in that directory."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test")])
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin.replace(year=2120))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = directory / "mail.crt", directory / "mail.key"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(cert_file, key_file)
    return Tls(cert_file, server, ssl.create_default_context(cafile=str(cert_file)))


def a_message(**changes: object) -> Message:
    """A message to somebody; a test names what matters to it."""
    values: dict[str, object] = {
        "id": UUID(int=7),
        "kind": "pool.hard_limited",
        "subject": 'Pool "standard" of template "dev" stopped',
        "body": "3 builds in a row failed",
        "organization": "default",
        "created_at": datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC),
        "username": "ada",
        "email": "ada@example.org",
    }
    return Message(**{**values, **changes})  # pyright: ignore[reportArgumentType]
