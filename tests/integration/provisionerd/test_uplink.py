"""What is kept on disk until the control plane has it."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from provisionerd.core.jobs import JobRef
from provisionerd.loops.control import JobControl
from provisionerd.loops.uplink import TfstateUplink
from provisionerd.rpc.control_plane import GrpcControlPlane
from provisionerd.store.jobdirs import JobDirs
from svckit.channel import open_channel
from svckit.system import SystemEntropy
from testkit.eventually import eventually

pytestmark = pytest.mark.integration


async def test_who_is_cancelled_while_it_keeps_does_not_spoil_what_is_kept_next(
    tmp_path: Path,
) -> None:
    job_dir = JobDirs(tmp_path).make(JobRef(job_id=uuid.UUID(int=7), attempt=1))
    channel = open_channel("127.0.0.1:1", token="key")  # nothing is sent here
    uplink = TfstateUplink(
        GrpcControlPlane(channel), job_dir, JobControl(), entropy=SystemEntropy()
    )

    def look() -> None:
        assert list(job_dir.root.glob("tfstate.unsent*"))

    large = b"o" * 100_000_000
    async with asyncio.TaskGroup() as group:
        # WHEN a large tfstate is being written and whoever keeps it is cancelled
        keeping = group.create_task(uplink.keep(large))
        await eventually(look)
        keeping.cancel()
        await asyncio.wait({keeping})
        # THEN nobody writes any more, so that the next one is kept after it
        assert keeping.cancelled()
        assert job_dir.read_unsent() == large
        await uplink.keep(b"newest")
    await channel.close()
    assert job_dir.read_unsent() == b"newest"
