"""A worker, and a control plane it believes in."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from testkit.worker_lab import WorkerLab, worker_lab


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncGenerator[WorkerLab]:
    async with worker_lab(tmp_path) as lab:
        yield lab
