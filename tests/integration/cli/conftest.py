"""The command run in this process, against a scripted control plane on a real socket."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from testkit.fake_control import FakeControl, fake_control
from warmpool.control.v1.templates_pb2 import ListTemplateVersionsResponse
from warmpool_cli.main import run


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How one run of the command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as the one JSON document it must be."""
        return json.loads(self.out)

    @property
    def records(self) -> list[Any]:
        """Standard output as one JSON document a line."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
async def control() -> AsyncGenerator[FakeControl]:
    """A control plane without any script yet, but for a template without parameters."""
    async with fake_control() as control:
        control.on("ListTemplateVersions", ListTemplateVersionsResponse())
        yield control


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working directory and an environment without our settings."""
    for name in ("ADDRESS", "TOKEN", "TOKEN_FILE", "CA_FILE"):
        monkeypatch.delenv(f"WARMPOOL_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def warmpool(elsewhere: Path) -> Callable[..., Awaitable[Ran]]:
    """Runs the command as it is, without any connection settings."""

    async def run_it(*arguments: str) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = await run(arguments)
        return Ran(code=code, out=out.getvalue(), err=err.getvalue())

    return run_it


@pytest.fixture
def cli(
    warmpool: Callable[..., Awaitable[Ran]],
    control: FakeControl,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Awaitable[Ran]]:
    """Runs the command connected to `control`."""
    monkeypatch.setenv("WARMPOOL_ADDRESS", control.address)
    monkeypatch.setenv("WARMPOOL_TOKEN", control.token)
    return warmpool
