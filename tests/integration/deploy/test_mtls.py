"""Certificates on every hop at once, made and renewed by the tool that operators use: people,
gateway and provisioner show theirs to the control plane, agents know the root, NATS and Postgres
speak TLS. Claims are applied before and after all of it was replaced, root included.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import grpc
import grpc.aio
import nats.errors
import pytest
import pytest_asyncio
from nats.aio.client import Client as NatsClient

from bus.access import NatsAccess
from embedded import find_free_port
from provisionerd.process.host import carriers_of, signal_all
from svckit.channel import ClientTls, open_channel
from testkit.eventually import eventually
from testkit.installation import Installation, NatsSite, make_secrets
from testkit.postgres import PostgresServer
from testkit.postgres_tls import serve_postgres_tls
from warmpool.control.v1 import system_pb2
from warmpool.control.v1.pools_pb2 import ListPoolsRequest
from warmpool.control.v1.system_pb2_grpc import SystemServiceStub
from warmpool.control.v1.templates_pb2 import PushTemplateHeader
from warmpool.control.v1.workspaces_pb2 import (
    CreateWorkspaceRequest,
    GetWorkspaceRequest,
)
from warmpool_cli.archive import pack_template
from warmpool_cli.client import Client, open_client
from warmpool_cli.connection import Connection
from warmpool_cli.flows.pushing import follow_import, upload_template

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="module"),
]

ROOT = Path(__file__).resolve().parents[3]
CALL_SECONDS = 20.0
# The control plane lets in who bears one of these names; the certificate of NATS does not.
ADMITTED = "agentgw,provisionerd,people"


def pair(secrets: Path, who: str) -> tuple[Path, Path]:
    """A certificate and its key."""
    return secrets / who / "tls.crt", secrets / who / "tls.key"


@dataclass(frozen=True, kw_only=True)
class Site:
    """All of it, as it runs."""

    secrets: Path
    installation: Installation
    nats: NatsSite
    client: Client

    def tls(self, who: str | None) -> ClientTls:
        """How somebody comes in: with the certificate of this name, or with none."""
        cert, key = pair(self.secrets, who) if who else (None, None)
        return ClientTls(self.secrets / "ca.crt", cert, key)

    def shows(self, who: str) -> dict[str, str]:
        """What the command is told to show."""
        cert, key = pair(self.secrets, who)
        return {"WARMPOOL_CERT_FILE": str(cert), "WARMPOOL_KEY_FILE": str(key)}

    async def claim(self, name: str) -> None:
        """Takes a workspace out of the pool; returns when its agent runs under its new owner."""
        created = await self.client.workspaces.CreateWorkspace(
            CreateWorkspaceRequest(template="process", preset="Standard", name=name),
            timeout=CALL_SECONDS,
        )
        assert created.warm, created.pool_miss_message

        async def applied() -> None:
            request = GetWorkspaceRequest(workspace_id=created.workspace.id)
            found = await self.client.workspaces.GetWorkspace(request, timeout=CALL_SECONDS)
            assert found.workspace.claim.HasField("applied_at"), f"{found}"

        await eventually(applied, seconds=60)

    async def wait_warm(self) -> None:
        """Returns when the pool is full, its agents connected."""

        async def look() -> None:
            answer = await self.client.pools.ListPools(ListPoolsRequest(), timeout=CALL_SECONDS)
            assert [(pool.eligible, pool.desired) for pool in answer.pools] == [(2, 2)], f"{answer}"

        await eventually(look, seconds=60)


def database_url_over_tls(url: str, port: int, root: Path) -> str:
    """The URL of a database on a socket, as it is behind TLS."""
    parts = urlsplit(url)
    return (
        f"postgresql://{parts.username}:{parts.password}@localhost:{port}{parts.path}"
        f"?sslmode=verify-full&sslrootcert={root}"
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    secrets: Path, postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Site]:
    directory = tmp_path_factory.mktemp("mtls")
    shutil.copytree(secrets, directory / "secrets")
    secrets, root = directory / "secrets", directory / "secrets" / "ca.crt"
    nats_site = NatsSite(secrets, directory / "nats")
    await nats_site.start()
    try:
        async with (
            postgres_server.databases() as database,
            serve_postgres_tls(
                postgres_server.socket_path,
                secrets / "postgres" / "tls.crt",
                secrets / "postgres" / "tls.key",
            ) as postgres_port,
        ):
            url = database_url_over_tls(await database(), postgres_port, root)
            (secrets / "database-url").write_text(url)
            places = {"nats": nats_site.url.removeprefix("tls://")}
            installation = Installation(secrets, directory, places)
            async with installation:
                await start(installation)
                connection = Connection(
                    address=f"https://{installation.places['reconciler']}",
                    token=(secrets / "owner-token").read_text().strip(),
                    source="test",
                    ca_file=root,
                    cert_file=secrets / "people" / "tls.crt",
                    key_file=secrets / "people" / "tls.key",
                )
                async with open_client(connection) as client:
                    yield Site(
                        secrets=secrets, installation=installation, nats=nats_site, client=client
                    )
    finally:
        signal_all(carriers_of("WARMPOOL_AGENT_CA_FILE", str(root)), signal.SIGKILL)
        await nats_site.stop()


async def start(installation: Installation) -> None:
    """Everything up, with the settings for mTLS besides those of the Compose file."""
    migrated = await installation.migrate()
    assert migrated.returncode == 0, migrated.stdout
    secrets, agents = installation.secrets, f"localhost:{find_free_port()}"
    root = str(secrets / "ca.crt")

    def shows(service: str) -> dict[str, str]:
        prefix = f"WARMPOOL_{service.upper()}_RECONCILER"
        return {
            f"{prefix}_CERT_FILE": str(secrets / service / "tls.crt"),
            f"{prefix}_KEY_FILE": str(secrets / service / "tls.key"),
        }

    await installation.start(
        "reconciler",
        WARMPOOL_RECONCILER_AGENT_URL=f"https://{agents}",
        WARMPOOL_RECONCILER_TLS_CLIENT_CA_FILE=root,
        WARMPOOL_RECONCILER_TLS_CLIENT_NAMES=ADMITTED,
    )
    async with asyncio.TaskGroup() as group:
        gateway = {**shows("agentgw"), "WARMPOOL_AGENTGW_LISTEN": agents}
        group.create_task(installation.start("agentgw", **gateway))
        provisioner = {
            **shows("provisionerd"),
            "WARMPOOL_PROVISIONERD_PROVISIONERS": "process",
            "WARMPOOL_AGENT_CA_FILE": root,
        }
        group.create_task(installation.start("provisionerd", **provisioner))


async def test_claims_are_applied_and_certificates_replaced_without_a_restart(site: Site) -> None:
    header = PushTemplateHeader(template="process", provisioner_type="process", promote=True)
    archive = pack_template(ROOT / "examples" / "process")
    pushed = await upload_template(site.client, header, archive.content, lambda _: None)
    await follow_import(site.client, pushed.version, lambda _: None)
    await site.wait_warm()
    await site.claim("first")
    await site.wait_warm()

    # Another root, and everything signed by it: who has not taken the new files cannot connect.
    for file in ("ca.crt", "ca.key"):
        (site.secrets / file).unlink()
    make_secrets(site.secrets, "--renew")
    site.nats.reload()

    await site.claim("second")
    await site.wait_warm()  # with a new agent, which trusts the new root alone
    for service in ("reconciler", "agentgw", "provisionerd"):
        said = [line["message"] for line in site.installation.said(service)]
        assert "TLS files have changed and are in use." in said
    looked = await site.installation.ask("doctor", **site.shows("people"))
    assert re.search(r"^ok +nats +connected", looked.stdout, re.M), looked.stdout + looked.stderr
    shown = set(re.findall(r"^ok +(\w+) \S+ +(\w+): signed by Warmpool root", looked.stdout, re.M))
    assert shown >= {
        ("reconciler", "tls_cert_file"),
        ("gateway", "tls_cert_file"),
        ("gateway", "reconciler_cert_file"),
        ("provisioner", "reconciler_cert_file"),
    }, looked.stdout


Try = Callable[[Site, Path], Awaitable[object]]


async def call(address: str, tls: ClientTls | None) -> None:
    """Something that needs no more than to be let in."""
    scheme = "https" if tls else "http"
    channel = open_channel(f"{scheme}://{address}", token="no token", tls=tls)
    try:
        await SystemServiceStub(channel).GetSystem(system_pb2.GetSystemRequest(), timeout=10)
    finally:
        await channel.close()


async def log_in_at_nats(url: str, access: NatsAccess) -> None:
    client = NatsClient()

    async def silent(error: Exception) -> None:
        del error

    try:
        await client.connect(url, allow_reconnect=False, tls=access.tls(), error_cb=silent)
    finally:
        with suppress(Exception):
            await client.close()


async def greet_nats_in_clear(address: str) -> None:
    """As a client that knows nothing of TLS; a client of NATS that does takes it by itself."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(b'CONNECT {"verbose":false,"tls_required":false}\r\nPING\r\n')
        async with asyncio.timeout(CALL_SECONDS):
            said = await reader.read()  # until the server hangs up
    finally:
        writer.close()
    if b"PONG" not in said:
        raise PermissionError(said.decode())


