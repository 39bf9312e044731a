"""The gateway as a process."""

from __future__ import annotations

import asyncio
import os
import socket
from functools import partial
from importlib.metadata import version
from typing import Final

from opentelemetry import metrics

from agentgw.wiring.gateway import Gateway
from agentgw.wiring.settings import GatewaySettings
from bus.nats import connect_nats
from svckit.addresses import write_port_file
from svckit.certificate_files import CertificateFiles
from svckit.channel import PlaintextRefused, open_channel
from svckit.errors import StartFailed
from svckit.health import health_probe
from svckit.instances import InstanceReporter
from svckit.log import get_logger
from svckit.rungroup import RunGroup
from svckit.system import SystemClock, SystemEntropy, new_id

__all__ = ["serve"]

# All but RecordAgentLogs: lines of an agent of the release before would be stored twice.
REPEATABLE: Final = tuple(
    f"warmpool.gateway.v1.GatewayService/{method}"
    for method in (
        "CheckAgents",
        "RecordReinits",
        "GetManifest",
        "RecordLifecycle",
        "RecordLiveness",
    )
)

_log = get_logger(__name__)


async def serve(settings: GatewaySettings, group: RunGroup) -> None:
    """Serves until `group.stopping` is set, then drains. The loops end before what they use."""
    try:
        channel = open_channel(
            settings.reconciler_address,
            token=settings.read_key(),
            tls=settings.reconciler_tls(),
            allow_plaintext=settings.allow_plaintext,
            spread=True,
            repeatable=REPEATABLE,
        )
    except PlaintextRefused as error:
        raise StartFailed(
            f"reconciler_address: {error}; use https:// and reconciler_ca_file, or set"
            " allow_plaintext where something else encrypts"
        ) from error
    except ValueError as error:
        raise StartFailed(f"reconciler_address: {error}") from error
    bus = await connect_nats(
        settings.nats_url.get_secret_value(),
        name=f"{settings.service}/{os.getpid()}",
        access=settings.nats_access(),
    )
    try:
        instance_id = new_id()
        gateway = Gateway(
            settings.plan(),
            bus=bus,
            channel=channel,
            meter=metrics.get_meter("agentgw"),
            clock=SystemClock(),
            entropy=SystemEntropy(),
            gateway_id=instance_id,
            readiness=group.readiness,
        )
        watch = partial(group.readiness.watch, clock=SystemClock())
        certificates = CertificateFiles(settings.certificate_files(), SystemClock())
        async with RunGroup(group.stopping) as loops:
            reporter = InstanceReporter(
                channel,
                group.readiness,
                SystemClock(),
                instance_id=instance_id,
                name=socket.gethostname(),
                version=version("warmpool-agentgw"),
                certificates=certificates,
            )
            loops.start("instance", reporter.run)
            if settings.certificate_files():
                loops.start(
                    "watch-certificates", partial(watch, "certificates", certificates.probe)
                )
            loops.start("watch-nats", partial(watch, "nats", bus.probe))
            loops.start("watch-reconciler", partial(watch, "control plane", health_probe(channel)))
            port = await gateway.start(loops)
            write_port_file(settings.port_file, port)
            await group.stopping.wait()
            await gateway.stop()
    finally:
        async with asyncio.timeout(5.0):
            await bus.close()
            await channel.close()
    _log.info("The gateway has stopped", action="stop")
