"""The NATS accounts of `deploy/nats`, at a real nats-server with exactly that configuration: each
service can do what it does, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import nats.errors
import pytest
from nats.aio.client import Client

from bus import subjects
from bus.access import NatsAccess
from bus.errors import AccessInvalid
from bus.nats import NatsBus, connect_nats
from testkit.certificates import make_identity
from testkit.eventually import eventually
from testkit.installation import NatsSite

pytestmark = pytest.mark.integration

PATIENCE_SECONDS = 20.0
ID = "6f1c1bc2-98a3-4cc7-9f4e-6f5ee0c5b0ff"
Login = Callable[[str], Awaitable[NatsBus]]

PUBLISHED = {  # one subject of each kind, and the pattern that hears it
    subjects.claims_subject(ID): subjects.CLAIMS_ALL,
    subjects.jobs_posted_subject(ID): subjects.JOBS_POSTED_ALL,
    subjects.pools_changed_subject(ID): subjects.POOLS_CHANGED_ALL,
    subjects.workspaces_changed_subject(ID): subjects.WORKSPACES_CHANGED_ALL,
}
CLAIM = subjects.claims_subject(ID)


@pytest.fixture
async def login(site: NatsSite) -> AsyncGenerator[Login]:
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


async def test_nobody_else_comes_in(site: NatsSite) -> None:
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


async def test_a_server_of_another_root_is_not_trusted(site: NatsSite, tmp_path: Path) -> None:
    other = NatsAccess(
        nkey_file=site.secrets / "nats-agentgw.nk",
        ca_file=make_identity(tmp_path, "other").cert_file,
    )
    bus = await connect_nats(site.url, name="agentgw", access=other)
    try:
        assert (bus.connected, bus.last_failure) == (False, "SSLCertVerificationError")
    finally:
        await bus.close()


async def test_renewed_keys_and_certificates_are_taken_at_the_next_connection(
    site: NatsSite, login: Login
) -> None:
    reconciler, gateway = await login("reconciler"), await login("agentgw")

    async with gateway.subscribe(subjects.CLAIMS_ALL) as claims:
        await gateway.flush()
        await site.stop()
        site.renew_secrets()
        await site.start()

        async def both_are_back() -> None:
            assert reconciler.connected, reconciler.last_failure
            assert gateway.connected, gateway.last_failure

        await eventually(both_are_back, seconds=60)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await gateway.flush()
            await reconciler.publish(CLAIM, b"claimed")
            assert (await anext(claims)).subject == CLAIM


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
