"""A nats-server with exactly the configuration of `deploy/nats`, and what its users need."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from bus.access import NatsAccess
from embedded._binaries import find_nats_server
from testkit.eventually import eventually

ROOT = Path(__file__).resolve().parents[3]
CONFIGURATION = ROOT / "deploy" / "nats" / "nats.conf"


def make_secrets(directory: Path) -> Path:
    """What an operator's first command makes."""
    tool = [sys.executable, str(ROOT / "tools" / "make_secrets.py"), str(directory)]
    subprocess.run(tool, check=True, capture_output=True, timeout=60)
    return directory


class Site:
    """A nats-server, and the directory with what its users need."""

    def __init__(self, secrets: Path, directory: Path) -> None:
        self.secrets = secrets
        self._directory = directory
        self._server: Process | None = None
        self._port = "-1"

    @property
    def url(self) -> str:
        """Where clients connect; the same after a restart."""
        return f"tls://127.0.0.1:{self._port}"

    def access(self, user: str) -> NatsAccess:
        """What a service is told of its user."""
        return NatsAccess(
            nkey_file=self.secrets / f"nats-{user}.nk", ca_file=self.secrets / "ca.crt"
        )

    def renew_secrets(self) -> None:
        """Another root, other certificates, other nkeys, under the same names."""
        shutil.rmtree(self.secrets)
        make_secrets(self.secrets)

    async def start(self) -> None:
        """Starts it with the secrets as they are, where it was before."""
        shutil.rmtree(self._directory, ignore_errors=True)
        ports = self._directory / "ports"
        ports.mkdir(parents=True)
        shutil.copy(CONFIGURATION, self._directory)
        shutil.copy(self.secrets / "nats-keys.conf", self._directory)
        shutil.copytree(self.secrets / "nats", self._directory / "tls")
        # Nothing but where it listens differs from production.
        flags = ["--addr", "127.0.0.1", "--port", self._port, "--http_port", "-1"]
        server = await asyncio.create_subprocess_exec(
            find_nats_server(),
            *("--config", "nats.conf", *flags, "--ports_file_dir", str(ports)),
            cwd=self._directory,
            stderr=DEVNULL,
        )
        self._server = server

        def said() -> str:
            assert server.returncode is None
            files = [file.read_text() for file in ports.glob("*.ports")]
            assert files
            assert files[0]
            return json.loads(files[0])["nats"][0]

        self._port = (await eventually(said)).rpartition(":")[2]

    async def stop(self) -> None:
        """Ends it."""
        if self._server is not None:
            self._server.terminate()
            await self._server.wait()
            self._server = None


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once; nobody changes these."""
    return make_secrets(tmp_path_factory.mktemp("installation") / "secrets")


@pytest.fixture
async def site(secrets: Path, tmp_path: Path) -> AsyncGenerator[Site]:
    """One that runs, with secrets of this test's own."""
    own = Site(shutil.copytree(secrets, tmp_path / "site-secrets"), tmp_path / "nats")
    await own.start()
    try:
        yield own
    finally:
        await own.stop()
