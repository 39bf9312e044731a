"""Notifications of a system of real processes, at a real mail server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from testkit.eventually import eventually
from testkit.postbox import MailServer, serve_mail
from testkit.system import RunningSystem, run_system
from warmpool.control.v1 import notifications_pb2 as pb

pytestmark = pytest.mark.e2e
BROKEN = """
[[presets]]
name = "pool"
default = true
[presets.prebuilds]
instances = 1

[workspace]
setup = "exit 1"

[[agents]]
name = "main"
"""
NOTIFICATION = "WARMPOOL_RECONCILER_NOTIFICATION"


@pytest.fixture
async def mail() -> AsyncGenerator[MailServer]:
    """Takes what the system sends."""
    async with serve_mail() as server:
        yield server


@pytest.fixture
async def system(tmp_path: Path, mail: MailServer) -> AsyncGenerator[RunningSystem]:
    """One that sends mail, and whose pools stop after one failure."""
    extra = {
        "WARMPOOL_RECONCILER_POOL_FAILURE_HARD_LIMIT": "1",
        "WARMPOOL_RECONCILER_SMTP_HOST": mail.host,
        "WARMPOOL_RECONCILER_SMTP_PORT": str(mail.port),
        "WARMPOOL_RECONCILER_SMTP_TLS": "none",
        "WARMPOOL_RECONCILER_SMTP_FROM": "warmpool@example.org",
        f"{NOTIFICATION}_TICK_SECONDS": "0.2",
        f"{NOTIFICATION}_TIMEOUT_SECONDS": "1",
    }
    async with run_system(tmp_path, {"reconciler": extra}) as running:
        yield running


async def test_a_pool_that_stops_is_mailed_even_if_the_reconciler_is_killed_while_it_sends(
    system: RunningSystem, mail: MailServer
) -> None:
    mail.held = asyncio.Event()
    inboxes = system.client.notifications
    await inboxes.SetAddress(pb.SetAddressRequest(email="admin@example.org"))
    await system.push("broken", BROKEN)
    async with asyncio.timeout(30):
        await mail.arrived.wait()
    # WHEN it dies before it can note that the mail is out
    pid = system.kill("reconciler")
    mail.held.set()
    await system.wait_back("reconciler", pid)

    async def is_noted() -> pb.Delivery:
        request = pb.ListDeliveriesRequest(channel="email")
        answer = await inboxes.ListDeliveries(request, wait_for_ready=True, timeout=30)
        (delivery,) = answer.deliveries
        assert delivery.status == pb.DELIVERY_STATUS_SENT
        return delivery

    # THEN the mail is sent again, as the same
    delivery = await eventually(is_noted, seconds=30)
    assert delivery.attempts >= 2
    assert len(mail.arrived_ids) >= 2
    assert set(mail.arrived_ids) == {f"<{delivery.id}@example.org>"}
    assert {str(each["Subject"]) for each in mail.mails} == {
        'Pool "pool" of template "broken" stopped'
    }
    assert set(mail.recipients) == {"admin@example.org"}
    # AND it is in the inbox, once
    (message,) = (await inboxes.ListInbox(pb.ListInboxRequest())).messages
    assert message.kind == "pool.hard_limited"
