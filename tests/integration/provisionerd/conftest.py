"""A worker and a control plane it believes in; or the whole system, with or without terraform."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from testkit.crashes import end_agents
from testkit.system import RunningSystem, run_system
from testkit.worker_lab import WorkerLab, worker_lab


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncGenerator[WorkerLab]:
    async with worker_lab(tmp_path) as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RunningSystem]:
    """Everything as processes; a module's tests share it."""
    terraform = shutil.which("terraform") or shutil.which("tofu")
    provisionerd = {"WARMPOOL_PROVISIONERD_PROVISIONERS": "process"}
    if terraform is not None:
        provisionerd = {
            "WARMPOOL_PROVISIONERD_PROVISIONERS": "terraform,process",
            "WARMPOOL_PROVISIONERD_TERRAFORM_PATH": terraform,
        }
    # a worker that is slow to come back on a busy machine still hands its jobs back itself
    reconciler = {
        "WARMPOOL_RECONCILER_JOB_UNCONFIRMED_SECONDS": "120",
        "WARMPOOL_RECONCILER_JOB_HUNG_SECONDS": "120",
    }
    directory = tmp_path_factory.mktemp("system")
    extra = {"provisionerd": provisionerd, "reconciler": reconciler}
    async with run_system(directory, extra) as system:
        yield system
    end_agents(system.layout.workspaces)
