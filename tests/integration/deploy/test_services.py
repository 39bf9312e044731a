"""The three services as processes, with the environment the Compose file gives them: its names,
secrets, certificates and nkeys, at a nats-server with the permissions of `deploy/nats`. Only where
things are is another place: loopback instead of containers.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from embedded import find_free_port
from testkit.eventually import eventually
from testkit.postgres import DatabaseFactory

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ROOT = Path(__file__).resolve().parents[3]
SERVICES = ("reconciler", "agentgw", "provisionerd")
Site = Any  # tests/integration/deploy/conftest.py


class Compose:
    """The Compose file, its secrets, and where on this machine its services are."""

    def __init__(self, secrets: Path, directory: Path) -> None:
        self._file = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text("utf-8"))
        self._secrets = secrets
        self._directory = directory
        self.places: dict[str, str] = {}

    def environment(self, service: str, **own: str) -> dict[str, str]:
        """What the process gets: that of the file, at this machine's places."""
        found: dict[str, str] = self._file["services"][service]["environment"]
        here = {name: self._at_home(value) for name, value in found.items()}
        return {"PATH": os.environ["PATH"], **here, **own}

    def _at_home(self, value: str) -> str:
        if value.startswith("/run/secrets/"):
            file = self._file["secrets"][value.removeprefix("/run/secrets/")]["file"]
            return str(self._secrets / file.removeprefix("./secrets/"))
        if re.fullmatch(r"0\.0\.0\.0:\d+", value):
            return "127.0.0.1:0"
        for host, place in self.places.items():
            value = re.sub(rf"://{host}:\d+", f"://{place}", value)
        return value.replace("/var/lib/warmpool", str(self._directory / "data"))


@contextmanager
def running(
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


def migrate(environment: Mapping[str, str]) -> None:
    """The container that runs before the control plane."""
    command = [sys.executable, "-m", "reconciler", "migrate"]
    run = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=120)
    assert run.returncode == 0, run.stdout.decode()


def scrape(log: Path) -> set[str]:
    """The names of our series that a service shows, by what its log says of where."""
    lines = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
    [port] = [line["port"] for line in lines if line["message"] == "Metrics are served."]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return set(re.findall(r"^((?:coderd|warmpool|grpc_server)_\w+)", text, re.M))


def series_of_the_catalogue() -> set[str]:
    """What alerts and the dashboard may ask for."""
    metrics = json.loads((ROOT / "deploy" / "observability" / "metrics.json").read_text("utf-8"))
    return {
        f"{metric['name']}{suffix}"
        for metric in metrics
        for suffix in (("_bucket", "_sum", "_count") if metric["kind"] == "histogram" else ("",))
    }


def probe(address: str) -> int:
    """The health check of the container."""
    command = [sys.executable, "-m", "svckit.probe", address]
    return subprocess.run(command, check=False, capture_output=True, timeout=30).returncode


async def test_the_services_work_together_with_what_is_shipped(
    site: Site, database: DatabaseFactory, tmp_path: Path
) -> None:
    secrets = tmp_path / "secrets"
    shutil.copytree(site.secrets, secrets)
    (secrets / "database-url").write_text(await database())
    compose = Compose(secrets, tmp_path)
    compose.places["nats"] = site.url.removeprefix("tls://")

    with ExitStack() as stack:

        async def start(service: str, **own: str) -> str:
            """Starts it and waits until its container would be healthy; the port."""
            port_file, health = tmp_path / f"{service}.port", f"127.0.0.1:{find_free_port()}"
            prefix = f"WARMPOOL_{service.upper()}"
            places = {f"{prefix}_HEALTH_LISTEN": health, f"{prefix}_PORT_FILE": str(port_file)}
            log = tmp_path / f"{service}.log"
            process = stack.enter_context(
                running(service, compose.environment(service, **places, **own), log)
            )

            def healthy() -> None:
                if process.poll() is not None:
                    pytest.fail(log.read_text())
                assert port_file.exists()
                assert probe(health) == 0

            await eventually(healthy, seconds=60)
            return port_file.read_text().strip()

        def ask(*argv: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "warmpool_cli", *argv],
                env={
                    "PATH": os.environ["PATH"],
                    "WARMPOOL_ADDRESS": f"https://{compose.places['reconciler']}",
                    "WARMPOOL_TOKEN_FILE": str(secrets / "owner-token"),
                    "WARMPOOL_CA_FILE": str(secrets / "ca.crt"),
                },
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )

        migrate(compose.environment("migrate"))
        compose.places["reconciler"] = f"localhost:{await start('reconciler')}"
        await start("agentgw")
        # whether Terraform is here or not
        await start("provisionerd", WARMPOOL_PROVISIONERD_PROVISIONERS="process")
        said = ask("doctor")

        assert said.returncode == 0, said.stdout + said.stderr
        assert re.search(r"^ok +nats +connected$", said.stdout, re.M)
        assert re.search(r"^ok +provisioners +1 connected", said.stdout, re.M)
        assert ask("pool", "list").returncode == 0

        def all_figures() -> set[str]:
            found = {name for service in SERVICES for name in scrape(tmp_path / f"{service}.log")}
            assert "warmpool_jobs_pending" in found  # read in the background
            return found

        shown = await eventually(all_figures)
        assert shown - series_of_the_catalogue() == set()
        assert len(shown) >= 15
    for service in SERVICES:
        lines = (tmp_path / f"{service}.log").read_text().splitlines()
        levels = [json.loads(line)["level"] for line in lines if line.startswith("{")]
        assert levels
        assert "ERROR" not in levels, lines
