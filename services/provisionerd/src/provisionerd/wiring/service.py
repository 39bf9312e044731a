"""The process: settings in, a worker and its health out.

Order of the end: the worker drains while its channel is open and health says NOT_SERVING; then
the server stops; the channel is closed last.
"""

from __future__ import annotations

from functools import partial
from importlib.metadata import version

from opentelemetry import metrics

from provisionerd.core.jobs import Worker
from provisionerd.store.jobdirs import DataDirInUse, JobDirs
from provisionerd.wiring.keyfile import KeyFile
from provisionerd.wiring.programs import Programs
from provisionerd.wiring.provisioners import build_provisioners
from provisionerd.wiring.settings import ProvisionerdSettings
from provisionerd.wiring.worker import WorkerPlan, build_worker
from svckit.addresses import write_port_file
from svckit.certificate_files import CertificateFiles
from svckit.channel import PlaintextRefused, open_channel
from svckit.errors import PermissionDenied, StartFailed
from svckit.health import health_probe
from svckit.instances import InstanceReporter
from svckit.rungroup import RunGroup
from svckit.server import GrpcServer
from svckit.system import SystemClock, SystemEntropy, new_id

__all__ = ["serve"]


async def serve(settings: ProvisionerdSettings, group: RunGroup) -> None:
    """Runs until the group is stopping and the worker has drained."""
    data_dir = settings.data_dir.absolute()
    jobs_dir = data_dir / "jobs"
    provisioners = build_provisioners(settings)
    server = GrpcServer(
        settings.listen,
        (),
        _NobodyMay(),
        settings.tls(),
        reflection=settings.reflection,
        health_listen=settings.health_listen,
        readiness=group.readiness,
    )
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with JobDirs(jobs_dir).lock():
            channel = open_channel(
                settings.reconciler_address,
                token=KeyFile(settings.key_file),
                tls=settings.reconciler_tls(),
                allow_plaintext=settings.allow_plaintext,
                spread=True,
            )
            port = await server.start(serving=False)

            worker_id = new_id()

            def announce() -> None:
                if not group.stopping.is_set():
                    server.set_serving(True)
                    write_port_file(settings.port_file, port)

            worker = build_worker(
                WorkerPlan(
                    worker=Worker(
                        worker_id=str(worker_id),
                        name=settings.name,
                        version=version("warmpool-provisionerd"),
                        provisioner_types=tuple(provisioners.by_type),
                        tags=settings.tags,
                    ),
                    slots_count=settings.slots,
                    drain_seconds=settings.drain_seconds,
                    jobs_dir=jobs_dir,
                    templates_dir=data_dir / "templates",
                    programs=provisioners.programs,
                    salvage=provisioners.salvage,
                ),
                channel=channel,
                provisioners=provisioners.by_type,
                meter=metrics.get_meter("provisionerd"),
                stopping=group.stopping,
                on_registered=announce,
                clock=SystemClock(),
                entropy=SystemEntropy(),
            )
            group.start("health", lambda: _say_when_stopping(group, server))
            certificates = CertificateFiles(settings.certificate_files(), SystemClock())
            reporter = InstanceReporter(
                channel,
                group.readiness,
                SystemClock(),
                instance_id=worker_id,
                name=settings.name,
                version=version("warmpool-provisionerd"),
                find_programs=Programs(settings).find,
                certificates=certificates,
            )
            group.start("instance", reporter.run)
            if settings.certificate_files():
                group.start(
                    "watch-certificates",
                    partial(
                        group.readiness.watch, "certificates", certificates.probe, SystemClock()
                    ),
                )
            group.start(
                "watch",
                partial(
                    group.readiness.watch, "control plane", health_probe(channel), SystemClock()
                ),
            )
            try:
                await worker.run()
            finally:
                await server.stop(0)
                await channel.close()
    except DataDirInUse as error:
        raise StartFailed(str(error)) from error
    except OSError as error:
        raise StartFailed(f"cannot use the data directory {data_dir}: {error}") from error
    except PlaintextRefused as error:
        raise StartFailed(
            f"reconciler_address: {error}; use https:// and reconciler_ca_file, or set"
            " allow_plaintext where something else encrypts"
        ) from error
    except ValueError as error:
        raise StartFailed(f"--reconciler-address: {error}") from error


async def _say_when_stopping(group: RunGroup, server: GrpcServer) -> None:
    await group.stopping.wait()
    server.set_serving(False)


class _NobodyMay:
    """The server has health checks and nothing else."""

    async def authorize(self, method: str, permission: str, token: str | None) -> object:
        """Refuses everybody."""
        del permission, token
        raise PermissionDenied(f"{method} is not served here")
