"""An installation as an operator makes one: the secrets of `tools/make_secrets.py`, a nats-server
with the configuration of `deploy/nats`, and the three services as processes with the environment
that the Compose file gives them. Only where things are is another place: this machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from bus.access import NatsAccess
from embedded import find_free_port
from embedded._binaries import find_nats_server
from testkit.eventually import eventually

__all__ = ["Installation", "NatsSite", "make_secrets"]

ROOT = Path(__file__).resolve().parents[4]
CONFIGURATION = ROOT / "deploy" / "nats" / "nats.conf"


def make_secrets(directory: Path, *flags: str) -> Path:
    """What an operator's first command makes."""
    tool = [sys.executable, str(ROOT / "tools" / "make_secrets.py"), str(directory), *flags]
    subprocess.run(tool, check=True, capture_output=True, timeout=60)
    return directory


class NatsSite:
    """A nats-server, and the directory with what its users need."""

    def __init__(self, secrets: Path, directory: Path) -> None:
        """Nothing runs yet."""
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
        (self._directory / "tls").symlink_to(self.secrets / "nats")
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

    def reload(self) -> None:
        """Has it read its certificates again."""
        assert self._server is not None
        self._server.send_signal(signal.SIGHUP)

    async def stop(self) -> None:
        """Ends it."""
        if self._server is not None:
            self._server.terminate()
            await self._server.wait()
            self._server = None


class Installation:
    """The Compose file with these secrets; `places` are addresses by the names it has for them."""

    def __init__(self, secrets: Path, directory: Path, places: Mapping[str, str]) -> None:
        """Nothing runs yet."""
        self.secrets = secrets
        self.directory = directory
        self.places = dict(places)
        self._file = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text("utf-8"))
        self._running = ExitStack()

    def environment(self, service: str, **own: str) -> dict[str, str]:
        """What the process gets: that of the file, at this machine's places."""
        found: dict[str, str] = self._file["services"][service]["environment"]
        here = {name: self._at_home(value) for name, value in found.items()}
        return {"PATH": os.environ["PATH"], **here, **own}

    async def __aenter__(self) -> Self:
        """What is started ends with the block."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ends all of them in order, the last first; each must end well."""
        await asyncio.to_thread(self._running.close)

    async def migrate(self, **own: str) -> subprocess.CompletedProcess[str]:
        """The container that runs before the control plane."""
        return await self._run("reconciler", ["migrate"], self.environment("migrate", **own))

    async def start(self, service: str, **own: str) -> str:
        """Starts it and waits until its container would be healthy; its address."""
        port_file, health = self.directory / f"{service}.port", f"127.0.0.1:{find_free_port()}"
        prefix = f"WARMPOOL_{service.upper()}"
        places = {f"{prefix}_HEALTH_LISTEN": health, f"{prefix}_PORT_FILE": str(port_file)}
        process = self._running.enter_context(
            _running(service, self.environment(service, **places, **own), self._log(service))
        )

        def healthy() -> None:
            if process.poll() is not None:
                pytest.fail(self._log(service).read_text())
            assert port_file.exists(), self._log(service).read_text()

        await eventually(healthy, seconds=60)
        await self._run("svckit.probe", [health], {}, must=True)
        self.places[service] = f"localhost:{port_file.read_text().strip()}"
        return self.places[service]

    def said(self, service: str) -> list[dict[str, Any]]:
        """The lines of its log."""
        lines = self._log(service).read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    async def ask(self, *argv: str, **own: str) -> subprocess.CompletedProcess[str]:
        """The `warmpool` command of whoever installed it."""
        environment = {
            "PATH": os.environ["PATH"],
            "WARMPOOL_ADDRESS": f"https://{self.places['reconciler']}",
            "WARMPOOL_TOKEN_FILE": str(self.secrets / "owner-token"),
            "WARMPOOL_CA_FILE": str(self.secrets / "ca.crt"),
            **own,
        }
        return await self._run("warmpool_cli", argv, environment)

    async def _run(
        self, module: str, argv: Sequence[str], environment: Mapping[str, str], must: bool = False
    ) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(
            lambda: subprocess.run(
                [sys.executable, "-m", module, *argv],
                env=environment,
                cwd=self.directory,
                capture_output=True,
                text=True,
                check=must,
                timeout=120,
            )
        )

    def _log(self, service: str) -> Path:
        return self.directory / f"{service}.log"

    def _at_home(self, value: str) -> str:
        if value.startswith("/run/secrets/"):
            file = self._file["secrets"][value.removeprefix("/run/secrets/")]["file"]
            return str(self.secrets / file.removeprefix("./secrets/"))
        if re.fullmatch(r"0\.0\.0\.0:\d+", value):
            return "127.0.0.1:0"
        for host, place in self.places.items():
            value = re.sub(rf"://{host}:\d+", f"://{place}", value)
        return value.replace("/var/lib/warmpool", str(self.directory / "data"))


@contextmanager
def _running(
    service: str, environment: Mapping[str, str], log: Path
) -> Generator[subprocess.Popen[bytes]]:
    """A process, ended in order at the end, which must go well."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", service], env=environment, stdout=output, stderr=output
        )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
