"""The gateway as a process."""

from __future__ import annotations

import asyncio
import os

from opentelemetry import metrics

from agentgw.wiring.gateway import Gateway
from agentgw.wiring.settings import GatewaySettings
from bus.nats import connect_nats
from svckit.addresses import write_port_file
from svckit.channel import open_channel
from svckit.errors import StartFailed
from svckit.log import get_logger
from svckit.rungroup import RunGroup
from svckit.system import SystemClock, SystemEntropy

__all__ = ["serve"]

_log = get_logger(__name__)


async def serve(settings: GatewaySettings, group: RunGroup) -> None:
    """Serves until `group.stopping` is set, then drains. The loops end before what they use."""
    try:
        channel = open_channel(
            settings.reconciler_address,
            token=settings.read_key(),
            tls=settings.reconciler_tls(),
            spread=True,
            repeatable=["warmpool.gateway.v1.GatewayService"],
        )
    except ValueError as error:
        raise StartFailed(f"reconciler_address: {error}") from error
    bus = await connect_nats(
        settings.nats_url.get_secret_value(),
        name=f"{settings.service}/{os.getpid()}",
        access=settings.nats_access(),
    )
    try:
        gateway = Gateway(
            settings.plan(),
            bus=bus,
            channel=channel,
            meter=metrics.get_meter("agentgw"),
            clock=SystemClock(),
            entropy=SystemEntropy(),
        )
        async with RunGroup(group.stopping) as loops:
            port = await gateway.start(loops)
            write_port_file(settings.port_file, port)
            await group.stopping.wait()
            await gateway.stop()
    finally:
        async with asyncio.timeout(5.0):
            await bus.close()
            await channel.close()
    _log.info("The gateway has stopped", action="stop")
