"""A nats-server with exactly the configuration of `deploy/nats`, and what its users need."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bus.access import NatsAccess
from embedded._binaries import find_nats_server
from testkit.eventually import eventually

ROOT = Path(__file__).resolve().parents[3]
CONFIGURATION = ROOT / "deploy" / "nats" / "nats.conf"


@dataclass(frozen=True, slots=True)
class Site:
    """A nats-server, and the directory with what its users need."""

    url: str
    secrets: Path

    def access(self, user: str) -> NatsAccess:
        return NatsAccess(
            nkey_file=self.secrets / f"nats-{user}.nk", ca_file=self.secrets / "ca.crt"
        )


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("installation") / "secrets"
    tool = [sys.executable, str(ROOT / "tools" / "make_secrets.py"), str(directory)]
    subprocess.run(tool, check=True, capture_output=True, timeout=60)
    return directory


@pytest.fixture
async def site(secrets: Path, tmp_path: Path) -> AsyncGenerator[Site]:
    shutil.copy(CONFIGURATION, tmp_path)
    shutil.copy(secrets / "nats-keys.conf", tmp_path)
    shutil.copytree(secrets / "nats", tmp_path / "tls")
    ports = tmp_path / "ports"
    ports.mkdir()
    # Nothing but where it listens differs from production.
    flags = ["--addr", "127.0.0.1", "--port", "-1", "--http_port", "-1"]
    server = await asyncio.create_subprocess_exec(
        find_nats_server(),
        *("--config", "nats.conf", *flags, "--ports_file_dir", str(ports)),
        cwd=tmp_path,
        stderr=asyncio.subprocess.DEVNULL,
    )

    def said() -> str:
        assert server.returncode is None
        files = [file.read_text() for file in ports.glob("*.ports")]
        assert files
        assert files[0]
        return json.loads(files[0])["nats"][0]

    try:
        port = (await eventually(said)).rpartition(":")[2]
        yield Site(f"tls://127.0.0.1:{port}", secrets)
    finally:
        server.terminate()
        await server.wait()
