"""Tries out the bus: what this replica says on it, others must hear. Its own connection is spared
what it says itself, so that a second one listens for as long as the check takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final
from uuid import UUID

from bus.errors import BusError
from bus.events import PrebuildClaimed, WorkspaceChanged, encode_event
from bus.nats import NatsBus
from bus.subjects import claims_subject, workspaces_changed_subject
from reconciler.core.checks import Check

__all__ = ["check_bus"]

NOBODY: Final = str(UUID(int=0))
"""The id of no workspace: hints about it are real ones, and harmless."""
HEAR_SECONDS: Final = 2.0
SAY_SECONDS: Final = 0.2


async def check_bus(bus: NatsBus, connect: Callable[[], Awaitable[NatsBus]]) -> Check:
    """Whether hints travel; without them everything works, later. `connect` makes another bus that
    is allowed the same.
    """
    if not bus.connected:
        return _fault(
            f"{await bus.probe()}; claims reach their agents within a sweep instead of at once",
            "start NATS, or set right nats_url, its credentials and nats_ca_file",
        )
    ear = await connect()
    try:
        heard = await _is_heard(bus, ear)
        refusals = bus.refusals or ear.refusals
    finally:
        await ear.close()
    if refusals:
        return _fault(
            f"the server does not permit what we need: {'; '.join(refusals)}",
            "give the reconciler's account these permissions",
        )
    if not heard:
        return _fault("connected, and what we say is not heard", "look at the NATS server")
    return Check(name="nats", is_ok=True, message="connected, and heard by others")


async def _is_heard(bus: NatsBus, ear: NatsBus) -> bool:
    subject = workspaces_changed_subject(NOBODY)
    try:
        async with (
            asyncio.timeout(HEAR_SECONDS),
            bus.subscribe(subject),
            ear.subscribe(subject) as subscription,
        ):
            await ear.flush()
            claim = PrebuildClaimed(workspace_id=NOBODY)
            await bus.publish(claims_subject(NOBODY), encode_event(claim))
            heard = aiter(subscription)
            while True:  # another server of a cluster may hear of the ear a moment later
                await bus.publish(subject, encode_event(WorkspaceChanged(workspace_id=NOBODY)))
                await bus.flush()
                if bus.refusals or ear.refusals:
                    return False
                with suppress(TimeoutError):
                    async with asyncio.timeout(SAY_SECONDS):
                        await anext(heard)
                        return True
    except (BusError, TimeoutError):
        return False


def _fault(message: str, fix: str) -> Check:
    return Check(name="nats", is_ok=False, message=message, fix=fix)
