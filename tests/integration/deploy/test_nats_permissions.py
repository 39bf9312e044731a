"""The NATS accounts of `deploy/nats`, at a real nats-server with exactly that configuration: each
service can do what it does, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import nats.errors
import pytest
from nats.aio.client import Client

from bus import subjects
from bus.access import NatsAccess
from bus.errors import AccessInvalid
from bus.nats import NatsBus, connect_nats
from embedded._binaries import find_nats_server
from testkit.certificates import identity
from testkit.eventually import eventually

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[3]
CONFIGURATION = ROOT / "deploy" / "nats" / "nats.conf"
PATIENCE_SECONDS = 20.0
ID = str(uuid4())
Login = Callable[[str], Awaitable[NatsBus]]

PUBLISHED = {  # one subject of each kind, and the pattern that hears it
    subjects.claims_subject(ID): subjects.CLAIMS_ALL,
    subjects.jobs_posted_subject(ID): subjects.JOBS_POSTED_ALL,
    subjects.pools_changed_subject(ID): subjects.POOLS_CHANGED_ALL,
    subjects.workspaces_changed_subject(ID): subjects.WORKSPACES_CHANGED_ALL,
}
CLAIM = subjects.claims_subject(ID)


@dataclass(frozen=True, slots=True)
class Site:
    """A nats-server, and the directory with what its users need."""

    url: str
    secrets: Path

    def access(self, user: str) -> NatsAccess:
        return NatsAccess(
            nkey_file=self.secrets / f"nats-{user}.nk", ca_file=self.secrets / "ca.crt"
        )


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("installation") / "secrets"
    tool = [sys.executable, str(ROOT / "tools" / "make_secrets.py"), str(directory)]
    subprocess.run(tool, check=True, capture_output=True, timeout=60)
    return directory


@pytest.fixture
async def site(secrets: Path, tmp_path: Path) -> AsyncGenerator[Site]:
    shutil.copy(CONFIGURATION, tmp_path)
    shutil.copy(secrets / "nats-keys.conf", tmp_path)
    shutil.copytree(secrets / "nats", tmp_path / "tls")
    ports = tmp_path / "ports"
    ports.mkdir()
    # Nothing but where it listens differs from production.
    flags = ["--addr", "127.0.0.1", "--port", "-1", "--http_port", "-1"]
    server = await asyncio.create_subprocess_exec(
        find_nats_server(),
        *("--config", "nats.conf", *flags, "--ports_file_dir", str(ports)),
        cwd=tmp_path,
        stderr=asyncio.subprocess.DEVNULL,
    )

    def said() -> str:
        assert server.returncode is None
        files = [file.read_text() for file in ports.glob("*.ports")]
        assert files
        assert files[0]
        return json.loads(files[0])["nats"][0]

    try:
        port = (await eventually(said)).rpartition(":")[2]
        yield Site(f"tls://127.0.0.1:{port}", secrets)
    finally:
        server.terminate()
        await server.wait()


@pytest.fixture
async def login(site: Site) -> AsyncGenerator[Login]:
    async with AsyncExitStack() as stack:

        async def enter(user: str) -> NatsBus:
            bus = await connect_nats(site.url, name=user, access=site.access(user))
            stack.push_async_callback(bus.close)
            assert bus.connected, bus.last_failure
            return bus

        yield enter


async def refusal_of(bus: NatsBus, ask: Awaitable[None]) -> str:
    """What the server answers; a violation is told before the answer to a flush after it."""
    await ask
    await bus.flush()
    return bus.last_refusal


async def listen(bus: NatsBus, pattern: str) -> None:
    async with bus.subscribe(pattern):
        await bus.flush()


async def test_a_claim_goes_from_the_control_plane_to_a_gateway(login: Login) -> None:
    reconciler, gateway = await login("reconciler"), await login("agentgw")

    async with asyncio.timeout(PATIENCE_SECONDS), gateway.subscribe(subjects.CLAIMS_ALL) as claims:
        await gateway.flush()
        await reconciler.publish(CLAIM, b"claimed")
        message = await anext(claims)

    assert (message.subject, message.payload) == (CLAIM, b"claimed")
    assert (reconciler.last_refusal, gateway.last_refusal) == ("", "")


async def test_hints_go_from_replica_to_replica(login: Login) -> None:
    one, other = await login("reconciler"), await login("reconciler")

    for subject, pattern in PUBLISHED.items():
        if subject == CLAIM:
            continue
        async with asyncio.timeout(PATIENCE_SECONDS), other.subscribe(pattern) as hints:
            await other.flush()
            await one.publish(subject, b"look")
            assert (await anext(hints)).subject == subject
    assert (one.last_refusal, other.last_refusal) == ("", "")


@pytest.mark.parametrize("subject", [*PUBLISHED, "warmpool.v1.claims", "elsewhere"])
async def test_a_gateway_may_publish_nothing(login: Login, subject: str) -> None:
    gateway = await login("agentgw")

    said = await refusal_of(gateway, gateway.publish(subject, b"forged"))

    assert said == f'permissions violation for publish to "{subject}"'
    assert gateway.connected


@pytest.mark.parametrize(
    "pattern", [*(p for p in PUBLISHED.values() if p != subjects.CLAIMS_ALL), "warmpool.>", "*"]
)
async def test_a_gateway_hears_claims_and_nothing_else(login: Login, pattern: str) -> None:
    gateway = await login("agentgw")

    said = await refusal_of(gateway, listen(gateway, pattern))

    assert said == f'permissions violation for subscription to "{pattern}"'


@pytest.mark.parametrize("pattern", [subjects.CLAIMS_ALL, "warmpool.v1.>", "*"])
async def test_the_control_plane_hears_no_claims(login: Login, pattern: str) -> None:
    reconciler = await login("reconciler")

    said = await refusal_of(reconciler, listen(reconciler, pattern))

    assert said == f'permissions violation for subscription to "{pattern}"'


@pytest.mark.parametrize("subject", ["elsewhere", "warmpool.v1.other", f"{CLAIM}.more"])
async def test_the_control_plane_publishes_hints_and_nothing_else(
    login: Login, subject: str
) -> None:
    reconciler = await login("reconciler")

    said = await refusal_of(reconciler, reconciler.publish(subject, b"strange"))

    assert said == f'permissions violation for publish to "{subject}"'


async def test_nobody_else_comes_in(site: Site) -> None:
    stranger = Client()

    async def silent(error: Exception) -> None:
        del error

    with pytest.raises(nats.errors.Error, match="Authorization Violation"):
        await stranger.connect(
            site.url,
            allow_reconnect=False,
            tls=NatsAccess(ca_file=site.secrets / "ca.crt").tls(),
            error_cb=silent,
        )


async def test_a_server_of_another_root_is_not_trusted(site: Site, tmp_path: Path) -> None:
    other = NatsAccess(
        nkey_file=site.secrets / "nats-agentgw.nk",
        ca_file=identity(tmp_path, "other").cert_file,
    )
    bus = await connect_nats(site.url, name="agentgw", access=other)
    try:
        assert (bus.connected, bus.last_failure) == (False, "SSLCertVerificationError")
    finally:
        await bus.close()


@pytest.mark.parametrize(
    ("access", "message"),
    [
        ({"nkey_file": "missing"}, r"missing: No such file"),
        ({"nkey_file": "text"}, r"text: is not the seed of an nkey, which begins with SU"),
        ({"credentials_file": "missing"}, r"missing: No such file"),
        ({"ca_file": "text"}, r"text: .*"),
        ({"cert_file": "text", "key_file": "missing"}, r"text, .*missing: .*"),
    ],
)
async def test_a_file_that_is_no_good_is_named_at_the_start(
    tmp_path: Path, access: dict[str, str], message: str
) -> None:
    (tmp_path / "text").write_text("no key")
    files = {name: tmp_path / file for name, file in access.items()}

    with pytest.raises(AccessInvalid, match=message):
        await connect_nats("nats://127.0.0.1:1", name="x", access=NatsAccess(**files))