async def log_in_at_postgres(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.close()


def control_plane(who: str | None) -> Try:
    return lambda site, _: call(site.installation.places["reconciler"], site.tls(who))


REFUSALS: dict[str, tuple[Try, type[Exception], str]] = {
    "control plane, plain text": (
        lambda site, _: call(site.installation.places["reconciler"], None),
        grpc.aio.AioRpcError,
        "UNAVAILABLE",
    ),
    "control plane, no certificate": (control_plane(None), grpc.aio.AioRpcError, "UNAVAILABLE"),
    "control plane, a certificate of another root": (
        lambda site, other: call(
            site.installation.places["reconciler"],
            ClientTls(site.secrets / "ca.crt", *pair(other, "agentgw")),
        ),
        grpc.aio.AioRpcError,
        "UNAVAILABLE",
    ),
    "control plane, a certificate with another name": (
        control_plane("nats"),
        grpc.aio.AioRpcError,
        "PERMISSION_DENIED.*bears no allowed name",
    ),
    "gateway, plain text": (
        lambda site, _: call(site.installation.places["agentgw"], None),
        grpc.aio.AioRpcError,
        "UNAVAILABLE",
    ),
    "gateway, whose root is not known": (
        lambda site, other: call(site.installation.places["agentgw"], ClientTls(other / "ca.crt")),
        grpc.aio.AioRpcError,
        "CERTIFICATE_VERIFY_FAILED",
    ),
    "NATS, plain text": (
        lambda site, _: greet_nats_in_clear(site.nats.url.removeprefix("tls://")),
        PermissionError,
        '"tls_required":true',
    ),
    "NATS, no key": (
        lambda site, _: log_in_at_nats(site.nats.url, NatsAccess(ca_file=site.secrets / "ca.crt")),
        nats.errors.Error,
        "Authorization Violation",
    ),
    "Postgres, whose root is not known": (
        lambda site, other: log_in_at_postgres(
            (site.secrets / "database-url")
            .read_text()
            .replace(str(site.secrets / "ca.crt"), str(other / "ca.crt"))
        ),
        ssl.SSLCertVerificationError,
        "certificate verify failed",
    ),
}


@pytest.mark.parametrize("hop", REFUSALS)
async def test_a_hop_refuses_who_does_not_show_what_it_must(
    site: Site, secrets: Path, hop: str
) -> None:
    """`secrets` are those of another installation."""
    attempt, error, said = REFUSALS[hop]

    with pytest.raises(error) as caught:
        await attempt(site, secrets)

    assert re.search(said, f"{caught.value!r}", re.S), repr(caught.value)
