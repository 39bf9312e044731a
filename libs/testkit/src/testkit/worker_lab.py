"""A provisionerd worker in this process, beside a fake control plane it reaches over real gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from provisionerd.core.jobs import Worker
from provisionerd.core.provisioner import Provisioner
from provisionerd.wiring.worker import WorkerPlan, build_worker
from svckit.channel import open_channel
from svckit.system import SystemClock, SystemEntropy
from testkit.fake_provisioner import FakeCall, FakeProvisioner
from testkit.fake_reconciler_jobs import FakeReconciler, fake_reconciler

__all__ = ["RunningWorker", "WorkerLab", "worker_lab"]

_PATIENCE_SECONDS = 30.0


@dataclass(slots=True, kw_only=True)
class RunningWorker:
    """One worker. `registered` is set at each registration."""

    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    registered: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """Asks it to stop, and waits until it has."""
        self.stopping.set()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await self.ended.wait()

    def crash(self) -> None:
        """Ends it without a word."""
        assert self.task is not None
        self.task.cancel()


@dataclass(slots=True, kw_only=True)
class WorkerLab:
    """What workers of one test share. Made by `worker_lab`."""

    directory: Path
    fake: FakeReconciler
    provisioner: FakeProvisioner = field(default_factory=FakeProvisioner)
    provisioners: dict[str, Provisioner] = field(default_factory=dict[str, Provisioner])
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    @property
    def job_dirs(self) -> list[str]:
        """The directories of jobs that exist now."""
        jobs = self.directory / "jobs"
        return sorted(path.name for path in jobs.iterdir()) if jobs.exists() else []

    async def arrival(self) -> FakeCall:
        """The next call the fake provisioner got."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await self.provisioner.arrivals.get()

    def counts(self, name: str) -> dict[tuple[str, ...], float]:
        """A metric's values by its labels, in the order of their names."""
        data = self.reader.get_metrics_data()
        found: dict[tuple[str, ...], float] = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points if metric.name == name else ():
                        if isinstance(point, NumberDataPoint):
                            labels: Mapping[str, object] = point.attributes or {}
                            key = tuple(str(labels[each]) for each in sorted(labels))
                            found[key] = float(point.value)
        return found

    @asynccontextmanager
    async def worker(
        self,
        *,
        slots: int = 2,
        drain_seconds: float = 20.0,
        name: str = "w",
        channel: grpc.aio.Channel | None = None,
    ) -> AsyncGenerator[RunningWorker]:
        """A worker that runs until the block is left, and is then asked to stop."""
        running = RunningWorker()
        channel = channel or open_channel(self.fake.address, token="key")
        provider = MeterProvider([self.reader])
        loop = build_worker(
            WorkerPlan(
                worker=Worker(
                    worker_id=name,
                    name=name,
                    version="1",
                    provisioner_types=tuple(self.provisioners),
                ),
                slots_count=slots,
                drain_seconds=drain_seconds,
                jobs_dir=self.directory / "jobs",
                templates_dir=self.directory / "templates",
                programs=frozenset({"sleep"}),
                salvage=_read_left,
            ),
            channel=channel,
            provisioners=self.provisioners,
            meter=provider.get_meter("test"),
            stopping=running.stopping,
            on_registered=running.registered.set,
            clock=SystemClock(),
            entropy=SystemEntropy(),
        )

        async def run() -> None:
            try:
                await loop.run()
            finally:
                running.ended.set()

        try:
            async with asyncio.TaskGroup() as group:
                running.task = group.create_task(run())
                yield running
                await running.stop()
        finally:
            await channel.close()
            self.reader = InMemoryMetricReader()


def _read_left(work_dir: Path) -> bytes | None:
    left = work_dir / "left.tfstate"
    return left.read_bytes() if left.exists() else None


@asynccontextmanager
async def worker_lab(directory: Path) -> AsyncGenerator[WorkerLab]:
    """A fake control plane and a fake provisioner, and no worker yet."""
    async with fake_reconciler() as fake:
        lab = WorkerLab(directory=directory, fake=fake)
        lab.provisioners[lab.provisioner.type] = lab.provisioner
        yield lab
