"""The worker, put together: constructors in a straight line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
from opentelemetry.metrics import Meter

from provisionerd.core.jobs import Worker
from provisionerd.core.provisioner import Provisioner
from provisionerd.core.slots import Slots
from provisionerd.loops.job import JobRunner
from provisionerd.loops.metrics import WorkerMetrics
from provisionerd.loops.prepare import Preparation
from provisionerd.loops.rescue import Rescue
from provisionerd.loops.worker import WorkerLoop
from provisionerd.rpc.control_plane import GrpcControlPlane
from provisionerd.store.jobdirs import JobDirs
from provisionerd.store.templates import TemplateCache
from svckit.system import Clock, Entropy

__all__ = ["WorkerPlan", "build_worker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """What makes one worker differ from another. `programs` are the names of the executables its
    provisioners run, by which a crashed worker's commands are told; `salvage` finds the tfstate
    they left in a job's working directory.
    """

    worker: Worker
    slots_count: int
    drain_seconds: float
    jobs_dir: Path
    templates_dir: Path
    programs: frozenset[str]
    salvage: Callable[[Path], bytes | None]


def build_worker(
    plan: WorkerPlan,
    *,
    channel: grpc.aio.Channel,
    provisioners: Mapping[str, Provisioner],
    meter: Meter,
    stopping: asyncio.Event,
    on_registered: Callable[[], None],
    clock: Clock,
    entropy: Entropy,
) -> WorkerLoop:
    """A worker ready to run. The caller holds the lock of `jobs_dir`."""
    plane = GrpcControlPlane(channel)
    dirs = JobDirs(plan.jobs_dir)
    templates = TemplateCache(plan.templates_dir)
    templates.prepare()
    slots = Slots(plan.slots_count)
    metrics = WorkerMetrics(meter, slots)
    preparation = Preparation(plane, templates, clock=clock, entropy=entropy)
    runner = JobRunner(
        plane, provisioners, preparation, dirs, metrics, clock=clock, entropy=entropy
    )
    rescue = Rescue(plane, dirs, plan.programs, plan.salvage, clock=clock, entropy=entropy)
    return WorkerLoop(
        plane,
        plan.worker,
        runner,
        rescue,
        slots,
        metrics,
        stopping=stopping,
        drain_seconds=plan.drain_seconds,
        on_registered=on_registered,
        clock=clock,
        entropy=entropy,
    )
