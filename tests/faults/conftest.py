"""The whole system with real Terraform, and one template for all that is done to it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from testkit.build_site import BuildSite
from testkit.gate_server import serve_gates
from testkit.system import run_system


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[BuildSite]:
    """Shared by all: each case leaves it as it found it."""
    terraform = shutil.which("terraform") or shutil.which("tofu")
    assert terraform is not None, "neither terraform nor tofu is on PATH"
    provisionerd = {
        "WARMPOOL_PROVISIONERD_PROVISIONERS": "terraform,process",
        "WARMPOOL_PROVISIONERD_TERRAFORM_PATH": terraform,
    }
    # a worker that is slow to come back on a busy machine still hands its jobs back itself
    reconciler = {
        "WARMPOOL_RECONCILER_JOB_UNCONFIRMED_SECONDS": "20",
        "WARMPOOL_RECONCILER_JOB_HUNG_SECONDS": "120",
    }
    extra = {"provisionerd": provisionerd, "reconciler": reconciler}
    with serve_gates() as server:
        async with run_system(tmp_path_factory.mktemp("system"), extra) as system:
            site = BuildSite(system=system, server=server)
            await site.push()
            yield site
